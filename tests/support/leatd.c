/* A real leatd under a test: started on free ports, its ready line read, ended by its own pid. */
#include "tests/support/leatd.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    READY_PATIENCE_MS = 30000,
    READY_LINE_MAX = 4096,
    PORT_STEP = 10,
    PORT_TRIES = 100,
    PORT_FIRST = 12000,
    PORT_COUNT = 20000
};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "leatd under test: %s (%s)\n", what, strerror(errno));
    abort();
}

static void make_temp(char path[64], const char *what)
{
    snprintf(path, 64, "/tmp/leat-test-%s-XXXXXX", what);
    const int fd = mkstemp(path);
    if (fd < 0)
        give_up(path);
    close(fd);
}

static void copy_address(char to[LEATD_ADDRESS_MAX], json_t *from, const char *what)
{
    if (!json_is_string(from) || strlen(json_string_value(from)) >= LEATD_ADDRESS_MAX)
        give_up(what);
    snprintf(to, LEATD_ADDRESS_MAX, "%s", json_string_value(from));
}

static void read_ready_line(struct leatd *d, int from)
{
    char line[READY_LINE_MAX];
    size_t used = 0;
    while (used == 0 || line[used - 1] != '\n') {
        struct pollfd wait = { .fd = from, .events = POLLIN };
        if (poll(&wait, 1, READY_PATIENCE_MS) != 1)
            give_up("no ready line in time");
        const ssize_t got = read(from, line + used, sizeof line - 1 - used);
        if (got <= 0)
            give_up("it ended before it was ready; see its log");
        used += (size_t)got;
    }
    json_t *ready = json_loadb(line, used, 0, NULL);
    if (ready == NULL)
        give_up("the ready line is not JSON");
    copy_address(d->control, json_object_get(ready, "control"), "ready line: control");
    snprintf(d->url, sizeof d->url, "tcp://%s", d->control);
    json_t *data = json_object_get(ready, "data");
    d->shards = (unsigned)json_array_size(data);
    if (d->shards == 0 || d->shards > LEATD_SHARDS_MAX)
        give_up("ready line: data");
    for (unsigned i = 0; i < d->shards; i++)
        copy_address(d->data[i], json_object_get(json_array_get(data, i), "tcp"),
                     "ready line: tcp");
    json_decref(ready);
}

/* A socket bound to the port, which then allows a listener beside it; -1: it is
 * taken. While it is bound the kernel gives the port to nobody else. */
static int keep_port(uint16_t *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(*port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    const int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        give_up("socket");
    /* Allowed only afterwards: else two tests could keep the same one. */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0
        || getsockname(fd, (struct sockaddr *)&address, &size) != 0
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static void release_ports(struct leatd *d)
{
    for (unsigned i = 0; i < sizeof d->kept / sizeof d->kept[0]; i++) {
        if (d->kept[i] > 0)
            close(d->kept[i]);
        d->kept[i] = 0;
    }
}

/* Below the ports that the kernel gives to connections: of those, thousands of closed ones may not
 * be free yet. */
static uint16_t random_port(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    const uint64_t mixed =
        ((uint64_t)t.tv_nsec ^ (uint64_t)getpid() << 32) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint16_t)(PORT_FIRST + (mixed >> 40) % PORT_COUNT);
}

/* The control port, and the data ports that leatd takes with it. */
static bool keep_ports(struct leatd *d, uint16_t *control)
{
    *control = random_port();
    d->kept[0] = keep_port(control);
    bool all = d->kept[0] > 0;
    for (uint16_t i = 0; i < LEATD_SHARDS_MAX && all; i++) {
        uint16_t data = (uint16_t)(*control + PORT_STEP + i);
        d->kept[1 + i] = keep_port(&data);
        all = d->kept[1 + i] > 0;
    }
    return all;
}

static void choose_port(struct leatd *d, char port[8])
{
    uint16_t control = 0;
    for (unsigned tries = 0; !keep_ports(d, &control); tries++) {
        release_ports(d);
        if (tries == PORT_TRIES)
            give_up("no free ports");
    }
    snprintf(port, 8, "%u", control);
}

/* In the child. What else the caller asks of the sanitizer holds there too. */
static bool keep_little_freed(void)
{
    const char *options = getenv("ASAN_OPTIONS");
    char all[1024];
    const int size = snprintf(all, sizeof all, "%s%squarantine_size_mb=8",
                              options == NULL ? "" : options, options == NULL ? "" : ":");
    return size < (int)sizeof all && setenv("ASAN_OPTIONS", all, 1) == 0;
}

static void await_ready_log(struct leatd *d, const char port[8])
{
    if (!leatd_log_says(d, "\"leatd.ready\""))
        give_up("it is not ready in time; see its log");
    snprintf(d->control, sizeof d->control, "127.0.0.1:%s", port);
    snprintf(d->url, sizeof d->url, "tcp://%s", d->control);
}

/* `stdout_fd`: what its stdout is, where no ready line is to be had; -1: a pipe that is read. */
static void start(struct leatd *d, unsigned descriptors, int stdout_fd)
{
    char port[8];
    if (d->kept[0] == 0)
        choose_port(d, port);
    else
        snprintf(port, sizeof port, "%s", strrchr(d->control, ':') + 1);
    const char *binary = getenv("LEATD");
    if (binary == NULL)
        binary = "build/release/bin/leatd";
    const char *argv[8];
    unsigned n = 0;
    argv[n++] = binary;
    if (d->config_path[0] != '\0') {
        argv[n++] = "--config";
        argv[n++] = d->config_path;
    } else {
        argv[n++] = "--dev";
    }
    argv[n++] = "--port";
    argv[n++] = port;
    argv[n] = NULL;

    int out[2] = { -1, stdout_fd };
    if (stdout_fd < 0 && pipe2(out, O_CLOEXEC) != 0)
        give_up("pipe");
    const pid_t parent = getpid();
    d->pid = fork();
    if (d->pid < 0)
        give_up("fork");
    if (d->pid == 0) {
        /* A test that crashes must not leave a broker behind. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        const int log = open(d->log_path, O_WRONLY | O_APPEND | O_NOCTTY | O_CLOEXEC);
        if (getppid() != parent || log < 0 || dup2(out[1], 1) < 0 || dup2(log, 2) < 0)
            _exit(126);
        if (d->measured && !keep_little_freed())
            _exit(126);
        if (descriptors != 0) {
            const struct rlimit limit = { .rlim_cur = descriptors, .rlim_max = descriptors };
            if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
                _exit(126);
        }
        execv(binary, (char *const *)argv);
        _exit(127);
    }
    if (stdout_fd >= 0) {
        await_ready_log(d, port);
        return;
    }
    close(out[1]);
    read_ready_line(d, out[0]);
    close(out[0]);
}

void leatd_start(struct leatd *d)
{
    *d = (struct leatd){ 0 };
    make_temp(d->log_path, "log");
    start(d, 0, -1);
}

void leatd_start_measured(struct leatd *d)
{
    *d = (struct leatd){ .measured = true };
    make_temp(d->log_path, "log");
    start(d, 0, -1);
}

void leatd_start_limited(struct leatd *d, unsigned descriptors)
{
    *d = (struct leatd){ 0 };
    make_temp(d->log_path, "log");
    start(d, descriptors, -1);
}

void leatd_start_config(struct leatd *d, const char *json)
{
    *d = (struct leatd){ 0 };
    make_temp(d->log_path, "log");
    make_temp(d->config_path, "config");
    FILE *file = fopen(d->config_path, "w");
    if (file == NULL || fputs(json, file) == EOF || fclose(file) != 0)
        give_up("writing the configuration");
    start(d, 0, -1);
}

void leatd_start_logging(struct leatd *d, const char *path)
{
    *d = (struct leatd){ .borrowed_log = true };
    snprintf(d->log_path, sizeof d->log_path, "%s", path);
    start(d, 0, -1);
}

void leatd_start_printing(struct leatd *d, int fd)
{
    *d = (struct leatd){ 0 };
    make_temp(d->log_path, "log");
    start(d, 0, fd);
}

static int end(struct leatd *d, int signal)
{
    int status = 0;
    if (d->pid == 0)
        return 0;
    kill(d->pid, signal);
    if (waitpid(d->pid, &status, 0) != d->pid)
        give_up("waitpid");
    d->pid = 0;
    return status;
}

int leatd_stop(struct leatd *d)
{
    return end(d, SIGTERM);
}

int leatd_kill(struct leatd *d)
{
    return end(d, SIGKILL);
}

void leatd_restart(struct leatd *d)
{
    leatd_stop(d);
    start(d, 0, -1);
}

void leatd_end(struct leatd *d)
{
    leatd_stop(d);
    release_ports(d);
    if (!d->borrowed_log)
        unlink(d->log_path);
    if (d->config_path[0] != '\0')
        unlink(d->config_path);
}

uint64_t leatd_rss_bytes(const struct leatd *d)
{
    char path[64];
    unsigned long long size, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)d->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL || fscanf(file, "%llu %llu", &size, &resident) != 2)
        give_up(path);
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t leatd_cpu_ns(const struct leatd *d)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)d->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(text, sizeof text, file) == NULL)
        give_up(path);
    fclose(file);
    unsigned long long user, system;
    /* Fields 14 and 15, counted behind the ")" that ends the name (proc(5)). */
    if (sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu",
               &user, &system)
        != 2)
        give_up(text);
    return (user + system) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

bool leatd_log_has(const struct leatd *d, const char *text)
{
    FILE *file = fopen(d->log_path, "r");
    if (file == NULL)
        give_up(d->log_path);
    char line[8192];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL)
        found = strstr(line, text) != NULL;
    fclose(file);
    return found;
}

bool leatd_log_says(const struct leatd *d, const char *text)
{
    const struct timespec little = { .tv_nsec = 1000000 };
    for (int i = 0; i < 10000; i++) {
        if (leatd_log_has(d, text))
            return true;
        nanosleep(&little, NULL);
    }
    return false;
}

bool leatd_alive(struct leatd *d)
{
    return d->pid != 0 && waitpid(d->pid, NULL, WNOHANG) == 0;
}
