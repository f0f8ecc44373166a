/* Messages of the control channel: framing, packing, unpacking within a memory budget, and checking
 * that every field is in the range that control.proto states.
 *
 * Role: the only file that knows the framing of protobuf messages and the ranges of their fields.
 * Must not know: sockets, which topics exist, who may do what.
 * Threads: any; nothing here has state.
 *
 *      [ size u32 ][ Request or Response: `size` bytes, 1 .. LEAT_CONTROL_BYTES_MAX ] ... */
#ifndef LEAT_SCHEMA_CONTROL_H
#define LEAT_SCHEMA_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/control.pb-c.h"
#include "schema/error.h"
#include "schema/limits.h"

enum {
    LEAT_CONTROL_PREFIX_BYTES = 4,
    /* Memory that unpacking one message may allocate. Protobuf can turn a field of 2 bytes into a
     * struct of 100, so the size of a hostile message alone bounds nothing. */
    LEAT_CONTROL_UNPACKED_BYTES_MAX = 8 << 20,
    LEAT_CONTROL_TEXT_BYTES_MAX = 4096,   /* error_text; library and broker versions */
    LEAT_CONTROL_PORTS_MAX = 16,          /* bypass ports that reach one shard */
    LEAT_CONTROL_ADDRESS_BYTES_MAX = 261, /* of an endpoint */
};

/* Topic and group names: 1 to LEAT_NAME_BYTES_MAX of A-Z a-z 0-9 . _ - but not "." or "..". */
bool leat_name_valid(const char *name, size_t size);

/* Sets *total to the size of the message that begins at `bytes`, its prefix included. `size` is the
 * number of readable bytes there; *total may be larger.
 * LEAT_AGAIN: fewer than LEAT_CONTROL_PREFIX_BYTES are readable. LEAT_ERR_MALFORMED: the prefix is
 * 0 or above LEAT_CONTROL_BYTES_MAX; close the connection. */
enum leat_error leat_control_length(const uint8_t *bytes, size_t size, uint32_t *total);

/* Size of the packed message, its prefix included. May exceed the limit. */
size_t leat_control_request_bytes(const Leat__Control__Request *request);
size_t leat_control_response_bytes(const Leat__Control__Response *response);

/* Writes the prefix and the message at `at` and sets *written.
 * LEAT_BUSY: it needs more than `room` bytes. LEAT_ERR_TOO_LARGE: above LEAT_CONTROL_BYTES_MAX. */
enum leat_error leat_control_pack_request(uint8_t *at, size_t room, size_t *written,
                                          const Leat__Control__Request *request);
enum leat_error leat_control_pack_response(uint8_t *at, size_t room, size_t *written,
                                           const Leat__Control__Response *response);

/* Unpacks the `size` bytes AFTER the prefix. On LEAT_OK the caller owns *out and frees it with
 * leat_control_free_*; it does not borrow from `bytes`.
 * LEAT_ERR_MALFORMED, LEAT_ERR_TOO_LARGE (over the memory budget). */
enum leat_error leat_control_unpack_request(Leat__Control__Request **out, const uint8_t *bytes,
                                            size_t size);
enum leat_error leat_control_unpack_response(Leat__Control__Response **out, const uint8_t *bytes,
                                             size_t size);
void leat_control_free_request(Leat__Control__Request *request);    /* NULL is fine */
void leat_control_free_response(Leat__Control__Response *response); /* NULL is fine */

/* Checks that every field of an unpacked message is in its range. On an error *what is static text
 * that names the field and what it may hold.
 * LEAT_ERR_UNSUPPORTED: the body is of a kind that this build does not know. LEAT_ERR_INVALID: a
 * field of a request is wrong. LEAT_ERR_PROTOCOL: a field of a response is wrong; the broker is
 * broken. */
enum leat_error leat_control_check_request(const Leat__Control__Request *request,
                                           const char **what);
enum leat_error leat_control_check_response(const Leat__Control__Response *response,
                                            const char **what);

#endif
