/* DPDK retry: opens a device again that the previous process may still hold.
 *
 * The kernel releases an af_xdp queue some time after its process has ended, and refuses to bind
 * the queue until then. Without retries a broker could not be restarted at once. A driver cannot
 * retry after a refusal, so each attempt opens the port from the beginning.
 *
 * Role: the retries.
 * Must not know: how a port is opened.
 * Threads: control's. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "transport/link_dpdk_port.h"

enum { TRIES = 40, PAUSE_MS = 50 };

enum leat_error link_dpdk_open(struct link_dpdk_port **out, const struct link_dpdk_options *options,
                               char error_text[LINK_DPDK_ERROR_TEXT])
{
    const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
    char said[LINK_DPDK_ERROR_TEXT];
    enum leat_error error = link_dpdk_try(out, options, error_text);
    for (int i = 1; error == LEAT_BUSY && i < TRIES; i++) {
        nanosleep(&pause, NULL);
        error = link_dpdk_try(out, options, error_text);
    }
    if (error != LEAT_BUSY)
        return error;
    memcpy(said, error_text, sizeof said);
    const int n =
        snprintf(error_text, LINK_DPDK_ERROR_TEXT,
                 "%s: another process may use this queue of the interface: ", options->device);
    if (n > 0 && n < LINK_DPDK_ERROR_TEXT)
        snprintf(error_text + n, (size_t)(LINK_DPDK_ERROR_TEXT - n), "%s", said);
    return LEAT_ERR_IO;
}
