/* Goal: a state file is read back exactly or refused; a refused one is untouched; two brokers never
 * share a folder; a replacement that fails leaves the old content. Method: real folders below /tmp;
 * every byte of a file is flipped and every length is cut. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "broker/state/statefile.h"
#include "schema/bytes.h"
#include "schema/crc32c.h"
#include "tests/support/refuse.h"

static char folder[64], path[128], text[STATEFILE_ERROR_TEXT];
static struct statefile file;
static uint32_t version;
static const uint8_t PAYLOAD[] = "what is to be kept";

static void set_up(void)
{
    snprintf(folder, sizeof folder, "/tmp/leat-test-statefile-XXXXXX");
    cr_assert_neq(mkdtemp(folder), NULL);
    snprintf(path, sizeof path, "%s/catalog", folder);
    cr_assert_eq(statefile_open(&file, folder, text), LEAT_OK, "%s", text);
}

static void tear_down(void)
{
    char command[128];
    statefile_close(&file);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(statefile, .init = set_up, .fini = tear_down);

static size_t get(uint8_t bytes[256])
{
    const int fd = open(path, O_RDONLY);
    const ssize_t got = read(fd, bytes, 256);
    cr_assert_gt(got, 0);
    close(fd);
    return (size_t)got;
}

static void put(const uint8_t *bytes, size_t size)
{
    const int fd = open(path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
    cr_assert_eq(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

Test(statefile, an_empty_folder_has_no_state)
{
    uint8_t *payload;
    size_t size;
    cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                 LEAT_OK);
    cr_assert_null(payload);
}

Test(statefile, what_is_written_is_read_and_nothing_is_left_aside)
{
    uint8_t *payload;
    size_t size;
    char aside[160];
    for (size_t length = 0; length <= sizeof PAYLOAD; length++) {
        cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, length, text), LEAT_OK,
                     "%s", text);
        cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                     LEAT_OK, "%s", text);
        cr_assert_eq(size, length);
        cr_assert_eq(memcmp(payload, PAYLOAD, length), 0);
        free(payload);
    }
    snprintf(aside, sizeof aside, "%s.new", path);
    cr_assert_neq(access(aside, F_OK), 0);
}

Test(statefile, every_cut_and_every_changed_byte_is_refused_and_left_as_it_is)
{
    uint8_t good[256], bad[256], now[256], *payload;
    size_t size;
    cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, sizeof PAYLOAD, text),
                 LEAT_OK);
    const size_t total = get(good);
    for (size_t cut = 1; cut < total; cut++) {
        put(good, cut);
        cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                     LEAT_ERR_STATE, "cut at %zu", cut);
        cr_assert_not_null(strstr(text, path));
    }
    for (size_t at = 0; at < total; at++) {
        memcpy(bad, good, total);
        bad[at] ^= 0x10;
        put(bad, total);
        cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                     LEAT_ERR_STATE, "byte %zu", at);
        cr_assert_eq(get(now), total);
        cr_assert_eq(memcmp(now, bad, total), 0, "a refused file was changed");
    }
    put(good, total);
    cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                 LEAT_OK);
    free(payload);
}

Test(statefile, a_newer_version_is_told_from_a_corrupt_file)
{
    uint8_t bytes[256], *payload;
    size_t size;
    cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, sizeof PAYLOAD, text),
                 LEAT_OK);
    const size_t total = get(bytes);
    leat_store32(bytes + 8, STATEFILE_VERSION + 1);
    leat_store32(bytes + total - 4, leat_crc32c(bytes, total - 4));
    put(bytes, total);
    cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                 LEAT_ERR_STATE);
    cr_assert_not_null(strstr(text, "newer"), "%s", text);
}

Test(statefile, an_older_version_is_read_and_named)
{
    uint8_t bytes[256], *payload;
    size_t size;
    cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, sizeof PAYLOAD, text),
                 LEAT_OK);
    const size_t total = get(bytes);
    for (uint32_t old = 0; old < STATEFILE_VERSION; old++) {
        leat_store32(bytes + 8, old);
        leat_store32(bytes + total - 4, leat_crc32c(bytes, total - 4));
        put(bytes, total);
        const enum leat_error error =
            statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text);
        cr_assert_eq(error, old == 0 ? LEAT_ERR_STATE : LEAT_OK);
        if (error == LEAT_OK)
            cr_assert(version == old && size == sizeof PAYLOAD);
        if (error == LEAT_OK)
            free(payload);
    }
}

Test(statefile, a_second_broker_is_refused_by_the_folders_name)
{
    struct statefile second;
    cr_assert_eq(statefile_open(&second, folder, text), LEAT_BUSY);
    cr_assert_not_null(strstr(text, folder), "%s", text);
    statefile_close(&file);
    cr_assert_eq(statefile_open(&second, folder, text), LEAT_OK, "%s", text);
    statefile_close(&second);
    cr_assert_eq(statefile_open(&file, folder, text), LEAT_OK);
}

Test(statefile, a_folder_that_cannot_be_made_is_named)
{
    struct statefile other;
    cr_assert_eq(statefile_open(&other, "/proc/leat", text), LEAT_ERR_IO);
    cr_assert_not_null(strstr(text, "/proc/leat"));
    cr_assert_eq(statefile_open(&other, path, text), LEAT_OK, "its last part is made");
    statefile_close(&other);
}

Test(statefile, a_write_that_fails_leaves_the_old_content)
{
    uint8_t *payload;
    size_t size;
    char aside[160];
    cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, sizeof PAYLOAD, text),
                 LEAT_OK);
    snprintf(aside, sizeof aside, "%s.new", path);
    cr_assert_eq(mkdir(aside, 0700), 0); /* no file can be written there */
    cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, 3, text), LEAT_ERR_IO);
    cr_assert_not_null(strstr(text, path));
    cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                 LEAT_OK);
    cr_assert_eq(size, sizeof PAYLOAD);
    free(payload);
}

/* ---- what somebody else put there */

static void refused_as(const char *what)
{
    uint8_t *payload;
    size_t size;
    cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                 LEAT_ERR_STATE);
    cr_assert_not_null(strstr(text, what), "%s", text);
    cr_assert_not_null(strstr(text, path), "%s", text);
}

Test(statefile, what_is_no_regular_file_is_refused_and_nobody_waits_for_it, .timeout = 20)
{
    cr_assert_eq(mkfifo(path, 0600), 0);
    refused_as("a fifo");
    unlink(path);
    cr_assert_eq(symlink("/etc/passwd", path), 0);
    refused_as("a symbolic link");
    unlink(path);
    cr_assert_eq(mkdir(path, 0700), 0);
    refused_as("a folder");
    rmdir(path);
    if (mknod(path, S_IFCHR | 0600, makedev(1, 5)) != 0)
        cr_skip_test("no device nodes can be made here");
    refused_as("a device");
}

/* Copies are often made with the modes of whoever makes them. */
Test(statefile, a_secret_that_every_user_may_read_is_refused)
{
    uint8_t *payload;
    size_t size;
    const struct statefile_kind *kind = &STATEFILE_SECRET;
    snprintf(path, sizeof path, "%s/secret", folder);
    cr_assert_eq(statefile_write(&file, kind, PAYLOAD, sizeof PAYLOAD, text), LEAT_OK, "%s", text);
    static const mode_t modes[] = { 0644, 0604, 0602, 0666, 0777 };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        cr_assert_eq(chmod(path, modes[i]), 0);
        cr_assert_eq(statefile_read(&file, kind, &payload, &size, &version, text), LEAT_ERR_STATE);
        cr_assert_null(payload);
        cr_assert_not_null(strstr(text, path), "%s", text);
        cr_assert_not_null(strstr(text, "chmod"), "%s", text);
    }
    cr_assert_eq(chmod(path, 0640), 0); /* a group may be given it */
    cr_assert_eq(statefile_read(&file, kind, &payload, &size, &version, text), LEAT_OK, "%s", text);
    free(payload);
}

Test(statefile, what_is_written_aside_is_a_new_file_of_its_own)
{
    char aside[160], victim[160];
    struct stat about;
    snprintf(aside, sizeof aside, "%s.new", path);
    snprintf(victim, sizeof victim, "%s/victim", folder);
    const int fd = open(victim, O_WRONLY | O_CREAT, 0644);
    cr_assert_eq(write(fd, "keep", 4), 4);
    close(fd);
    for (int linked = 0; linked < 3; linked++) {
        if (linked == 0)
            cr_assert_eq(symlink(victim, aside), 0);
        else if (linked == 1)
            cr_assert_eq(link(victim, aside), 0);
        else
            cr_assert_eq(mkfifo(aside, 0644), 0);
        cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, sizeof PAYLOAD, text),
                     LEAT_OK, "%s", text);
        cr_assert_eq(stat(victim, &about), 0);
        cr_assert_eq(about.st_size, 4, "another file was written to");
        cr_assert_eq(lstat(path, &about), 0);
        cr_assert(S_ISREG(about.st_mode));
        cr_assert_eq(about.st_mode & 07777, 0600);
    }
}

static void reopening_is_refused(const char *why)
{
    cr_assert_eq(statefile_open(&file, folder, text), LEAT_ERR_STATE, "%s", text);
    cr_assert_not_null(strstr(text, why), "%s", text);
    cr_assert_not_null(strstr(text, folder), "%s", text);
}

Test(statefile, a_folder_or_lock_of_somebody_else_is_refused, .timeout = 20)
{
    char lock[160];
    snprintf(lock, sizeof lock, "%s/lock", folder);
    statefile_close(&file);
    cr_assert_eq(chmod(folder, 0777), 0);
    reopening_is_refused("every user may write");
    cr_assert_eq(chmod(folder, 01777), 0);
    reopening_is_refused("every user may write");
    cr_assert_eq(chmod(folder, 0775), 0);
    unlink(lock);
    cr_assert_eq(symlink("/etc/passwd", lock), 0);
    reopening_is_refused("a symbolic link");
    unlink(lock);
    cr_assert_eq(mkfifo(lock, 0600), 0);
    reopening_is_refused("a fifo");
    unlink(lock);
    if (geteuid() != 0)
        cr_skip_test("only root can give a folder away");
    cr_assert_eq(chown(folder, 65534, (gid_t)-1), 0);
    reopening_is_refused("belongs to user 65534");
}

/* The name is the new file's by then, and nothing can be said of what a loss of power leaves. */
Test(statefile, a_folder_that_cannot_be_synced_is_told_as_what_it_is)
{
    uint8_t *payload;
    size_t size;
    cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, 3, text), LEAT_OK);
    if (!refuse_call_on(SYS_fsync, file.folder, EIO))
        cr_skip_test("no seccomp filters here");
    cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, 5, text), LEAT_ERR_IO);
    cr_assert_not_null(strstr(text, "was replaced, but its folder cannot be synced"), "%s", text);
    cr_assert_not_null(strstr(text, "it may have the old or the new content"), "%s", text);
    cr_assert_not_null(strstr(text, strerror(EIO)), "%s", text);
    cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                 LEAT_OK, "%s", text);
    cr_assert_eq(size, 5);
    free(payload);
}

/* Nothing has the name yet: the old content stands for sure. */
Test(statefile, a_file_that_cannot_be_synced_replaces_nothing)
{
    uint8_t *payload;
    size_t size;
    cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, 3, text), LEAT_OK);
    if (!refuse_call(SYS_fsync, EIO))
        cr_skip_test("no seccomp filters here");
    cr_assert_eq(statefile_write(&file, &STATEFILE_CATALOG, PAYLOAD, 5, text), LEAT_ERR_IO);
    cr_assert_not_null(strstr(text, "cannot be written aside"), "%s", text);
    cr_assert_eq(statefile_read(&file, &STATEFILE_CATALOG, &payload, &size, &version, text),
                 LEAT_OK, "%s", text);
    cr_assert_eq(size, 3);
    free(payload);
}
