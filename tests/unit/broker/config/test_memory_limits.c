/* Goal: the budgets are within the least of all limits that this process has, whoever set it, and a
 * configuration that wants more is refused with the limit's name.
 * Method: made-up /proc and /sys below /tmp; the budgets are multiplied out over limits. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/log/memory_budget.h"

#define MIB LEAT_MIB
#define GIB (1024 * LEAT_MIB)

static char root[64];

static void set_up(void)
{
    snprintf(root, sizeof root, "/tmp/leat-test-limits-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static void tear_down(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", root);
    cr_assert_eq(system(command), 0);
}

TestSuite(memory_limits, .init = set_up, .fini = tear_down);

/* Makes the folders on the way. */
static void put(const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *at = strchr(full + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(full, 0700);
        *at = '/';
    }
    FILE *file = fopen(full, "w");
    cr_assert_not_null(file, "%s", full);
    fputs(text, file);
    fclose(file);
}

static struct memory_limits look(void)
{
    struct memory_limits limits;
    memory_limits_read(&limits, root);
    return limits;
}

#define V2_MOUNT \
    "30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT(at) "32 31 0:29 " at " /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"

static void is(const struct memory_limit *limit, uint64_t bytes, const char *from)
{
    cr_assert_eq(limit->bytes, bytes, "%llu of %s", (unsigned long long)limit->bytes, limit->from);
    cr_assert_str_eq(limit->from, from);
}

Test(memory_limits, none_where_nothing_is_said)
{
    const struct memory_limits limits = look();
    is(&limits.hard, UINT64_MAX, "");
    is(&limits.soft, UINT64_MAX, "");
    is(&limits.huge, UINT64_MAX, "");
    cr_assert_eq(limits.available_bytes, 0);
}

Test(memory_limits, of_the_machine)
{
    put("/proc/meminfo", "MemTotal:        4000 kB\nMemFree:   7 kB\nMemAvailable:    2000 kB\n"
                         "SwapTotal:       1000 kB\nHugePages_Total:       9\n"
                         "HugePages_Free:        5\nHugePages_Rsvd:        2\n"
                         "Hugepagesize:       2048 kB\n");
    put("/proc/self/limits", "Limit                     Soft Limit           Hard Limit   Units\n"
                             "Max address space         1000000              unlimited    bytes\n");
    const struct memory_limits limits = look();
    cr_assert_eq(limits.available_bytes, 2000 * 1024);
    cr_assert_eq(limits.huge_available_bytes, 3 * 2048 * 1024);
    is(&limits.soft, 5000 * 1024, "MemTotal and SwapTotal of /proc/meminfo");
    cr_assert_eq(limits.hard.bytes, 500000);
    cr_assert_not_null(strstr(limits.hard.from, "ulimit -v"));
}

Test(memory_limits, of_version_2_every_group_up_to_the_root)
{
    put("/proc/self/mountinfo", "31 23 0:28 / /proc rw - proc proc rw\n" V2_MOUNT);
    put("/proc/self/cgroup", "0::/a.slice/b.slice/leatd.service\n");
    put("/sys/fs/cgroup/a.slice/memory.max", "600000\n");
    put("/sys/fs/cgroup/a.slice/b.slice/memory.max", "700000\n");
    put("/sys/fs/cgroup/a.slice/b.slice/memory.high", "500000\n");
    put("/sys/fs/cgroup/a.slice/b.slice/hugetlb.2MB.max", "4194304\n");
    put("/sys/fs/cgroup/a.slice/b.slice/leatd.service/memory.max", "max\n");
    put("/sys/fs/cgroup/a.slice/b.slice/leatd.service/memory.high", "");
    put("/sys/fs/cgroup/a.slice/c/memory.max", "1\n"); /* no group of ours */
    const struct memory_limits limits = look();
    is(&limits.hard, 600000, "memory.max of /sys/fs/cgroup/a.slice");
    is(&limits.soft, 500000, "memory.high of /sys/fs/cgroup/a.slice/b.slice");
    is(&limits.huge, 4194304, "hugetlb.2MB.max of /sys/fs/cgroup/a.slice/b.slice");
}

Test(memory_limits, of_a_container_its_own_root)
{
    put("/proc/self/mountinfo", V2_MOUNT);
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "268435456\n");
    struct memory_limits limits = look();
    is(&limits.hard, 268435456, "memory.max of /sys/fs/cgroup");
    put("/proc/self/cgroup", "0::/../../other\n"); /* outside of the namespace */
    limits = look();
    is(&limits.hard, 268435456, "memory.max of /sys/fs/cgroup");
}

Test(memory_limits, of_version_1)
{
    put("/proc/self/mountinfo",
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" V1_MOUNT(
            "/") "33 31 0:30 / /sys/fs/cgroup/hugetlb rw - cgroup cgroup rw,hugetlb\n"
                 "34 31 0:31 / /sys/fs/cgroup/memoryless rw - cgroup cgroup rw,cpu,memoryless\n");
    put("/proc/self/cgroup", "9:hugetlb:/h\n4:memory:/a/b\n1:cpu,memoryless:/a/b\n0::/\n");
    put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "800000\n");
    put("/sys/fs/cgroup/memoryless/a/memory.limit_in_bytes", "1\n");
    put("/sys/fs/cgroup/hugetlb/h/hugetlb.2MB.rsvd.limit_in_bytes", "2097152\n");
    struct memory_limits limits = look();
    is(&limits.hard, 800000, "memory.limit_in_bytes of /sys/fs/cgroup/memory/a");
    is(&limits.huge, 2097152, "hugetlb.2MB.rsvd.limit_in_bytes of /sys/fs/cgroup/hugetlb/h");
    put("/sys/fs/cgroup/memory/a/b/memory.stat",
        "cache 5\nhierarchical_memory_limit 700000\nhierarchical_memsw_limit 1\n");
    limits = look();
    is(&limits.hard, 700000,
       "hierarchical_memory_limit in memory.stat of /sys/fs/cgroup/memory/a/b");
}

/* Without a namespace of its own a container sees the host's path, and its part of the tree. */
Test(memory_limits, of_a_part_of_the_tree_that_is_mounted)
{
    put("/proc/self/mountinfo", V1_MOUNT("/docker/abc"));
    put("/proc/self/cgroup", "4:memory:/docker/abc/in\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "900000\n");
    put("/sys/fs/cgroup/memory/in/memory.limit_in_bytes", "950000\n");
    struct memory_limits limits = look();
    is(&limits.hard, 900000, "memory.limit_in_bytes of /sys/fs/cgroup/memory");
    put("/sys/fs/cgroup/memory/in/memory.limit_in_bytes", "850000\n");
    limits = look();
    is(&limits.hard, 850000, "memory.limit_in_bytes of /sys/fs/cgroup/memory/in");
    put("/proc/self/cgroup", "4:memory:/docker/abcdef\n");
    limits = look();
    is(&limits.hard, 900000, "memory.limit_in_bytes of /sys/fs/cgroup/memory");
}

Test(memory_limits, of_a_tree_whose_path_has_blanks)
{
    put("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/my\\040groups rw - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "0::/a b\n");
    put("/sys/fs/my groups/a b/memory.max", "4096\n");
    const struct memory_limits limits = look();
    is(&limits.hard, 4096, "memory.max of /sys/fs/my groups/a b");
}

/* ---- the budgets */

static struct memory_limits limited(uint64_t available, uint64_t hard, uint64_t soft)
{
    return (struct memory_limits){ .available_bytes = available,
                                   .hard = { hard, "the hard one" },
                                   .soft = { soft, "the soft one" },
                                   .huge = { UINT64_MAX, "" } };
}

Test(memory_limits, the_budgets_are_within_every_limit)
{
    static const uint64_t sizes[] = { 32 * MIB,  40 * MIB, 64 * MIB, 100 * MIB, 256 * MIB,
                                      512 * MIB, GIB,      7 * GIB,  900 * GIB, UINT64_MAX };
    enum { SIZES = sizeof sizes / sizeof sizes[0] };
    for (unsigned i = 0; i < SIZES * SIZES * SIZES; i++) {
        const uint64_t available = sizes[i % SIZES], hard = sizes[i / SIZES % SIZES],
                       soft = sizes[i / SIZES / SIZES];
        const struct memory_limits limits =
            limited(available != UINT64_MAX ? available : 0, hard, soft);
        struct config config;
        char text[CONFIG_MEMORY_TEXT];
        config_init(&config, true);
        cr_assert_eq(config_fit_memory(&config, &limits, text), LEAT_OK, "%s", text);
        cr_assert_str_eq(text, "", "case %u", i);
        const uint64_t both = config.log_memory_bytes + config.client_memory_bytes;
        cr_assert_leq(both, hard);
        cr_assert_leq(config.log_memory_bytes, available / 2);
        cr_assert_leq(config.log_memory_bytes, soft / 2);
        cr_assert_leq(config.log_memory_bytes, hard / 2);
        cr_assert_geq(config.client_memory_bytes, MEMORY_BUDGET_BYTES_MIN);
        const uint64_t least = hard < soft ? hard : soft;
        if (available < least)
            cr_assert_str_eq(config.memory_limit.from, "MemAvailable of /proc/meminfo");
        else if (least != UINT64_MAX)
            cr_assert_str_eq(config.memory_limit.from,
                             soft < hard ? "the soft one" : "the hard one");
        config_free(&config);
    }
}

static enum leat_error fit(const char *text, const struct memory_limits *limits,
                           struct config *config, char said[CONFIG_MEMORY_TEXT])
{
    struct config_errors errors;
    config_init(config, false);
    cr_assert_eq(config_parse(config, text, strlen(text), "test", &errors), LEAT_OK, "%s",
                 errors.text);
    const enum leat_error error = config_fit_memory(config, limits, said);
    config_free(config);
    return error;
}

Test(memory_limits, a_configuration_beyond_a_limit_is_refused_or_warned_of)
{
    struct config config;
    char said[CONFIG_MEMORY_TEXT];
    struct memory_limits limits = limited(8 * GIB, 256 * MIB, UINT64_MAX);
    cr_assert_eq(fit("{\"log_memory_bytes\": \"257MiB\"}", &limits, &config, said), LEAT_ERR_LIMIT);
    cr_assert_not_null(strstr(said, "the hard one"), "%s", said);
    cr_assert_not_null(strstr(said, "268435456"), "%s", said);
    cr_assert_eq(fit("{\"client_memory_bytes\": \"257MiB\"}", &limits, &config, said),
                 LEAT_ERR_LIMIT);
    cr_assert_eq(fit("{\"log_memory_bytes\": \"128MiB\", \"client_memory_bytes\": \"129MiB\"}",
                     &limits, &config, said),
                 LEAT_ERR_LIMIT);
    cr_assert_eq(fit("{\"log_memory_bytes\": \"200MiB\"}", &limits, &config, said), LEAT_OK, "%s",
                 said);
    cr_assert_str_eq(said, "");
    cr_assert_leq(config.client_memory_bytes, 56 * MIB, "clients get what is left");
    /* Hugepages are in no limit of memory: whether it gets them is not known before. */
    limits.huge_available_bytes = GIB;
    cr_assert_eq(fit("{\"log_memory_bytes\": \"1GiB\"}", &limits, &config, said), LEAT_OK);
    cr_assert_not_null(strstr(said, "hugepages"), "%s", said);
    cr_assert_eq(
        fit("{\"log_memory_bytes\": \"1GiB\", \"hugepages\": \"off\"}", &limits, &config, said),
        LEAT_ERR_LIMIT);
    cr_assert_eq(
        fit("{\"log_memory_bytes\": \"1GiB\", \"hugepages\": \"require\"}", &limits, &config, said),
        LEAT_OK);
    cr_assert_str_eq(said, "");
    limits.huge = (struct memory_limit){ 512 * MIB, "the huge one" };
    cr_assert_eq(
        fit("{\"log_memory_bytes\": \"1GiB\", \"hugepages\": \"require\"}", &limits, &config, said),
        LEAT_ERR_LIMIT);
    cr_assert_not_null(strstr(said, "the huge one"), "%s", said);
    limits = limited(8 * GIB, UINT64_MAX, 256 * MIB);
    cr_assert_eq(fit("{\"log_memory_bytes\": \"1GiB\"}", &limits, &config, said), LEAT_OK);
    cr_assert_not_null(strstr(said, "the soft one"), "%s", said);
}
