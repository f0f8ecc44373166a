/* Waiting for a topic that is missing or refused temporarily. */
#include "client/topic_wait.h"

void topic_wait_init(struct topic_wait *wait, const struct backoff *pauses)
{
    *wait = (struct topic_wait){ .pauses = *pauses };
    wait->pauses.failures = 0;
    wait->pauses.circuit_failures = UINT32_MAX;
    wait->pauses.open_ns = pauses->max_ns;
}

bool topic_wait_missed(struct topic_wait *wait, leat_ns now)
{
    const bool first = !wait->missing;
    const bool tells = first || now - wait->told >= TOPIC_WAIT_TELL_NS;
    if (first)
        wait->since = now;
    if (tells)
        wait->told = now;
    wait->missing = true;
    wait->ask_at = now + backoff_failed(&wait->pauses);
    return tells;
}

bool topic_wait_lasts(struct topic_wait *wait, leat_ns now, leat_ns after_ns)
{
    if (!wait->missing) {
        wait->since = now;
        wait->told = now + after_ns
                     - TOPIC_WAIT_TELL_NS; /* reported after after_ns, as if it were a repetition */
    }
    wait->missing = true;
    const bool tells = now - wait->told >= TOPIC_WAIT_TELL_NS;
    if (tells)
        wait->told = now;
    return tells;
}

void topic_wait_found(struct topic_wait *wait)
{
    wait->missing = false;
    backoff_succeeded(&wait->pauses);
}
