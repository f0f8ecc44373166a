/* Goal: memory of a peer that goes away ends nothing, whichever threads are in it at once, whatever
 * else the process lacks; errno is what it was; a SIGBUS that has another reason goes to who had
 * asked for it before. Method: real files and faults; rounds in which threads fault together. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "transport/fault.h"

enum { THREADS = 4, ROUNDS = 2000, BYTES = 1 << 20, ERRNO = 77 };

static void must(bool right, const char *what)
{
    if (right)
        return;
    fprintf(stderr, "%s (%s)\n", what, strerror(errno));
    abort(); /* also in a thread */
}

static sigjmp_buf back;
static volatile sig_atomic_t theirs;

static void their_handler(int signal)
{
    (void)signal;
    theirs = theirs + 1;
    siglongjmp(back, 1);
}

static void set_up(void)
{
    struct sigaction action = { .sa_handler = their_handler };
    must(sigaction(SIGBUS, &action, NULL) == 0 && fault_open(), "sigaction");
}

TestSuite(fault, .init = set_up, .timeout = 120);

static int new_file(void)
{
    const int fd = memfd_create("shared", MFD_CLOEXEC);
    must(fd >= 0 && ftruncate(fd, BYTES) == 0, "a file");
    return fd;
}

static uint8_t *map(int fd)
{
    uint8_t *at = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(at != MAP_FAILED, "mmap");
    memset(at, 1, BYTES);
    return at;
}

static void unmap(uint8_t *at)
{
    munmap(at, BYTES);
}

/* A read that happens. */
static uint8_t look(const uint8_t *at)
{
    return *(const volatile uint8_t *)at;
}

/* ---- threads */

static pthread_barrier_t all;
static uint8_t *mapped;
static size_t places[THREADS];

static void *fault_each_round(void *argument)
{
    const size_t *place = argument;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&all); /* the memory is gone */
        errno = ERRNO;
        const uint8_t found = look(mapped + *place);
        must(errno == ERRNO, "errno is another one after a fault");
        must(found == 0, "no zeros in the place of what is gone");
        mapped[*place] = 2; /* it may be written, too */
        pthread_barrier_wait(&all);
    }
    return NULL;
}

Test(fault, threads_that_fault_together_all_go_on)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&all, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++) {
        places[i] = i * (BYTES / THREADS);
        must(pthread_create(&threads[i], NULL, fault_each_round, &places[i]) == 0, "a thread");
    }
    for (int i = 0; i < ROUNDS; i++) {
        const int fd = new_file(), place = fault_watch(fd), second = fault_watch(fd);
        uint64_t heard = 0;
        const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        fault_tell(wake);
        mapped = map(fd);
        must(place >= 0 && second >= 0 && !fault_met(place), "a place");
        must(ftruncate(fd, 0) == 0, "ftruncate");
        pthread_barrier_wait(&all);
        pthread_barrier_wait(&all);
        must(fault_met(place) && fault_met(second), "who watches is not told");
        must(read(wake, &heard, sizeof heard) == sizeof heard, "who waits is not woken");
        fault_tell(-1);
        fault_forget(place);
        fault_forget(second);
        unmap(mapped);
        close(wake);
        close(fd);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all);
}

/* ---- others */

static void fault_alone(void)
{
    const int fd = new_file(), place = fault_watch(fd);
    uint8_t *at = map(fd);
    must(ftruncate(fd, 0) == 0 && place >= 0, "ftruncate");
    must(look(at + BYTES / 2) == 0 && fault_met(place), "a fault");
    fault_forget(place);
    unmap(at);
    close(fd);
}

/* A file that nobody watches. */
static void fault_of_others(void)
{
    const int fd = new_file();
    uint8_t *at = map(fd);
    must(ftruncate(fd, 0) == 0, "ftruncate");
    if (sigsetjmp(back, 1) == 0) {
        look(at);
        must(false, "what was to fault did not");
    }
    unmap(at);
    close(fd);
}

static void *fault_suspected(void *name)
{
    const int fd = new_file();
    uint8_t *at = map(fd);
    must(pthread_setname_np(pthread_self(), name) == 0 && ftruncate(fd, 0) == 0, "a thread's name");
    must(look(at) == 0, "no zeros in the place of what is gone");
    unmap(at);
    close(fd);
    return NULL;
}

static void *fault_unsuspected(void *name)
{
    must(pthread_setname_np(pthread_self(), name) == 0, "a thread's name");
    fault_of_others();
    return NULL;
}

static void run(void *(*what)(void *), char *name)
{
    pthread_t thread;
    must(pthread_create(&thread, NULL, what, name) == 0 && pthread_join(thread, NULL) == 0,
         "a thread");
}

Test(fault, a_file_that_nobody_watches_is_a_peers_while_the_thread_is_in_a_library_of_peers)
{
    _Atomic bool met = false;
    char own[] = "peers", other[] = "peer";
    fault_suspect = &met;
    fault_suspected(own);
    must(met && theirs == 0, "who is in the library is not told");
    run(fault_unsuspected, own);
    must(theirs == 1, "another thread's is taken for a peer's");
    fault_suspect = NULL;
    fault_of_others();
    must(theirs == 2, "what came later is taken for a peer's");
    fault_suspect_threads("peers");
    run(fault_suspected, own);
    must(theirs == 2, "the library's own thread finds no zeros");
    run(fault_unsuspected, other);
    must(theirs == 3, "a thread of another name is taken for the library's");
}

Test(fault, a_process_without_descriptors_goes_on)
{
    struct rlimit limit;
    const int fd = new_file(), place = fault_watch(fd);
    uint8_t *at = map(fd);
    must(ftruncate(fd, 0) == 0 && place >= 0, "ftruncate");
    must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    const struct rlimit none = { .rlim_cur = 0, .rlim_max = limit.rlim_max };
    must(setrlimit(RLIMIT_NOFILE, &none) == 0, "setrlimit");
    must(look(at) == 0 && fault_met(place), "a fault without descriptors");
    must(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    fault_forget(place);
    unmap(at);
    close(fd);
}

Test(fault, what_has_another_reason_goes_to_who_was_there_before_each_time)
{
    for (int i = 1; i <= 3; i++) {
        fault_of_others();
        must(theirs == 2 * i - 1, "a fault of others does not come to them");
        fault_alone();
        if (sigsetjmp(back, 1) == 0)
            raise(SIGBUS);
        must(theirs == 2 * i, "a signal that was sent does not come to them");
        fault_alone();
    }
}

/* Nobody was there before: the process ends, as without us. */
Test(fault_alone, a_signal_that_was_sent_ends_the_process_where_nobody_wants_it, .signal = SIGBUS)
{
    signal(SIGBUS, SIG_DFL); /* a sanitizer has a handler of its own */
    must(fault_open(), "sigaction");
    fault_alone();
    raise(SIGBUS);
    must(false, "it goes on");
}
