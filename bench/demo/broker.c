/* The demo's broker: a child process that ends with the demo. */
#include "bench/demo/broker.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool read_ready_line(struct demo_broker *broker, FILE *from, char error_text[256])
{
    char line[1024];
    if (fgets(line, sizeof line, from) == NULL) {
        snprintf(error_text, 256, "leatd ended before it was ready; its log follows");
        return false;
    }
    json_t *ready = json_loads(line, 0, NULL);
    const char *control = json_string_value(json_object_get(ready, "control"));
    const bool good = control != NULL && strlen(control) < 64;
    if (good)
        snprintf(broker->control, sizeof broker->control, "%s", control);
    else
        snprintf(error_text, 256, "unexpected ready line of leatd: %.150s", line);
    json_decref(ready);
    return good;
}

/* Configures a memif per client. The idle mode does not spin, because the demo has more processes
 * than a small machine has cores. */
static bool write_config(struct demo_broker *broker, char path[96])
{
    snprintf(broker->folder, sizeof broker->folder, "/tmp/leat-demo-XXXXXX");
    if (mkdtemp(broker->folder) == NULL) {
        broker->folder[0] = '\0';
        return false;
    }
    snprintf(path, 96, "%s/leatd.json", broker->folder);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    fprintf(file, "{\"port\":0,\"data_port\":0,\"idle\":\"laptop\",\"udp\":false,"
                  "\"hugepages\":\"off\",\"dpdk\":{\"ports\":[");
    for (unsigned i = 0; i < DEMO_CLIENTS; i++)
        fprintf(file,
                "%s{\"device\":\"net_memif%u,role=server,id=%u,socket=%s/m%u,socket-abstract=no\","
                "\"ip\":\"10.99.%u.1/24\"}",
                i == 0 ? "" : ",", i, i, broker->folder, i, i);
    fprintf(file, "]}}");
    return fclose(file) == 0;
}

static void remove_folder(struct demo_broker *broker)
{
    char path[96];
    if (broker->folder[0] == '\0')
        return;
    for (unsigned i = 0; i < DEMO_CLIENTS; i++) {
        snprintf(path, sizeof path, "%s/m%u", broker->folder, i);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/leatd.json", broker->folder);
    unlink(path);
    rmdir(broker->folder);
    broker->folder[0] = '\0';
}

void demo_broker_url(const struct demo_broker *broker, unsigned client, char url[DEMO_URL_BYTES])
{
    if (broker->transport == DEMO_BYPASS)
        snprintf(url, DEMO_URL_BYTES,
                 "dpdk://%s?device=net_memif%u,role=client,id=%u,socket=%s/m%u,socket-abstract=no&"
                 "ip=10.99.%u.2/24",
                 broker->control, DEMO_CLIENTS + client, client, broker->folder, client, client);
    else
        snprintf(url, DEMO_URL_BYTES, "%s://%s", broker->transport == DEMO_UDP ? "udp" : "tcp",
                 broker->control);
}

bool demo_broker_start(struct demo_broker *broker, const char *leatd, enum demo_transport transport,
                       char error_text[256])
{
    char config[96] = "";
    int out[2];
    const double start = now_s();
    *broker = (struct demo_broker){ .transport = transport };
    if (transport == DEMO_BYPASS && !write_config(broker, config)) {
        snprintf(error_text, 256, "cannot make a directory in /tmp: %s", strerror(errno));
        return false;
    }
    if (pipe(out) != 0) {
        snprintf(error_text, 256, "pipe: %s", strerror(errno));
        return false;
    }
    broker->log = tmpfile();
    const pid_t parent = getpid();
    broker->pid = fork();
    if (broker->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* it ends with the demo */
        if (getppid() != parent || dup2(out[1], STDOUT_FILENO) < 0
            || (broker->log != NULL && dup2(fileno(broker->log), STDERR_FILENO) < 0))
            _exit(126);
        close(out[0]);
        close(out[1]);
        if (transport == DEMO_BYPASS)
            execl(leatd, leatd, "--config", config, (char *)NULL);
        else
            execl(leatd, leatd, "--dev", "--port", "0", (char *)NULL);
        fprintf(stderr, "leat-demo: cannot run %s: %s\n", leatd, strerror(errno));
        _exit(127);
    }
    close(out[1]);
    FILE *from = fdopen(out[0], "r");
    const bool ready = broker->pid > 0 && from != NULL && read_ready_line(broker, from, error_text);
    if (from != NULL)
        fclose(from);
    broker->ready_ms = (now_s() - start) * 1e3;
    if (!ready && broker->pid > 0)
        demo_broker_stop(broker);
    return ready;
}

void demo_broker_show_log(struct demo_broker *broker)
{
    char line[4096];
    if (broker->log == NULL)
        return;
    rewind(broker->log);
    while (fgets(line, sizeof line, broker->log) != NULL)
        fputs(line, stderr);
}

double demo_broker_cpu_s(const struct demo_broker *broker)
{
    char path[64], text[1024] = "";
    unsigned long long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)broker->pid);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return 0;
    /* Fields 14 and 15 of proc(5). Parsing starts after the ")" that ends the name. */
    const char *rest = fgets(text, sizeof text, file) != NULL ? strrchr(text, ')') : NULL;
    fclose(file);
    if (rest == NULL
        || sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system)
               != 2)
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

bool demo_broker_stop(struct demo_broker *broker)
{
    int status = 0;
    if (broker->pid <= 0)
        return true;
    kill(broker->pid, SIGTERM);
    waitpid(broker->pid, &status, 0);
    broker->pid = 0;
    remove_folder(broker);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
