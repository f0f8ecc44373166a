/* The UDP payloads of a capture file (pcap, pcapng).
 *
 * Role: link headers, IPv4 and IPv6, UDP; one whole datagram after the other.
 * Must not know: what is in them. Threads: one. */
#ifndef LEAT_CLIENT_CLI_CAPTURE_H
#define LEAT_CLIENT_CLI_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture;

struct capture_datagram {
    const uint8_t *bytes; /* the payload; valid until the next call */
    size_t size;
    int64_t time_ns; /* when it was captured, ns since 1970 */
};

enum capture_said { CAPTURE_DATAGRAM, CAPTURE_END, CAPTURE_ERROR };

/* NULL with a sentence in `error_text`. */
struct capture *capture_open(const char *path, char error_text[256]);
enum capture_said capture_next(struct capture *c, struct capture_datagram *out);
const char *capture_error(const struct capture *c);
/* Packets passed over: not UDP, fragments, or cut by the capture's snap length. */
uint64_t capture_skipped(const struct capture *c);
void capture_close(struct capture *c);

/* Finds the UDP payload in one packet of link type `link` (libpcap's DLT_ number), `size` bytes
 * captured. False: it has none, or not whole. Pure. */
bool capture_payload(int link, const uint8_t *packet, size_t size, const uint8_t **payload,
                     size_t *payload_size);

#endif
