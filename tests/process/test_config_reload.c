/* Goal: a configuration that is read again changes what can change while the broker runs, names
 * what waits for a restart, and changes nothing when it has a mistake; no signal but TERM and INT
 * ends the broker. Method: files of our own through config_reload; then a real leatd and real
 * signals. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/config/config_reload.h"
#include "tests/support/leatd.h"

static char path[] = "/tmp/leat-reload.XXXXXX";
static struct config config, loaded;
static struct config_errors errors;
static char waiting[CONFIG_RELOAD_NAMES_BYTES];

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static enum leat_error reload(const char *text)
{
    write_file(path, text);
    return config_reload(&config, &loaded, path, waiting, &errors);
}

static void begin(void)
{
    const int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    write_file(path, "{\"port\": 0, \"quotas\": [{\"client\": \"a\", \"publish_bytes\": 5}]}");
    config_init(&config, false);
    config_init(&loaded, false);
    cr_assert_eq(config_load(&config, path, &errors), LEAT_OK);
    cr_assert_eq(config_load(&loaded, path, &errors), LEAT_OK);
}

static void end(void)
{
    config_free(&config);
    config_free(&loaded);
    unlink(path);
}

TestSuite(config_reload, .init = begin, .fini = end);

Test(config_reload, quotas_and_log_level_are_taken)
{
    cr_assert_eq(reload("{\"port\": 0, \"log_level\": \"error\", \"quotas\": "
                        "[{\"client\": \"b\", \"deliver_bytes\": 7}]}"),
                 LEAT_OK);
    cr_assert_str_eq(waiting, "");
    cr_assert_eq(config.log_level, LOG_ERROR);
    cr_assert_null(config_quota_of(&config, "a"));
    cr_assert_eq(config_quota_of(&config, "b")->deliver_bytes, 7);
    cr_assert_eq(reload("{\"port\": 0}"), LEAT_OK);
    cr_assert_null(config_quota_of(&config, "b"));
    cr_assert_eq(config.log_level, LOG_INFO, "what a file does not say is the default");
}

Test(config_reload, what_waits_for_a_restart_is_named_and_left)
{
    cr_assert_eq(reload("{\"port\": 7, \"shards\": 2, \"topics\": [{\"name\": \"t\"}],"
                        " \"dpdk\": {\"ports\": [{\"device\": \"net_memif0\", \"ip\": "
                        "\"10.0.0.1/24\"}]}, \"advertise\": {\"host\": \"there\"}}"),
                 LEAT_OK, "%s", errors.text);
    cr_assert_str_eq(waiting, "advertise.host, port, shards, dpdk, topics");
    cr_assert_eq(config.shards, 1);
    cr_assert_eq(config.port, 0);
    cr_assert_eq(config.topic_count, 0);
    cr_assert_str_eq(config.advertise_host, "");
}

Test(config_reload, a_mistake_changes_nothing)
{
    cr_assert_eq(reload("{\"port\": 0, \"log_level\": \"loud\", \"quotas\": []}"),
                 LEAT_ERR_INVALID);
    cr_assert_not_null(strstr(errors.text, "log_level"));
    cr_assert_eq(config.log_level, LOG_INFO);
    cr_assert_eq(config_quota_of(&config, "a")->publish_bytes, 5);
    cr_assert_eq(reload("{"), LEAT_ERR_MALFORMED);
    unlink(path);
    cr_assert_eq(config_reload(&config, &loaded, path, waiting, &errors), LEAT_ERR_IO);
    cr_assert_eq(config_quota_of(&config, "a")->publish_bytes, 5);
}

/* leatd --config <(...): nobody writes to that pipe any more, or somebody keeps it open. */
Test(config_reload, nobody_waits_for_what_is_no_file, .timeout = 20)
{
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(config_reload(&config, &loaded, path, waiting, &errors), LEAT_ERR_IO);
    cr_assert_not_null(strstr(errors.text, "only a regular file"), "%s", errors.text);
    cr_assert_eq(errors.count, 1);
    cr_assert_eq(config_quota_of(&config, "a")->publish_bytes, 5);
}

Test(signals, hup_reads_the_file_again)
{
    struct leatd d;
    leatd_start_config(&d, "{\"port\": 0, \"data_port\": 0, \"hugepages\": \"off\"}");
    cr_assert_eq(kill(d.pid, SIGHUP), 0);
    cr_assert(leatd_log_says(&d, "leatd.reloaded"));
    write_file(d.config_path, "{\"port\": 0, \"data_port\": \"no\"}");
    cr_assert_eq(kill(d.pid, SIGHUP), 0);
    cr_assert(leatd_log_says(&d, "leatd.reload_refused"));
    write_file(d.config_path, "{\"port\": 0, \"data_port\": 0, \"shards\": 2}");
    cr_assert_eq(kill(d.pid, SIGHUP), 0);
    cr_assert(leatd_log_says(&d, "leatd.reload_waits"));
    cr_assert(leatd_alive(&d));
    cr_assert_eq(leatd_stop(&d), 0, "TERM ends it in order");
    leatd_end(&d);
}

Test(signals, no_habit_of_an_operator_ends_it)
{
    static const int numbers[] = { SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGXFSZ };
    struct leatd d;
    leatd_start(&d);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        cr_assert_eq(kill(d.pid, numbers[i]), 0);
    cr_assert(leatd_log_says(&d, "leatd.nothing_to_reload"));
    cr_assert(leatd_alive(&d));
    cr_assert_eq(leatd_stop(&d), 0);
    leatd_end(&d);
}
