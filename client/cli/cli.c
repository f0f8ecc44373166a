#include "client/cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t cli_interrupted;

static void interrupt(int signal)
{
    (void)signal;
    cli_interrupted = 1;
}

void cli_watch_signals(void)
{
    /* Without SA_RESTART: whoever waits in the kernel comes back and looks. */
    const struct sigaction action = { .sa_handler = interrupt };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int cli_usage(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "leat %s: ", command);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\ntry: leat %s --help\n", command);
    va_end(args);
    return CLI_USAGE;
}

int cli_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "leat: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return CLI_FAILURE;
}

int cli_bad_option(const char *command, char **argv)
{
    const char *given = argv[optind - 1];
    if (optopt != 0 && given[0] == '-' && given[1] == '-')
        return cli_usage(command, "%s needs a value", given);
    return cli_usage(command, "unknown option %s", given);
}

/* ---- values */

bool cli_parse_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    errno = 0;
    const unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool cli_parse_double(const char *text, double min, double max, double *out)
{
    char *end;
    const double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value) || value < min || value > max)
        return false;
    *out = value;
    return true;
}

bool cli_parse_bytes(const char *text, uint64_t *out)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = { { "", 0 }, { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 }, { "TiB", 40 } };
    char digits[32];
    const size_t n = strspn(text, "0123456789");
    uint64_t value;
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    if (!cli_parse_u64(digits, 0, UINT64_MAX, &value))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + n, units[i].name) == 0 && value <= UINT64_MAX >> units[i].shift) {
            *out = value << units[i].shift;
            return true;
        }
    }
    return false;
}

bool cli_parse_time(const char *text, uint64_t *ns)
{
    struct tm utc = { 0 };
    if (cli_parse_u64(text, 0, UINT64_MAX, ns))
        return true;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    if (rest == NULL)
        return false;
    uint64_t fraction = 0, unit = 1000000000;
    if (*rest == '.') {
        for (rest++; *rest >= '0' && *rest <= '9'; rest++) {
            unit /= 10;
            fraction += (uint64_t)(*rest - '0') * unit;
        }
    }
    const time_t seconds = timegm(&utc);
    if (strcmp(rest, "Z") != 0 || seconds < 0)
        return false;
    *ns = (uint64_t)seconds * 1000000000u + fraction;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool cli_parse_escaped(const char *text, char *out, size_t room, size_t *size)
{
    static const char names[] = "nrt0\\", bytes[] = "\n\r\t\0\\";
    size_t n = 0;
    while (*text != '\0') {
        char c = *text++;
        if (n == room)
            return false;
        if (c == '\\' && *text == 'x') {
            const int high = hex_digit(text[1]), low = high < 0 ? -1 : hex_digit(text[2]);
            if (low < 0)
                return false;
            c = (char)(high << 4 | low);
            text += 3;
        } else if (c == '\\') {
            const char *name = *text == '\0' ? NULL : strchr(names, *text);
            if (name == NULL)
                return false;
            c = bytes[name - names];
            text++;
        }
        out[n++] = c;
    }
    *size = n;
    return true;
}

/* ---- connecting */

const char *cli_url(const char *given)
{
    return given != NULL ? given : getenv("LEAT_URL");
}

leat_client *cli_open(const char *url, const struct leat_client_options *options)
{
    leat_client *client;
    const int error = leat_client_open(&client, cli_url(url), options);
    if (error == LEAT_OK)
        return client;
    cli_fail("%s", leat_client_error(NULL));
    return NULL;
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t cli_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

uint64_t cli_wall_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

/* ---- progress */

void cli_progress(struct cli_progress *progress, const char *verb, uint64_t records, uint64_t bytes)
{
    const uint64_t now = cli_now_ns();
    if (progress->last_ns == 0)
        progress->last_ns = now; /* short work says nothing */
    if (now - progress->last_ns < 200000000u || !isatty(STDERR_FILENO))
        return;
    progress->last_ns = now;
    progress->shown = true;
    fprintf(stderr, "\r%s %" PRIu64 " records, %.1f MB ", verb, records, (double)bytes / 1e6);
}

void cli_progress_end(struct cli_progress *progress)
{
    if (progress->shown)
        fputc('\n', stderr);
    progress->shown = false;
}
