/* Goal: no limit contradicts another: what each of them allows, multiplied out, is within what the
 * next one gives. Method: the constants themselves. */
#include <criterion/criterion.h>

#include "broker/config/config.h"
#include "broker/control/control_state.h"
#include "broker/log/memory_budget.h"
#include "broker/shard/session.h"
#include "broker/shared/offsets.h"
#include "broker/state/offsets_file.h"
#include "broker/state/statefile.h"

/* What one connection may hold with the least budget that can be set. */
static uint64_t least_part(void)
{
    const struct memory_budget budget = { .limit_bytes = MEMORY_BUDGET_BYTES_MIN };
    return memory_account_most(&budget);
}

Test(bounds, every_place_of_every_group_can_be_stored)
{
    const uint64_t row =
        OFFSETS_FILE_GROUP_BYTES + LEAT_NAME_BYTES_MAX + OFFSETS_FILE_TOPIC_BYTES
        + OFFSETS_FILE_ROW_BYTES; /* at worst each stands in a group and topic of its own */
    const uint64_t most = OFFSETS_MAX * row + OFFSETS_FILE_METADATA_BYTES;
    cr_assert_leq(most + STATEFILE_OVERHEAD_BYTES, (uint64_t)STATEFILE_BYTES_MAX,
                  "the last of %d commits would not survive a stop", OFFSETS_MAX);
}

Test(bounds, a_connection_has_room_for_the_largest_request_and_its_answers)
{
    const uint64_t input = LEAT_CONTROL_PREFIX_BYTES + LEAT_CONTROL_BYTES_MAX;
    /* It is read until it is owed so much, then one more answer comes; the buffer doubles. */
    const uint64_t output = UINT64_C(2) * (CONTROL_OUTPUT_PAUSE_BYTES + input);
    cr_assert_leq(sizeof(struct control_conn) + input + output, least_part());
}

Test(bounds, a_session_has_room_for_a_batch_of_default_size)
{
    const uint64_t batch =
        partition_largest_batch(LEAT_RING_BYTES_DEFAULT, LEAT_RECORD_BYTES_DEFAULT);
    const uint64_t streams = SESSION_STREAMS_MAX * sizeof(struct stream);
    cr_assert_leq(SESSION_BYTES_MAX + streams + batch, least_part());
}

Test(bounds, all_connections_before_hello_fit_the_least_budget_or_give_way)
{
    /* 400 of them took 400 MiB. Who comes when the budget is used up ends one of these. */
    const uint64_t each =
        sizeof(struct control_conn) + LEAT_CONTROL_PREFIX_BYTES + LEAT_CONTROL_HELLO_BYTES_MAX;
    cr_assert_leq(400 * each, (uint64_t)2 * LEAT_MIB);
}

Test(bounds, an_operation_of_all_partitions_fits_the_least_budget)
{
    const uint64_t one = sizeof(struct operation)
                         + LEAT_PARTITIONS_MAX * (sizeof(struct operation_part) + sizeof(uint64_t));
    cr_assert_leq(CONTROL_OPERATIONS_PER_CONNECTION * one, MEMORY_BUDGET_BYTES_MIN);
}

Test(bounds, one_address_and_all_groups_leave_room_for_others)
{
    const uint64_t all = MEMORY_BUDGET_BYTES_MIN;
    const uint64_t left = all - all / SHARE_OF_ADDRESS - all / MEMORY_OF_GROUPS;
    const uint64_t input = LEAT_CONTROL_PREFIX_BYTES + LEAT_CONTROL_BYTES_MAX;
    const uint64_t producer = PRODUCER_DEDUP_BYTES + UINT64_C(2) * PRODUCER_DEDUP_SHARE_BYTES
                              + LEAT_IN_FLIGHT_BATCHES_MAX * PRODUCER_DEDUP_RESULT_BYTES;
    cr_assert_leq(sizeof(struct control_conn) + input + SESSION_BYTES_MAX + producer, left,
                  "an honest client beside them");
    cr_assert_leq(least_part(), all / SHARE_OF_ADDRESS, "one connection is within its address");
}

Test(bounds, the_shares_of_two_addresses_do_not_fill_a_table)
{
    for (uint32_t size = 16; size <= 1 << 20; size *= 2) {
        const uint32_t first = share_of_address(size, 0), second = share_of_address(size, first);
        cr_assert_lt(first + second, size);
        cr_assert_leq(share_of_connection(size), first);
    }
}
