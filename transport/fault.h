/* Faults: handles SIGBUS from memory that a peer shares and truncates, or never allocated.
 *
 * A peer that shares a file with us may truncate it; accesses to our mapping of it then raise
 * SIGBUS. Not every file can be sealed against this: the memory of a peer's own DPDK, shared for
 * zero-copy, cannot. So peers' files are registered here. If one of them raises SIGBUS, its whole
 * mapping is replaced by zero pages: the burst that accessed it continues, and the peer is
 * disconnected later. A library may map files of peers that are unknown here. While a thread runs
 * in it (see fault_suspect), SIGBUS from any shared mapping is handled in the same way. Any other
 * SIGBUS is passed to the handler that was installed before.
 *
 * Role: the SIGBUS handler and its table of files.
 * Must not know: whose files they are.
 * Threads: any. */
#ifndef LEAT_TRANSPORT_FAULT_H
#define LEAT_TRANSPORT_FAULT_H

#include <stdbool.h>

/* Installs the handler, for the life of the process. False: it cannot be installed; see errno. */
bool fault_open(void);
/* Sets an eventfd that is written to at each handled fault; -1: none. After the return the previous
 * one is not used any more. */
void fault_tell(int wake);
/* Registers the file of `fd` as a peer's; `fd` may be closed afterwards. Returns a handle for the
 * functions below, valid until fault_forget; -1: no room. */
int fault_watch(int fd);
/* True if the file has raised a fault. -1: false. */
bool fault_met(int place);
/* Unregisters the file. -1: does nothing. */
void fault_forget(int place);

/* If not NULL, a fault of this thread in any shared mapping is a peer's and sets *fault_suspect.
 * The TLS model lets a signal handler read it in a library that was loaded with dlopen. */
extern _Thread_local _Atomic bool *fault_suspect __attribute__((tls_model("initial-exec")));
/* The same for all threads with this name, but without a flag that is set. `name` is not copied and
 * must stay valid. */
void fault_suspect_threads(const char *name);

#endif
