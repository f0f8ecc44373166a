/* Messages of the control channel: framing, packing, unpacking within a memory budget. */
#include "schema/control.h"

#include <stdlib.h>

#include "schema/bytes.h"

bool leat_name_valid(const char *name, size_t size)
{
    if (size == 0 || size > LEAT_NAME_BYTES_MAX)
        return false;
    bool dots_alone = size <= 2;
    for (size_t i = 0; i < size; i++) {
        const char c = name[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        const bool digit = c >= '0' && c <= '9';
        if (!letter && !digit && c != '.' && c != '_' && c != '-')
            return false;
        dots_alone = dots_alone && c == '.';
    }
    return !dots_alone;
}

enum leat_error leat_control_length(const uint8_t *bytes, size_t size, uint32_t *total)
{
    if (size < LEAT_CONTROL_PREFIX_BYTES)
        return LEAT_AGAIN;
    const uint32_t length = leat_load32(bytes);
    if (length == 0 || length > LEAT_CONTROL_BYTES_MAX)
        return LEAT_ERR_MALFORMED;
    *total = LEAT_CONTROL_PREFIX_BYTES + length;
    return LEAT_OK;
}

static enum leat_error pack(uint8_t *at, size_t room, size_t *written,
                            const ProtobufCMessage *message)
{
    const size_t length = protobuf_c_message_get_packed_size(message);
    if (length == 0 || length > LEAT_CONTROL_BYTES_MAX)
        return length == 0 ? LEAT_ERR_INVALID : LEAT_ERR_TOO_LARGE;
    if (room < LEAT_CONTROL_PREFIX_BYTES + length)
        return LEAT_BUSY;
    leat_store32(at, (uint32_t)length);
    protobuf_c_message_pack(message, at + LEAT_CONTROL_PREFIX_BYTES);
    *written = LEAT_CONTROL_PREFIX_BYTES + length;
    return LEAT_OK;
}

size_t leat_control_request_bytes(const Leat__Control__Request *request)
{
    return LEAT_CONTROL_PREFIX_BYTES + protobuf_c_message_get_packed_size(&request->base);
}

size_t leat_control_response_bytes(const Leat__Control__Response *response)
{
    return LEAT_CONTROL_PREFIX_BYTES + protobuf_c_message_get_packed_size(&response->base);
}

enum leat_error leat_control_pack_request(uint8_t *at, size_t room, size_t *written,
                                          const Leat__Control__Request *request)
{
    return pack(at, room, written, &request->base);
}

enum leat_error leat_control_pack_response(uint8_t *at, size_t room, size_t *written,
                                           const Leat__Control__Response *response)
{
    return pack(at, room, written, &response->base);
}

/* Memory that protobuf-c frees while it unpacks is not credited: the budget also bounds the total
 * that one message can make it allocate. */
struct budget {
    size_t left;
};

enum {
    MALLOC_OVERHEAD_BYTES = 16, /* about what the heap adds to each block */
};

static void *budget_alloc(void *data, size_t size)
{
    struct budget *budget = data;
    if (budget->left < MALLOC_OVERHEAD_BYTES || size > budget->left - MALLOC_OVERHEAD_BYTES) {
        budget->left = 0;
        return NULL;
    }
    budget->left -= size + MALLOC_OVERHEAD_BYTES;
    return malloc(size);
}

static void budget_free(void *data, void *block)
{
    (void)data;
    free(block);
}

static enum leat_error unpack(ProtobufCMessage **out, const ProtobufCMessageDescriptor *type,
                              const uint8_t *bytes, size_t size)
{
    if (size == 0 || size > LEAT_CONTROL_BYTES_MAX)
        return LEAT_ERR_MALFORMED;
    struct budget budget = { .left = LEAT_CONTROL_UNPACKED_BYTES_MAX };
    ProtobufCAllocator allocator = {
        .alloc = budget_alloc,
        .free = budget_free,
        .allocator_data = &budget,
    };
    ProtobufCMessage *message = protobuf_c_message_unpack(type, &allocator, size, bytes);
    if (message == NULL)
        return budget.left == 0 ? LEAT_ERR_TOO_LARGE : LEAT_ERR_MALFORMED;
    *out = message;
    return LEAT_OK;
}

enum leat_error leat_control_unpack_request(Leat__Control__Request **out, const uint8_t *bytes,
                                            size_t size)
{
    ProtobufCMessage *message;
    const enum leat_error error =
        unpack(&message, &leat__control__request__descriptor, bytes, size);
    if (error == LEAT_OK)
        *out = (Leat__Control__Request *)message;
    return error;
}

enum leat_error leat_control_unpack_response(Leat__Control__Response **out, const uint8_t *bytes,
                                             size_t size)
{
    ProtobufCMessage *message;
    const enum leat_error error =
        unpack(&message, &leat__control__response__descriptor, bytes, size);
    if (error == LEAT_OK)
        *out = (Leat__Control__Response *)message;
    return error;
}

/* The budget allocated with malloc: a NULL allocator frees with free. */
void leat_control_free_request(Leat__Control__Request *request)
{
    if (request != NULL)
        protobuf_c_message_free_unpacked(&request->base, NULL);
}

void leat_control_free_response(Leat__Control__Response *response)
{
    if (response != NULL)
        protobuf_c_message_free_unpacked(&response->base, NULL);
}
