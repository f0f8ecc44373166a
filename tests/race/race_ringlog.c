/* Goal: bytes that are pinned stay as they are until the other thread unpins them, and the writer
 * goes on once it did. Method: one writer, SENDERS threads that compare what was pinned for them
 * with what was written there; what begins a chunk is held until the writer says that it stopped at
 * a pin, and is then the first that it overwrites. Unless unpinning
 * orders it that is a race: clang's TSan reports it, gcc 12's was seen to miss it. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "broker/log/ringlog.h"
#include "tests/support/seeded.h"

enum { RING = 1 << 17, SENDERS = 2, APPENDS = 40000, APPEND_MAX = 1024 };

/* One job at a time for each sender: the writer fills it and sets `given`, the sender clears it. */
static struct job {
    _Atomic bool given;
    uint64_t position;
    uint64_t size;
    uint32_t chunk;
    bool hold;
} jobs[SENDERS];

static struct ringlog ring;
static _Atomic uint64_t stops; /* times the writer met a pin */
static _Atomic bool done, wrong;

static uint8_t byte_at(uint64_t position)
{
    return (uint8_t)(position * 2654435761u >> 13);
}

static void *send_jobs(void *arg)
{
    struct job *job = arg;
    for (;;) {
        const bool last = atomic_load_explicit(&done, memory_order_acquire);
        /* Pairs with the release in give: the job is whole, its bytes are written. */
        if (!atomic_load_explicit(&job->given, memory_order_acquire)) {
            if (last)
                return NULL;
            sched_yield();
            continue;
        }
        const uint64_t before = atomic_load(&stops);
        while (job->hold && atomic_load(&stops) == before && !atomic_load(&done))
            sched_yield();
        const uint8_t *bytes = ringlog_at(&ring, job->position);
        for (uint64_t i = 0; i < job->size; i++)
            if (bytes[i] != byte_at(job->position + i))
                atomic_store(&wrong, true);
        ringlog_unpin(&ring, job->chunk);
        atomic_store_explicit(&job->given, false, memory_order_release);
    }
}

/* What was just appended, or the part of it that begins a chunk. */
static void give(struct job *job, uint64_t size)
{
    const uint64_t begun = ring.tail % LEAT_CHUNK_BYTES; /* bytes of the newest chunk */
    job->hold = begun != 0 && begun <= size;
    job->size = job->hold ? begun : size;
    job->position = ring.tail - job->size;
    job->chunk = ringlog_pin(&ring, job->position, job->size);
    atomic_store_explicit(&job->given, true, memory_order_release);
}

static void write_all(void)
{
    struct seeded random = seeded_start("race_ringlog");
    uint8_t bytes[APPEND_MAX];
    for (int i = 0; i < APPENDS; i++) {
        const uint64_t size = 8 + 8 * (uint64_t)seeded_below(&random, APPEND_MAX / 8);
        for (uint64_t k = 0; k < size; k++)
            bytes[k] = byte_at(ring.tail + k);
        while (ringlog_pinned(&ring, size)) {
            atomic_fetch_add(&stops, 1);
            sched_yield();
        }
        if (ringlog_free(&ring) < size)
            ringlog_release(&ring, ring.head + size);
        ringlog_append(&ring, bytes, size);
        struct job *job = &jobs[seeded_below(&random, SENDERS)];
        if (!atomic_load_explicit(&job->given, memory_order_acquire))
            give(job, size);
    }
}

int main(void)
{
    struct logmem_budget budget = { .limit_bytes = RING, .pages = LOGMEM_NORMAL };
    pthread_t senders[SENDERS];
    uint64_t missing;
    if (ringlog_open(&ring, RING, 0, &budget, &missing) != LEAT_OK)
        return 1;
    for (int i = 0; i < SENDERS; i++)
        pthread_create(&senders[i], NULL, send_jobs, &jobs[i]);
    write_all();
    atomic_store_explicit(&done, true, memory_order_release);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(senders[i], NULL);
    const bool pinned = ringlog_pinned(&ring, RING);
    const bool failed = atomic_load(&wrong) || pinned || atomic_load(&stops) == 0;
    printf("race_ringlog: the writer met a pin %llu times%s%s\n",
           (unsigned long long)atomic_load(&stops), pinned ? "; a pin was left" : "",
           atomic_load(&wrong) ? "; pinned bytes changed" : "");
    ringlog_close(&ring, &budget);
    return failed;
}
