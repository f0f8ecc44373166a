/* Goal: messages come out as they went in, a full mailbox refuses and loses nothing, and a sleeper
 * is woken exactly when it sleeps. Method: one thread plays both sides; race_mailbox.c does it with
 * two. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "broker/shared/mailbox.h"

static struct mailbox *new_box(void)
{
    struct mailbox *box = aligned_alloc(64, sizeof *box);
    cr_assert_neq(box, NULL);
    const int fd = eventfd(0, EFD_NONBLOCK);
    cr_assert_geq(fd, 0);
    mailbox_init(box, fd);
    return box;
}

static bool was_woken(const struct mailbox *box)
{
    uint64_t count;
    return read(box->eventfd, &count, sizeof count) == sizeof count;
}

Test(mailbox, keeps_order_and_refuses_when_full_over_many_laps)
{
    struct mailbox *box = new_box();
    uint64_t sent = 0, received = 0;
    for (int lap = 0; lap < 5; lap++) {
        struct message m = { .type = MESSAGE_SEEK };
        for (;;) {
            m.value = sent;
            if (mailbox_send(box, &m) == LEAT_BUSY)
                break;
            sent++;
        }
        cr_assert_eq(sent - received, (uint64_t)MAILBOX_SLOTS);
        for (int i = 0; i < MAILBOX_SLOTS / 2 + lap; i++) {
            cr_assert(mailbox_receive(box, &m));
            cr_assert_eq(m.value, received++);
        }
    }
    struct message m;
    while (mailbox_receive(box, &m))
        cr_assert_eq(m.value, received++);
    cr_assert_eq(received, sent);
    close(box->eventfd);
    free(box);
}

Test(mailbox, wakes_a_sleeper_and_nobody_else)
{
    struct mailbox *box = new_box();
    struct message m = { .type = MESSAGE_STOP };
    cr_assert_eq(mailbox_send(box, &m), LEAT_OK);
    cr_assert_not(was_woken(box), "the receiver does not sleep: no system call for it");
    cr_assert_not(mailbox_prepare_sleep(box), "something waits: it must not sleep");
    cr_assert(mailbox_receive(box, &m));
    cr_assert(mailbox_prepare_sleep(box));
    cr_assert_eq(mailbox_send(box, &m), LEAT_OK);
    cr_assert(was_woken(box));
    mailbox_awake(box);
    cr_assert_eq(mailbox_send(box, &m), LEAT_OK);
    cr_assert_not(was_woken(box));
    close(box->eventfd);
    free(box);
}
