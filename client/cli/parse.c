/* Numbers, sizes, times and bytes as a user types them. */
#include "client/cli/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "schema/units.h"

bool parse_u64(const char *text, size_t size, uint64_t *value)
{
    uint64_t sum = 0;
    if (size == 0)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        const uint64_t digit = (uint64_t)(text[i] - '0');
        if (sum > (UINT64_MAX - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

static size_t digits_of(const char *text)
{
    return strspn(text, "0123456789");
}

bool parse_bytes(const char *text, uint64_t *bytes)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = { { "", 1 },           { "B", 1 },          { "KiB", LEAT_KIB },
                  { "MiB", LEAT_MIB }, { "GiB", LEAT_GIB }, { "TiB", 1024 * LEAT_GIB },
                  { "kB", 1000 },      { "MB", 1000000 },   { "GB", 1000000000 } };
    const size_t digits = digits_of(text);
    uint64_t number;
    if (!parse_u64(text, digits, &number))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(text + digits, units[i].name) == 0 && number <= UINT64_MAX / units[i].factor) {
            *bytes = number * units[i].factor;
            return true;
        }
    }
    return false;
}

uint64_t parse_time_unit(const char *text)
{
    if (strcmp(text, "ns") == 0)
        return 1;
    if (strcmp(text, "us") == 0)
        return LEAT_NS_PER_US;
    if (strcmp(text, "ms") == 0)
        return LEAT_NS_PER_MS;
    return strcmp(text, "s") == 0 ? LEAT_NS_PER_S : 0;
}

bool parse_decimal_ns(const char *text, size_t size, uint64_t unit_ns, uint64_t *ns)
{
    const char *point = memchr(text, '.', size);
    const size_t whole = point == NULL ? size : (size_t)(point - text);
    uint64_t number;
    if (!parse_u64(text, whole, &number) || number > UINT64_MAX / unit_ns)
        return false;
    uint64_t sum = number * unit_ns;
    if (point != NULL && whole + 1 == size)
        return false;
    uint64_t unit = unit_ns;
    for (size_t i = whole + 1; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        unit /= 10;
        const uint64_t part = (uint64_t)(text[i] - '0') * unit;
        if (sum > UINT64_MAX - part)
            return false;
        sum += part;
    }
    *ns = sum;
    return true;
}

bool parse_duration_ns(const char *text, uint64_t *ns)
{
    static const uint64_t longest = UINT64_C(3155760000) * LEAT_NS_PER_S;
    const size_t number = strspn(text, "0123456789.");
    const char *unit = text + number;
    uint64_t unit_ns = strcmp(unit, "") == 0 ? LEAT_NS_PER_S : parse_time_unit(unit);
    if (strcmp(unit, "m") == 0)
        unit_ns = 60 * LEAT_NS_PER_S;
    uint64_t sum;
    if (unit_ns == 0 || !parse_decimal_ns(text, number, unit_ns, &sum) || sum > longest)
        return false;
    *ns = sum;
    return true;
}

/* Days from 1970-01-01 in the Gregorian calendar (years 1970 and later), counted from March so that
 * the leap day is the last of its year. */
static uint64_t days_since_1970(uint64_t year, uint64_t month, uint64_t day)
{
    const uint64_t y = month <= 2 ? year - 1 : year;
    const uint64_t from_march = (month + 9) % 12;
    return y * 365 + y / 4 - y / 100 + y / 400 + (153 * from_march + 2) / 5 + day - 1 - 719468;
}

/* Parses `count` digits at *text followed by one of `ends`, and moves past both. */
static bool take_field(const char **text, size_t count, const char *ends, uint64_t *value)
{
    if (digits_of(*text) != count || !parse_u64(*text, count, value))
        return false;
    const char end = (*text)[count];
    if (end == '\0' || strchr(ends, end) == NULL)
        return false;
    *text += count + 1;
    return true;
}

static bool parse_zone(const char *text, int64_t *minutes_east)
{
    uint64_t hours;
    uint64_t minutes;
    *minutes_east = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, "z") == 0)
        return true;
    if ((text[0] != '+' && text[0] != '-') || strlen(text) != 6 || text[3] != ':')
        return false;
    if (!parse_u64(text + 1, 2, &hours) || !parse_u64(text + 4, 2, &minutes) || hours > 23
        || minutes > 59)
        return false;
    *minutes_east = (int64_t)(hours * 60 + minutes) * (text[0] == '-' ? -1 : 1);
    return true;
}

static bool parse_rfc3339(const char *text, uint64_t *ns)
{
    static const uint64_t month_days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    uint64_t year;
    uint64_t month;
    uint64_t day;
    uint64_t hour;
    uint64_t minute;
    if (!take_field(&text, 4, "-", &year) || !take_field(&text, 2, "-", &month)
        || !take_field(&text, 2, "Tt ", &day) || !take_field(&text, 2, ":", &hour)
        || !take_field(&text, 2, ":", &minute))
        return false;
    const size_t seconds_size = strspn(text, "0123456789.");
    uint64_t second_ns;
    int64_t east;
    if (digits_of(text) != 2 || !parse_decimal_ns(text, seconds_size, LEAT_NS_PER_S, &second_ns)
        || !parse_zone(text + seconds_size, &east))
        return false;
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1
        || day > month_days[month - 1] || (month == 2 && day == 29 && !leap) || hour > 23
        || minute > 59 || second_ns >= 61 * LEAT_NS_PER_S)
        return false;
    const int64_t minutes =
        (int64_t)((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) - east;
    if (minutes < 0)
        return false;
    *ns = (uint64_t)minutes * 60 * LEAT_NS_PER_S + second_ns;
    return true;
}

bool parse_instant(const char *text, uint64_t *ns)
{
    return parse_u64(text, strlen(text), ns) || parse_rfc3339(text, ns);
}

bool parse_speed(const char *text, double *speed)
{
    char *end;
    if (text[strspn(text, "0123456789.")] != '\0' || *text == '\0')
        return false;
    const double number = strtod(text, &end);
    if (*end != '\0' || !isfinite(number))
        return false;
    *speed = number;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that the escape after a backslash stands for, or -1; *used is the length of the
 * escape. */
static int escaped_byte(const char *text, size_t *used)
{
    static const char names[] = "nrt0\\";
    static const char bytes[] = "\n\r\t\0\\";
    *used = 1;
    if (*text == 'x') {
        const int high = hex_digit(text[1]);
        const int low = high < 0 ? -1 : hex_digit(text[2]);
        *used = 3;
        return low < 0 ? -1 : high * 16 + low;
    }
    const char *found = *text == '\0' ? NULL : strchr(names, *text);
    return found == NULL ? -1 : (unsigned char)bytes[found - names];
}

bool parse_escapes(const char *text, uint8_t *to, size_t room, size_t *size)
{
    size_t count = 0;
    while (*text != '\0') {
        int byte = (unsigned char)*text++;
        if (byte == '\\') {
            size_t used;
            byte = escaped_byte(text, &used);
            if (byte < 0)
                return false;
            text += used;
        }
        if (count == room)
            return false;
        to[count++] = (uint8_t)byte;
    }
    *size = count;
    return true;
}
