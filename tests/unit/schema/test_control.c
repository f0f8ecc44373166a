/* Goal: control messages are cut, unpacked and checked as the vectors say; hostile ones cost
 * bounded memory; and what is packed comes back. Method: the vectors; every truncation of every
 * good message; random damage (printed seed); a message built to blow up when unpacked. */
#include <criterion/criterion.h>

#include "schema/bytes.h"
#include "schema/control.h"
#include "tests/support/seeded.h"
#include "tests/support/vectors.h"

static const char *const path = "schema/vectors/control.txt";

static void check_vector(const struct vector *v)
{
    uint32_t total = 0;
    const enum leat_error length = leat_control_length(v->bytes, v->size, &total);
    vector_expect(v, "length", length);
    if (length != LEAT_OK || vector_text(v, "unpack", 0) == NULL)
        return;
    cr_assert_leq(total, v->size, "%s: the prefix says more than the vector has", v->name);
    const uint8_t *bytes = v->bytes + LEAT_CONTROL_PREFIX_BYTES;
    const size_t size = total - LEAT_CONTROL_PREFIX_BYTES;
    Leat__Control__Request *request = NULL;
    Leat__Control__Response *response = NULL;
    const char *what = NULL;
    const bool is_request = strcmp(vector_text(v, "message", 0), "Request") == 0;
    const enum leat_error unpacked = is_request
                                         ? leat_control_unpack_request(&request, bytes, size)
                                         : leat_control_unpack_response(&response, bytes, size);
    vector_expect(v, "unpack", unpacked);
    if (unpacked != LEAT_OK)
        return;
    const enum leat_error checked = is_request ? leat_control_check_request(request, &what)
                                               : leat_control_check_response(response, &what);
    vector_expect(v, "check", checked);
    if (checked != LEAT_OK) {
        cr_assert_not_null(what, "%s", v->name);
        if (vector_text(v, "what", 0) != NULL)
            cr_assert_eq(
                strncmp(what, vector_text(v, "what", 0), strlen(vector_text(v, "what", 0))), 0,
                "%s: says \"%s\"", v->name, what);
    }
    if (request != NULL && checked == LEAT_OK) {
        static uint8_t packed[VECTOR_BYTES_MAX];
        size_t written = 0;
        cr_assert_eq(leat_control_pack_request(packed, sizeof packed, &written, request), LEAT_OK);
        cr_assert_eq(written, total, "%s", v->name);
        cr_assert_arr_eq(packed, v->bytes, written);
        cr_assert_eq(leat_control_pack_request(packed, written - 1, &written, request), LEAT_BUSY);
    }
    leat_control_free_request(request);
    leat_control_free_response(response);
}

Test(control, every_vector_is_what_it_says)
{
    FILE *file = vectors_open(path);
    static struct vector v;
    unsigned count = 0;
    for (; vector_next(file, &v); count++)
        check_vector(&v);
    fclose(file);
    cr_assert_gt(count, 40u);
}

/* Unpacks and checks a copy at the end of its heap block, as whichever of the two. */
static void try_both(const uint8_t *bytes, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    cr_assert_not_null(copy);
    memcpy(copy, bytes, size);
    Leat__Control__Request *request;
    Leat__Control__Response *response;
    const char *what = NULL;
    if (leat_control_unpack_request(&request, copy, size) == LEAT_OK) {
        cr_assert(leat_control_check_request(request, &what) == LEAT_OK || what != NULL);
        leat_control_free_request(request);
    }
    what = NULL;
    if (leat_control_unpack_response(&response, copy, size) == LEAT_OK) {
        cr_assert(leat_control_check_response(response, &what) == LEAT_OK || what != NULL);
        leat_control_free_response(response);
    }
    free(copy);
}

Test(control, cut_and_damaged_messages_are_refused_or_checked)
{
    struct seeded random = seeded_start("control");
    FILE *file = vectors_open(path);
    static struct vector v;
    while (vector_next(file, &v)) {
        if (v.size <= LEAT_CONTROL_PREFIX_BYTES)
            continue;
        uint8_t *bytes = v.bytes + LEAT_CONTROL_PREFIX_BYTES;
        const size_t size = v.size - LEAT_CONTROL_PREFIX_BYTES;
        for (size_t cut = 0; cut <= size && cut < 300; cut++)
            try_both(bytes, cut);
        for (int i = 0; i < 300; i++) {
            const size_t at = seeded_below(&random, (uint32_t)size);
            const uint8_t was = bytes[at];
            bytes[at] = (uint8_t)seeded_next(&random);
            try_both(bytes, size);
            bytes[at] = was;
        }
    }
    fclose(file);
}

Test(control, a_message_that_blows_up_when_unpacked_is_stopped_by_its_budget)
{
    /* list_topics' reply: 2 bytes on the wire for each empty Topic of more than 100 in memory. */
    enum { TOPICS = 400000 };
    uint8_t *bytes = malloc(16 + 2 * TOPICS);
    cr_assert_not_null(bytes);
    size_t at = 0;
    bytes[at++] = 0x3A; /* Response.topics */
    const uint32_t length = 2 * TOPICS;
    for (uint32_t left = length; left != 0; left >>= 7)
        bytes[at++] = (uint8_t)((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
    for (int i = 0; i < TOPICS; i++) {
        bytes[at++] = 0x0A; /* TopicList.topics */
        bytes[at++] = 0;
    }
    Leat__Control__Response *response;
    cr_assert_eq(leat_control_unpack_response(&response, bytes, at), LEAT_ERR_TOO_LARGE);
    free(bytes);
}

Test(control, names)
{
    static const struct {
        const char *name;
        bool valid;
    } cases[] = {
        { "a", true },  { "A.b_c-9", true }, { "...", true },    { "", false },
        { ".", false }, { "..", false },     { "a b", false },   { "a/b", false },
        { "ä", false }, { "a\n", false },    { "quotes", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(leat_name_valid(cases[i].name, strlen(cases[i].name)), cases[i].valid,
                     "\"%s\"", cases[i].name);
    char longest[LEAT_NAME_BYTES_MAX + 1];
    memset(longest, 'x', sizeof longest);
    cr_assert(leat_name_valid(longest, LEAT_NAME_BYTES_MAX));
    cr_assert_not(leat_name_valid(longest, LEAT_NAME_BYTES_MAX + 1));
}

Test(control, lengths)
{
    uint8_t prefix[4];
    uint32_t total;
    leat_store32(prefix, LEAT_CONTROL_BYTES_MAX);
    cr_assert_eq(leat_control_length(prefix, 4, &total), LEAT_OK);
    cr_assert_eq(total, (uint32_t)LEAT_CONTROL_BYTES_MAX + 4);
    leat_store32(prefix, LEAT_CONTROL_BYTES_MAX + 1);
    cr_assert_eq(leat_control_length(prefix, 4, &total), LEAT_ERR_MALFORMED);
    cr_assert_eq(leat_control_length(prefix, 3, &total), LEAT_AGAIN);
    leat_store32(prefix, 0);
    cr_assert_eq(leat_control_length(prefix, 4, &total), LEAT_ERR_MALFORMED);
}
