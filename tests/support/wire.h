/* A raw peer of the broker: speaks the two channels byte by byte, so that a test can say what no
 * well-behaved client would.
 *
 * Role: blocking sockets with a deadline, the happy path of the handshake, and nothing that hides
 * an answer. Every wait is bounded by WIRE_PATIENCE_S; running out of it aborts with what was
 * awaited.
 * Must not know: libleat. */
#ifndef LEAT_TESTS_SUPPORT_WIRE_H
#define LEAT_TESTS_SUPPORT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/control.pb-c.h"
#include "schema/frame.h"

enum { WIRE_PATIENCE_S = 20 };

/* Connects to "host:port"; aborts when refused. */
int wire_connect(const char *address);
/* The same from an address of this machine: "127.0.0.2". */
int wire_connect_from(const char *address, const char *host);
/* Sends all bytes; false when the peer has closed. */
bool wire_send(int fd, const void *bytes, size_t size);
/* Receives exactly `size` bytes; false when the peer closed before. */
bool wire_receive(int fd, void *bytes, size_t size);
/* True once the peer has closed (whatever it sent before is read and dropped). */
bool wire_wait_closed(int fd);

/* ---- control */

/* Sends `request` with its length prefix and returns the response (free with
 * leat__control__response__free_unpacked(r, NULL)); NULL when the broker closed. */
Leat__Control__Response *wire_request(int fd, const Leat__Control__Request *request);
/* The next response that comes, which may be a notice (id 0); wire_request passes those over. NULL
 * when the broker closed. */
Leat__Control__Response *wire_response(int fd);
/* Connects and says hello; aborts unless it is answered with success. */
int wire_control(const char *control_address);
/* The same from an address of this machine. */
int wire_control_from(const char *control_address, const char *host);
/* Creates a topic with one partition. Returns the response's error. */
int wire_create_topic(int control, const char *name, uint64_t ring_bytes, uint32_t partitions);

struct wire_grant {
    uint32_t session;
    uint8_t token[LEAT_TOKEN_BYTES];
    uint8_t reset_token[LEAT_TOKEN_BYTES];
};
/* Aborts unless granted. */
struct wire_grant wire_open_session(int control, uint32_t shard);

/* ---- data */

/* Connects and sends ATTACH; returns the fd, *status is what ATTACHED said. */
int wire_attach(const char *data_address, const struct wire_grant *grant, int16_t *status);
/* The same, as a client of another protocol version. */
int wire_attach_as(const char *data_address, const struct wire_grant *grant, uint16_t version,
                   int16_t *status);

struct wire_reader {
    int fd;
    size_t start, end;
    uint8_t bytes[2 * LEAT_FRAME_BYTES_MAX];
};
void wire_reader_init(struct wire_reader *reader, int fd);
/* The next frame, valid until the next call; false when the peer closed. */
bool wire_next_frame(struct wire_reader *reader, struct leat_frame *out);

/* Opens a producer on a one-partition topic; returns its stream. Aborts unless granted. */
struct wire_producer {
    uint64_t id;
    uint32_t epoch;
    uint32_t stream;
    uint64_t log_epoch;
    uint64_t next_sequence;
    uint8_t resume_token[LEAT_RESUME_TOKEN_BYTES];
};
struct wire_producer wire_open_producer(int control, const char *topic, uint32_t session);
/* Subscribes partition 0 from the earliest record; returns stream and start position. */
struct wire_subscription {
    uint32_t stream;
    uint64_t position;
    uint64_t offset;
};
struct wire_subscription wire_open_subscription(int control, const char *topic, uint32_t session);

/* One batch of `count` records of `value_size` bytes each; returns its size. `room` is checked. */
size_t wire_make_batch(uint8_t *at, size_t room, const struct wire_producer *producer,
                       uint64_t first_sequence, uint32_t count, uint32_t value_size);
/* Sends it as one PUBLISH frame (it must fit). */
bool wire_publish(int fd, uint32_t stream, const uint8_t *batch, size_t size);

#endif
