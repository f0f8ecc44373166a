/* Quota: a byte rate that may be overdrawn by one batch, which then has to be paid back. */
#include "broker/shared/quota.h"

static int64_t burst(const struct quota *q)
{
    const uint64_t tenth = q->rate / 10;
    return tenth > INT64_MAX ? INT64_MAX : (int64_t)tenth + 1;
}

static void refill(struct quota *q, leat_ns now)
{
    const leat_ns passed = now > q->at ? now - q->at : 0;
    if (passed == 0)
        return;
    const unsigned __int128 more = (unsigned __int128)passed * q->rate / LEAT_NS_PER_S;
    if (more == 0)
        return; /* keep `at`: slow rates must not lose their fractions */
    q->at = now;
    const int64_t room = burst(q) - q->left;
    q->left += more > (unsigned __int128)room ? room : (int64_t)more;
}

void quota_init(struct quota *q, uint64_t bytes_per_second, leat_ns now)
{
    *q = (struct quota){ .rate = bytes_per_second, .at = now };
    q->left = burst(q);
}

void quota_set_rate(struct quota *q, uint64_t bytes_per_second, leat_ns now)
{
    if (q->rate == bytes_per_second)
        return;
    if (q->rate == 0 || bytes_per_second == 0) {
        quota_init(q, bytes_per_second, now);
        return;
    }
    refill(q, now);
    q->rate = bytes_per_second;
    if (q->left > burst(q))
        q->left = burst(q);
}

void quota_take_limited(struct quota *q, uint64_t bytes, leat_ns now)
{
    refill(q, now);
    q->left -= (int64_t)bytes;
}

bool quota_ready_limited(struct quota *q, leat_ns now)
{
    refill(q, now);
    return q->left > 0;
}

leat_ns quota_ready_at(const struct quota *q, leat_ns now)
{
    if (q->rate == 0 || q->left > 0)
        return now;
    const unsigned __int128 owed = (unsigned __int128)(1 - q->left) * LEAT_NS_PER_S;
    const leat_ns wait = (leat_ns)(owed / q->rate) + 1;
    return (q->at > now ? q->at : now) + wait;
}
