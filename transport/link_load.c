/* Loads the DPDK driver: link_dpdk_load of link_dpdk.h. Every program that may open a bypass port
 * contains this file, and none of them links DPDK.
 *
 * Role: finds libleat-dpdk.so in an installation or a build tree.
 * Must not know: DPDK.
 * Threads: any, one call at a time. */
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "transport/link_dpdk.h"

#define LIBRARY "libleat-dpdk.so"

struct search {
    void *library;
    char *error_text;
    size_t size; /* length of error_text */
};

static void note(struct search *s, const char *path, const char *why)
{
    const int n = snprintf(s->error_text + s->size, LINK_DPDK_ERROR_TEXT - s->size, "%s%s: %s",
                           s->size != 0 ? "; " : "", path, why);
    s->size += n > 0 ? (size_t)n : 0;
    if (s->size >= LINK_DPDK_ERROR_TEXT)
        s->size = LINK_DPDK_ERROR_TEXT - 1;
}

static void try(struct search *s, const char *path)
{
    if (s->library != NULL)
        return;
    if (strchr(path, '/') != NULL && access(path, F_OK) != 0) {
        note(s, path, "not found");
        return;
    }
    s->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (s->library == NULL)
        note(s, path, dlerror());
}

static void try_beside(struct search *s, const char *file, const char *relative)
{
    char folder[PATH_MAX], path[PATH_MAX + 64];
    if (snprintf(folder, sizeof folder, "%s", file) >= (int)sizeof folder)
        return;
    snprintf(path, sizeof path, "%s/%s" LIBRARY, dirname(folder), relative);
    try(s, path);
}

const struct link_dpdk_driver *link_dpdk_load(char error_text[LINK_DPDK_ERROR_TEXT])
{
    struct search s = { .error_text = error_text };
    char program[PATH_MAX];
    Dl_info here;
    error_text[0] = '\0';
    const ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n > 0) {
        program[n] = '\0';
        try_beside(&s, program, "../lib/");
        try_beside(&s, program, "");
    }
    /* libleat's folder, if this code is part of libleat. */
    static const char mine; /* dladdr finds the file that contains it */
    if (dladdr(&mine, &here) != 0 && here.dli_fname != NULL
        && strstr(here.dli_fname, ".so") != NULL)
        try_beside(&s, here.dli_fname, "");
    try(&s, LIBRARY);
    if (s.library == NULL) {
        note(&s, "the DPDK driver is missing",
             "build it with dpdk-dev, install leat-dpdk and DPDK's libraries");
        return NULL;
    }
    const struct link_dpdk_driver *driver = dlsym(s.library, "leat_dpdk_driver");
    if (driver == NULL || driver->abi != LINK_DPDK_ABI) {
        snprintf(error_text, LINK_DPDK_ERROR_TEXT,
                 LIBRARY
                 " has ABI version %u, expected %d: install the one that belongs to this program",
                 driver != NULL ? driver->abi : 0, LINK_DPDK_ABI);
        return NULL;
    }
    error_text[0] = '\0';
    return driver;
}
