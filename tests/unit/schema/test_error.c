/* Goal: every code has a number of its own, a text and a name, and numbers never move.
 * Method: the map is walked; a few codes that stand on the wire are compared with literals. */
#include <criterion/criterion.h>
#include <limits.h>
#include <string.h>

#include "schema/error_text.h"

static const struct {
    int error;
    const char *name;
    const char *text;
} map[] = {
#define X(name, value, text) { value, #name, text },
    LEAT_ERROR_MAP(X)
#undef X
};

enum {
    COUNT = sizeof map / sizeof *map,
};

Test(error, every_code_has_its_text_and_name)
{
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert_str_eq(leat_error_text(map[i].error), map[i].text);
        cr_assert_str_eq(leat_error_name(map[i].error), map[i].name);
        cr_assert_gt(strlen(map[i].text), 0u, "%s", map[i].name);
    }
    cr_assert_str_eq(leat_error_text(LEAT_OK), "ok");
    cr_assert_str_eq(leat_error_name(LEAT_OK), "LEAT_OK");
}

Test(error, codes_are_dense_from_minus_one_down)
{
    for (unsigned i = 0; i < COUNT; i++)
        cr_assert_eq(map[i].error, -1 - (int)i, "%s: append, never renumber", map[i].name);
}

Test(error, a_number_without_a_name_is_an_unknown_error)
{
    const int numbers[] = { 1, INT_MAX, INT_MIN, -1 - COUNT };
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        cr_assert_str_eq(leat_error_text(numbers[i]), "unknown error");
        cr_assert_str_eq(leat_error_name(numbers[i]), "LEAT_ERR_UNKNOWN");
    }
}

Test(error, numbers_on_the_wire_stay)
{
    cr_assert_eq(LEAT_AGAIN, -1);
    cr_assert_eq(LEAT_BUSY, -2);
    cr_assert_eq(LEAT_ERR_BAD_CRC, -6);
    cr_assert_eq(LEAT_ERR_FENCED, -13);
    cr_assert_eq(LEAT_ERR_DUPLICATE, -15);
    cr_assert_eq(LEAT_ERR_PROTOCOL, -30);
    cr_assert_eq(LEAT_ERR_THROTTLED, -31);
    cr_assert_eq(LEAT_ERR_GROUP_NOT_EMPTY, -35);
}
