/* Goal: numbers are written by their owners and read out by anyone at the same time. Method: two
 * writers, one who registers and removes, one reader; under TSan too. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "ops/metrics.h"

enum { STEPS = 20000 };

static struct metrics *registry;
static metric numbers[2];
static _Atomic int done;

static void *bump(void *arg)
{
    for (int i = 0; i < 50 * STEPS; i++)
        metric_add(arg, 1);
    return NULL;
}

static void *come_and_go(void *arg)
{
    static metric passing;
    const struct metric_options options = {
        .name = "z", .help = "Comes and goes.", .kind = METRIC_GAUGE, .value = &passing
    };
    for (int i = 0; i < STEPS; i++) {
        if (metrics_register(registry, &options) != LEAT_OK)
            return &passing;
        metrics_unregister(registry, &passing, sizeof passing);
    }
    (void)arg;
    atomic_store(&done, 1);
    return NULL;
}

int main(void)
{
    pthread_t threads[3];
    void *said;
    if (metrics_open(&registry) != LEAT_OK)
        return 1;
    for (int i = 0; i < 2; i++) {
        const char *names[] = { "a", "b" };
        const struct metric_options options = {
            .name = names[i], .help = "A number.", .kind = METRIC_COUNTER, .value = &numbers[i]
        };
        if (metrics_register(registry, &options) != LEAT_OK)
            return 1;
        pthread_create(&threads[i], NULL, bump, &numbers[i]);
    }
    pthread_create(&threads[2], NULL, come_and_go, NULL);
    char text[1024];
    while (!atomic_load(&done))
        metrics_write(registry, text, sizeof text);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], &said);
    metrics_close(registry);
    const uint64_t total = metric_get(&numbers[0]) + metric_get(&numbers[1]);
    printf("%lu\n", (unsigned long)total);
    return said != NULL || total != 100u * STEPS;
}
