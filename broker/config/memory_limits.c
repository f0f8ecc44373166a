/* Memory limits: finds how much memory this process may use, and which limit says so. */
#include "broker/config/memory_limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = MEMORY_LIMIT_PATH_BYTES };
#define UNLIMITED (UINT64_C(1) << 62) /* cgroup v1 shows "no limit" as a number near 2^63 */

struct reader {
    const char *root;
    struct memory_limits *out;
};

/* ---- files */

/* NULL: cannot be opened. */
static FILE *open_file(const struct reader *r, const char *path)
{
    char full[2 * PATH_BYTES];
    const int size = snprintf(full, sizeof full, "%s%s", r->root, path);
    return size < (int)sizeof full ? fopen(full, "re") : NULL;
}

static void lower(struct memory_limit *limit, uint64_t bytes, const char *what, const char *where)
{
    if (bytes >= limit->bytes || bytes >= UNLIMITED)
        return;
    limit->bytes = bytes;
    snprintf(limit->from, sizeof limit->from, "%s of %.400s", what, where);
}

/* Applies the limit in a file that contains a number or "max". */
static void lower_by_file(const struct reader *r, struct memory_limit *limit, const char *folder,
                          const char *name)
{
    char path[2 * PATH_BYTES];
    uint64_t bytes;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return;
    FILE *file = open_file(r, path);
    if (file == NULL)
        return;
    if (fscanf(file, "%" SCNu64, &bytes) == 1)
        lower(limit, bytes, name, folder);
    fclose(file);
}

/* ---- control groups */

/* A mounted cgroup hierarchy. */
struct mount {
    bool v2, memory, hugetlb; /* the controllers; v2 has all of them */
    char root[PATH_BYTES];    /* the cgroup ... */
    char point[PATH_BYTES];   /* ... that is mounted here */
};

static bool has_word(const char *list, const char *word)
{
    const size_t size = strlen(word);
    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, word, size) == 0 && (at[size] == ',' || at[size] == '\0'))
            return true;
    }
    return false;
}

/* mountinfo escapes spaces in paths as \040. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++, to++) {
        unsigned code;
        if (from[0] == '\\' && sscanf(from + 1, "%3o", &code) == 1) {
            *to = (char)code;
            from += 3;
        } else {
            *to = *from;
        }
    }
    *to = '\0';
}

/* Parses a line of mountinfo (proc(5)). False: not a cgroup mount with a memory controller. */
static bool parse_mount(const char *line, struct mount *out)
{
    char type[32], options[512];
    const char *rest = strstr(line, " - ");
    if (rest == NULL || sscanf(rest, " - %31s %*s %511s", type, options) != 2
        || sscanf(line, "%*s %*s %*s %4095s %4095s", out->root, out->point) != 2)
        return false;
    out->v2 = strcmp(type, "cgroup2") == 0;
    const bool v1 = strcmp(type, "cgroup") == 0;
    out->memory = out->v2 || (v1 && has_word(options, "memory"));
    out->hugetlb = out->v2 || (v1 && has_word(options, "hugetlb"));
    unescape(out->root);
    unescape(out->point);
    return out->memory || out->hugetlb;
}

static void lower_by_group(const struct reader *r, const struct mount *m, const char *folder)
{
    struct memory_limits *out = r->out;
    if (m->v2) {
        lower_by_file(r, &out->hard, folder, "memory.max");
        lower_by_file(r, &out->soft, folder, "memory.high");
        lower_by_file(r, &out->huge, folder, "hugetlb.2MB.max");
        lower_by_file(r, &out->huge, folder, "hugetlb.2MB.rsvd.max");
        return;
    }
    if (m->memory)
        lower_by_file(r, &out->hard, folder, "memory.limit_in_bytes");
    if (m->hugetlb) {
        lower_by_file(r, &out->huge, folder, "hugetlb.2MB.limit_in_bytes");
        lower_by_file(r, &out->huge, folder, "hugetlb.2MB.rsvd.limit_in_bytes");
    }
}

/* cgroup v1 also reports the limit of ancestors that are not visible from here. */
static void lower_by_hierarchy(const struct reader *r, const char *folder)
{
    char path[2 * PATH_BYTES], line[256];
    uint64_t bytes;
    if (snprintf(path, sizeof path, "%s/memory.stat", folder) >= (int)sizeof path)
        return;
    FILE *file = open_file(r, path);
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "hierarchical_memory_limit %" SCNu64, &bytes) == 1)
            lower(&r->out->hard, bytes, "hierarchical_memory_limit in memory.stat", folder);
    if (file != NULL)
        fclose(file);
}

/* Applies the limits of the cgroup `path` and of its ancestors. */
static void lower_by_path(const struct reader *r, const struct mount *m, const char *path)
{
    char folder[2 * PATH_BYTES];
    const size_t base = strlen(m->point);
    const size_t skip = strcmp(m->root, "/") == 0 ? 0 : strlen(m->root);
    const bool below =
        strncmp(path, m->root, skip) == 0 && (skip == 0 || path[skip] == '/' || path[skip] == '\0');
    /* A cgroup outside the mount or the namespace ("/../..") is not visible: only the mount point
     * is. */
    const char *within = below && strstr(path, "/..") == NULL ? path + skip : "";
    snprintf(folder, sizeof folder, "%s%s", m->point, strcmp(within, "/") == 0 ? "" : within);
    if (m->memory && !m->v2)
        lower_by_hierarchy(r, folder);
    for (;;) {
        lower_by_group(r, m, folder);
        char *last = strrchr(folder, '/');
        if (last == NULL || strlen(folder) <= base)
            return;
        *last = '\0';
    }
}

/* Parses a line of /proc/self/cgroup: "4:memory:/a/b", or "0::/a/b" (v2). */
static bool parse_group(char *line, char **controllers, char **path)
{
    *controllers = strchr(line, ':');
    *path = *controllers != NULL ? strchr(*controllers + 1, ':') : NULL;
    if (*path == NULL)
        return false;
    *(*controllers)++ = '\0';
    *(*path)++ = '\0';
    (*path)[strcspn(*path, "\n")] = '\0';
    return true;
}

static void read_group(const struct reader *r, const struct mount *m)
{
    char line[PATH_BYTES], *controllers, *path;
    FILE *file = open_file(r, "/proc/self/cgroup");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (!parse_group(line, &controllers, &path))
            continue;
        if (m->v2 ? controllers[0] == '\0'
                  : (m->memory && has_word(controllers, "memory"))
                        || (m->hugetlb && has_word(controllers, "hugetlb")))
            lower_by_path(r, m, path);
    }
    if (file != NULL)
        fclose(file);
}

static void read_groups(const struct reader *r)
{
    char line[3 * PATH_BYTES];
    struct mount *m = malloc(sizeof *m);
    FILE *file = open_file(r, "/proc/self/mountinfo");
    while (m != NULL && file != NULL && fgets(line, sizeof line, file) != NULL)
        if (parse_mount(line, m))
            read_group(r, m);
    if (file != NULL)
        fclose(file);
    free(m);
}

/* ---- the process and the machine */

static void read_resources(const struct reader *r)
{
    char line[256];
    uint64_t bytes;
    FILE *file = open_file(r, "/proc/self/limits");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "Max address space %" SCNu64, &bytes) == 1)
            lower(&r->out->hard, bytes / 2, "half (a log is mapped twice)",
                  "the limit of address space (ulimit -v)");
    }
    if (file != NULL)
        fclose(file);
}

static void read_machine(const struct reader *r)
{
    char line[256];
    uint64_t total = 0, swap = 0, free_pages = 0, reserved = 0, page = 0;
    FILE *file = open_file(r, "/proc/meminfo");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const struct {
            const char *format;
            uint64_t *value;
        } wanted[] = {
            { "MemTotal: %" SCNu64, &total },
            { "SwapTotal: %" SCNu64, &swap },
            { "MemAvailable: %" SCNu64, &r->out->available_bytes },
            { "HugePages_Free: %" SCNu64, &free_pages },
            { "HugePages_Rsvd: %" SCNu64, &reserved },
            { "Hugepagesize: %" SCNu64, &page },
        };
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
            sscanf(line, wanted[i].format, wanted[i].value);
    }
    if (file != NULL)
        fclose(file);
    r->out->available_bytes *= 1024;
    r->out->huge_available_bytes =
        free_pages > reserved ? (free_pages - reserved) * page * 1024 : 0;
    if (total != 0)
        lower(&r->out->soft, (total + swap) * 1024, "MemTotal and SwapTotal", "/proc/meminfo");
}

void memory_limits_read(struct memory_limits *out, const char *root)
{
    const struct reader r = { .root = root, .out = out };
    *out = (struct memory_limits){ .hard = { .bytes = UINT64_MAX },
                                   .soft = { .bytes = UINT64_MAX },
                                   .huge = { .bytes = UINT64_MAX } };
    read_machine(&r);
    read_groups(&r);
    read_resources(&r);
}

const struct memory_limit *memory_limit_least(const struct memory_limit *a,
                                              const struct memory_limit *b)
{
    return b->bytes < a->bytes ? b : a;
}
