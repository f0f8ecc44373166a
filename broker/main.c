/* leatd: assembles the broker from configuration, state, topics, shards and control. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <urcu-qsbr.h>

#include "broker/config/config.h"
#include "broker/config/config_reload.h"
#include "broker/control/control.h"
#include "broker/ports.h"
#include "broker/ready.h"
#include "broker/shared/random_bytes.h"
#include "broker/state/secret.h"
#include "ops/log.h"
#include "ops/metrics.h"
#include "ops/standard_files.h"
#include "schema/version.h"

enum { EXIT_USAGE = 2, ERROR_TEXT = CONTROL_ERROR_TEXT };

static const char USAGE[] =
    "usage: leatd [--config FILE] [--dev] [--port N] [--plan] [--help] [--version]\n"
    "  --config FILE  JSON configuration; see ops/leatd.example.json\n"
    "  --dev          for a developer's machine: loopback only, no state, no hugepages, no root\n"
    "  --port N       control on port N, data on N + 10 + shard; 0: any free ports\n"
    "  --plan         print the effective configuration and its memory requirements, then exit\n"
    "When leatd is ready, it prints one line of JSON to stdout; logs go to stderr.\n"
    "SIGTERM stops it; SIGHUP reloads FILE.\n";

struct arguments {
    const char *config;
    bool dev, plan;
    bool has_port;
    uint32_t port;
};

/* A shard, its thread and its mailboxes to and from control. */
struct shard_place {
    struct mailbox *inbox, *outbox;
    int wake;
    struct shard *shard;
    char addresses[CONFIG_PORTS_MAX][LINK_TCP_ADDRESS_TEXT]; /* one per bypass port */
    char *address_list[CONFIG_PORTS_MAX];
    pthread_t thread;
    bool runs;
};

struct broker {
    struct config config;
    struct config loaded;    /* the file as last loaded, without the options of the command line */
    const char *config_path; /* NULL: SIGHUP has no effect */
    struct metrics *metrics;
    struct memory_budget memory; /* of clients */
    struct topics *topics;
    struct catalog catalog;
    struct statefile state;
    bool keeps_state;
    struct shard_place shards[LEAT_SHARDS_MAX];
    struct control_shard_ends shard_ends[LEAT_SHARDS_MAX];
    struct ports ports;
    uint8_t reset_secret[RESET_SECRET_BYTES];
    struct secret resume;
    int wake; /* eventfd of control */
    struct control *control;
};

/* ---- arguments */

/* Prints the mistake and the usage; returns the exit status. */
static int usage_error(const char *what, const char *value)
{
    fprintf(stderr, "leatd: %s%s%s\n%s", what, value != NULL ? ": " : "",
            value != NULL ? value : "", USAGE);
    return EXIT_USAGE;
}

static bool parse_port(const char *text, uint32_t *out)
{
    char *end;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value > UINT16_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

/* The argument that getopt_long refused. optind still points to a word with several short options
 * until the last one was read. */
static const char *refused_word(int argc, char **argv)
{
    const bool within =
        optopt != 0 && optind < argc && argv[optind][0] == '-' && argv[optind][1] == optopt;
    return argv[within ? optind : optind - 1];
}

/* The exit status if the process is to exit now, else -1. */
static int parse_arguments(int argc, char **argv, struct arguments *out)
{
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' }, { "dev", no_argument, NULL, 'd' },
        { "port", required_argument, NULL, 'p' },   { "plan", no_argument, NULL, 'l' },
        { "admin", required_argument, NULL, 'a' },  { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },      { NULL, 0, NULL, 0 },
    };
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        switch (option) {
        case 'c': out->config = optarg; break;
        case 'd': out->dev = true; break;
        case 'l': out->plan = true; break;
        case 'p':
            if (!parse_port(optarg, &out->port))
                return usage_error("--port: expected a port from 0 to 65535, got", optarg);
            out->has_port = true;
            break;
        case 'a':
            return usage_error("--admin: this version of leatd has no admin endpoint; remove the "
                               "option, got",
                               optarg);
        case 'h': fputs(USAGE, stdout); return EXIT_SUCCESS;
        case 'v': puts("leatd " LEAT_VERSION); return EXIT_SUCCESS;
        case ':': return usage_error("a value is missing after", argv[optind - 1]);
        default: return usage_error("unknown option", refused_word(argc, argv));
        }
    }
    return optind < argc ? usage_error("unknown argument", argv[optind]) : -1;
}

/* ---- configuration and state */

/* Loads and completes the configuration. `memory_said`: a warning, or empty. False: the mistakes
 * were printed. */
static bool configure(struct config *config, const struct arguments *arguments,
                      char memory_said[CONFIG_MEMORY_TEXT])
{
    static struct config_errors errors;
    static struct memory_limits limits;
    config_init(config, arguments->dev);
    if (arguments->config != NULL && config_load(config, arguments->config, &errors) != LEAT_OK) {
        fprintf(stderr, "leatd: cannot start: %u mistake%s in the configuration\n%s", errors.count,
                errors.count == 1 ? "" : "s", errors.text);
        return false;
    }
    if (arguments->dev) {
        config->state_dir[0] = '\0';
        config->hugepages = LOGMEM_NORMAL;
        config_ports_free(&config->ports);
    }
    if (arguments->has_port && !config_set_port(config, arguments->port)) {
        fprintf(stderr,
                "leatd: --port %u: the data ports would be %u to %u; expected at most 65535\n",
                arguments->port, arguments->port + CONFIG_PORT_STEP,
                arguments->port + CONFIG_PORT_STEP + config->shards - 1);
        return false;
    }
    memory_limits_read(&limits, "");
    if (config_fit_memory(config, &limits, memory_said) == LEAT_OK)
        return true;
    fprintf(stderr, "leatd: cannot start: %s\n", memory_said);
    return false;
}

/* Keeps the file for SIGHUP, unless there is none, it can be read only once (a pipe), or --dev is
 * given. */
static bool remember_file(struct broker *b, const struct arguments *arguments)
{
    static struct config_errors errors;
    struct stat about;
    if (arguments->config == NULL || arguments->dev
        || (stat(arguments->config, &about) == 0 && !S_ISREG(about.st_mode)))
        return true;
    b->config_path = arguments->config;
    config_init(&b->loaded, false);
    if (config_load(&b->loaded, b->config_path, &errors) == LEAT_OK)
        return true;
    fprintf(stderr, "leatd: cannot start: the configuration changed while leatd read it\n%s",
            errors.text);
    return false;
}

/* Called by control on SIGHUP. */
static void reload(void *user)
{
    static struct config_errors errors;
    struct broker *b = user;
    char waiting[CONFIG_RELOAD_NAMES_BYTES];
    if (b->config_path == NULL) {
        log_line(
            LOG_INFO, "leatd.nothing_to_reload",
            log_text("reason",
                     "leatd was started with --dev, without --config, or with a configuration that "
                     "is not a regular file"));
        return;
    }
    if (config_reload(&b->config, &b->loaded, b->config_path, waiting, &errors) != LEAT_OK) {
        log_line(LOG_ERROR, "leatd.reload_refused", log_text("file", b->config_path),
                 log_u64("mistakes", errors.count), log_text("reason", errors.text));
        return;
    }
    log_open(STDERR_FILENO, b->config.log_level);
    log_line(LOG_INFO, "leatd.reloaded", log_text("file", b->config_path),
             log_u64("quotas", b->config.quota_count));
    if (waiting[0] != '\0')
        log_line(LOG_WARN, "leatd.reload_waits", log_text("settings", waiting),
                 log_text("reason", "these settings are read at startup only: restart leatd"));
}

static bool refuse(const char *text)
{
    char line[ERROR_TEXT + 32];
    snprintf(line, sizeof line, "leatd: cannot start: %s", text);
    log_say(line);
    return false;
}

/* Reports a failed system call (it may have been denied by a seccomp filter). */
static bool refuse_call(const char *call, const char *what)
{
    char text[256];
    snprintf(text, sizeof text, "cannot create a descriptor for %s: %s: %s%s", what, call,
             strerror(errno), errno == EMFILE || errno == ENFILE ? "; raise `ulimit -n`" : "");
    return refuse(text);
}

/* After an orderly shutdown the number of lost records is known exactly, otherwise within bounds.
 */
static void say_last_end(const struct broker *b)
{
    log_line(b->catalog.orderly ? LOG_INFO : LOG_WARN, "state.read",
             log_text("state_dir", b->state.path),
             log_text("last_run", b->catalog.orderly ? "orderly shutdown" : "no orderly shutdown"),
             log_text("then", b->catalog.orderly ? "offsets continue where they ended"
                                                 : "offsets continue above the reserved ones"));
}

static bool load_state(struct broker *b)
{
    char text[STATEFILE_ERROR_TEXT];
    uint8_t *bytes;
    size_t size;
    uint32_t version;
    const char *why;
    if (statefile_open(&b->state, b->config.state_dir, text) != LEAT_OK)
        return refuse(text);
    b->keeps_state = true;
    if (statefile_read(&b->state, &STATEFILE_CATALOG, &bytes, &size, &version, text) != LEAT_OK)
        return refuse(text);
    if (bytes == NULL)
        return true;
    const enum leat_error error = catalog_decode(&b->catalog, bytes, size, version, &why);
    free(bytes);
    if (error != LEAT_OK) {
        snprintf(text, sizeof text,
                 "%s/%s: %s. The file was left unchanged: restore it from a backup", b->state.path,
                 STATEFILE_CATALOG.name, why);
        return refuse(text);
    }
    if (b->catalog.incarnation == UINT32_MAX) {
        snprintf(text, sizeof text,
                 "%s/%s: the broker has been started 2^32 times: start with a new state_dir",
                 b->state.path, STATEFILE_CATALOG.name);
        return refuse(text);
    }
    say_last_end(b);
    return true;
}

/* Loads the state and sets the incarnation: the next one if state is kept, otherwise a random one
 * that no earlier run is likely to have had. */
static bool open_state(struct broker *b)
{
    char text[STATEFILE_ERROR_TEXT];
    catalog_init(&b->catalog);
    if (b->config.state_dir[0] != '\0') {
        if (!load_state(b))
            return false;
        if (!catalog_next_run(&b->catalog))
            return refuse("the kernel returned no random bytes");
        return secret_load(&b->state, b->catalog.incarnation, &b->resume, text) == LEAT_OK
               || refuse(text);
    }
    if (!catalog_only_run(&b->catalog) || !random_bytes(b->resume.bytes, sizeof b->resume.bytes))
        return refuse("the kernel returned no random bytes");
    b->resume.since = b->catalog.incarnation;
    return true;
}

/* ---- shards */

static struct mailbox *new_mailbox(int wake)
{
    struct mailbox *box = aligned_alloc(alignof(struct mailbox), sizeof *box);
    if (box != NULL)
        mailbox_init(box, wake);
    return box;
}

static bool open_shard(struct broker *b, uint32_t i)
{
    struct shard_place *place = &b->shards[i];
    const struct config *c = &b->config;
    char text[256];
    place->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (place->wake < 0)
        return refuse_call("eventfd", "the shards");
    place->inbox = new_mailbox(place->wake);
    place->outbox = new_mailbox(b->wake);
    if (place->inbox == NULL || place->outbox == NULL)
        return refuse("not enough memory for the mailboxes of the shards");
    struct shard_options options = {
        .index = i,
        .cpu = c->cpu_count != 0 ? c->cpus[i] : -1,
        .idle = c->idle,
        .listen_host = c->host,
        .listen_port = (uint16_t)(c->data_port != 0 ? c->data_port + i : 0),
        .sessions_max = c->sessions_max,
        .connections_max = c->connections_max,
        .socket_buffer_bytes = c->socket_buffer_bytes,
        .tcp_congestion = c->tcp_congestion[0] != '\0' ? c->tcp_congestion : NULL,
        .udp = c->udp,
        .links = b->ports.lanes[i],
        .link_count = b->ports.count,
        .thread_enter = b->ports.driver != NULL ? b->ports.driver->enter : NULL,
        .thread_leave = b->ports.driver != NULL ? b->ports.driver->leave : NULL,
        .keepalive_ns = c->keepalive_ms * LEAT_NS_PER_MS,
        .producer_idle_ns = c->producer_idle_ms * LEAT_NS_PER_MS,
        .topics = b->topics,
        .inbox = place->inbox,
        .outbox = place->outbox,
        .metrics = b->metrics,
    };
    memcpy(options.reset_secret, b->reset_secret, sizeof options.reset_secret);
    if (shard_open(&place->shard, &options, text) != LEAT_OK) {
        place->shard = NULL;
        return refuse(text);
    }
    bool intact = false;
    for (uint32_t port = 0; port < b->ports.count; port++) {
        intact |= b->ports.lanes[i][port]->limits.intact;
        place->address_list[port] = place->addresses[port];
        ports_address(&b->ports, c, port, i, place->addresses[port]);
    }
    b->shard_ends[i] = (struct control_shard_ends){ .inbox = place->inbox,
                                                    .outbox = place->outbox,
                                                    .tcp_address = shard_tcp_address(place->shard),
                                                    .udp_address = shard_udp_address(place->shard),
                                                    .port_addresses = place->address_list,
                                                    .port_count = b->ports.count,
                                                    .intact = intact };
    return true;
}

static bool start_shard(struct shard_place *place)
{
    const int error = pthread_create(&place->thread, NULL, shard_run, place->shard);
    if (error != 0) {
        char text[128];
        snprintf(text, sizeof text, "cannot create a thread for a shard: %s", strerror(error));
        return refuse(text);
    }
    place->runs = true;
    return true;
}

/* The thread must have ended, and control must be closed. */
static void close_shard(struct shard_place *place)
{
    if (place->wake >= 0)
        close(place->wake);
    free(place->inbox);
    free(place->outbox);
}

/* ---- start and stop */

static bool open_broker(struct broker *b)
{
    char text[ERROR_TEXT];
    if (!open_state(b))
        return false;
    b->memory.limit_bytes = b->config.client_memory_bytes;
    b->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (b->wake < 0)
        return refuse_call("eventfd", "control");
    if (metrics_open(&b->metrics) != LEAT_OK || topics_open(&b->topics) != LEAT_OK)
        return refuse("not enough memory");
    if (!random_bytes(b->reset_secret, sizeof b->reset_secret))
        return refuse("the kernel returned no random bytes");
    if (!ports_open(&b->ports, &b->config, text))
        return refuse(text);
    for (uint32_t i = 0; i < b->config.shards; i++)
        if (!open_shard(b, i))
            return false;
    for (uint32_t i = 0; i < b->config.shards; i++)
        if (!start_shard(&b->shards[i]))
            return false;
    struct control_options options = {
        .config = &b->config,
        .topics = b->topics,
        .memory = &b->memory,
        .catalog = &b->catalog,
        .state = b->keeps_state ? &b->state : NULL,
        .shards = b->shard_ends,
        .wake = b->wake,
        .metrics = b->metrics,
        .reload = reload,
        .reload_user = b,
        .resume_since = b->resume.since,
    };
    memcpy(options.reset_secret, b->reset_secret, sizeof options.reset_secret);
    memcpy(options.resume_secret, b->resume.bytes, sizeof options.resume_secret);
    if (b->ports.driver != NULL)
        ports_watch_memory(&b->ports, &options);
    return control_open(&b->control, &options, text) == LEAT_OK || refuse(text);
}

/* Without control, the mailboxes are empty, so the messages can be sent directly. */
static void stop_shards(struct broker *b)
{
    const struct message stop = { .type = MESSAGE_STOP };
    if (b->control != NULL) {
        control_stop_shards(b->control);
        return;
    }
    for (uint32_t i = 0; i < b->config.shards; i++)
        if (b->shards[i].runs)
            mailbox_send(b->shards[i].inbox, &stop);
}

/* Offline while blocked, so that RCU grace periods do not wait for this thread. */
static void join_shards(struct broker *b)
{
    rcu_thread_offline();
    for (uint32_t i = 0; i < b->config.shards; i++)
        if (b->shards[i].runs)
            pthread_join(b->shards[i].thread, NULL);
    rcu_thread_online();
}

/* False: some state could not be stored; the log gives the reason. */
static bool close_broker(struct broker *b)
{
    bool stored = true;
    join_shards(b);
    for (uint32_t i = 0; i < b->config.shards; i++)
        if (b->shards[i].shard != NULL)
            shard_close(b->shards[i].shard); /* releases the partitions that control closes */
    ports_close(&b->ports); /* before control frees the log memory they send from */
    if (b->control != NULL)
        stored = control_close(b->control);
    for (uint32_t i = 0; i < b->config.shards; i++)
        close_shard(&b->shards[i]);
    if (b->topics != NULL)
        topics_close(b->topics);
    if (b->metrics != NULL)
        metrics_close(b->metrics);
    catalog_free(&b->catalog);
    if (b->keeps_state)
        statefile_close(&b->state);
    if (b->wake >= 0)
        close(b->wake);
    config_free(&b->config);
    config_free(&b->loaded);
    return stored;
}

static void say_shard(FILE *out, const struct broker *b, uint32_t i)
{
    const char *udp = b->shard_ends[i].udp_address;
    fprintf(out, "%s{\"shard\":%" PRIu32 ",\"tcp\":\"%s\",\"udp\":%s%s%s,\"dpdk\":[",
            i == 0 ? "" : ",", i, b->shard_ends[i].tcp_address, udp != NULL ? "\"" : "",
            udp != NULL ? udp : "null", udp != NULL ? "\"" : "");
    for (uint32_t port = 0; port < b->ports.count; port++) {
        char ip[16];
        config_port_ip_text(b->config.ports.list[port].options.ip, ip);
        fprintf(out, "%s{\"device\":\"%s\",\"ip\":\"%s\"}", port == 0 ? "" : ",",
                b->config.ports.list[port].device, ip);
    }
    fprintf(out, "]}");
}

static void say_ready(const struct broker *b)
{
    char *line = NULL;
    size_t size;
    FILE *out = open_memstream(&line, &size);
    if (out != NULL) {
        fprintf(out, "{\"control\":\"%s\",\"admin\":null,\"data\":[", control_address(b->control));
        for (uint32_t i = 0; i < b->config.shards; i++)
            say_shard(out, b, i);
        fprintf(out, "]}\n");
        fclose(out);
    }
    ready_say(line);
    log_line(LOG_INFO, "leatd.ready", log_text("control", control_address(b->control)),
             log_u64("shards", b->config.shards), log_u64("incarnation", b->catalog.incarnation),
             log_u64("log_memory_bytes", b->config.log_memory_bytes),
             log_u64("client_memory_bytes", b->config.client_memory_bytes));
}

/* Called before anything that can block: the configuration may come from a pipe. */
static void ignore_signals(void)
{
    /* Until control handles it: no configuration is loaded yet. */
    signal(SIGHUP, SIG_IGN);
    /* Let write(2) fail instead, with EPIPE, or with EFBIG at the file size limit. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    /* Other servers reopen logs or dump state on these; sent by habit, they must not kill leatd. */
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    /* In the background of a terminal with `stty tostop`, writing to the log would stop leatd. */
    signal(SIGTTOU, SIG_IGN);
}

/* Only control handles signals, through a signalfd; all threads inherit the mask. */
static void set_process(void)
{
    sigset_t signals;
    struct rlimit limit;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGHUP, SIG_DFL); /* some kernels discard an ignored signal even if it is blocked */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int print_plan(struct config *config, const char *memory_said)
{
    struct link_dpdk_plan ports[CONFIG_PORTS_MAX];
    char *plan = config_plan(config, ports_plan(config, ports) ? ports : NULL);
    if (plan != NULL)
        puts(plan);
    if (memory_said[0] != '\0')
        fprintf(stderr, "leatd: warning: %s\n", memory_said);
    const int code = plan != NULL ? EXIT_SUCCESS : EXIT_FAILURE;
    free(plan);
    config_free(config);
    return code;
}

int main(int argc, char **argv)
{
    static struct broker broker;
    struct arguments arguments = { .config = NULL };
    char memory_said[CONFIG_MEMORY_TEXT];
    ignore_signals();
    standard_files_keep();
    const int code = parse_arguments(argc, argv, &arguments);
    if (code >= 0)
        return code;
    if (!configure(&broker.config, &arguments, memory_said)
        || !remember_file(&broker, &arguments)) {
        config_free(&broker.config);
        return EXIT_FAILURE;
    }
    if (arguments.plan)
        return print_plan(&broker.config, memory_said);
    set_process();
    log_open(STDERR_FILENO, broker.config.log_level);
    log_start();
    if (memory_said[0] != '\0')
        log_line(LOG_WARN, "leatd.memory_limit", log_text("reason", memory_said));
    rcu_register_thread();
    broker.wake = -1;
    for (uint32_t i = 0; i < LEAT_SHARDS_MAX; i++)
        broker.shards[i].wake = -1;
    const bool opened = open_broker(&broker);
    if (opened) {
        say_ready(&broker);
        control_run(broker.control);
    } else {
        stop_shards(&broker);
    }
    const bool stored = close_broker(&broker);
    rcu_unregister_thread();
    ready_stop();
    log_stop();
    return opened && stored ? EXIT_SUCCESS : EXIT_FAILURE;
}
