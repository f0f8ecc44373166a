/* The ready line: what tells whoever started the broker where it is. A thread of its own writes it:
 * stdout may be a pipe that nobody reads, or a terminal that was stopped.
 *
 * Role: that. Must not know: what the line says. Threads: the main thread. */
#ifndef LEAT_BROKER_READY_H
#define LEAT_BROKER_READY_H

/* Writes `line`, which is malloc'ed and this call's from now on, to stdout; nobody waits for it. A
 * reader that never comes gets none of it, or a part. NULL, and failures: said in the log. */
void ready_say(char *line);
/* The end, whether or not the line was read. Before log_stop. */
void ready_stop(void);

#endif
