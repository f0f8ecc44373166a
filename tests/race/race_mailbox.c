/* Goal: one sender and one receiver that sleeps whenever it can: every message arrives once, in
 * order, and no wake-up is lost (a lost one would hang: the alarm ends it). Method: two threads,
 * under TSan too. */
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/shared/mailbox.h"

enum { MESSAGES = 200000 };

static void *send_all(void *arg)
{
    struct mailbox *box = arg;
    for (uint64_t i = 0; i < MESSAGES;) {
        const struct message m = { .type = MESSAGE_SEEK, .value = i, .request = ~i };
        if (mailbox_send(box, &m) == LEAT_OK)
            i++;
    }
    return NULL;
}

int main(void)
{
    alarm(60);
    struct mailbox *box = aligned_alloc(64, sizeof *box);
    assert(box != NULL);
    mailbox_init(box, eventfd(0, EFD_NONBLOCK));
    pthread_t sender;
    if (pthread_create(&sender, NULL, send_all, box) != 0)
        return 1;
    uint64_t expected = 0, slept = 0;
    while (expected < MESSAGES) {
        struct message m;
        while (mailbox_receive(box, &m)) {
            if (m.value != expected || m.request != ~expected) {
                fprintf(stderr, "got %lu, expected %lu\n", (unsigned long)m.value,
                        (unsigned long)expected);
                return 1;
            }
            expected++;
        }
        if (expected < MESSAGES && mailbox_prepare_sleep(box)) {
            struct pollfd wait = { .fd = box->eventfd, .events = POLLIN };
            uint64_t count;
            slept++;
            if (poll(&wait, 1, -1) != 1 || read(box->eventfd, &count, sizeof count) < 0)
                return 1;
            mailbox_awake(box);
        }
    }
    pthread_join(sender, NULL);
    printf("%d messages, slept %lu times\n", MESSAGES, (unsigned long)slept);
    close(box->eventfd);
    free(box);
    return 0;
}
