/* Finds the DPDK driver. The only file that knows it is a library of its own. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "transport/link_dpdk.h"

#define LIBRARY "libleat-dpdk.so"
#define SYMBOL "leat_dpdk_driver"

/* The folder that holds `path`, cut off there. */
static void cut_to_folder(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash != NULL)
        *slash = '\0';
}

static void *open_beside(const char *folder, const char *below)
{
    char path[PATH_MAX];
    const int length = snprintf(path, sizeof path, "%s%s/" LIBRARY, folder, below);
    return length > 0 && length < (int)sizeof path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
}

static void *open_library(void)
{
    char folder[PATH_MAX];
    Dl_info here;
    void *library = NULL;
    const ssize_t size = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (size > 0) {
        folder[size] = '\0';
        cut_to_folder(folder);
        library = open_beside(folder, "/../lib");
    }
    if (library == NULL && dladdr(SYMBOL, &here) != 0 && here.dli_fname != NULL
        && strlen(here.dli_fname) < sizeof folder) {
        strcpy(folder, here.dli_fname);
        cut_to_folder(folder);
        library = open_beside(folder, "");
    }
    return library != NULL ? library : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

const struct link_dpdk_driver *link_dpdk_load(char error_text[LINK_DPDK_ERROR_TEXT])
{
    static const struct link_dpdk_driver *driver;
    if (driver != NULL)
        return driver;
    void *library = open_library();
    if (library == NULL) {
        snprintf(error_text, LINK_DPDK_ERROR_TEXT,
                 "a bypass port needs " LIBRARY
                 " and DPDK: %.300s; install it beside libleat, or use "
                 "tcp:// or udp://",
                 dlerror());
        return NULL;
    }
    const struct link_dpdk_driver *found = dlsym(library, SYMBOL);
    if (found == NULL || found->abi != LINK_DPDK_ABI) {
        snprintf(error_text, LINK_DPDK_ERROR_TEXT,
                 LIBRARY " is of another version (%u, expected %d): install the one that came with "
                         "this program",
                 found != NULL ? found->abi : 0u, LINK_DPDK_ABI);
        dlclose(library);
        return NULL;
    }
    driver = found; /* stays loaded: EAL cannot be started twice */
    return driver;
}
