/* URLs: the query, with the options of a port. */
#include <stdio.h>
#include <string.h>

#include "client/url.h"
#include "schema/packet.h"

enum {
    VALUE_BYTES_MAX = URL_DEVICE_BYTES_MAX,
    KEY_BYTES_MAX = 16,
    VLAN_ID_MAX = 4094,
    PREFIX_BITS_MAX = 32,
    IP_MTU_MIN = 576, /* every IPv4 host must accept this */
    IP_MTU_MAX = 65535,
    MEMORY_MB_MAX = 1 << 20,
    PPM_MAX = 1000000,
    BURST_MAX = 1000,
    DECIMAL = 10,
};

/* Takes a key's decoded value; false: not what the key expects. */
typedef bool take_value(struct url *url, const char *value);

/* Parses decimal digits only. */
static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || value > UINT64_MAX / DECIMAL - 1)
            return false;
        value = value * DECIMAL + (uint64_t)(*text - '0');
    }
    *out = value;
    return value >= least && value <= most;
}

static bool number32(const char *text, uint32_t least, uint32_t most, uint32_t *out)
{
    uint64_t value;
    if (!number(text, least, most, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

/* Parses "10.0.0.2" into host order; 0.0.0.0 is not accepted. Returns the end of the address; NULL:
 * not an address. */
static const char *ipv4(const char *text, uint32_t *out)
{
    uint32_t address = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t byte = 0, digits = 0;
        if (i > 0 && *text++ != '.')
            return NULL;
        for (; *text >= '0' && *text <= '9' && digits < 3; digits++)
            byte = byte * DECIMAL + (uint32_t)(*text++ - '0');
        if (digits == 0 || byte > UINT8_MAX)
            return NULL;
        address = address << 8 | byte;
    }
    *out = address;
    return address != 0 ? text : NULL;
}

static bool take_fallback(struct url *url, const char *value)
{
    url->fallback_tcp = strcmp(value, "tcp") == 0;
    return url->fallback_tcp;
}

static bool take_packet_mtu(struct url *url, const char *value)
{
    return number32(value, LEAT_PACKET_BYTES_MIN, LEAT_PACKET_BYTES_MAX, &url->mtu);
}

static bool take_ip_mtu(struct url *url, const char *value)
{
    return number32(value, IP_MTU_MIN, IP_MTU_MAX, &url->mtu);
}

static bool take_device(struct url *url, const char *value)
{
    snprintf(url->dpdk.device, sizeof url->dpdk.device, "%s", value);
    return *value != '\0';
}

static bool take_ip(struct url *url, const char *value)
{
    uint32_t bits;
    const char *rest = ipv4(value, &url->dpdk.ip);
    if (rest == NULL || *rest != '/' || !number32(rest + 1, 1, PREFIX_BITS_MAX, &bits))
        return false;
    url->dpdk.prefix_bits = (uint8_t)bits;
    return true;
}

static bool take_gateway(struct url *url, const char *value)
{
    const char *rest = ipv4(value, &url->dpdk.gateway);
    return rest != NULL && *rest == '\0';
}

static bool take_vlan(struct url *url, const char *value)
{
    uint32_t vlan;
    if (!number32(value, 1, VLAN_ID_MAX, &vlan))
        return false;
    url->dpdk.vlan = (uint16_t)vlan;
    return true;
}

static bool take_memory(struct url *url, const char *value)
{
    return number32(value, 1, MEMORY_MB_MAX, &url->dpdk.memory_mb);
}

static bool take_pages(struct url *url, const char *value)
{
    static const char *const names[] = { [LINK_DPDK_PAGES_AUTO] = "auto",
                                         [LINK_DPDK_PAGES_HUGE] = "huge",
                                         [LINK_DPDK_PAGES_NORMAL] = "normal" };
    for (int32_t i = 0; i < (int32_t)(sizeof names / sizeof *names); i++) {
        if (strcmp(value, names[i]) == 0) {
            url->dpdk.pages = i;
            return true;
        }
    }
    return false;
}

/* Only 1 is possible: the thread that uses the client polls its port. */
static bool take_cores(struct url *url, const char *value)
{
    uint32_t cores;
    (void)url;
    return number32(value, 1, 1, &cores);
}

static bool take_neighbour(struct url *url, const char *value)
{
    struct url_dpdk *dpdk = &url->dpdk;
    if (dpdk->neighbour_count == URL_NEIGHBOURS_MAX)
        return false;
    struct link_dpdk_neighbour *neighbour = &dpdk->neighbours[dpdk->neighbour_count];
    const char *rest = ipv4(value, &neighbour->ip);
    if (rest == NULL || *rest++ != '/')
        return false;
    uint8_t *m = neighbour->mac;
    int end = 0;
    if (strlen(rest) != 17
        || sscanf(rest, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", m, m + 1, m + 2, m + 3, m + 4,
                  m + 5, &end)
               != 6
        || rest[end] != '\0')
        return false;
    dpdk->neighbour_count++;
    return true;
}

/* "loss:1000,reorder:50,seed:7": parts per million, except for burst and seed. */
static bool take_inject(struct url *url, const char *value)
{
    struct link_dpdk_inject *inject = &url->dpdk.inject;
    const struct {
        const char *name;
        uint32_t *first, *second;
        uint32_t most;
    } faults[] = {
        { "loss", &inject->rx_loss_ppm, &inject->tx_loss_ppm, PPM_MAX },
        { "rx_loss", &inject->rx_loss_ppm, &inject->rx_loss_ppm, PPM_MAX },
        { "tx_loss", &inject->tx_loss_ppm, &inject->tx_loss_ppm, PPM_MAX },
        { "duplicate", &inject->rx_duplicate_ppm, &inject->rx_duplicate_ppm, PPM_MAX },
        { "reorder", &inject->rx_reorder_ppm, &inject->rx_reorder_ppm, PPM_MAX },
        { "corrupt", &inject->rx_corrupt_ppm, &inject->rx_corrupt_ppm, PPM_MAX },
        { "burst", &inject->burst, &inject->burst, BURST_MAX },
    };
    while (*value != '\0') {
        char one[KEY_BYTES_MAX + 32];
        const size_t size = strcspn(value, ",");
        if (size == 0 || size >= sizeof one)
            return false;
        memcpy(one, value, size);
        one[size] = '\0';
        value += size + (value[size] == ',');
        char *colon = strchr(one, ':');
        if (colon == NULL)
            return false;
        *colon = '\0';
        bool known = strcmp(one, "seed") == 0 && number(colon + 1, 0, UINT64_MAX, &inject->seed);
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
            uint32_t ppm;
            if (strcmp(one, faults[i].name) != 0 || !number32(colon + 1, 0, faults[i].most, &ppm))
                continue;
            *faults[i].first = *faults[i].second = ppm;
            known = true;
        }
        if (!known)
            return false;
    }
    return true;
}

#define FOR(transport) (1U << (transport))

static const struct key {
    const char *name;
    unsigned schemes; /* FOR() of each */
    bool repeats;
    take_value *take;
    const char *expected;
} keys[] = {
    { "fallback", FOR(URL_UDP) | FOR(URL_DPDK), false, take_fallback, "tcp" },
    { "mtu", FOR(URL_UDP), false, take_packet_mtu, "bytes of UDP payload, 512 to 65000" },
    { "mtu", FOR(URL_DPDK), false, take_ip_mtu, "bytes of an IP packet, 576 to 65535" },
    { "device", FOR(URL_DPDK), false, take_device, "a DPDK device with its arguments" },
    { "ip", FOR(URL_DPDK), false, take_ip, "address/bits, as in 10.0.0.2/24" },
    { "gateway", FOR(URL_DPDK), false, take_gateway, "an IPv4 address" },
    { "vlan", FOR(URL_DPDK), false, take_vlan, "1 to 4094" },
    { "memory_mb", FOR(URL_DPDK), false, take_memory, "1 to 1048576" },
    { "pages", FOR(URL_DPDK), false, take_pages, "auto, huge or normal" },
    { "cores", FOR(URL_DPDK), false, take_cores, "1: the thread that uses the client polls" },
    { "neighbour", FOR(URL_DPDK), true, take_neighbour,
      "address/mac, as in 10.0.0.1/02:00:00:00:00:01, at most 16 times" },
    { "inject", FOR(URL_DPDK), false, take_inject,
      "name:number[,...] of loss, rx_loss, tx_loss, duplicate, reorder, corrupt (parts per "
      "million), "
      "burst, seed" },
};
enum { KEYS = sizeof keys / sizeof *keys };

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + DECIMAL;
    return c >= 'A' && c <= 'F' ? c - 'A' + DECIMAL : -1;
}

/* Percent-decodes a value: %41 is 'A'. False: an invalid escape, a NUL byte, or too long. */
static bool decode(char out[VALUE_BYTES_MAX + 1], const char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '%') {
            const int h = size - i > 2 ? hex(text[i + 1]) : -1;
            const int l = size - i > 2 ? hex(text[i + 2]) : -1;
            if (h < 0 || l < 0)
                return false;
            c = (char)(h << 4 | l);
            i += 2;
        }
        if (c == '\0' || used == VALUE_BYTES_MAX)
            return false;
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

static const char *scheme_name(enum url_transport transport)
{
    static const char *const names[] = { "tcp", "udp", "dpdk" };
    return names[transport];
}

static enum leat_error take_pair(struct url *url, const char *pair, size_t size, uint32_t *seen,
                                 char *why, size_t why_bytes)
{
    const char *equals = memchr(pair, '=', size);
    const size_t name_size = equals != NULL ? (size_t)(equals - pair) : size;
    const int shown = name_size > 64 ? 64 : (int)name_size;
    char value[VALUE_BYTES_MAX + 1];
    for (uint32_t i = 0; i < KEYS; i++) {
        const struct key *key = &keys[i];
        if ((key->schemes & FOR(url->transport)) == 0 || strlen(key->name) != name_size
            || memcmp(key->name, pair, name_size) != 0)
            continue;
        if ((*seen >> i & 1) != 0 && !key->repeats) {
            snprintf(why, why_bytes, "\"%s\" is given twice", key->name);
            return LEAT_ERR_INVALID;
        }
        *seen |= UINT32_C(1) << i;
        if (equals != NULL && decode(value, equals + 1, size - name_size - 1)
            && key->take(url, value))
            return LEAT_OK;
        snprintf(why, why_bytes, "\"%.*s\": expected %s=%s", size > 120 ? 120 : (int)size, pair,
                 key->name, key->expected);
        return LEAT_ERR_INVALID;
    }
    snprintf(why, why_bytes, "%s:// takes no \"%.*s\"", scheme_name(url->transport), shown, pair);
    return LEAT_ERR_INVALID;
}

enum leat_error url_query_parse(struct url *url, const char *query, const char *text, char *why,
                                size_t why_bytes)
{
    enum { STORY_BYTES = 320 };
    char story[STORY_BYTES] = "";
    uint32_t seen = 0;
    enum leat_error error = LEAT_OK;
    while (*query != '\0' && error == LEAT_OK) {
        const size_t size = strcspn(query, "&");
        error = take_pair(url, query, size, &seen, story, sizeof story);
        query += size + (query[size] == '&');
    }
    if (error == LEAT_OK && url->transport == URL_DPDK && url->dpdk.ip == 0) {
        snprintf(story, sizeof story, "dpdk:// needs ip=address/bits, as in ip=10.0.0.2/24");
        error = LEAT_ERR_INVALID;
    }
    if (error != LEAT_OK)
        snprintf(why, why_bytes, "url \"%.160s\": %s", text, story);
    return error;
}
