/* Messages of the control channel: cutting them out of the byte stream, packing, unpacking within
 * a memory budget, and checking that every field holds what control.proto promises.
 *
 * Role: the only file that knows the framing of protobuf messages and their fields' ranges.
 * Must not know: sockets, topics that exist, who may do what.
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
    /* What unpacking one message may allocate. Protobuf can make a 2-byte field into a struct of
     * 100; this is where a hostile message stops. */
    LEAT_CONTROL_UNPACKED_BYTES_MAX = 8 << 20,
    LEAT_CONTROL_TEXT_BYTES_MAX = 4096,   /* error_text; library and broker versions */
    LEAT_CONTROL_PORTS_MAX = 16,          /* bypass ports that reach one shard */
    LEAT_CONTROL_ADDRESS_BYTES_MAX = 261, /* of an endpoint */
};

/* Topic and group names: 1 to LEAT_NAME_BYTES_MAX of A-Z a-z 0-9 . _ - but not "." or "..". */
bool leat_name_valid(const char *name, size_t size);

/* Bytes of the message that begins at `bytes`, its prefix included; `size` can be read there.
 * LEAT_AGAIN when fewer than LEAT_CONTROL_PREFIX_BYTES can; *total may be more than `size`.
 * LEAT_ERR_MALFORMED when the prefix is 0 or above LEAT_CONTROL_BYTES_MAX: close the connection. */
enum leat_error leat_control_length(const uint8_t *bytes, size_t size, uint32_t *total);

/* Bytes the packed message takes, its prefix included, whatever the limit. */
size_t leat_control_request_bytes(const Leat__Control__Request *request);
size_t leat_control_response_bytes(const Leat__Control__Response *response);

/* Writes the prefix and the message at `at` and sets *written.
 * LEAT_BUSY when it takes more than `room`; LEAT_ERR_TOO_LARGE above LEAT_CONTROL_BYTES_MAX. */
enum leat_error leat_control_pack_request(uint8_t *at, size_t room, size_t *written,
                                          const Leat__Control__Request *request);
enum leat_error leat_control_pack_response(uint8_t *at, size_t room, size_t *written,
                                           const Leat__Control__Response *response);

/* Unpacks the `size` bytes BEHIND the prefix. On LEAT_OK the caller owns *out and frees it below;
 * nothing in it borrows from `bytes`. LEAT_ERR_MALFORMED, LEAT_ERR_TOO_LARGE (over the budget). */
enum leat_error leat_control_unpack_request(Leat__Control__Request **out, const uint8_t *bytes,
                                            size_t size);
enum leat_error leat_control_unpack_response(Leat__Control__Response **out, const uint8_t *bytes,
                                             size_t size);
void leat_control_free_request(Leat__Control__Request *request);    /* NULL is fine */
void leat_control_free_response(Leat__Control__Response *response); /* NULL is fine */

/* Whether every field of an unpacked message is in its range. On a refusal *what is static text
 * that names the field and what it may hold.
 * LEAT_ERR_UNSUPPORTED for a body this build does not know; else LEAT_ERR_INVALID for a request
 * and LEAT_ERR_PROTOCOL for a response (a broker that answers so is broken). */
enum leat_error leat_control_check_request(const Leat__Control__Request *request,
                                           const char **what);
enum leat_error leat_control_check_response(const Leat__Control__Response *response,
                                            const char **what);

#endif
