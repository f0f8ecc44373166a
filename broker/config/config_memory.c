/* Chooses the memory budgets within the limits of the process, and checks configured ones. */
#include <inttypes.h>
#include <stdio.h>

#include "broker/config/config.h"
#include "broker/log/memory_budget.h"

#define LOG_FALLBACK (UINT64_C(256) * LEAT_MIB) /* if no limit is known */
#define LOG_LEAST LEAT_MIB
#define CLIENT_FALLBACK (UINT64_C(64) * LEAT_MIB) /* if the limit leaves room for it */
#define PROCESS_BYTES (UINT64_C(16) * LEAT_MIB)   /* code, stacks, tables: outside the budgets */

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* The part of a limit that the budgets may use. */
static uint64_t usable(uint64_t limit)
{
    return limit > 2 * PROCESS_BYTES ? limit - PROCESS_BYTES : limit / 2;
}

static uint64_t left_of(uint64_t whole, uint64_t taken)
{
    return whole > taken ? whole - taken : 0;
}

static uint64_t quarter_of(uint64_t bytes)
{
    return bytes / 4 / LEAT_MIB * LEAT_MIB;
}

/* Sets memory_limit to the smallest of the limits and the memory available now. */
static void decide(struct config *config, const struct memory_limits *limits, bool huge)
{
    const uint64_t now = huge ? limits->huge_available_bytes : limits->available_bytes;
    config->memory_limit = huge ? limits->huge : *memory_limit_least(&limits->hard, &limits->soft);
    if (now == 0 || now >= config->memory_limit.bytes)
        return;
    config->memory_limit.bytes = now;
    snprintf(config->memory_limit.from, sizeof config->memory_limit.from,
             huge ? "HugePages_Free of /proc/meminfo" : "MemAvailable of /proc/meminfo");
}

static void fit_logs(struct config *config, const struct memory_limits *limits, bool huge)
{
    const uint64_t base = huge ? config->memory_limit.bytes : usable(config->memory_limit.bytes);
    if (config->log_memory_bytes != 0)
        return;
    config->log_memory_bytes =
        config->memory_limit.bytes == UINT64_MAX ? LOG_FALLBACK : 2 * quarter_of(base);
    if (!huge)
        config->log_memory_bytes =
            lesser(config->log_memory_bytes,
                   left_of(usable(limits->hard.bytes), config->client_memory_bytes));
    config->log_memory_bytes = greater(config->log_memory_bytes, LOG_LEAST);
}

static void fit_clients(struct config *config, const struct memory_limits *limits, bool huge)
{
    const struct memory_limit *normal = memory_limit_least(&limits->hard, &limits->soft);
    const uint64_t now = limits->available_bytes != 0 ? limits->available_bytes : UINT64_MAX;
    const uint64_t base = lesser(now, usable(normal->bytes));
    const uint64_t left = left_of(usable(normal->bytes), huge ? 0 : config->log_memory_bytes);
    if (config->client_memory_bytes != 0)
        return;
    config->client_memory_bytes =
        base == UINT64_MAX ? CLIENT_FALLBACK : greater(quarter_of(base), CLIENT_FALLBACK);
    config->client_memory_bytes =
        greater(lesser(config->client_memory_bytes, left), MEMORY_BUDGET_BYTES_MIN);
}

static void say_beyond(const struct config *config, const struct memory_limit *limit,
                       const char *then, char text[CONFIG_MEMORY_TEXT])
{
    snprintf(text, CONFIG_MEMORY_TEXT,
             "log_memory_bytes (%" PRIu64 ") and client_memory_bytes (%" PRIu64
             ") are more than the %" PRIu64 " bytes available to this process (%s): %s; lower "
             "them, or raise that limit",
             config->log_memory_bytes, config->client_memory_bytes, limit->bytes, limit->from,
             then);
}

enum leat_error config_fit_memory(struct config *config, const struct memory_limits *limits,
                                  char text[CONFIG_MEMORY_TEXT])
{
    const bool huge = config->hugepages == LOGMEM_HUGE;
    text[0] = '\0';
    decide(config, limits, huge);
    fit_logs(config, limits, huge);
    fit_clients(config, limits, huge);
    const uint64_t normal = config->client_memory_bytes + (huge ? 0 : config->log_memory_bytes);
    /* Hugepages do not count towards the memory limits, so the logs may fit there instead. */
    const uint64_t elsewhere =
        config->hugepages == LOGMEM_AUTO ? lesser(
            lesser(limits->huge_available_bytes, limits->huge.bytes), config->log_memory_bytes)
                                         : 0;
    if (huge && config->log_memory_bytes > limits->huge.bytes) {
        say_beyond(config, &limits->huge, "the kernel refuses hugepages beyond it", text);
        return LEAT_ERR_LIMIT;
    }
    if (normal - elsewhere > limits->hard.bytes) {
        say_beyond(config, &limits->hard, "beyond it the kernel kills the process", text);
        return LEAT_ERR_LIMIT;
    }
    if (normal > limits->hard.bytes)
        say_beyond(config, &limits->hard, "they fit only while hugepages are free", text);
    else if (normal > limits->soft.bytes)
        say_beyond(config, &limits->soft, "beyond it the kernel throttles the process or swaps",
                   text);
    return LEAT_OK;
}
