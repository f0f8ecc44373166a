/* Lines that a program of the group tests leaves behind: written whole, in one call, before what
 * they say is acted on, so that a kill leaves at most a torn last line, which counts as not there.
 *
 * Role: a buffer before a file.
 * Must not know: what the lines say.
 * Threads: the owner's. */
#ifndef LEAT_TESTS_SUPPORT_GROUP_LINES_H
#define LEAT_TESTS_SUPPORT_GROUP_LINES_H

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { GROUP_LINES_BYTES = 1 << 16, GROUP_LINE_MAX = 512 };

struct group_lines {
    int fd;
    size_t used;
    char text[GROUP_LINES_BYTES];
};

/* Wall clock, ns: one for all processes of the machine, and for the script that starts them. */
static inline uint64_t group_lines_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static inline void group_lines_open(struct group_lines *lines, const char *path)
{
    lines->used = 0;
    lines->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (lines->fd < 0) {
        perror(path);
        exit(1);
    }
}

static inline void group_lines_write(struct group_lines *lines)
{
    const size_t size = lines->used;
    lines->used = 0;
    if (size != 0 && write(lines->fd, lines->text, size) != (ssize_t)size) {
        perror("write");
        exit(1);
    }
}

__attribute__((format(printf, 2, 3))) static inline void group_lines_add(struct group_lines *lines,
                                                                         const char *format, ...)
{
    va_list arguments;
    if (lines->used + GROUP_LINE_MAX > sizeof lines->text)
        group_lines_write(lines);
    va_start(arguments, format);
    const int size = vsnprintf(lines->text + lines->used, GROUP_LINE_MAX, format, arguments);
    va_end(arguments);
    if (size > 0)
        lines->used += size < GROUP_LINE_MAX ? (size_t)size : GROUP_LINE_MAX - 1;
}

#endif
