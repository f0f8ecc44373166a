/* State files: files of one folder whose content is either wholly there or refused.
 *
 *      [ magic 8 ][ version u32 ][ zero u32 ][ size u64 ][ payload ... ][ crc32c u32 of all before
 * ]
 *
 * This envelope stays in every version, so that a newer file is told from a corrupt one. Files of
 * every version so far are read; what is written is of the newest.
 *
 * Role: lock the folder, read and check, replace without ever being half written.
 * Must not know: what the payload means.
 * Threads: its owner. Every call but statefile_check blocks on the disk. */
#ifndef LEAT_BROKER_STATE_STATEFILE_H
#define LEAT_BROKER_STATE_STATEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/error.h"

enum {
    STATEFILE_VERSION = 2,
    STATEFILE_HEADER_BYTES = 24,
    STATEFILE_OVERHEAD_BYTES = STATEFILE_HEADER_BYTES + 4,
    STATEFILE_BYTES_MAX = 1 << 30,
    STATEFILE_ERROR_TEXT = 1024,
    STATEFILE_PATH_MAX = 512,
    STATEFILE_NAME_MAX = 32,
};

struct statefile_kind {
    const char *name;
    const char *what; /* it keeps, for messages */
    bool is_secret;   /* refused when every user may read or write it */
};
extern const struct statefile_kind STATEFILE_CATALOG, STATEFILE_OFFSETS, STATEFILE_SECRET;

struct statefile {
    int folder; /* -1: not open */
    int lock;
    char path[STATEFILE_PATH_MAX]; /* of the folder, for messages */
};

/* Makes the folder when only its last part is missing, and locks it.
 * LEAT_BUSY: another broker has it. LEAT_ERR_STATE: it belongs to another user (root apart), every
 * user may write there, or the lock is no regular file. LEAT_ERR_IO. Then error_text names the
 * folder and what to do. */
enum leat_error statefile_open(struct statefile *f, const char *folder,
                               char error_text[STATEFILE_ERROR_TEXT]);
void statefile_close(struct statefile *f);

/* The payload, the caller frees *payload; NULL when there is no file yet. *version says how it is
 * to be read: 1 to STATEFILE_VERSION. LEAT_ERR_STATE (torn, corrupt, newer, no regular file, open
 * to every user), LEAT_ERR_IO, LEAT_ERR_NO_MEMORY: error_text says what is wrong and what to do;
 * the file is untouched. */
enum leat_error statefile_read(const struct statefile *f, const struct statefile_kind *kind,
                               uint8_t **payload, size_t *size, uint32_t *version,
                               char error_text[STATEFILE_ERROR_TEXT]);

/* Replaces the payload durably: written aside into a new file of mode 0600, synced, renamed, and
 * the folder synced. On an error the old content stands, but where error_text says that the folder
 * alone could not be synced: then the next start finds the old content or the new one, whole. A
 * caller who takes back what it wrote writes again. */
enum leat_error statefile_write(const struct statefile *f, const struct statefile_kind *kind,
                                const uint8_t *payload, size_t size,
                                char error_text[STATEFILE_ERROR_TEXT]);

/* The envelope of a whole file's bytes: *payload points into them. LEAT_ERR_STATE: *why is static
 * text. */
enum leat_error statefile_check(const uint8_t *bytes, size_t size, const uint8_t **payload,
                                size_t *payload_size, uint32_t *version, const char **why);

#endif
