/* link_without ERROR CALL COMMAND...: runs it with the system call CALL refused, as by a kernel
 * that does not know it (ERROR: ENOSYS) or by a container's profile (EPERM). Without arguments:
 * prints the names of all CALLs it knows. Exit code 77: this machine has no such filters.
 *
 * Role: that, for scripts.
 * Must not know: what is run. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *name;
    uint32_t number;
} calls[] = {
    /* Newer than the oldest kernels, or refused by profiles that are older than they are. */
    { "accept4", SYS_accept4 },
    { "close_range", SYS_close_range },
    { "epoll_pwait2", SYS_epoll_pwait2 },
    { "faccessat2", SYS_faccessat2 },
    { "fallocate", SYS_fallocate },
    { "get_mempolicy", SYS_get_mempolicy },
    { "getrandom", SYS_getrandom },
    { "madvise", SYS_madvise },
    { "mbind", SYS_mbind },
    { "membarrier", SYS_membarrier },
    { "memfd_create", SYS_memfd_create },
    { "prctl", SYS_prctl },
    { "recvmmsg", SYS_recvmmsg },
    { "rseq", SYS_rseq },
    { "sched_setaffinity", SYS_sched_setaffinity },
    { "sendmmsg", SYS_sendmmsg },
    { "set_mempolicy", SYS_set_mempolicy },
    { "statx", SYS_statx },
};
enum { CALLS = sizeof calls / sizeof calls[0] };

static int refuse(uint32_t number, uint32_t error)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { sizeof code / sizeof code[0], code };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                   && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0
               ? 0
               : 77;
}

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc < 4 && i < CALLS; i++)
        puts(calls[i].name);
    if (argc < 4)
        return 0;
    const uint32_t error = strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS;
    for (unsigned i = 0; i < CALLS; i++) {
        if (strcmp(calls[i].name, argv[2]) != 0)
            continue;
        const int code = refuse(calls[i].number, error);
        if (code != 0)
            return code;
        execvp(argv[3], argv + 3);
        perror(argv[3]);
        return 127;
    }
    fprintf(stderr, "link_without: no call %s\n", argv[2]);
    return 2;
}
