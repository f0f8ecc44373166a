/* Standard files: keeps descriptors 0, 1 and 2 from being used for other files.
 *
 * If a program is started with one of them closed (`leatd 2>&-`, some supervisors), the next file
 * it opens gets that number, and the program would write its log into a socket or a state file.
 *
 * Role: opens the closed ones.
 * Must not know: what is read or written there.
 * Threads: call it first in main(), before anything else opens a file. */
#ifndef LEAT_OPS_STANDARD_FILES_H
#define LEAT_OPS_STANDARD_FILES_H

/* Opens /dev/null for each of the three that is closed, in the opposite direction (stdin
 * write-only, stdout and stderr read-only): using it still fails with EBADF, and no other file gets
 * its number. */
void standard_files_keep(void);

#endif
