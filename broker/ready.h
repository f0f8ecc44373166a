/* The ready line: tells the process that started leatd the addresses of the broker.
 *
 * Role: writes the line from a thread of its own, because stdout may be a pipe that nobody reads or
 * a stopped terminal.
 * Must not know: the content of the line.
 * Threads: the main thread. */
#ifndef LEAT_BROKER_READY_H
#define LEAT_BROKER_READY_H

/* Starts writing `line` to stdout and returns at once. Takes ownership of `line` (malloc'ed). If
 * the reader does not read, the line may be written in part or not at all. NULL (no memory) and
 * failures are logged. */
void ready_say(char *line);
/* Ends the thread, whether or not the line was read. Call before log_stop. */
void ready_stop(void);

#endif
