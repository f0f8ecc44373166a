/* Faults: memory of a peer that goes away while it is used.
 *
 * Who shares a file with us may shorten it, and what we mapped of it raises SIGBUS from then on.
 * Not every file can be sealed against that: the memory of a peer's own DPDK, which it gives away
 * for zero-copy, cannot. So the files of peers are known here, and where one of them raises SIGBUS
 * its whole mapping becomes zeros of our own: the burst that stands in it goes on, and the peer is
 * hung up on. Any other SIGBUS goes where it would have gone without us.
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

#endif
