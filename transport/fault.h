/* Faults: memory of a peer that goes away while it is used, or was never there.
 *
 * Who shares a file with us may shorten it, and what we mapped of it raises SIGBUS from then on.
 * Not every file can be sealed against that: the memory of a peer's own DPDK, which it gives away
 * for zero-copy, cannot. So the files of peers are known here, and where one of them raises SIGBUS
 * its whole mapping becomes zeros of our own: the burst that stands in it goes on, and the peer is
 * hung up on. A library may map files of peers that nobody can name here; while a thread is in it,
 * whatever is shared and has no memory is a peer's. Any other SIGBUS goes where it would have gone
 * without us.
 *
 * Role: that. Must not know: whose the files are. Threads: any. */
#ifndef LEAT_TRANSPORT_FAULT_H
#define LEAT_TRANSPORT_FAULT_H

#include <stdbool.h>

/* False: no handler can be set. It stays set. */
bool fault_open(void);
/* An eventfd that hears of each; -1: none does. When this returns, the one before is not used. */
void fault_tell(int wake);
/* The file of `fd` is a peer's. Its place, until it is forgotten; -1: no room. */
int fault_watch(int fd);
/* Memory of it was gone. */
bool fault_met(int place);
void fault_forget(int place);

/* Not NULL: what this thread finds gone in shared memory is a peer's, whatever the file, and this
 * hears of it. The model of its storage lets a handler read it in a library that was loaded late.
 */
extern _Thread_local _Atomic bool *fault_suspect __attribute__((tls_model("initial-exec")));
/* The same of all threads with this name, which stays the caller's and is kept; nobody hears. */
void fault_suspect_threads(const char *name);

#endif
