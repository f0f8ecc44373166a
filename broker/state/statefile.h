/* clang-format off */
/* State files: files of one folder whose content is either whole or refused.
 *
 *      [ magic 8 ][ version u32 ][ zero u32 ][ size u64 ][ payload ... ][ crc32c u32 ]
 *        the checksum covers everything before it
 *
 * This envelope is the same in every version, so that a newer file is told from a corrupt one.
 * Files of every version so far are read; only the newest version is written.
 *
 * Role: lock the folder, read and check files, replace them atomically.
 * Must not know: what the payload means.
 * Threads: its owner's. Every call but statefile_check blocks on the disk. */
/* clang-format on */
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
    const char *what; /* what the file keeps, for messages */
    bool is_secret;   /* refused when every user may read or write it */
};
extern const struct statefile_kind STATEFILE_CATALOG, STATEFILE_OFFSETS, STATEFILE_SECRET;

struct statefile {
    int folder; /* -1: not open */
    int lock;
    char path[STATEFILE_PATH_MAX]; /* path of the folder, for messages */
};

/* Opens and locks the folder. Creates it if only its last component is missing. LEAT_BUSY: another
 * broker uses it. LEAT_ERR_STATE: it belongs to another user (root apart), every user may write to
 * it, or the lock is no regular file. LEAT_ERR_IO. On an error error_text names the folder and what
 * to do. */
enum leat_error statefile_open(struct statefile *f, const char *folder,
                               char error_text[STATEFILE_ERROR_TEXT]);
void statefile_close(struct statefile *f);

/* Reads the payload; the caller frees *payload. NULL: there is no file yet. *version says how to
 * decode it: 1 to STATEFILE_VERSION. Errors: LEAT_ERR_STATE (torn, corrupt, newer, no regular file,
 * open to every user), LEAT_ERR_IO, LEAT_ERR_NO_MEMORY; then error_text says what is wrong and what
 * to do. The file is unchanged. */
enum leat_error statefile_read(const struct statefile *f, const struct statefile_kind *kind,
                               uint8_t **payload, size_t *size, uint32_t *version,
                               char error_text[STATEFILE_ERROR_TEXT]);

/* Replaces the payload durably: writes a new file of mode 0600, syncs it, renames it, and syncs the
 * folder. On an error the old content is unchanged, except when error_text says that only the
 * folder could not be synced: then the next start finds either content, whole. A caller that takes
 * back what it wrote must write again. */
enum leat_error statefile_write(const struct statefile *f, const struct statefile_kind *kind,
                                const uint8_t *payload, size_t size,
                                char error_text[STATEFILE_ERROR_TEXT]);

/* Checks the envelope of a whole file; *payload points into `bytes`. LEAT_ERR_STATE: *why is static
 * text. */
enum leat_error statefile_check(const uint8_t *bytes, size_t size, const uint8_t **payload,
                                size_t *payload_size, uint32_t *version, const char **why);

#endif
