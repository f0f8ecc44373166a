/* The ready line: tells the process that started leatd the addresses of the broker. */
#include "broker/ready.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ops/log.h"

static pthread_t thread;
static bool started;
static char *line;

/* The process that waits for the line would wait forever. */
static void complain(int error)
{
    log_line(LOG_WARN, "leatd.ready_unsaid", log_text("stdout", strerror(error)));
}

static void *run(void *unused)
{
    (void)unused;
    for (size_t done = 0, size = strlen(line); done < size;) {
        const ssize_t wrote = write(STDOUT_FILENO, line + done, size - done);
        struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
        if (wrote > 0) {
            done += (size_t)wrote;
        } else if (wrote < 0 && errno == EAGAIN) { /* another process made it non-blocking */
            poll(&out, 1, -1);
        } else if (wrote == 0 || errno != EINTR) {
            pthread_setcancelstate(PTHREAD_CANCEL_DISABLE,
                                   NULL); /* log_line must not be cancelled: it holds a lock */
            complain(wrote == 0 ? EIO : errno);
            return NULL;
        }
    }
    return NULL;
}

void ready_say(char *text)
{
    line = text;
    const int error = text != NULL ? pthread_create(&thread, NULL, run, NULL) : ENOMEM;
    started = error == 0;
    if (!started)
        complain(error);
}

void ready_stop(void)
{
    if (started) {
        pthread_cancel(thread); /* takes effect in write or poll; otherwise the thread returns */
        pthread_join(thread, NULL);
    }
    started = false;
    free(line);
    line = NULL;
}
