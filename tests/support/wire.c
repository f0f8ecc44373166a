/* A raw peer of the broker: speaks the two channels byte by byte, so that a test can say what no
 * well-behaved client would. */
#include "tests/support/wire.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "schema/batch.h"
#include "schema/bytes.h"

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "wire: gave up: %s (%s)\n", what, strerror(errno));
    abort();
}

/* From that address; 0: from any. */
static int connect_from(const char *address, struct in_addr source)
{
    char host[64];
    const char *colon = strrchr(address, ':');
    assert(colon != NULL && (size_t)(colon - address) < sizeof host);
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';

    struct sockaddr_in to = { .sin_family = AF_INET };
    to.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1)
        give_up(address);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval patience = { .tv_sec = WIRE_PATIENCE_S };
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0
        || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0)
        give_up("socket");
    const struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr = source };
    if (source.s_addr != 0 && bind(fd, (const struct sockaddr *)&from, sizeof from) != 0)
        give_up("bind");
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
        give_up(address);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    return fd;
}

int wire_connect(const char *address)
{
    return connect_from(address, (struct in_addr){ 0 });
}

int wire_connect_from(const char *address, const char *host)
{
    struct in_addr source;
    if (inet_pton(AF_INET, host, &source) != 1)
        give_up(host);
    return connect_from(address, source);
}

bool wire_send(int fd, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    while (size != 0) {
        const ssize_t sent = send(fd, from, size, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
            return false;
        if (sent <= 0)
            give_up("send");
        from += sent;
        size -= (size_t)sent;
    }
    return true;
}

bool wire_receive(int fd, void *bytes, size_t size)
{
    uint8_t *to = bytes;
    while (size != 0) {
        const ssize_t got = recv(fd, to, size, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return false;
        if (got < 0)
            give_up("receive");
        to += got;
        size -= (size_t)got;
    }
    return true;
}

bool wire_wait_closed(int fd)
{
    uint8_t scrap[4096];
    for (;;) {
        const ssize_t got = recv(fd, scrap, sizeof scrap, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return true;
        if (got < 0)
            return false;
    }
}

Leat__Control__Response *wire_response(int fd)
{
    uint8_t prefix[4];
    if (!wire_receive(fd, prefix, sizeof prefix))
        return NULL;
    const uint32_t length = leat_load32(prefix);
    assert(length <= LEAT_CONTROL_BYTES_MAX);
    uint8_t *answer = malloc(length + 1);
    assert(answer != NULL);
    Leat__Control__Response *response = NULL;
    if (wire_receive(fd, answer, length))
        response = leat__control__response__unpack(NULL, length, answer);
    free(answer);
    return response;
}

Leat__Control__Response *wire_request(int fd, const Leat__Control__Request *request)
{
    const size_t size = leat__control__request__get_packed_size(request);
    uint8_t *bytes = malloc(4 + size);
    assert(bytes != NULL);
    leat_store32(bytes, (uint32_t)size);
    leat__control__request__pack(request, bytes + 4);
    const bool sent = wire_send(fd, bytes, 4 + size);
    free(bytes);
    Leat__Control__Response *response = sent ? wire_response(fd) : NULL;
    while (response != NULL && response->id == 0) { /* a notice; its answer comes behind it */
        leat__control__response__free_unpacked(response, NULL);
        response = wire_response(fd);
    }
    return response;
}

/* Aborts unless the request succeeded. */
static Leat__Control__Response *must(int fd, const Leat__Control__Request *request)
{
    Leat__Control__Response *response = wire_request(fd, request);
    if (response == NULL)
        give_up("the broker closed the control connection");
    if (response->error != 0)
        give_up(response->error_text);
    return response;
}

static void done(Leat__Control__Response *response)
{
    leat__control__response__free_unpacked(response, NULL);
}

int wire_control(const char *control_address)
{
    return wire_control_from(control_address, "127.0.0.1");
}

int wire_control_from(const char *control_address, const char *host)
{
    const int fd = wire_connect_from(control_address, host);
    Leat__Control__Hello hello = LEAT__CONTROL__HELLO__INIT;
    hello.version_min = LEAT_PROTOCOL_VERSION;
    hello.version_max = LEAT_PROTOCOL_VERSION;
    hello.client_name = (char *)"wire";
    hello.library = (char *)"wire";
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 1;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_HELLO;
    request.hello = &hello;
    done(must(fd, &request));
    return fd;
}

int wire_create_topic(int control, const char *name, uint64_t ring_bytes, uint32_t partitions)
{
    Leat__Control__TopicSettings settings = LEAT__CONTROL__TOPIC_SETTINGS__INIT;
    settings.ring_bytes = ring_bytes;
    settings.partitions = partitions;
    settings.record_bytes_max = ring_bytes < 8 * LEAT_MIB ? (uint32_t)(ring_bytes / 8) : 0;
    Leat__Control__CreateTopic create = LEAT__CONTROL__CREATE_TOPIC__INIT;
    create.name = (char *)name;
    create.settings = &settings;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 2;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_CREATE_TOPIC;
    request.create_topic = &create;
    Leat__Control__Response *response = wire_request(control, &request);
    if (response == NULL)
        give_up("create topic: closed");
    const int error = response->error;
    if (error != 0)
        fprintf(stderr, "wire: create topic: %s\n", response->error_text);
    done(response);
    return error;
}

struct wire_grant wire_open_session(int control, uint32_t shard)
{
    Leat__Control__OpenSession open = LEAT__CONTROL__OPEN_SESSION__INIT;
    open.shard = shard;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 3;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_SESSION;
    request.open_session = &open;
    Leat__Control__Response *response = must(control, &request);
    assert(response->body_case == LEAT__CONTROL__RESPONSE__BODY_SESSION);
    const Leat__Control__SessionGrant *granted = response->session;
    assert(granted->token.len == LEAT_TOKEN_BYTES && granted->reset_token.len == LEAT_TOKEN_BYTES);
    struct wire_grant grant = { .session = granted->session };
    assert(granted->tag_to_broker != granted->tag_to_client);
    memcpy(grant.token, granted->token.data, LEAT_TOKEN_BYTES);
    memcpy(grant.reset_token, granted->reset_token.data, LEAT_TOKEN_BYTES);
    done(response);
    return grant;
}

int wire_attach_as(const char *data_address, const struct wire_grant *grant, uint16_t version,
                   int16_t *status)
{
    const int fd = wire_connect(data_address);
    struct leat_frame_attach attach = { .session = grant->session, .version = version };
    memcpy(attach.token, grant->token, LEAT_TOKEN_BYTES);
    uint8_t bytes[LEAT_ATTACH_BYTES];
    uint8_t answer[LEAT_ATTACHED_BYTES];
    struct leat_frame frame;
    if (!wire_send(fd, bytes, leat_frame_write_attach(bytes, &attach))
        || !wire_receive(fd, answer, sizeof answer)
        || leat_frame_decode(&frame, answer, sizeof answer) != LEAT_OK)
        give_up("attach");
    assert(frame.type == LEAT_FRAME_ATTACHED);
    *status = frame.attached.status;
    return fd;
}

int wire_attach(const char *data_address, const struct wire_grant *grant, int16_t *status)
{
    return wire_attach_as(data_address, grant, LEAT_PROTOCOL_VERSION, status);
}

void wire_reader_init(struct wire_reader *reader, int fd)
{
    reader->fd = fd;
    reader->start = reader->end = 0;
}

bool wire_next_frame(struct wire_reader *reader, struct leat_frame *out)
{
    for (;;) {
        const enum leat_error error =
            leat_frame_decode(out, reader->bytes + reader->start, reader->end - reader->start);
        if (error == LEAT_OK) {
            reader->start += out->length;
            return true;
        }
        if (error != LEAT_AGAIN)
            give_up("the broker sent a frame that does not decode");
        memmove(reader->bytes, reader->bytes + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->start = 0;
        const ssize_t got =
            recv(reader->fd, reader->bytes + reader->end, sizeof reader->bytes - reader->end, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET))
            return false;
        if (got < 0)
            give_up("a frame");
        reader->end += (size_t)got;
    }
}

struct wire_producer wire_open_producer(int control, const char *topic, uint32_t session)
{
    Leat__Control__OpenProducer open = LEAT__CONTROL__OPEN_PRODUCER__INIT;
    open.topic = (char *)topic;
    open.sessions = &session;
    open.n_sessions = 1;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 4;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_PRODUCER;
    request.open_producer = &open;
    Leat__Control__Response *response = must(control, &request);
    assert(response->body_case == LEAT__CONTROL__RESPONSE__BODY_PRODUCER);
    assert(response->producer->n_streams >= 1);
    const Leat__Control__PublishStream *stream = response->producer->streams[0];
    assert(response->producer->resume_token.len == LEAT_RESUME_TOKEN_BYTES);
    struct wire_producer producer = {
        .id = response->producer->producer_id,
        .epoch = response->producer->producer_epoch,
        .stream = stream->stream,
        .log_epoch = stream->log_epoch,
        .next_sequence = stream->next_sequence,
    };
    memcpy(producer.resume_token, response->producer->resume_token.data, LEAT_RESUME_TOKEN_BYTES);
    done(response);
    return producer;
}

struct wire_subscription wire_open_subscription(int control, const char *topic, uint32_t session)
{
    Leat__Control__PartitionStart start = LEAT__CONTROL__PARTITION_START__INIT;
    start.session = session;
    start.at = LEAT__CONTROL__START_AT__EARLIEST;
    Leat__Control__PartitionStart *starts[] = { &start };
    Leat__Control__OpenSubscription open = LEAT__CONTROL__OPEN_SUBSCRIPTION__INIT;
    open.topic = (char *)topic;
    open.partitions = starts;
    open.n_partitions = 1;
    Leat__Control__Request request = LEAT__CONTROL__REQUEST__INIT;
    request.id = 5;
    request.body_case = LEAT__CONTROL__REQUEST__BODY_OPEN_SUBSCRIPTION;
    request.open_subscription = &open;
    Leat__Control__Response *response = must(control, &request);
    assert(response->body_case == LEAT__CONTROL__RESPONSE__BODY_SUBSCRIPTION);
    const Leat__Control__SubscriptionStream *stream = response->subscription->streams[0];
    assert(stream->error == 0);
    const struct wire_subscription subscription = { .stream = stream->stream,
                                                    .position = stream->position,
                                                    .offset = stream->offset };
    done(response);
    return subscription;
}

size_t wire_make_batch(uint8_t *at, size_t room, const struct wire_producer *producer,
                       uint64_t first_sequence, uint32_t count, uint32_t value_size)
{
    static uint8_t value[1 << 20];
    assert(value_size <= sizeof value);
    const uint64_t size = LEAT_BATCH_HEADER_BYTES + count * leat_record_bytes(0, 0, value_size);
    assert(size <= room);
    uint8_t *next = at + LEAT_BATCH_HEADER_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        memset(value, (int)(first_sequence + i), value_size);
        const struct leat_record_view record = { .value = value, .value_size = value_size };
        next += leat_record_write(next, &record, 0);
    }
    const struct leat_batch batch = {
        .producer_id = producer->id,
        .producer_epoch = producer->epoch,
        .base_sequence = first_sequence,
        .size = (uint32_t)size,
        .record_count = count,
    };
    leat_batch_seal(at, &batch);
    return (size_t)size;
}

bool wire_publish(int fd, uint32_t stream, const uint8_t *batch, size_t size)
{
    uint8_t header[LEAT_PUBLISH_HEADER_BYTES];
    const struct leat_frame_publish publish = { .bytes = batch,
                                                .size = (uint32_t)size,
                                                .batch_size = (uint32_t)size };
    leat_frame_write_publish(header, stream, &publish);
    return wire_send(fd, header, sizeof header) && wire_send(fd, batch, size);
}
