/* A broker's control port that refuses what it is told to: requests of one kind are answered with
 * an error and never reach the broker; all others do. */
#include "tests/support/refuser.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "schema/bytes.h"
#include "tests/support/wire.h"

enum { MESSAGE_BYTES = LEAT_CONTROL_BYTES_MAX + LEAT_CONTROL_PREFIX_BYTES };

/* In the thread, where Criterion's assertions may not be used. */
static void must(bool truth, const char *what)
{
    if (truth)
        return;
    perror(what);
    abort();
}

static int new_socket(void)
{
    const int on = 1;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "refuser: socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static struct sockaddr_in loopback(unsigned port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)port),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* One message with its length before it; 0: the end. */
static size_t read_message(int fd, uint8_t *bytes)
{
    if (!wire_receive(fd, bytes, LEAT_CONTROL_PREFIX_BYTES))
        return 0;
    const uint32_t size = leat_load32(bytes);
    must(size <= LEAT_CONTROL_BYTES_MAX, "refuser: size");
    return wire_receive(fd, bytes + LEAT_CONTROL_PREFIX_BYTES, size)
               ? size + LEAT_CONTROL_PREFIX_BYTES
               : 0;
}

static bool refuse(int client, uint64_t id, int error)
{
    uint8_t bytes[256];
    Leat__Control__Response response = LEAT__CONTROL__RESPONSE__INIT;
    response.id = id;
    response.error = error;
    response.error_text = (char *)"refused by the test";
    const size_t size = leat__control__response__get_packed_size(&response);
    must(size + LEAT_CONTROL_PREFIX_BYTES <= sizeof bytes, "refuser: answer");
    leat_store32(bytes, (uint32_t)size);
    leat__control__response__pack(&response, bytes + LEAT_CONTROL_PREFIX_BYTES);
    return wire_send(client, bytes, size + LEAT_CONTROL_PREFIX_BYTES);
}

/* False: the connection is over. */
static bool forward_request(struct refuser *r, int client, int broker, uint8_t *bytes)
{
    const size_t size = read_message(client, bytes);
    if (size == 0)
        return false;
    Leat__Control__Request *request = leat__control__request__unpack(
        NULL, size - LEAT_CONTROL_PREFIX_BYTES, bytes + LEAT_CONTROL_PREFIX_BYTES);
    must(request != NULL, "refuser: request");
    const bool refuses = (int)request->body_case == r->kind && r->left > 0;
    const uint64_t id = request->id;
    leat__control__request__free_unpacked(request, NULL);
    if (!refuses)
        return wire_send(broker, bytes, size);
    r->left--;
    r->refused++;
    return refuse(client, id, r->error);
}

static bool forward_response(const struct refuser *r, int client, int broker, uint8_t *bytes)
{
    size_t size = read_message(broker, bytes);
    if (size == 0)
        return false;
    Leat__Control__Response *response = leat__control__response__unpack(
        NULL, size - LEAT_CONTROL_PREFIX_BYTES, bytes + LEAT_CONTROL_PREFIX_BYTES);
    must(response != NULL, "refuser: response");
    if (r->partless && response->body_case == LEAT__CONTROL__RESPONSE__BODY_ASSIGNMENT) {
        Leat__Control__TopicRefused refused = LEAT__CONTROL__TOPIC_REFUSED__INIT;
        Leat__Control__TopicRefused *list[] = { &refused };
        Leat__Control__GroupAssignment said = *response->assignment;
        Leat__Control__Response other = *response;
        refused.topic = (char *)"t";
        refused.error = LEAT_ERR_LIMIT;
        refused.text = (char *)"no room";
        said.n_assigned = 0;
        said.refused = list;
        said.n_refused = 1;
        other.assignment = &said;
        size = leat__control__response__get_packed_size(&other) + LEAT_CONTROL_PREFIX_BYTES;
        must(size <= MESSAGE_BYTES, "refuser: assignment");
        leat_store32(bytes, (uint32_t)(size - LEAT_CONTROL_PREFIX_BYTES));
        leat__control__response__pack(&other, bytes + LEAT_CONTROL_PREFIX_BYTES);
    }
    leat__control__response__free_unpacked(response, NULL);
    return wire_send(client, bytes, size);
}

static void serve(struct refuser *r, int client, int broker, uint8_t *bytes)
{
    for (;;) {
        struct pollfd fds[] = { { .fd = r->stop[0], .events = POLLIN },
                                { .fd = client, .events = POLLIN },
                                { .fd = broker, .events = POLLIN } };
        must(poll(fds, 3, -1) > 0, "refuser: poll");
        if (fds[0].revents != 0)
            return; /* cut, or the end */
        if (fds[1].revents != 0 && !forward_request(r, client, broker, bytes))
            return;
        if (fds[2].revents != 0 && !forward_response(r, client, broker, bytes))
            return;
    }
}

static void *run(void *arg)
{
    struct refuser *r = arg;
    uint8_t *bytes = malloc(MESSAGE_BYTES);
    must(bytes != NULL, "refuser: memory");
    for (;;) {
        uint8_t why = 0;
        struct pollfd fds[] = { { .fd = r->stop[0], .events = POLLIN },
                                { .fd = r->listener, .events = POLLIN } };
        must(poll(fds, 2, -1) > 0, "refuser: poll");
        if (fds[0].revents != 0) {
            must(read(r->stop[0], &why, 1) == 1, "refuser: read");
            if (why == 'e')
                break;
            continue;
        }
        const int client = accept(r->listener, NULL, NULL), broker = new_socket();
        const struct sockaddr_in address = loopback(r->broker_port);
        must(client >= 0, "refuser: accept");
        r->accepted++;
        if (connect(broker, (const struct sockaddr *)&address, sizeof address) == 0)
            serve(r, client, broker, bytes);
        close(client);
        close(broker);
    }
    free(bytes);
    return NULL;
}

void refuser_start(struct refuser *r, const struct leatd *broker)
{
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    *r = (struct refuser){ .listener = new_socket() };
    r->broker_port = (unsigned)atoi(strrchr(broker->control, ':') + 1);
    must(bind(r->listener, (struct sockaddr *)&address, size) == 0, "refuser: bind");
    must(listen(r->listener, 64) == 0, "refuser: listen");
    must(getsockname(r->listener, (struct sockaddr *)&address, &size) == 0, "refuser: name");
    must(pipe(r->stop) == 0, "refuser: pipe");
    snprintf(r->control, sizeof r->control, "127.0.0.1:%u", ntohs(address.sin_port));
    must(pthread_create(&r->thread, NULL, run, r) == 0, "refuser: thread");
}

static void say(struct refuser *r, char what)
{
    must(write(r->stop[1], &what, 1) == 1, "refuser: write");
}

void refuser_end(struct refuser *r)
{
    say(r, 'e');
    pthread_join(r->thread, NULL);
    close(r->listener);
    close(r->stop[0]);
    close(r->stop[1]);
}

void refuser_set(struct refuser *r, Leat__Control__Request__BodyCase kind, int error, int times)
{
    r->left = 0;
    r->kind = (int)kind;
    r->error = error;
    r->refused = 0;
    r->left = times;
    say(r, 'c');
}
