/* Timers: a priority queue of deadlines, earliest first. */
#include "transport/timers.h"

#include <assert.h>
#include <stdlib.h>

enum leat_error timers_open(struct timers *timers, uint32_t capacity)
{
    timers->count = 0;
    timers->capacity = capacity;
    timers->heap = calloc((size_t)capacity + 1, sizeof(struct timer *));
    return timers->heap != NULL ? LEAT_OK : LEAT_ERR_NO_MEMORY;
}

void timers_close(struct timers *timers)
{
    free(timers->heap);
    timers->heap = NULL;
    timers->count = 0;
}

static void put(struct timers *timers, uint32_t place, struct timer *timer)
{
    timers->heap[place] = timer;
    timer->place = place;
}

static void sift_up(struct timers *timers, uint32_t place, struct timer *timer)
{
    while (place > 1 && timers->heap[place / 2]->at > timer->at) {
        put(timers, place, timers->heap[place / 2]);
        place /= 2;
    }
    put(timers, place, timer);
}

static void sift_down(struct timers *timers, uint32_t place, struct timer *timer)
{
    for (;;) {
        uint32_t child = 2 * place;
        if (child > timers->count)
            break;
        if (child < timers->count && timers->heap[child + 1]->at < timers->heap[child]->at)
            child++;
        if (timers->heap[child]->at >= timer->at)
            break;
        put(timers, place, timers->heap[child]);
        place = child;
    }
    put(timers, place, timer);
}

void timers_set(struct timers *timers, struct timer *timer, leat_ns at)
{
    if (at == LEAT_NS_NEVER || (timer->place != 0 && timer->at <= at))
        return;
    timer->at = at;
    if (timer->place == 0) {
        assert(timers->count < timers->capacity);
        timer->place = ++timers->count;
    }
    sift_up(timers, timer->place, timer);
}

void timers_remove(struct timers *timers, struct timer *timer)
{
    const uint32_t place = timer->place;
    if (place == 0)
        return;
    timer->place = 0;
    struct timer *last = timers->heap[timers->count--];
    if (last == timer)
        return;
    /* The last timer takes the free slot, and moves up or down from there. */
    if (place > 1 && timers->heap[place / 2]->at > last->at)
        sift_up(timers, place, last);
    else
        sift_down(timers, place, last);
}

struct timer *timers_due(struct timers *timers, leat_ns now)
{
    if (timers->count == 0 || timers->heap[1]->at > now)
        return NULL;
    struct timer *first = timers->heap[1];
    timers_remove(timers, first);
    return first;
}
