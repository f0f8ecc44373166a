/* EAL: starts DPDK's environment abstraction layer. See eal.h.
 *
 * rte_eal_init pins the calling thread, and starts threads that inherit its signal mask. So it is
 * called on a temporary thread that blocks every signal except those raised by faults. A failed
 * rte_eal_init cannot be repeated in the same process, so memory and options are checked before. */
#include "transport/eal.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>

#include "schema/units.h"

#define PAGES_FOLDER "/sys/kernel/mm/hugepages"

enum {
    MEMORY_MB_MIN = 64,
    MEMORY_MB_MAX = 1 << 20,
    ARGUMENTS_MAX = 16,
    ARGUMENT_BYTES = 64,
    CORES_BYTES = 4096, /* "0@(0-1,4,...)" */
    LOG_BYTES = 400,
    PAGES_WAIT_MS = 10000,
};

/* ---- captured log */

static struct {
    pthread_mutex_t mutex;
    size_t size;
    char text[LOG_BYTES];
} logged = { .mutex = PTHREAD_MUTEX_INITIALIZER };

/* Keeps the newest LOG_BYTES. */
static ssize_t log_write(void *cookie, const char *bytes, size_t size)
{
    (void)cookie;
    const size_t fresh = size < LOG_BYTES ? size : LOG_BYTES;
    pthread_mutex_lock(&logged.mutex);
    const size_t room = LOG_BYTES - logged.size;
    if (fresh > room) {
        memmove(logged.text, logged.text + (fresh - room), LOG_BYTES - fresh);
        logged.size = LOG_BYTES - fresh;
    }
    memcpy(logged.text + logged.size, bytes + (size - fresh), fresh);
    logged.size += fresh;
    pthread_mutex_unlock(&logged.mutex);
    return (ssize_t)size;
}

static bool capture_log(void)
{
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = log_write });
    if (stream == NULL)
        return false;
    setvbuf(stream, NULL, _IOLBF, 0);
    return rte_openlog_stream(stream) == 0;
}

void eal_last_error(char *out, size_t size)
{
    pthread_mutex_lock(&logged.mutex);
    size_t end = logged.size, n = 0;
    while (end > 0 && logged.text[end - 1] == '\n')
        end--;
    const size_t from = end >= size ? end - size + 1 : 0;
    for (size_t i = from; i < end; i++) {
        const char c = logged.text[i];
        out[n++] = c == '\n' ? ';' : (c < ' ' || c > '~') ? ' ' : c;
    }
    out[n] = '\0';
    pthread_mutex_unlock(&logged.mutex);
}

void eal_forget_errors(void)
{
    pthread_mutex_lock(&logged.mutex);
    logged.size = 0;
    pthread_mutex_unlock(&logged.mutex);
}

/* ---- memory */

struct pages {
    uint64_t free_bytes;
    uint64_t size;     /* smallest hugepage size of this kernel, bytes */
    uint64_t reserved; /* number of pages of that size, free or not */
};

static uint64_t read_number(const char *folder, const char *name)
{
    char path[512];
    unsigned long long value = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu", &value) != 1)
        value = 0;
    fclose(file);
    return value;
}

static struct pages free_pages(void)
{
    struct pages out = { 0 };
    glob_t found;
    if (glob(PAGES_FOLDER "/hugepages-*kB", 0, NULL, &found) != 0)
        return out;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        const uint64_t size = strtoull(strrchr(found.gl_pathv[i], '-') + 1, NULL, 10) * LEAT_KIB;
        out.free_bytes += size * read_number(found.gl_pathv[i], "free_hugepages");
        if (out.size == 0 || size < out.size) {
            out.size = size;
            out.reserved = read_number(found.gl_pathv[i], "nr_hugepages");
        }
    }
    globfree(&found);
    return out;
}

/* Serializes the check for free hugepages and their allocation between processes: of two that count
 * the same free pages, only one could start. Held until unlock_pages. Continues without the lock
 * after PAGES_WAIT_MS, because its holder may be stopped or hostile, and where it cannot be taken.
 * Returns the lock's descriptor, or -1 if there is none. */
static int lock_pages(void)
{
    const struct timespec little = { .tv_nsec = LEAT_NS_PER_MS };
    const int fd = open(PAGES_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int ms = 0; fd >= 0 && ms < PAGES_WAIT_MS; ms++) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
            break;
        nanosleep(&little, NULL);
    }
    return fd;
}

static void unlock_pages(int fd)
{
    if (fd < 0)
        return;
    flock(fd, LOCK_UN); /* close alone keeps it locked if a child has inherited the descriptor */
    close(fd);
}

/* Describes the missing hugepages and how to get them. `then` is appended. */
static void say_missing(uint32_t memory_mb, const struct pages *pages, const char *then,
                        char error_text[LINK_DPDK_ERROR_TEXT])
{
    const uint64_t wanted = memory_mb * LEAT_MIB;
    if (pages->size == 0) {
        snprintf(error_text, LINK_DPDK_ERROR_TEXT,
                 "DPDK needs %u MiB of hugepages, and this kernel has none%s", memory_mb, then);
        return;
    }
    const uint64_t missing = (wanted - pages->free_bytes + pages->size - 1) / pages->size;
    const unsigned long long all = pages->reserved + missing;
    snprintf(error_text, LINK_DPDK_ERROR_TEXT,
             "DPDK needs %u MiB of hugepages, %llu MiB are free: sysctl -w vm.nr_hugepages=%llu%s",
             memory_mb, (unsigned long long)(pages->free_bytes / LEAT_MIB), all, then);
}

static enum leat_error choose_pages(const struct link_dpdk_eal *options, uint32_t memory_mb,
                                    bool *huge, char error_text[LINK_DPDK_ERROR_TEXT])
{
    const struct pages pages = free_pages();
    const bool enough = pages.free_bytes >= memory_mb * LEAT_MIB;
    *huge = enough && options->pages != LINK_DPDK_PAGES_NORMAL;
    if (!*huge && (options->pci || options->iova_pa)) {
        if (options->pages == LINK_DPDK_PAGES_NORMAL)
            snprintf(
                error_text, LINK_DPDK_ERROR_TEXT,
                "DPDK with normal pages supports virtual devices only: a PCI device, or physical "
                "addresses, need hugepages");
        else
            say_missing(memory_mb, &pages, "", error_text);
        return LEAT_ERR_NO_MEMORY;
    }
    if (!*huge && options->pages == LINK_DPDK_PAGES_HUGE) {
        say_missing(memory_mb, &pages, "", error_text);
        return LEAT_ERR_NO_MEMORY;
    }
    if (!*huge && options->pages == LINK_DPDK_PAGES_AUTO)
        say_missing(memory_mb, &pages, "; using normal pages, which reduces throughput",
                    error_text);
    return LEAT_OK;
}

/* ---- arguments */

struct arguments {
    int count;
    char *pointers[ARGUMENTS_MAX + 1];
    char texts[ARGUMENTS_MAX][ARGUMENT_BYTES];
    char cores[CORES_BYTES];
};

__attribute__((format(printf, 2, 3))) static void add(struct arguments *a, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(a->texts[a->count], ARGUMENT_BYTES, format, list);
    va_end(list);
    a->pointers[a->count] = a->texts[a->count];
    a->count++;
}

/* Defines one lcore on all CPUs that the process may use, so that EAL starts no worker threads and
 * narrows no affinity. False: the list does not fit. */
static bool add_cores(struct arguments *a)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return false;
    size_t n = (size_t)snprintf(a->cores, CORES_BYTES, "0@(");
    for (int from = 0; from < CPU_SETSIZE; from++) {
        if (!CPU_ISSET((size_t)from, &allowed))
            continue;
        int to = from;
        while (to + 1 < CPU_SETSIZE && CPU_ISSET((size_t)to + 1, &allowed))
            to++;
        if (n + 32 > CORES_BYTES)
            return false;
        n += (size_t)snprintf(a->cores + n, CORES_BYTES - n, "%s%d-%d", n > 3 ? "," : "", from, to);
        from = to;
    }
    snprintf(a->cores + n, CORES_BYTES - n, ")");
    add(a, "--lcores");
    a->pointers[a->count++] = a->cores;
    return true;
}

static bool build_arguments(struct arguments *a, const struct link_dpdk_eal *options,
                            uint32_t memory_mb, bool huge)
{
    a->count = 0;
    add(a, "leat");
    if (!add_cores(a))
        return false;
    if (huge) {
        add(a, "--in-memory");
    } else {
        add(a, "--no-huge");
        add(a, "--no-shconf");
    }
    add(a, "-m");
    add(a, "%u", memory_mb);
    add(a, "--single-file-segments"); /* memif and virtio peers map the files */
    add(a, "--no-telemetry");
    add(a, "--log-level=%u", (unsigned)RTE_LOG_ERR);
    add(a, "--iova-mode=%s", options->iova_pa ? "pa" : "va");
    if (!options->pci)
        add(a, "--no-pci");
    a->pointers[a->count] = NULL;
    return true;
}

/* ---- starting */

static struct {
    bool started, pci;
} eal;

struct start {
    struct arguments arguments;
    int result, error;
};

static void *run_init(void *argument)
{
    struct start *start = argument;
    start->result = rte_eal_init(start->arguments.count, start->arguments.pointers);
    start->error = rte_errno;
    return NULL;
}

static bool run_on_own_thread(struct start *start)
{
    sigset_t blocked, before;
    pthread_t thread;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    const int failed = pthread_create(&thread, NULL, run_init, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed == 0 && pthread_join(thread, NULL) == 0;
}

static enum leat_error say_failed(const struct start *start, char error_text[LINK_DPDK_ERROR_TEXT])
{
    char said[LOG_BYTES];
    eal_last_error(said, sizeof said);
    snprintf(error_text, LINK_DPDK_ERROR_TEXT,
             "DPDK does not start: %s%s%.300s. This process cannot try again",
             rte_strerror(start->error), said[0] != '\0' ? ": " : "", said);
    return start->error == ENOMEM ? LEAT_ERR_NO_MEMORY : LEAT_ERR_IO;
}

static enum leat_error start_first(const struct link_dpdk_eal *options,
                                   char error_text[LINK_DPDK_ERROR_TEXT])
{
    const uint32_t memory_mb =
        options->memory_mb > MEMORY_MB_MIN ? options->memory_mb : (uint32_t)MEMORY_MB_MIN;
    if (memory_mb > MEMORY_MB_MAX || options->pages < LINK_DPDK_PAGES_AUTO
        || options->pages > LINK_DPDK_PAGES_NORMAL) {
        snprintf(error_text, LINK_DPDK_ERROR_TEXT,
                 "DPDK memory of %u MiB with pages %d: at most %d MiB, pages 0, 1 or 2", memory_mb,
                 options->pages, MEMORY_MB_MAX);
        return LEAT_ERR_UNSUPPORTED;
    }
    bool huge;
    const enum leat_error refused = choose_pages(options, memory_mb, &huge, error_text);
    if (refused != LEAT_OK)
        return refused;
    /* No buffer crosses a page boundary, so up to half of each normal page is wasted: ask for twice
     * as much. Pages that are never touched cost nothing. */
    const uint32_t asked_mb = huge ? memory_mb : 2 * memory_mb;
    struct start *start = calloc(1, sizeof *start);
    if (start == NULL || !build_arguments(&start->arguments, options, asked_mb, huge)
        || !capture_log() || !run_on_own_thread(start)) {
        snprintf(error_text, LINK_DPDK_ERROR_TEXT, "cannot prepare the start of DPDK: %s",
                 strerror(errno));
        free(start);
        return LEAT_ERR_IO;
    }
    enum leat_error result = LEAT_OK;
    if (start->result < 0 && start->error != EALREADY)
        result = say_failed(start, error_text);
    eal.started = result == LEAT_OK;
    eal.pci = options->pci;
    free(start);
    eal_forget_errors();
    return result;
}

enum leat_error eal_start(const struct link_dpdk_eal *options,
                          char error_text[LINK_DPDK_ERROR_TEXT])
{
    error_text[0] = '\0';
    if (!eal.started && rte_lcore_count() != 0) /* the application has started EAL */
        eal.started = eal.pci = true;
    if (eal.started)
        return LEAT_OK;
    const int lock = lock_pages();
    const enum leat_error result = start_first(options, error_text);
    unlock_pages(lock);
    return result;
}

bool eal_has_hugepages(void)
{
    return rte_eal_has_hugepages() != 0;
}

bool eal_has_pci(void)
{
    return eal.pci;
}
