/* Bypass: processes of Leat and of the bare echo on ports of the same kind, which take turns. */
#include "bench/common/bypass.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/common/bench.h"

enum { PAGES = 224, PAGES_TRIES = 3, PATIENCE_MS = 60000, ARGUMENTS_MAX = 12, PATH_BYTES = 160 };

#define PAGES_FILE "/proc/sys/vm/nr_hugepages"

static struct {
    char folder[32];
    long pages_added;
    pid_t owner;
} state;

/* ---- clean-up at exit; it also runs in a signal handler, so it only makes system calls */

static void say(const char *text)
{
    if (write(2, text, strlen(text)) < 0)
        _exit(1);
}

/* Changes the number of hugepages by `count`; other processes may use some of them. */
static bool add_pages(long count)
{
    char text[32];
    long pages = 0;
    const int file = open(PAGES_FILE, O_RDWR | O_CLOEXEC);
    ssize_t size = file >= 0 ? read(file, text, sizeof text) : 0;
    for (ssize_t i = 0; i < size && text[i] >= '0' && text[i] <= '9'; i++)
        pages = 10 * pages + (text[i] - '0');
    if (size <= 0)
        return false;
    pages = pages + count > 0 ? pages + count : 0;
    char *end = text + sizeof text, *at = end;
    do {
        *--at = (char)('0' + pages % 10);
        pages /= 10;
    } while (pages != 0);
    const bool done = pwrite(file, at, (size_t)(end - at), 0) == end - at;
    close(file);
    return done;
}

static void clean_up(void)
{
    if (getpid() != state.owner)
        return;
    if (state.pages_added != 0 && !add_pages(-state.pages_added))
        say("bench: cannot restore vm.nr_hugepages\n");
    state.pages_added = 0;
    const pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", state.folder, (char *)NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

static void on_signal(int number)
{
    clean_up();
    _exit(128 + number);
}

/* ---- hugepages */

static long free_pages(void)
{
    char line[128];
    long pages = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL)
        sscanf(line, "HugePages_Free: %ld", &pages);
    fclose(file);
    return pages;
}

static bool reserve_pages(void)
{
    for (int i = 0; i < PAGES_TRIES && free_pages() < PAGES; i++) {
        const long missing = PAGES - free_pages();
        if (!add_pages(missing))
            return false;
        state.pages_added += missing;
    }
    return free_pages() >= PAGES;
}

bool bypass_start(const char *name)
{
    char why[96];
    state.owner = getpid();
    snprintf(state.folder, sizeof state.folder, "/tmp/leat-bench-XXXXXX");
    if (mkdtemp(state.folder) == NULL)
        bench_fail("a folder in /tmp");
    atexit(clean_up);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    signal(SIGHUP, on_signal);
    signal(SIGPIPE, on_signal); /* the reader of our output has ended */
    if (reserve_pages())
        return true;
    snprintf(why, sizeof why, "needs %d free hugepages, %ld are free (vm.nr_hugepages; needs root)",
             PAGES, free_pages());
    bench_left_out(name, why);
    return false;
}

/* ---- processes */

struct spawn {
    const char *argv[ARGUMENTS_MAX];
    pid_t space; /* process whose network namespace it joins; 0: ours */
    int cpu;     /* -1: any */
    const char *log;
    bool asks; /* its stdin is a pipe from us */
};

static void become(const struct spawn *s, pid_t parent, int input, int output)
{
    char path[PATH_BYTES];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof path, "%s/%s.log", state.folder, s->log);
    const int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (getppid() != parent || log < 0 || dup2(output, 1) < 0 || dup2(log, 2) < 0
        || (input >= 0 && dup2(input, 0) < 0))
        _exit(126);
    if (s->space != 0) {
        snprintf(path, sizeof path, "/proc/%d/ns/net", s->space);
        const int space = open(path, O_RDONLY | O_CLOEXEC);
        if (space < 0 || setns(space, CLONE_NEWNET) != 0)
            _exit(126);
    }
    if (s->cpu >= 0)
        bench_pin(s->cpu);
    execvp(s->argv[0], (char *const *)s->argv);
    _exit(127);
}

static struct bypass_process spawn(const struct spawn *s)
{
    int output[2], input[2] = { -1, -1 };
    const pid_t parent = getpid();
    fflush(stdout);
    if (pipe2(output, O_CLOEXEC) != 0 || (s->asks && pipe2(input, O_CLOEXEC) != 0))
        bench_fail("pipe");
    const pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork");
    if (pid == 0)
        become(s, parent, input[0], output[1]);
    close(output[1]);
    if (s->asks)
        close(input[0]);
    return (struct bypass_process){ .pid = pid, .output = output[0], .input = input[1] };
}

/* Reads the process's next line. False: it ended, or printed nothing in time. */
static bool read_line(const struct bypass_process *p, char line[BYPASS_LINE_MAX])
{
    size_t used = 0;
    while (used == 0 || line[used - 1] != '\n') {
        struct pollfd wait = { .fd = p->output, .events = POLLIN };
        if (used + 1 >= BYPASS_LINE_MAX || poll(&wait, 1, PATIENCE_MS) != 1)
            return false;
        const ssize_t got = read(p->output, line + used, 1);
        if (got <= 0)
            return false;
        used += (size_t)got;
    }
    line[used] = '\0';
    return true;
}

void bypass_end(struct bypass_process *p)
{
    if (p->pid == 0)
        return;
    bench_end(p->pid);
    close(p->output);
    if (p->input >= 0)
        close(p->input);
    *p = (struct bypass_process){ 0 };
}

/* Prints the last line that a failed process has logged. */
static void show_log(const char *log)
{
    char path[PATH_BYTES], line[512], last[512] = "nothing";
    snprintf(path, sizeof path, "%s/%s.log", state.folder, log);
    FILE *file = fopen(path, "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        memcpy(last, line, sizeof last);
    if (file != NULL)
        fclose(file);
    last[strcspn(last, "\n")] = '\0';
    fprintf(stderr, "bench: last line of %s: %s\n", log, last);
}

/* Waits for the process to end and returns the one line that it printed. */
static const char *only_line(struct bypass_process p, const char *log)
{
    static char line[BYPASS_LINE_MAX];
    int status = 0;
    const bool said = read_line(&p, line);
    if (!said)
        kill(p.pid, SIGKILL);
    waitpid(p.pid, &status, 0);
    close(p.output);
    if (!said || status != 0) {
        show_log(log);
        bench_fail("a client failed");
    }
    return line;
}

static const char *program(char path[PATH_BYTES], const char *name)
{
    const char *folder = getenv("BENCH_DIR");
    snprintf(path, PATH_BYTES, "%s/%s", folder != NULL ? folder : "build/release/bench", name);
    return path;
}

/* ---- namespaces, each held by a process that sleeps */

static pid_t new_space(void)
{
    int ends[2];
    char ready = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        bench_fail("pipe");
    const pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        ready = unshare(CLONE_NEWNET) == 0;
        if (write(ends[1], &ready, 1) != 1 || !ready)
            _exit(1);
        for (;;)
            pause();
    }
    const ssize_t got = read(ends[0], &ready, 1);
    close(ends[0]);
    close(ends[1]);
    if (got == 1 && ready)
        return pid;
    waitpid(pid, NULL, 0);
    return 0;
}

static bool run_in(pid_t space, const char *command)
{
    int status = -1;
    const struct spawn s = {
        .argv = { "sh", "-c", command }, .space = space, .cpu = -1, .log = "network"
    };
    struct bypass_process p = spawn(&s);
    waitpid(p.pid, &status, 0);
    close(p.output);
    return status == 0;
}

/* Makes a veth pair for Leat, one for the echo and one for control. Disables IPv6, so that
 * neighbour discovery sends no packets. */
static bool make_wires(struct bypass *b)
{
    char text[1024];
    for (int i = 0; i < 2; i++)
        if ((b->spaces[i] = new_space()) == 0)
            return false;
    snprintf(text, sizeof text,
             "set -e; sysctl -qw net.ipv6.conf.default.disable_ipv6=1 2>/dev/null || :\n"
             "for w in leat echo control; do ip link add $w type veth peer name $w netns %d; "
             "ip link set $w up; done; ip address add 10.9.2.1/24 dev control; ip link set lo up",
             b->spaces[1]);
    if (!run_in(b->spaces[1], "sysctl -qw net.ipv6.conf.default.disable_ipv6=1 2>/dev/null || :")
        || !run_in(b->spaces[0], text))
        return false;
    return run_in(b->spaces[1], "set -e; for w in leat echo control; do ip link set $w up; done; "
                                "ip address add 10.9.2.2/24 dev control; ip link set lo up");
}

/* ---- ports */

const char *bypass_wire_name(enum bypass_wire wire)
{
    static const char *const names[BYPASS_WIRES] = {
        [BYPASS_MEMIF_ZERO] = "memif_zero", [BYPASS_MEMIF_COPY] = "memif_copy",
        [BYPASS_VHOST] = "vhost",           [BYPASS_AF_PACKET] = "af_packet",
        [BYPASS_AF_XDP] = "af_xdp",         [BYPASS_UDP] = "udp",
    };
    return names[wire];
}

static bool on_veth(enum bypass_wire wire)
{
    return wire == BYPASS_AF_PACKET || wire == BYPASS_AF_XDP;
}

/* Formats a device string. `name`: the interface, or the file of the socket. */
static void device(char *text, size_t size, enum bypass_wire wire, int number, bool server,
                   const char *name)
{
    if (on_veth(wire))
        snprintf(text, size, "net_%s%d,iface=%s", bypass_wire_name(wire), number, name);
    else if (wire == BYPASS_VHOST && server)
        snprintf(text, size, "net_vhost%d,iface=%s/%s", number, state.folder, name);
    else if (wire == BYPASS_VHOST)
        snprintf(text, size, "net_virtio_user%d,path=%s/%s", number, state.folder, name);
    else
        snprintf(text, size, "net_memif%d,role=%s,socket=%s/%s,socket-abstract=no%s", number,
                 server ? "server" : "client", state.folder, name,
                 !server && wire == BYPASS_MEMIF_ZERO ? ",zero-copy=yes" : "");
}

static void write_configuration(const struct bypass *b, const struct bypass_options *o,
                                const char *path)
{
    char mine[256], second[256];
    device(mine, sizeof mine, b->wire, 0, true, "leat");
    device(second, sizeof second, b->wire, 1, true, "second");
    FILE *file = fopen(path, "we");
    if (file == NULL)
        bench_fail(path);
    fprintf(file,
            "{\"port\":0,\"data_port\":0,\"idle\":\"%s\",\"cpus\":[%d],\"udp\":%s,"
            "\"host\":\"%s\",\"allow_unauthenticated\":%s,"
            "\"topics\":[{\"name\":\"bench\",\"ring_bytes\":\"64MiB\"}]",
            o->idle != NULL ? o->idle : "latency", BYPASS_SERVER_CPU,
            b->wire == BYPASS_UDP ? "true" : "false", on_veth(b->wire) ? "10.9.2.1" : "127.0.0.1",
            on_veth(b->wire) ? "true" : "false");
    if (b->wire != BYPASS_UDP)
        fprintf(file, ",\"dpdk\":{\"ports\":[{\"device\":\"%s\",\"ip\":\"10.9.0.1/24\"}", mine);
    if (o->second)
        fprintf(file, ",{\"device\":\"%s\",\"ip\":\"10.9.1.1/24\"}", second);
    fprintf(file, b->wire != BYPASS_UDP ? "]}}\n" : "}\n");
    if (fclose(file) != 0)
        bench_fail(path);
}

static void set_urls(struct bypass *b, const char *ready)
{
    char mine[256], control[64];
    const char *at = strstr(ready, "\"control\":\"");
    if (at == NULL || sscanf(at + 11, "%63[^\"]", control) != 1)
        bench_fail("leatd's ready line");
    if (b->wire == BYPASS_UDP) {
        snprintf(b->url, sizeof b->url, "udp://%s?mtu=8952", control);
        return;
    }
    device(mine, sizeof mine, b->wire, 0, false, "leat");
    snprintf(b->url, sizeof b->url, "dpdk://%s?device=%s&ip=10.9.0.2/24", control, mine);
    device(mine, sizeof mine, b->wire, 0, false, "second");
    snprintf(b->second_url, sizeof b->second_url, "dpdk://%s?device=%s&ip=10.9.1.2/24", control,
             mine);
}

static void remove_socket(const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", state.folder, name);
    unlink(path);
}

static bool start_leat(struct bypass *b, const struct bypass_options *o)
{
    char path[PATH_BYTES], line[BYPASS_LINE_MAX];
    const char *leatd = getenv("LEATD");
    snprintf(path, sizeof path, "%s/leatd.json", state.folder);
    write_configuration(b, o, path);
    const struct spawn s = { .argv = { leatd != NULL ? leatd : "build/release/bin/leatd",
                                       "--config", path },
                             .space = b->spaces[0],
                             .cpu = -1, /* set by its configuration */
                             .log = "leatd" };
    b->broker = spawn(&s);
    if (!read_line(&b->broker, line)) {
        show_log(s.log);
        return false;
    }
    set_urls(b, line);
    return true;
}

bool bypass_open(struct bypass *b, enum bypass_wire wire, const struct bypass_options *options)
{
    static const struct bypass_options plain;
    const struct bypass_options *o = options != NULL ? options : &plain;
    *b = (struct bypass){ .wire = wire };
    if ((on_veth(wire) && !make_wires(b)) || !start_leat(b, o)) {
        char name[48];
        snprintf(name, sizeof name, "bypass_%s", bypass_wire_name(wire));
        bench_left_out(name, on_veth(wire) && geteuid() != 0 ? "needs root" : "no such port here");
        bypass_close(b);
        return false;
    }
    bypass_pause(b);
    return true;
}

void bypass_close(struct bypass *b)
{
    bypass_end(&b->broker);
    remove_socket("leat");
    remove_socket("second");
    for (int i = 0; i < 2; i++)
        if (b->spaces[i] != 0)
            bench_end(b->spaces[i]);
}

void bypass_pause(struct bypass *b)
{
    if (!b->stopped)
        bench_stop(b->broker.pid);
    b->stopped = true;
}

void bypass_resume(struct bypass *b)
{
    if (b->stopped)
        bench_continue(b->broker.pid);
    b->stopped = false;
}

/* ---- clients */

struct client {
    const char *mode, *url, *log;
    uint64_t amount;
    uint32_t size, extra;
    bool asks;
};

static struct bypass_process start_client(struct bypass *b, const struct client *c)
{
    char path[PATH_BYTES], cpu[16], text[3][24];
    bypass_resume(b);
    snprintf(cpu, sizeof cpu, "%d", BYPASS_CLIENT_CPU);
    snprintf(text[0], sizeof text[0], "%llu", (unsigned long long)c->amount);
    snprintf(text[1], sizeof text[1], "%u", c->size);
    snprintf(text[2], sizeof text[2], "%u", c->extra);
    const struct spawn s = { .argv = { program(path, "bypass_client"), c->mode, c->url, cpu,
                                       text[0], text[1], c->extra != 0 ? text[2] : NULL },
                             .space = b->spaces[1],
                             .cpu = BYPASS_CLIENT_CPU,
                             .log = c->log,
                             .asks = c->asks };
    return spawn(&s);
}

const char *bypass_leat(struct bypass *b, const char *mode, const char *more, uint64_t amount,
                        uint32_t size, uint32_t extra)
{
    char url[640];
    snprintf(url, sizeof url, "%s%s", b->url, more);
    const struct client c = { .mode = mode,
                              .url = url,
                              .log = "bypass_client",
                              .amount = amount,
                              .size = size,
                              .extra = extra };
    return only_line(start_client(b, &c), c.log);
}

static const char *next_line(const struct bypass_process *p, const char *log)
{
    static char line[BYPASS_LINE_MAX];
    if (!read_line(p, line)) {
        show_log(log);
        bench_fail("a client failed");
    }
    return line;
}

void bypass_pinger(struct bypass *b, struct bypass_process *pinger, uint64_t pings, uint32_t size)
{
    const struct client c = {
        .mode = "turns", .url = b->url, .log = "pinger", .amount = pings, .size = size, .asks = true
    };
    *pinger = start_client(b, &c);
}

const char *bypass_turn(struct bypass_process *pinger)
{
    if (write(pinger->input, "\n", 1) != 1)
        bench_fail("the client that pings");
    return next_line(pinger, "pinger");
}

void bypass_stay(struct bypass *b, struct bypass_process *stayer)
{
    const struct client c = { .mode = "stay", .url = b->second_url, .log = "stayer" };
    *stayer = start_client(b, &c);
    next_line(stayer, c.log);
}

/* Each turn has a new server as well, because on some devices it does not survive its client. */
const char *bypass_echo(struct bypass *b, uint32_t payload, uint64_t count, uint32_t window,
                        bool full)
{
    char path[PATH_BYTES], ends[2][256], text[3][24], line[BYPASS_LINE_MAX];
    bypass_pause(b);
    device(ends[0], sizeof ends[0], b->wire, 0, true, "echo");
    device(ends[1], sizeof ends[1], b->wire, 0, false, "echo");
    snprintf(text[0], sizeof text[0], "%u", payload);
    snprintf(text[1], sizeof text[1], "%llu", (unsigned long long)count);
    snprintf(text[2], sizeof text[2], "%u", window);
    const struct spawn serve = { .argv = { program(path, "dpdk_echo"), "server", ends[0] },
                                 .space = b->spaces[0],
                                 .cpu = BYPASS_SERVER_CPU,
                                 .log = "dpdk_echo" };
    struct bypass_process server = spawn(&serve);
    if (!read_line(&server, line)) {
        show_log(serve.log);
        bench_fail("the bare echo did not start");
    }
    const struct spawn s = { .argv = { path, "client", ends[1], text[0], text[1], text[2],
                                       full ? "full" : NULL },
                             .space = b->spaces[1],
                             .cpu = BYPASS_CLIENT_CPU,
                             .log = "dpdk_echo_client" };
    const char *result = only_line(spawn(&s), s.log);
    bypass_end(&server);
    remove_socket("echo");
    return result;
}

double bypass_number(const char *line, const char *field)
{
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", field);
    const char *at = strstr(line, key);
    if (at == NULL)
        bench_fail(field);
    return strtod(at + strlen(key), NULL);
}

uint32_t bypass_mean_payload(const char *line)
{
    const double bytes = bypass_number(line, "bytes_sent") + bypass_number(line, "bytes_received");
    return (uint32_t)(bytes
                          / (bypass_number(line, "packets_sent")
                             + bypass_number(line, "packets_received"))
                      + 0.5);
}

uint64_t bypass_broker_cpu_ns(const struct bypass *b)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(b->broker.pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        bench_fail("leatd's processor time");
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
