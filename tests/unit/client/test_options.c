/* Goal: zero means the default, a struct of an older or newer program is read right, and what is
 * out of range is refused by name and value. Method: tables, and structs of every size. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/options.h"
#include "schema/units.h"

static char why[512];

Test(options, zero_and_null_mean_the_defaults)
{
    struct client_options a, b;
    const struct leat_client_options zero = { .size = sizeof zero };
    cr_assert_eq(options_client(&a, NULL, why, sizeof why), LEAT_OK);
    cr_assert_eq(options_client(&b, &zero, why, sizeof why), LEAT_OK);
    cr_assert_str_eq(a.client_name, "leat");
    cr_assert_str_eq(b.client_name, "leat");
    cr_assert_eq(a.values.connect_timeout_ns, 5 * LEAT_NS_PER_S);
    cr_assert_eq(b.values.backoff_min_ns, 10 * LEAT_NS_PER_MS);
    cr_assert_eq(b.values.backoff_max_ns, 2 * LEAT_NS_PER_S);
    cr_assert_eq(b.values.circuit_failures, 10u);
    cr_assert_eq(b.values.circuit_open_ns, 10 * LEAT_NS_PER_S);

    struct leat_producer_options producer;
    cr_assert_eq(options_producer(&producer, NULL, why, sizeof why), LEAT_OK);
    cr_assert_eq(producer.in_flight_batches, 16u);
    cr_assert_eq(producer.batch_records_max, 65536u);
    struct leat_consumer_options consumer;
    cr_assert_eq(options_consumer(&consumer, NULL, why, sizeof why), LEAT_OK);
    cr_assert_eq(consumer.window_bytes, LEAT_MIB);
}

Test(options, a_struct_of_an_older_program_is_read_to_its_end_only)
{
    /* What lies behind `size` is on the heap's edge, where a sanitizer sees a read. */
    for (size_t size = sizeof(size_t); size <= sizeof(struct leat_producer_options); size += 4) {
        uint8_t *given = malloc(size);
        memset(given, 0, size);
        memcpy(given, &size, sizeof size);
        struct leat_producer_options out;
        cr_expect_eq(options_producer(&out, (void *)given, why, sizeof why), LEAT_OK, "%zu: %s",
                     size, why);
        cr_expect_eq(out.size, sizeof out);
        cr_expect_eq(out.in_flight_batches, 16u);
        free(given);
    }
}

Test(options, of_a_newer_programs_struct_the_known_part_is_read)
{
    struct {
        struct leat_consumer_options known;
        uint64_t later[4];
    } newer = { .known = { .size = sizeof newer, .start_at = LEAT_START_EARLIEST },
                .later = { 1, 2, 3, 4 } };
    struct leat_consumer_options out;
    cr_assert_eq(options_consumer(&out, &newer.known, why, sizeof why), LEAT_OK);
    cr_assert_eq(out.start_at, LEAT_START_EARLIEST);
}

Test(options, a_forgotten_size_is_told)
{
    const struct leat_topic_settings settings = { .partitions = 3 };
    struct leat_topic_settings out;
    cr_assert_eq(options_topic(&out, &settings, why, sizeof why), LEAT_ERR_INVALID);
    cr_assert_neq(strstr(why, "sizeof(struct leat_topic_settings)"), NULL, "%s", why);
}

Test(options, what_is_out_of_range_is_named_with_its_value)
{
    struct client_options client;
    struct leat_client_options c = { .size = sizeof c, .client_name = "no spaces" };
    cr_expect_eq(options_client(&client, &c, why, sizeof why), LEAT_ERR_INVALID);
    cr_expect_neq(strstr(why, "no spaces"), NULL, "%s", why);
    c = (struct leat_client_options){ .size = sizeof c, .backoff_min_ns = 20, .backoff_max_ns = 9 };
    cr_expect_eq(options_client(&client, &c, why, sizeof why), LEAT_ERR_INVALID);
    cr_expect_neq(strstr(why, "20"), NULL, "%s", why);

    struct leat_producer_options out;
    const struct {
        struct leat_producer_options options;
        const char *says;
    } producers[] = {
        { { .size = sizeof out, .in_flight_batches = 65 }, "65" },
        { { .size = sizeof out, .batch_bytes_max = 1023 }, "1023" },
        { { .size = sizeof out, .batch_bytes_max = (1 << 20) + 1 }, "1048577" },
        { { .size = sizeof out, .batch_records_max = 65537 }, "65537" },
        { { .size = sizeof out, .name = "a/b" }, "a/b" },
    };
    for (size_t i = 0; i < sizeof producers / sizeof *producers; i++) {
        cr_expect_eq(options_producer(&out, &producers[i].options, why, sizeof why),
                     LEAT_ERR_INVALID);
        cr_expect_neq(strstr(why, producers[i].says), NULL, "%s", why);
    }
    struct leat_consumer_options consumer = { .size = sizeof consumer, .start_at = 9 }, read;
    cr_expect_eq(options_consumer(&read, &consumer, why, sizeof why), LEAT_ERR_INVALID);
    consumer = (struct leat_consumer_options){ .size = sizeof consumer, .partition_count = 2 };
    cr_expect_eq(options_consumer(&read, &consumer, why, sizeof why), LEAT_ERR_INVALID);
}

static void refused_group(struct leat_consumer_options options, const char *what)
{
    struct leat_consumer_options read;
    options.size = sizeof options;
    cr_expect_eq(options_consumer(&read, &options, why, sizeof why), LEAT_ERR_INVALID);
    cr_expect_neq(strstr(why, what), NULL, "no \"%s\" in: %s", what, why);
}

Test(options, a_group_has_its_own_defaults_and_rules)
{
    const uint32_t partition = 1;
    const struct leat_consumer_options given = { .size = sizeof given, .group = "g" };
    struct leat_consumer_options out;
    cr_assert_eq(options_consumer(&out, &given, why, sizeof why), LEAT_OK);
    cr_expect_eq(out.session_timeout_ns, UINT64_C(10000000000));
    cr_expect_eq(out.commit_interval_ns, UINT64_C(1000000000));
    cr_expect_eq(out.commit, LEAT_COMMIT_PROCESSED);
    refused_group((struct leat_consumer_options){ .group = "a b" }, "group \"a b\"");
    refused_group((struct leat_consumer_options){ .group = "g", .member = "" }, "member \"\"");
    refused_group((struct leat_consumer_options){ .group = "g",
                                                  .partitions = &partition,
                                                  .partition_count = 1 },
                  "partitions");
    refused_group((struct leat_consumer_options){ .group = "g", .start_at = LEAT_START_OFFSET },
                  "start_at 2");
    refused_group((struct leat_consumer_options){ .group = "g", .commit = 3 }, "commit 3");
    refused_group((struct leat_consumer_options){ .group = "g", .session_timeout_ns = 1 },
                  "session_timeout_ns 1");
}
