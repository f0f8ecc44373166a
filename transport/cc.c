/* Congestion control: how many packets may be in flight. */
#include "transport/cc.h"

#include <stdbool.h>

enum {
    FORGIVEN_ONE_IN = 50,    /* 2 % */
    RTT_SLACK_NS = 50 * 1000 /* allowed above twice the minimum RTT, for pauses of the loops */
};

void cc_init(struct cc *cc)
{
    *cc = (struct cc){
        .window = CC_WINDOW_INITIAL,
        .threshold = CC_WINDOW_MAX,
        .round_sent = CC_TRUSTED,
    };
}

static void count(struct cc *cc, uint32_t sent, uint32_t lost)
{
    cc->round_sent += sent;
    cc->round_lost += lost;
    if (cc->round_sent >= CC_ROUND) {
        cc->round_sent /= 2;
        cc->round_lost /= 2;
    }
}

void cc_acked(struct cc *cc, uint32_t packets, uint32_t outstanding_before)
{
    count(cc, packets, 0);
    if (cc->window >= CC_WINDOW_MAX || outstanding_before < cc->window / 2)
        return;
    if (cc->window < cc->threshold) {
        cc->window += packets;
        cc->window = cc->window < cc->threshold ? cc->window : cc->threshold;
        return;
    }
    cc->grown += packets;
    if (cc->grown >= cc->window) {
        cc->grown -= cc->window;
        cc->window++;
    }
}

void cc_lost(struct cc *cc, uint32_t packets, leat_ns lost_sent_at, leat_ns rtt, leat_ns rtt_min,
             leat_ns now)
{
    count(cc, packets, packets);
    const bool few = (uint64_t)cc->round_lost * FORGIVEN_ONE_IN < cc->round_sent;
    const bool queue = rtt > 2 * rtt_min + RTT_SLACK_NS;
    if (few && !queue) {
        cc->forgiven += packets;
        return;
    }
    if (lost_sent_at < cc->recovery_until)
        return;
    cc->window = cc->window / 2 > CC_WINDOW_MIN ? cc->window / 2 : CC_WINDOW_MIN;
    cc->threshold = cc->window;
    cc->grown = 0;
    cc->recovery_until = now;
    cc->reductions++;
}
