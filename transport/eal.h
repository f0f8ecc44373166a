/* EAL: DPDK's environment abstraction layer, started inside the application's process.
 *
 * Role: starts EAL once, from checked options. rte_eal_init runs on a temporary thread, so that the
 * caller's affinity and signal mask do not change. Builds the EAL arguments; no user-supplied
 * string is among them. Keeps the last lines that EAL and the device drivers logged, for error
 * texts.
 * Must not know: ports, links.
 * Threads: eal_start one call at a time; eal_last_error any. */
#ifndef LEAT_TRANSPORT_EAL_H
#define LEAT_TRANSPORT_EAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"
#include "transport/link_dpdk.h"

/* Starts EAL. Returns LEAT_OK, LEAT_ERR_UNSUPPORTED, LEAT_ERR_NO_MEMORY or LEAT_ERR_IO; after an
 * error, error_text says what to do. LEAT_OK with a non-empty error_text is a notice to be logged.
 * LEAT_OK also if EAL runs already, started by us or by the application. Processes of one machine
 * take hugepages one after another, so this may block for up to 10 s. */
enum leat_error eal_start(const struct link_dpdk_eal *options,
                          char error_text[LINK_DPDK_ERROR_TEXT]);
/* True if EAL uses hugepages, false if it uses normal pages. */
bool eal_has_hugepages(void);
/* True if EAL scanned the PCI bus, or if the application started EAL. */
bool eal_has_pci(void);

/* The last lines logged since eal_forget_errors, newest last, joined into one line of at most
 * `size` bytes with its NUL; "" if there are none. */
void eal_last_error(char *out, size_t size);
void eal_forget_errors(void);

#endif
