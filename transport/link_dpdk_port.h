/* clang-format off */
/* A DPDK port and its lanes: declarations shared by the files of the driver.
 *
 *      link_dpdk.c               the driver's function table; lanes as links
 *      link_dpdk_device.c        properties of each kind of device; checks of options
 *      link_dpdk_open.c          opens and closes a port
 *      link_dpdk_retry.c         retries to open a device that another process still holds
 *      link_dpdk_socket.c        checks where a socket for sharing memory is
 *      link_dpdk_rx.c            receive path
 *      link_dpdk_tx.c            transmit path
 *      link_dpdk_memif_proxy.c   accepts memif's peers
 *      link_dpdk_handshake.c     memif's handshake
 *      link_dpdk_message.c       memif's messages
 *      link_dpdk_rings.c         validates memif's rings
 *      fault.c                   handles SIGBUS from memory that a peer truncates
 *      link_dpdk_vhost.c         registers the memory of vhost-user's peers with fault.c
 *      link_dpdk_vhost_calls.c   signals vhost-user's peers without blocking
 *      link_dpdk_sleep.c         puts a lane's thread to sleep, and wakes it
 *      link_dpdk_memif_quiesce.c keeps lanes out of rings while a memif peer disconnects
 *      link_dpdk_hold.c          blocks EAL's interrupt thread while a port is closed
 *      link_dpdk_memif_fds.c     restores descriptors that a zero-copy memif closes by mistake
 *      link_dpdk_memory.c        registers memory that is sent by reference
 *
 * Role: the structures they share.
 * Must not know: what datagrams mean, except the session id.
 * Threads: a lane belongs to one thread. Fields that others use are atomic. Each ring between lanes
 * has one producer and one consumer. */
/* clang-format on */
#ifndef LEAT_TRANSPORT_LINK_DPDK_PORT_H
#define LEAT_TRANSPORT_LINK_DPDK_PORT_H

#include <stdatomic.h>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "schema/limits.h"
#include "transport/ether.h"
#include "transport/fault.h"
#include "transport/inject.h"
#include "transport/link_dpdk.h"
#include "transport/neighbour.h"

enum {
    LINK_DPDK_NAME_BYTES = 64,
    LINK_DPDK_SOCKET_BYTES = 128,
    LINK_DPDK_ARGUMENT_BYTES = 1024,
    LINK_DPDK_PEERS = 16,           /* entries of the cache of headers, a power of two */
    LINK_DPDK_HANDOVER = 512,       /* entries of a ring between two lanes */
    LINK_DPDK_CACHE = 256,          /* mbufs in the mempool cache of a thread */
    LINK_DPDK_REGIONS = 16,         /* maximum number of regions that a peer shares */
    LINK_DPDK_MEMIF_BYTES = 128,    /* size of a memif message */
    LINK_DPDK_REFERENCE_BYTES = 64, /* private area of an mbuf with an external buffer */
};
#define LINK_DPDK_CHORES_NS (100 * LEAT_NS_PER_MS) /* statistics, link state, reconnecting */
#define LINK_DPDK_CONNECT_NS (2 * LEAT_NS_PER_S)   /* timeout of a memif's handshake */
#define LINK_DPDK_CLEANUP_NS (1 * LEAT_NS_PER_MS)  /* interval of releasing sent references */
#define LINK_DPDK_STUCK_NS (10 * LEAT_NS_PER_MS)   /* no reference released for so long: copy */
#define LINK_DPDK_RESOLVED_NS (1 * LEAT_NS_PER_S)  /* lifetime of headers with a resolved MAC */

/* Types of memif's messages, from memif.h of DPDK 22.11. */
enum link_dpdk_memif {
    LINK_DPDK_MEMIF_ACK = 1,
    LINK_DPDK_MEMIF_INIT = 3,
    LINK_DPDK_MEMIF_ADD_REGION = 4,
    LINK_DPDK_MEMIF_ADD_RING = 5,
    LINK_DPDK_MEMIF_CONNECT = 6,
    LINK_DPDK_MEMIF_CONNECTED = 7,
    LINK_DPDK_MEMIF_DISCONNECT = 8,
};

/* Properties of a kind of device that its driver does not report. */
struct link_dpdk_kind {
    const char *prefix; /* of the device's name */
    bool references;    /* sends from chained external buffers without touching foreign memory */
    bool partial_checksums; /* a kernel at the other end leaves them half made */
    bool alone;             /* point-to-point: one peer at the other end, no switch */
    bool configure_mtu;     /* its buffers follow the MTU it is configured with */
    bool queues;            /* a queue pair for each lane, if it has so many */
    bool dma;               /* reads memory that must be mapped for it */
    bool interface;         /* has a kernel interface, which knows the MTU */
    bool lingers;           /* its queue is free only some time after the end of who had it */
    bool interrupts;        /* may support receive interrupts */
    bool intact;            /* the other end is a process of this machine */
    bool copies;            /* by the thread that receives: what came is in its cache */
    bool shares;            /* its own memory, with the other end */
};

struct link_dpdk_device {
    struct link_dpdk_kind kind;
    char name[LINK_DPDK_NAME_BYTES];
    char arguments[LINK_DPDK_ARGUMENT_BYTES]; /* the device string, completed */
    bool memif_client, memif_zero_copy;
    uint32_t memif_id;
    bool memif_abstract;                       /* memif_socket is an abstract name */
    char memif_socket[LINK_DPDK_SOCKET_BYTES]; /* "": no memif. A server's: see
                                                  link_dpdk_memif_proxy.c */
    /* The file through which memory is shared, whole and without links once it is placed. */
    char socket_file[LINK_DPDK_SOCKET_BYTES]; /* "": there is none */
    const char *socket_key;                   /* its argument, "path=" */
    bool serves;                              /* peers connect to it */
    uint16_t mtu;                             /* 0: ask the device */
    uint32_t data_bytes;                      /* of a buffer, without headroom */
};

/* An entry of the cache of headers. */
struct link_dpdk_route {
    struct link_peer peer;
    leat_ns expires; /* 0: the entry is empty */
    uint32_t generation;
    struct ether_template headers;
};

struct link_dpdk_lane {
    struct link link;
    struct link_dpdk_port *port;
    uint32_t index;
    uint16_t udp_port;
    bool polls; /* has a queue pair of its own */
    uint16_t rx_queue, tx_queue;
    uint32_t prefetch_bytes;  /* of each packet that came */
    uint32_t take_back_bytes; /* of each buffer that is to be written */
    struct ether_self self;
    leat_ns now; /* of the last receive or flush */
    leat_ns chores_at, cleanup_at;
    bool no_cleanup;                         /* the device does not support cleanup */
    uint64_t device_drops, device_no_buffer; /* the device's counters, as last read */
    struct inject *inject;                   /* NULL: none */

    /* Frames to be transmitted, oldest first: staged_count entries from staged_head on. */
    struct rte_mbuf **staged; /* has 2 * staged_max entries */
    uint32_t staged_head, staged_count, staged_max;
    uint32_t reserved;
    bool moved; /* some left since the last chores */
    /* Allocated in bursts, because single allocations look up the thread's cache each time. */
    struct rte_mbuf *spares[LINK_BURST];
    uint32_t spare_count;

    struct link_dpdk_route routes[LINK_DPDK_PEERS];
    struct neighbours neighbours;
    _Atomic bool asking; /* read by other lanes: this one is resolving addresses */

    /* See link_dpdk_sleep.c. -1: it cannot sleep. */
    int sleeper, nudged;
    _Atomic bool asleep, arming;

    _Atomic uint32_t references_out; /* on the wire; the thread that sends counts down */
    _Atomic uint64_t returned_at;    /* when one last came back */
};

struct link_dpdk_memif_proxy;
struct link_dpdk_rings;
struct link_dpdk_vhost;

struct link_dpdk_port {
    struct link_dpdk_device device;
    struct link_dpdk_memif_proxy *proxy; /* of a memif server; else NULL */
    /* Of a memif server's peer, while it is connected; used between enter and leave. */
    struct link_dpdk_rings *_Atomic rings;
    struct link_dpdk_vhost *vhost; /* of a vhost-user backend; else NULL */
    _Atomic bool *suspect;         /* peer_wrong of a vhost-user backend; else NULL */
    _Atomic bool peer_wrong;       /* its memory is gone, or less than was said */
    uint16_t id;
    bool attached, external;
    bool shares;          /* see link_dpdk_memory.c */
    bool interrupts;      /* configured with them */
    _Atomic bool running; /* the device is started: its queues may be used */
    leat_ns reconnect_at; /* 0: not yet decided */
    bool was_up;
    _Atomic bool away;     /* there was nobody at the other end at the last chores */
    bool quiesces, fenced; /* see link_dpdk_memif_quiesce.c */
    bool held;             /* see link_dpdk_hold.c */
    _Atomic bool inside;   /* the polling lane uses the device */
    uint16_t queues, descriptors, mtu;
    uint32_t lane_count;
    uint8_t lane_shift;
    uint16_t udp_port; /* of lane 0 */
    struct ether_self self;
    struct rte_mempool *pool;
    struct rte_mempool *reference_pool; /* NULL: never by reference */
    _Atomic uint64_t clock;             /* of a lane that sends, for references that come back */
    /* [from * lane_count + to], NULL on the diagonal and where the lane `from` polls nothing. */
    struct rte_ring **to_lane;
    struct rte_ring **to_wire; /* [lane], towards lane 0, where that one alone polls */
    struct link_dpdk_lane *lanes[LEAT_SHARDS_MAX];
};

/* ---- link_dpdk_device.c */

/* Checks options and completes the device string. */
enum leat_error link_dpdk_device(struct link_dpdk_device *out,
                                 const struct link_dpdk_options *options,
                                 char error_text[LINK_DPDK_ERROR_TEXT]);
void link_dpdk_plan(const struct link_dpdk_options *options, struct link_dpdk_plan *out);
/* Buffers for references, 0: none. */
uint32_t link_dpdk_reference_count(const struct link_dpdk_options *options,
                                   const struct link_dpdk_device *device);
uint16_t link_dpdk_descriptors(const struct link_dpdk_options *options);

/* Argument `key` ("path=") gets this value, whatever it was. */
void link_dpdk_set_argument(struct link_dpdk_device *device, const char *key, const char *value);

/* ---- link_dpdk_socket.c */

/* Whoever reaches the socket shares memory with us: its folder must be one in which nobody but our
 * own user and root can put or replace anything, or it is refused (LEAT_ERR_INVALID). The file's
 * whole path takes the place of what was given. Without a file: nothing. */
enum leat_error link_dpdk_socket_place(struct link_dpdk_device *device,
                                       char error_text[LINK_DPDK_ERROR_TEXT]);
/* Removes what a process that was killed left there; a live server is not disturbed. */
void link_dpdk_socket_clear(const struct link_dpdk_device *device);
/* A driver serves it now: nobody but our own user and root may connect. */
void link_dpdk_socket_protect(const struct link_dpdk_device *device);
/* Serves memif's peers at this name, of a file or an abstract one. -1: see errno. */
int link_dpdk_socket_listen(const char *name, bool abstract);
/* The peer of this connection is of our own user, or root. */
bool link_dpdk_socket_is_ours(int fd);

/* ---- link_dpdk_retry.c */

/* Waits for the end of a process that had the device, 2 s at most. */
enum leat_error link_dpdk_open(struct link_dpdk_port **out, const struct link_dpdk_options *options,
                               char error_text[LINK_DPDK_ERROR_TEXT]);

/* ---- link_dpdk_open.c */

/* LEAT_BUSY: another process may have it still. */
enum leat_error link_dpdk_try(struct link_dpdk_port **out, const struct link_dpdk_options *options,
                              char error_text[LINK_DPDK_ERROR_TEXT]);
void link_dpdk_close(struct link_dpdk_port *port);
bool link_dpdk_is_up(const struct link_dpdk_port *port);
/* A memif that lost its server, or never had one, tries again. By the thread that polls. */
void link_dpdk_reconnect(struct link_dpdk_port *port, leat_ns now);

/* ---- link_dpdk_memif_proxy.c: of a memif server, in this order */

/* The private socket that its driver shall listen to, good until link_dpdk_memif_proxy_close; NULL:
 * no room for it, see errno. */
const char *link_dpdk_memif_proxy_prepare(struct link_dpdk_port *port);
/* The driver listens: the public socket may be served. False: it cannot be, see errno. */
bool link_dpdk_memif_proxy_open(struct link_dpdk_port *port);
/* True: the port was the last behind it. Without a proxy: false. */
bool link_dpdk_memif_proxy_close(struct link_dpdk_port *port);

/* ---- link_dpdk_message.c: by the proxy */

struct link_dpdk_message {
    char bytes[2 * LINK_DPDK_MEMIF_BYTES];
    ssize_t size;       /* negative: see errno; 0: the other end has hung up */
    int descriptors[4]; /* memif sends one */
    size_t descriptor_count;
};

/* False: nothing, or no whole message; its descriptors are to be dropped in any case. */
bool link_dpdk_message_receive(int from, struct link_dpdk_message *message);
/* False: it was not taken. */
bool link_dpdk_message_send(int to, struct link_dpdk_message *message);
void link_dpdk_message_drop(struct link_dpdk_message *message);
/* A link_dpdk_memif; 0: it is no message of memif. */
uint16_t link_dpdk_message_type(const struct link_dpdk_message *message);
/* One of these bytes, with a descriptor or without (-1). */
bool link_dpdk_message_tell(int to, const uint8_t bytes[LINK_DPDK_MEMIF_BYTES], int fd);
/* The last word to a peer: its driver shows it. */
void link_dpdk_message_say_why(int fd, const char *why);

/* ---- link_dpdk_handshake.c: by the proxy */

struct link_dpdk_handshake;

/* NULL: no memory. */
struct link_dpdk_handshake *link_dpdk_handshake_new(int wake);
void link_dpdk_handshake_free(struct link_dpdk_handshake *handshake);
/* Takes what the peer said; `fd` (-1: none) stays the caller's. NULL: it is to be acknowledged, or
 * is whole; else why the peer has to go. */
const char *link_dpdk_handshake_hear(struct link_dpdk_handshake *handshake,
                                     const uint8_t message[LINK_DPDK_MEMIF_BYTES], int fd);
bool link_dpdk_handshake_is_whole(const struct link_dpdk_handshake *handshake);
/* The interface that the peer asked for. */
uint32_t link_dpdk_handshake_id(const struct link_dpdk_handshake *handshake);
/* Tells the driver all of it; packets of the peer have `packet_bytes` at most. NULL, or why not. */
const char *link_dpdk_handshake_tell(struct link_dpdk_handshake *handshake, int to,
                                     uint32_t packet_bytes);
/* They are the caller's from now on. */
struct link_dpdk_rings *link_dpdk_handshake_take_rings(struct link_dpdk_handshake *handshake);

/* ---- link_dpdk_rings.c: by the proxy */

/* `wake` is an eventfd, told when they break. NULL: no memory, or no descriptor. */
struct link_dpdk_rings *link_dpdk_rings_new(int wake);
void link_dpdk_rings_free(struct link_dpdk_rings *rings);
/* NULL, or why the peer has to go. `fd` stays the caller's. */
const char *link_dpdk_rings_add_region(struct link_dpdk_rings *rings, uint16_t index, uint64_t size,
                                       int fd);
const char *link_dpdk_rings_add_ring(struct link_dpdk_rings *rings, bool in, uint16_t region,
                                     uint32_t offset, uint8_t log2);
const char *link_dpdk_rings_begin(struct link_dpdk_rings *rings, uint32_t packet_bytes);
/* What the driver shall map: the peer's regions, and behind them ours, which has the rings. */
struct link_dpdk_shared {
    struct {
        uint64_t size;
        int fd;
    } regions[LINK_DPDK_REGIONS + 1];
    uint32_t region_count; /* of the peer */
    uint16_t in_size, out_size;
};
void link_dpdk_rings_describe(const struct link_dpdk_rings *rings, struct link_dpdk_shared *out);
uint32_t link_dpdk_rings_own_bytes(void);
uint32_t link_dpdk_rings_own_offset(bool in);
/* True: the peer wrote what cannot be, or took memory away. */
bool link_dpdk_rings_broken(const struct link_dpdk_rings *rings);

/* By the polling lane, around the driver's bursts. */
void link_dpdk_rings_before_receive(struct link_dpdk_rings *rings);
void link_dpdk_rings_after_receive(struct link_dpdk_rings *rings);
void link_dpdk_rings_before_send(struct link_dpdk_rings *rings);
void link_dpdk_rings_after_send(struct link_dpdk_rings *rings);

/* ---- link_dpdk_vhost.c: where the port is no vhost-user backend, nothing */

/* False: no memory. */
bool link_dpdk_vhost_open(struct link_dpdk_port *port);
/* While the device is there. */
void link_dpdk_vhost_close(struct link_dpdk_port *port);
/* When it is gone. */
void link_dpdk_vhost_free(struct link_dpdk_port *port);
/* Disconnects a peer that took memory away. Called now and then by the polling lane. */
void link_dpdk_vhost_look(struct link_dpdk_port *port);

/* ---- link_dpdk_vhost_calls.c: by link_dpdk_vhost.c */

struct link_dpdk_calls;

/* NULL: no memory, no descriptors or no asynchronous I/O; peers are told as the library does it. */
struct link_dpdk_calls *link_dpdk_calls_open(uint32_t rings);
/* When the device is gone. NULL: nothing. */
void link_dpdk_calls_close(struct link_dpdk_calls *calls);
/* The peer is told by our thread from now on. By the library's thread, while no ring of it that has
 * another descriptor than before is used. False: no descriptors. */
bool link_dpdk_calls_take(struct link_dpdk_calls *calls, int vid);

/* ---- link_dpdk_memif_quiesce.c */

/* Connections that this process serves at the socket of this name end. */
void link_dpdk_memif_quiesce_hang_up(const char *name);
/* What a lane does from now on sees what was stored before. */
void link_dpdk_fence_lanes(void);

extern _Atomic bool link_dpdk_quiesced;

bool link_dpdk_memif_quiesce_add(struct link_dpdk_port *port);
void link_dpdk_memif_quiesce_remove(struct link_dpdk_port *port);
/* The port has another control socket. */
void link_dpdk_memif_quiesce_changed(const struct link_dpdk_port *port);

/* The device may be used until link_dpdk_leave; false: not now, as if it had nothing. */
static inline bool link_dpdk_enter(struct link_dpdk_port *port)
{
    if (!port->quiesces) {
        fault_suspect = port->suspect;
        return true;
    }
    atomic_store_explicit(&port->inside, true, memory_order_relaxed);
    if (port->fenced)
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&link_dpdk_quiesced, memory_order_acquire))
        return true;
    atomic_store_explicit(&port->inside, false, memory_order_release);
    return false;
}

static inline void link_dpdk_leave(struct link_dpdk_port *port)
{
    if (port->quiesces)
        atomic_store_explicit(&port->inside, false, memory_order_release);
    else
        fault_suspect = NULL;
}

/* By control, when no lane runs. */
void link_dpdk_enter_waiting(struct link_dpdk_port *port);

/* Wakes the handler that parks EAL's interrupt thread. */
void link_dpdk_memif_quiesce_hurry(void);
/* By who closes a memif server's last port, while EAL's interrupt thread is held in our handler.
 * The driver's listener, whose handler it leaves behind, never speaks again. */
void link_dpdk_memif_quiesce_silence(const struct link_dpdk_port *port);
/* How many sockets the driver still serves for the port; they go when their peers are gone. */
uint32_t link_dpdk_memif_quiesce_served(const struct link_dpdk_port *port);

/* ---- link_dpdk_hold.c */

/* Blocks EAL's interrupt thread until link_dpdk_let_go: no handler runs meanwhile. False: the
 * handler could not be installed. For ports that quiesce use link_dpdk_enter_waiting instead. */
bool link_dpdk_hold(void);
void link_dpdk_let_go(void);
/* Waits for handlers that are running and for alarms that are due. */
void link_dpdk_run_due(void);

/* ---- link_dpdk_sleep.c */

/* The lanes are there and the device runs. A port that has no means to wake its threads is as good
 * as any: they ask it again and again. */
void link_dpdk_sleep_open(struct link_dpdk_port *port);
void link_dpdk_sleep_close(struct link_dpdk_port *port);
int link_dpdk_descriptor(const struct link *link);
bool link_dpdk_arm(struct link *link);
void link_dpdk_disarm(struct link *link);
/* Wakes those of these lanes (a bitmap) that sleep, because their rings were filled. */
void link_dpdk_nudge(const struct link_dpdk_port *port, uint64_t lanes);

/* ---- link_dpdk_memif_fds.c: before a zero-copy memif connects, and after it did */

/* Memory can be shared at all. False: errno says why not. */
bool link_dpdk_memif_fds_can_be_made(void);
/* EAL's memory files are known and safe. False: one is lost, or there are none to share. */
bool link_dpdk_memif_fds_hold(void);
bool link_dpdk_memif_fds_restore(void);

/* ---- link_dpdk_memory.c */

enum leat_error link_dpdk_register(void *base, size_t size, size_t page_size);
void link_dpdk_forget(void *base, size_t size);
/* Ports come and go; at most one call at a time. False: what is registered cannot be mapped, or
 * stands in the way of a zero-copy memif. */
bool link_dpdk_memory_opened(const struct link_dpdk_port *port);
void link_dpdk_memory_closed(const struct link_dpdk_port *port);

/* ---- link_dpdk_rx.c */

unsigned link_dpdk_receive(struct link *link, struct link_datagram *out, unsigned max, leat_ns now);
void link_dpdk_release(struct link *link, struct link_datagram *datagrams, unsigned count);
/* What the device dropped since the last time. */
void link_dpdk_count_device(struct link_dpdk_lane *lane);

/* ---- link_dpdk_tx.c */

bool link_dpdk_reserve(struct link *link, struct link_outgoing *out);
void link_dpdk_cancel(struct link *link, struct link_outgoing *out);
void link_dpdk_send(struct link *link, struct link_outgoing *out, uint32_t size,
                    const struct link_reference *reference, const struct link_peer *to);
unsigned link_dpdk_flush(struct link *link, leat_ns now);
unsigned link_dpdk_reclaim(struct link *link);
leat_ns link_dpdk_deadline(const struct link *link);
/* Stages a complete frame, which the lane then owns; false: no room, the caller keeps it. */
bool link_dpdk_stage(struct link_dpdk_lane *lane, struct rte_mbuf *frame);
/* Stages, or gives up, packets whose neighbour was resolved or did not answer. */
void link_dpdk_settle(struct link_dpdk_lane *lane);
/* Frees everything that is not on the wire. */
void link_dpdk_discard(struct link_dpdk_lane *lane);

#endif
