/* Goal: what is registered is read out as Prometheus text, sorted by family, and nothing else gets
 * in. Method: exact text; names and labels that are right and wrong; buffers of every size. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "ops/metrics.h"

static struct metrics *registry;

static void set_up(void)
{
    cr_assert_eq(metrics_open(&registry), LEAT_OK);
}

static void tear_down(void)
{
    metrics_close(registry);
}

TestSuite(metrics, .init = set_up, .fini = tear_down);

static enum leat_error add(const char *name, const char *labels, const metric *value)
{
    const struct metric_options options = {
        .name = name, .help = "Help.", .labels = labels, .kind = METRIC_COUNTER, .value = value
    };
    return metrics_register(registry, &options);
}

Test(metrics, families_are_sorted_and_have_one_head)
{
    static metric a = 1, b = 2, c = 3;
    cr_assert_eq(add("leat_b_total", "shard=\"1\"", &b), LEAT_OK);
    cr_assert_eq(add("leat_a", NULL, &a), LEAT_OK);
    cr_assert_eq(add("leat_b_total", "shard=\"0\"", &c), LEAT_OK);
    metric_add(&c, 40);
    const char *expected = "# HELP leat_a Help.\n# TYPE leat_a counter\nleat_a 1\n"
                           "# HELP leat_b_total Help.\n# TYPE leat_b_total counter\n"
                           "leat_b_total{shard=\"0\"} 43\nleat_b_total{shard=\"1\"} 2\n";
    char text[512];
    const size_t length = metrics_write(registry, text, sizeof text);
    cr_assert_eq(length, strlen(expected));
    cr_assert_str_eq(text, expected);
    for (size_t size = 0; size <= length; size++) {
        memset(text, '#', sizeof text);
        cr_assert_eq(metrics_write(registry, text, size), length);
        cr_assert_eq(text[size], '#', "wrote beyond %zu", size);
        if (size > 0)
            cr_assert_eq(strncmp(text, expected, size - 1), 0);
    }
}

Test(metrics, wrong_names_and_labels_are_refused)
{
    static metric value;
    static const char *const names[] = { "", "1a", "a-b", "a b", "a\n", "ä" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_assert_eq(add(names[i], NULL, &value), LEAT_ERR_INVALID, "\"%s\"", names[i]);
    static const char *const labels[] = { "a",        "a=",       "a=b",       "a=\"b",
                                          "a=\"b\",", "=\"b\"",   "a=\"\\x\"", "a=\"b\"c=\"d\"",
                                          "a=\"\n\"", "a=\"b\" ", "9=\"b\"" };
    for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
        cr_assert_eq(add("m", labels[i], &value), LEAT_ERR_INVALID, "%s", labels[i]);
    cr_assert_eq(add("m", "a=\"b\\\"\\\\\\n\",c=\"\"", &value), LEAT_OK);
    cr_assert_eq(add("m", "a=\"b\\\"\\\\\\n\",c=\"\"", &value), LEAT_ERR_INVALID, "twice");
}

Test(metrics, what_is_unregistered_by_memory_is_gone)
{
    static struct {
        metric a, b;
    } mine;
    static metric other = 7;
    add("x_a", NULL, &mine.a);
    add("x_b", NULL, &mine.b);
    add("y", NULL, &other);
    metrics_unregister(registry, &mine, sizeof mine);
    char text[256];
    metrics_write(registry, text, sizeof text);
    cr_assert_str_eq(text, "# HELP y Help.\n# TYPE y counter\ny 7\n");
}
