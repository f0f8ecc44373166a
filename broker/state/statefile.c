/* State files: files of one folder whose content is either whole or refused. */
#include "broker/state/statefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/bytes.h"
#include "schema/crc32c.h"

#define LOCK_NAME "lock"

static const uint8_t MAGIC[8] = { 'L', 'E', 'A', 'T', 'S', 'T', 'A', 'T' };

/* ---- the envelope */

enum leat_error statefile_check(const uint8_t *bytes, size_t size, const uint8_t **payload,
                                size_t *payload_size, uint32_t *version, const char **why)
{
    *why = "it is too short for a state file";
    if (size < STATEFILE_OVERHEAD_BYTES)
        return LEAT_ERR_STATE;
    *why = "it is not a state file of leatd: its first bytes are wrong";
    if (memcmp(bytes, MAGIC, sizeof MAGIC) != 0)
        return LEAT_ERR_STATE;
    *why = "it is torn: its length differs from the one in its header";
    if (leat_load64(bytes + 16) != size - STATEFILE_OVERHEAD_BYTES)
        return LEAT_ERR_STATE;
    *why = "it is corrupt: its checksum does not match its bytes";
    if (leat_load32(bytes + size - 4) != leat_crc32c(bytes, size - 4))
        return LEAT_ERR_STATE;
    *version = leat_load32(bytes + 8);
    *why = "it is of version 0, which no leatd writes";
    if (*version == 0)
        return LEAT_ERR_STATE;
    *why = "it was written by a newer version of leatd";
    if (*version > STATEFILE_VERSION)
        return LEAT_ERR_STATE;
    *payload = bytes + STATEFILE_HEADER_BYTES;
    *payload_size = size - STATEFILE_OVERHEAD_BYTES;
    return LEAT_OK;
}

/* ---- the folder */

static enum leat_error io_error(char error_text[STATEFILE_ERROR_TEXT], const char *what,
                                const char *path)
{
    snprintf(error_text, STATEFILE_ERROR_TEXT, "%s: %s: %s", path, what, strerror(errno));
    return LEAT_ERR_IO;
}

/* Anyone who may write to the folder controls the next run of the broker, and what it writes to. */
static enum leat_error check_folder(int folder, const char *path,
                                    char error_text[STATEFILE_ERROR_TEXT])
{
    struct stat about;
    if (fstat(folder, &about) != 0)
        return io_error(error_text, "the state folder cannot be examined", path);
    const uid_t user = geteuid();
    if (about.st_uid != user && about.st_uid != 0) {
        snprintf(error_text, STATEFILE_ERROR_TEXT,
                 "%s: the state folder belongs to user %u and leatd runs as user %u: give it to "
                 "that user (chown), or give another state_dir",
                 path, (unsigned)about.st_uid, (unsigned)user);
        return LEAT_ERR_STATE;
    }
    if ((about.st_mode & S_IWOTH) != 0) {
        snprintf(error_text, STATEFILE_ERROR_TEXT,
                 "%s: every user may write to the state folder (mode %04o): remove that "
                 "permission (chmod o-w), or give another state_dir",
                 path, (unsigned)about.st_mode & 07777u);
        return LEAT_ERR_STATE;
    }
    return LEAT_OK;
}

/* Opens `name` without following a symbolic link, and without waiting for a fifo's other end. -1:
 * errno says why; EINVAL: not a regular file. */
static int open_regular(int folder, const char *name, int flags)
{
    struct stat about;
    const int fd = openat(folder, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0 || (fstat(fd, &about) == 0 && S_ISREG(about.st_mode)))
        return fd;
    close(fd);
    errno = EINVAL;
    return -1;
}

static enum leat_error not_opened(char error_text[STATEFILE_ERROR_TEXT], const char *what,
                                  const char *path)
{
    if (errno != EINVAL && errno != ELOOP && errno != ENXIO && errno != EISDIR)
        return io_error(error_text, what, path);
    snprintf(error_text, STATEFILE_ERROR_TEXT,
             "%s: expected a regular file, found %s: leatd did not put it there; remove it", path,
             errno == ELOOP ? "a symbolic link" : "a folder, a fifo, a socket or a device");
    return LEAT_ERR_STATE;
}

static enum leat_error take_lock(struct statefile *f, char error_text[STATEFILE_ERROR_TEXT])
{
    char path[STATEFILE_PATH_MAX + sizeof LOCK_NAME + 1];
    snprintf(path, sizeof path, "%s/" LOCK_NAME, f->path);
    f->lock = open_regular(f->folder, LOCK_NAME, O_RDWR | O_CREAT);
    if (f->lock < 0)
        return not_opened(error_text,
                          "the state folder's lock cannot be created (leatd's user must be able to "
                          "write there)",
                          path);
    if (flock(f->lock, LOCK_EX | LOCK_NB) == 0)
        return LEAT_OK;
    if (errno != EWOULDBLOCK)
        return io_error(error_text, "the state folder cannot be locked", path);
    snprintf(error_text, STATEFILE_ERROR_TEXT,
             "%s: another leatd is using this state folder: stop it, or give this one a "
             "state_dir of its own",
             f->path);
    return LEAT_BUSY;
}

enum leat_error statefile_open(struct statefile *f, const char *folder,
                               char error_text[STATEFILE_ERROR_TEXT])
{
    f->lock = -1;
    f->folder = -1;
    if (snprintf(f->path, sizeof f->path, "%s", folder) >= (int)sizeof f->path) {
        snprintf(error_text, STATEFILE_ERROR_TEXT, "state_dir: a path of more than %d bytes",
                 STATEFILE_PATH_MAX - 1);
        return LEAT_ERR_INVALID;
    }
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return io_error(error_text,
                        "the state folder cannot be created (create it, or give another "
                        "state_dir)",
                        folder);
    f->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->folder < 0)
        return io_error(error_text, "the state folder cannot be opened", folder);
    enum leat_error error = check_folder(f->folder, folder, error_text);
    if (error == LEAT_OK)
        error = take_lock(f, error_text);
    if (error != LEAT_OK)
        statefile_close(f);
    return error;
}

void statefile_close(struct statefile *f)
{
    if (f->lock >= 0)
        close(f->lock);
    if (f->folder >= 0)
        close(f->folder);
    f->lock = f->folder = -1;
}

const struct statefile_kind STATEFILE_CATALOG = { "catalog", "topics", false };
const struct statefile_kind STATEFILE_OFFSETS = { "group-offsets", "group offsets", false };
const struct statefile_kind STATEFILE_SECRET = { "secret", "the key of resume tokens", true };

/* The path of a file, for messages. */
struct full_name {
    char text[STATEFILE_PATH_MAX + STATEFILE_NAME_MAX + 2];
};

static struct full_name name_of(const struct statefile *f, const struct statefile_kind *kind)
{
    struct full_name name;
    snprintf(name.text, sizeof name.text, "%s/%s", f->path, kind->name);
    return name;
}

/* ---- reading */

static bool read_all(int fd, uint8_t *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t got = read(fd, bytes + done, size - done);
        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            errno = got == 0 ? EIO : errno;
            return false;
        }
        done += got > 0 ? (size_t)got : 0;
    }
    return true;
}

/* Anyone who has read the secret can pose as any producer of this folder. */
static enum leat_error check_secret(const char *path, const struct stat *about,
                                    char error_text[STATEFILE_ERROR_TEXT])
{
    if ((about->st_mode & S_IRWXO) == 0)
        return LEAT_OK;
    snprintf(error_text, STATEFILE_ERROR_TEXT,
             "%s: every user may access it (mode %04o), but it is secret: remove that permission "
             "(chmod o-rwx), or remove the file if somebody may have read it; then producers can "
             "no longer prove what they were granted before",
             path, (unsigned)about->st_mode & 07777u);
    return LEAT_ERR_STATE;
}

static enum leat_error load(const char *path, int fd, bool is_secret, uint8_t **bytes, size_t *size,
                            char error_text[STATEFILE_ERROR_TEXT])
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return io_error(error_text, "cannot be read", path);
    if (is_secret && check_secret(path, &about, error_text) != LEAT_OK)
        return LEAT_ERR_STATE;
    if (about.st_size > STATEFILE_BYTES_MAX) {
        snprintf(error_text, STATEFILE_ERROR_TEXT, "%s: larger than any state file of leatd", path);
        return LEAT_ERR_STATE;
    }
    *size = (size_t)about.st_size;
    *bytes = malloc(*size + 1);
    if (*bytes == NULL) {
        snprintf(error_text, STATEFILE_ERROR_TEXT, "%s: no memory to read it", path);
        return LEAT_ERR_NO_MEMORY;
    }
    if (!read_all(fd, *bytes, *size)) {
        io_error(error_text, "cannot be read", path);
        free(*bytes);
        return LEAT_ERR_IO;
    }
    return LEAT_OK;
}

enum leat_error statefile_read(const struct statefile *f, const struct statefile_kind *kind,
                               uint8_t **payload, size_t *size, uint32_t *version,
                               char error_text[STATEFILE_ERROR_TEXT])
{
    uint8_t *bytes = NULL;
    size_t total = 0;
    const struct full_name path = name_of(f, kind);
    *payload = NULL;
    *size = 0;
    *version = STATEFILE_VERSION;
    const int fd = open_regular(f->folder, kind->name, O_RDONLY);
    if (fd < 0)
        return errno == ENOENT ? LEAT_OK : not_opened(error_text, "cannot be opened", path.text);
    enum leat_error error = load(path.text, fd, kind->is_secret, &bytes, &total, error_text);
    close(fd);
    if (error != LEAT_OK)
        return error;
    const uint8_t *inside;
    const char *why;
    error = statefile_check(bytes, total, &inside, size, version, &why);
    if (error != LEAT_OK) {
        snprintf(error_text, STATEFILE_ERROR_TEXT,
                 "%s: %s. It was left as it is: restore it from a copy, run the leatd that wrote "
                 "it, or move it away to start without %s",
                 path.text, why, kind->what);
        free(bytes);
        return error;
    }
    memmove(bytes, inside, *size);
    *payload = bytes;
    return LEAT_OK;
}

/* ---- writing */

static bool write_all(int fd, const uint8_t *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        const ssize_t put = write(fd, bytes + done, size - done);
        if (put < 0 && errno != EINTR)
            return false;
        done += put > 0 ? (size_t)put : 0;
    }
    return true;
}

static uint8_t *wrap(const uint8_t *payload, size_t size)
{
    uint8_t *bytes = malloc(size + STATEFILE_OVERHEAD_BYTES);
    if (bytes == NULL)
        return NULL;
    memcpy(bytes, MAGIC, sizeof MAGIC);
    leat_store32(bytes + 8, STATEFILE_VERSION);
    leat_store32(bytes + 12, 0);
    leat_store64(bytes + 16, size);
    if (size > 0)
        memcpy(bytes + STATEFILE_HEADER_BYTES, payload, size);
    leat_store32(bytes + STATEFILE_HEADER_BYTES + size,
                 leat_crc32c(bytes, STATEFILE_HEADER_BYTES + size));
    return bytes;
}

enum leat_error statefile_write(const struct statefile *f, const struct statefile_kind *kind,
                                const uint8_t *payload, size_t size,
                                char error_text[STATEFILE_ERROR_TEXT])
{
    const struct full_name path = name_of(f, kind);
    char aside[STATEFILE_NAME_MAX + 1];
    snprintf(aside, sizeof aside, "%s.new", kind->name);
    if (size > STATEFILE_BYTES_MAX - STATEFILE_OVERHEAD_BYTES) {
        snprintf(error_text, STATEFILE_ERROR_TEXT, "%s: more %s than it can hold", path.text,
                 kind->what);
        return LEAT_ERR_LIMIT;
    }
    uint8_t *bytes = wrap(payload, size);
    if (bytes == NULL) {
        snprintf(error_text, STATEFILE_ERROR_TEXT, "%s: no memory to write it", path.text);
        return LEAT_ERR_NO_MEMORY;
    }
    enum leat_error error = LEAT_OK;
    /* Always create a new file: an existing one of that name may be a link. */
    unlinkat(f->folder, aside, 0);
    const int fd =
        openat(f->folder, aside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || !write_all(fd, bytes, size + STATEFILE_OVERHEAD_BYTES) || fsync(fd) != 0)
        error = io_error(error_text, "cannot be written aside", path.text);
    free(bytes);
    if (fd >= 0)
        close(fd);
    if (error == LEAT_OK && renameat(f->folder, aside, f->folder, kind->name) != 0)
        error = io_error(error_text, "cannot be replaced", path.text);
    if (error != LEAT_OK) {
        unlinkat(f->folder, aside, 0);
        return error;
    }
    if (fsync(f->folder) == 0)
        return LEAT_OK;
    /* This cannot be undone: writing the old content back needs the same sync. */
    return io_error(
        error_text,
        "was replaced, but its folder cannot be synced: after a power failure it may have "
        "the old or the new content",
        path.text);
}
