/* The UDP payloads in a capture file (pcap, pcapng).
 *
 * Role: link headers, IPv4 and IPv6, UDP; one whole datagram after another.
 * Must not know: what the payloads contain.
 * Threads: one. */
#ifndef LEAT_CLIENT_CLI_CAPTURE_H
#define LEAT_CLIENT_CLI_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

struct capture;

struct capture_datagram {
    const uint8_t *bytes; /* the payload; valid until the next call */
    size_t size;
    int64_t time_ns; /* when it was captured, ns since 1970 */
};

enum capture_said { CAPTURE_DATAGRAM, CAPTURE_END, CAPTURE_ERROR };

/* How many packets of the file were handed out or skipped. */
struct capture_counts {
    uint64_t packets;
    uint64_t datagrams; /* whole UDP datagrams, handed out */
    uint64_t fragments; /* fragments of IP datagrams; not reassembled */
    uint64_t truncated; /* cut by the capture's snap length */
    uint64_t other;     /* not UDP */
};

enum capture_kind { CAPTURE_UDP, CAPTURE_FRAGMENT, CAPTURE_TRUNCATED, CAPTURE_OTHER };

/* Opens a capture file. NULL: `error_text` says why. */
struct capture *capture_open(const char *path, char error_text[256]);
enum capture_said capture_next(struct capture *c, struct capture_datagram *out);
const char *capture_error(const struct capture *c);
const struct capture_counts *capture_counts(const struct capture *c);
void capture_close(struct capture *c);

/* Finds the UDP payload in one packet of link type `link` (libpcap's DLT_ number), of which `size`
 * bytes were captured. Sets the payload only for CAPTURE_UDP. Pure. */
enum capture_kind capture_payload(int link, const uint8_t *packet, size_t size,
                                  const uint8_t **payload, size_t *payload_size);

#endif
