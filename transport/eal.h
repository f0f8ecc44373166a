/* EAL: DPDK's environment, started from checked options inside somebody else's process.
 *
 * Role: starts it once, on a thread that ends with it, so that the caller's affinity and signal
 * mask stay as they were; builds its arguments (no string of a user is among them); keeps what it
 * and the device drivers log, so that an error can say why. Must not know: ports, links. Threads:
 * eal_start one at a time; eal_last_error any. */
#ifndef LEAT_TRANSPORT_EAL_H
#define LEAT_TRANSPORT_EAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"
#include "transport/link_dpdk.h"

/* Processes of one machine start one after another, because of their hugepages: waits for others,
 * 10 s at most. LEAT_OK with a text: a notice. Started before, by us or by the application:
 * LEAT_OK. */
enum leat_error eal_start(const struct link_dpdk_eal *options,
                          char error_text[LINK_DPDK_ERROR_TEXT]);
/* Normal pages instead of hugepages. */
bool eal_has_hugepages(void);
/* PCI devices were looked for. */
bool eal_has_pci(void);

/* The last lines logged since eal_forget_errors, newest last, as one line; "" if there are none. */
void eal_last_error(char *out, size_t size);
void eal_forget_errors(void);

#endif
