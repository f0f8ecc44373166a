/* Whether a sanitizer was compiled in that replaces the allocator: SANITIZED is 1 then, else 0.
 *
 * Role: tell tests that count or refuse allocations whose allocator it is.
 * Must not know: what is counted.
 * Threads: none. */
#ifndef LEAT_TESTS_SUPPORT_SANITIZED_H
#define LEAT_TESTS_SUPPORT_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
