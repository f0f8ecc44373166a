/* Registers the shard's counters: their names, help texts and labels. */
#include <stdio.h>

#include "broker/shard/shard_state.h"
#include "ops/log.h"

static void register_one(const struct shard *shard, const char *name, const char *help,
                         const char *labels, const metric *value)
{
    const struct metric_options options = {
        .name = name, .help = help, .labels = labels, .kind = METRIC_COUNTER, .value = value
    };
    if (metrics_register(shard->options.metrics, &options) != LEAT_OK)
        log_line(LOG_WARN, "shard.metric_refused", log_text("metric", name));
}

static void register_packet_drops(const struct shard *shard)
{
    static const char *const why[PACKET_DROPS] = {
        [PACKET_DROP_MALFORMED] = "malformed",
        [PACKET_DROP_VERSION] = "version",
        [PACKET_DROP_SESSION] = "session",
        [PACKET_DROP_PEER] = "peer",
        [PACKET_DROP_TAG] = "tag",
        [PACKET_DROP_CHECKSUM] = "checksum",
        [PACKET_DROP_ATTACH] = "attach",
        [PACKET_DROP_DUPLICATE] = "duplicate",
        [PACKET_DROP_NO_ROOM] = "no_room",
        [PACKET_DROP_PROTOCOL] = "protocol",
    };
    for (int i = 0; i < PACKET_DROPS; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "shard=\"%u\",reason=\"%s\"", shard->options.index, why[i]);
        register_one(shard, "leat_packets_dropped_total",
                     "Packets that a link accepted and the shard dropped.", labels,
                     &shard->counters.packet_drops[i]);
    }
}

void shard_register_counters(const struct shard *shard)
{
    const struct shard_counters *c = &shard->counters;
    const struct {
        const char *name, *help;
        const metric *value;
    } list[] = {
        { "leat_packets_in_total", "Packets that the links accepted.", &c->packets_in },
        { "leat_packets_taken_total", "Packets handled: received and not dropped.",
          &c->packets_taken },
        { "leat_packets_sent_total", "Packets sent; each has a number of its own.",
          &c->packets_sent },
        { "leat_packets_acked_total", "Packets that the peers acknowledged.", &c->packets_acked },
        { "leat_packets_lost_total", "Packets declared lost; their content was sent again.",
          &c->packets_lost },
        { "leat_packets_spurious_total",
          "Spurious losses: packets declared lost and acknowledged later.", &c->packets_spurious },
        { "leat_bytes_resent_total", "Log bytes sent again.", &c->bytes_resent },
        { "leat_probes_total", "Times a probe timer expired.", &c->probes },
        { "leat_bytes_in_total", "Bytes of batches appended.", &c->bytes_in },
        { "leat_bytes_out_total", "Bytes sent on data connections.", &c->bytes_out },
        { "leat_records_in_total", "Records appended.", &c->records_in },
        { "leat_batches_in_total", "Batches appended.", &c->batches_in },
        { "leat_batches_refused_total", "Batches refused for good.", &c->refused },
        { "leat_batches_duplicate_total", "Batches that had been appended before.",
          &c->duplicates },
        { "leat_batches_busy_total", "Batches answered BUSY.", &c->busy },
        { "leat_frames_unknown_stream_total", "Frames for an unknown stream.",
          &c->frames_unknown_stream },
        { "leat_frames_dropped_total", "Frames of unknown types that may be skipped.",
          &c->frames_dropped },
        { "leat_connections_accepted_total", "Data connections accepted.",
          &c->connections_accepted },
        { "leat_connections_refused_total",
          "Data connections refused: out of descriptors, or beyond connections_max.",
          &c->connections_refused },
        { "leat_attach_refused_total", "ATTACH frames refused.", &c->attach_refused },
        { "leat_sessions_opened_total", "Sessions attached.", &c->sessions_opened },
        { "leat_sessions_ended_total", "Attached sessions that ended.", &c->sessions_ended },
        { "leat_sessions_silent_total",
          "Sessions ended because nothing was received for keepalive_ms.", &c->sessions_silent },
        { "leat_sessions_stuck_total",
          "Sessions ended because their connection did not drain for keepalive_ms.",
          &c->sessions_stuck },
        { "leat_protocol_errors_total", "Sessions ended because the client violated the protocol.",
          &c->protocol_errors },
        { "leat_gaps_total", "GAPs sent to overtaken readers.", &c->gaps },
        { "leat_blocked_total", "Times a side had something to send and no credit.", &c->blocked },
        { "leat_commits_total", "COMMITs of groups that were accepted.", &c->commits },
        { "leat_commits_refused_total", "COMMITs of groups that were refused.",
          &c->commits_refused },
        { "leat_streams_revoked_total", "Streams taken from members of groups.", &c->revoked },
        { "leat_throttled_total", "Times a quota held something back.", &c->throttled },
        { "leat_shard_iterations_total", "Iterations of the shard's loop.", &c->iterations },
        { "leat_shard_idle_iterations_total", "Iterations that found nothing to do.",
          &c->iterations_idle },
        { "leat_log_reclaims_total",
          "Times an append waited for log memory that a link was still sending from.",
          &c->reclaims },
        { "leat_clock_steps_total", "Steps of the system clock by more than a second.",
          &c->clock_steps },
    };
    char labels[32];
    snprintf(labels, sizeof labels, "shard=\"%u\"", shard->options.index);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        register_one(shard, list[i].name, list[i].help, labels, list[i].value);
    register_packet_drops(shard);
}

void shard_register_link(const struct shard *shard, uint32_t index)
{
    static const char *const why[LINK_DROPS] = {
        [LINK_DROP_SHORT] = "short",       [LINK_DROP_ETHERTYPE] = "ethertype",
        [LINK_DROP_ARP] = "arp",           [LINK_DROP_IP] = "ip",
        [LINK_DROP_FRAGMENT] = "fragment", [LINK_DROP_PROTOCOL] = "protocol",
        [LINK_DROP_UDP] = "udp",           [LINK_DROP_PORT] = "port",
        [LINK_DROP_NO_BUFFER] = "buffer",  [LINK_DROP_HANDOVER] = "handover",
        [LINK_DROP_DEVICE] = "device",
    };
    const struct link_counters *c = &shard->links[index].link->counters;
    const struct {
        const char *name, *help;
        const metric *value;
    } list[] = {
        { "leat_link_rx_total", "Datagrams that reached the link.", &c->rx },
        { "leat_link_accepted_total", "Datagrams handed to the shard.", &c->accepted },
        { "leat_link_answered_total", "ARP and ICMP requests answered by the link.", &c->answered },
        { "leat_link_rx_bytes_total", "Payload bytes of accepted datagrams.", &c->rx_bytes },
        { "leat_link_tx_total", "Datagrams sent.", &c->tx },
        { "leat_link_tx_bytes_total", "Payload bytes sent.", &c->tx_bytes },
        { "leat_link_tx_references_total", "Datagrams sent from the log's own memory.",
          &c->tx_references },
        { "leat_link_tx_kept_total", "Times the wire could not take a datagram at once.",
          &c->tx_kept },
        { "leat_link_tx_no_buffer_total", "Times no buffer was free.", &c->tx_no_buffer },
        { "leat_link_tx_lost_total", "Datagrams dropped: no neighbour, or refused.", &c->tx_lost },
    };
    char labels[64];
    snprintf(labels, sizeof labels, "shard=\"%u\",link=\"%u\"", shard->options.index, index);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        register_one(shard, list[i].name, list[i].help, labels, list[i].value);
    for (int i = 0; i < LINK_DROPS; i++) {
        snprintf(labels, sizeof labels, "shard=\"%u\",link=\"%u\",reason=\"%s\"",
                 shard->options.index, index, why[i]);
        register_one(shard, "leat_link_dropped_total", "Datagrams that the link dropped.", labels,
                     &c->drops[i]);
    }
}
