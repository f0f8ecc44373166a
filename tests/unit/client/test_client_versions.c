/* Goal: a broker of another protocol version is refused when the client opens, with an error that
 * names both versions and says which side to upgrade; what a broker says of it is passed on.
 * Method: a listener in the test answers the client's Hello as such a broker would. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/leat.h"
#include "schema/bytes.h"
#include "schema/limits.h"
#include "tests/support/wire.h"

struct other_broker {
    int listener;
    char url[64];
    Leat__Control__Response answer;
    Leat__Control__HelloReply hello;
    Leat__Control__Endpoint endpoint, *endpoints[1];
    uint32_t asked_min, asked_max; /* of the Hello that came */
    pthread_t thread;
};

/* In the thread, where Criterion's assertions may not be used. */
static void must(bool truth)
{
    if (!truth)
        abort();
}

static Leat__Control__Request *read_request(int fd)
{
    uint8_t prefix[4];
    static uint8_t bytes[1 << 16];
    must(wire_receive(fd, prefix, sizeof prefix));
    const uint32_t size = leat_load32(prefix);
    must(size <= sizeof bytes);
    must(wire_receive(fd, bytes, size));
    return leat__control__request__unpack(NULL, size, bytes);
}

static void *answer_hello(void *arg)
{
    struct other_broker *b = arg;
    const int fd = accept(b->listener, NULL, NULL);
    must(fd >= 0);
    Leat__Control__Request *request = read_request(fd);
    must(request != NULL && request->body_case == LEAT__CONTROL__REQUEST__BODY_HELLO);
    b->asked_min = request->hello->version_min;
    b->asked_max = request->hello->version_max;
    b->answer.id = request->id;
    leat__control__request__free_unpacked(request, NULL);
    uint8_t bytes[1024];
    const size_t size = leat__control__response__get_packed_size(&b->answer);
    must(size + 4 <= sizeof bytes);
    leat_store32(bytes, (uint32_t)size);
    leat__control__response__pack(&b->answer, bytes + 4);
    must(wire_send(fd, bytes, size + 4));
    wire_wait_closed(fd);
    close(fd);
    return NULL;
}

static void start(struct other_broker *b)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    leat__control__response__init(&b->answer);
    leat__control__hello_reply__init(&b->hello);
    leat__control__endpoint__init(&b->endpoint);
    b->endpoint.tcp = (char *)"127.0.0.1:1";
    b->endpoints[0] = &b->endpoint;
    b->hello.endpoints = b->endpoints;
    b->hello.n_endpoints = 1;
    b->hello.keepalive_ms = 15000;
    b->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(b->listener, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(listen(b->listener, 1), 0);
    cr_assert_eq(getsockname(b->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(b->url, sizeof b->url, "tcp://127.0.0.1:%u", ntohs(address.sin_port));
}

/* What the client says when it opens. */
static const char *refused(struct other_broker *b)
{
    leat_client *client;
    cr_assert_eq(pthread_create(&b->thread, NULL, answer_hello, b), 0);
    cr_assert_eq(leat_client_open(&client, b->url, NULL), LEAT_ERR_VERSION, "%s",
                 leat_client_error(NULL));
    pthread_join(b->thread, NULL);
    close(b->listener);
    cr_assert_eq(b->asked_min, (uint32_t)LEAT_PROTOCOL_VERSION);
    cr_assert_eq(b->asked_max, (uint32_t)LEAT_PROTOCOL_VERSION);
    return leat_client_error(NULL);
}

static void expect_said(const char *text, const char *const *parts)
{
    for (; *parts != NULL; parts++)
        cr_assert_neq(strstr(text, *parts), NULL, "\"%s\" does not say \"%s\"", text, *parts);
}

static const char *answered(uint32_t version, const char *name)
{
    static struct other_broker b;
    start(&b);
    b.hello.version = version;
    b.hello.broker = (char *)name;
    b.answer.body_case = LEAT__CONTROL__RESPONSE__BODY_HELLO;
    b.answer.hello = &b.hello;
    return refused(&b);
}

Test(client_versions, an_older_broker_is_to_be_upgraded, .timeout = 30)
{
    const char *const parts[] = { "version 1", "leatd 0.1.0", "version 2", "upgrade leatd", NULL };
    expect_said(answered(1, "leatd 0.1.0"), parts);
}

Test(client_versions, a_newer_broker_asks_for_a_newer_library, .timeout = 30)
{
    const char *const parts[] = { "version 3", "leatd 9.0.0", "version 2", "upgrade the library",
                                  NULL };
    expect_said(answered(3, "leatd 9.0.0"), parts);
}

/* What leatd 0.1.0 really does. */
Test(client_versions, what_a_broker_says_of_versions_is_passed_on, .timeout = 30)
{
    const char *const parts[] = { "speaks protocol versions 2 to 2", "leatd 0.1.0", "speaks 1",
                                  NULL };
    static struct other_broker b;
    start(&b);
    b.answer.error = LEAT_ERR_VERSION;
    b.answer.error_text = (char *)"the client speaks protocol versions 2 to 2, this broker "
                                  "(leatd 0.1.0) speaks 1: upgrade the older of the two";
    expect_said(refused(&b), parts);
}
