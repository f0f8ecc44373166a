/* Standard files: descriptors 0, 1 and 2 stay what they are for.
 *
 * A program that is started with one of them closed (`leatd 2>&-`, some supervisors) gets that
 * number for the next file it opens, and then writes its log into a socket or its state. Role: fill
 * the holes. Must not know: what is read or written there. Call it first in main(), before anything
 * else opens a file. */
#ifndef LEAT_OPS_STANDARD_FILES_H
#define LEAT_OPS_STANDARD_FILES_H

/* Where one of the three is closed, puts a file that can be neither read nor written as it would be
 * used: using it fails as it did before, and nothing else gets its number. */
void standard_files_keep(void);

#endif
