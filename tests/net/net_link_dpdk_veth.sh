#!/usr/bin/env bash
# Goal: the DPDK driver on kernel interfaces, af_packet and af_xdp: every datagram over a wire between two namespaces,
# and over a bridge between three; it speaks ARP, ICMP echo and UDP with a kernel that leaves checksums half made; tagged
# frames are answered with their tag.
# Method: link_echo in namespaces of its own, against itself and against the kernel's sockets.
set -euo pipefail
# shellcheck source=tests/support/dpdk.sh
. tests/support/dpdk.sh
[ -x "$LINK_ECHO" ] || skip "no $LINK_ECHO"
[ "$(id -u)" = 0 ] || skip "network namespaces and packet sockets need root"
case $LINK_ECHO in *san*) export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-} ;; esac
reserve_pages 160
mark=lt$$

namespace() { # namespace NAME
    ip netns add "$mark$1" 2>"$dir/ip.err" || skip "no network namespaces: $(cat "$dir/ip.err")"
    namespaces+=("$mark$1")
    ip -n "$mark$1" link set lo up
}

wire() { # wire A IF_A B IF_B
    ip link add "$2" netns "$mark$1" type veth peer name "$4" netns "$mark$3" 2>"$dir/ip.err" \
        || skip "no veth: $(cat "$dir/ip.err")"
    # The kernel's own chatter (IPv6 neighbours) is not what is tested.
    ip netns exec "$mark$1" sysctl -qw "net.ipv6.conf.$2.disable_ipv6=1" 2>/dev/null || :
    ip netns exec "$mark$3" sysctl -qw "net.ipv6.conf.$4.disable_ipv6=1" 2>/dev/null || :
    ip -n "$mark$1" link set "$2" up
    ip -n "$mark$3" link set "$4" up
}

in_() {
    echo "ip netns exec $mark$1"
}

at=(--ip $SERVER_IP/24 --port 7430)
to=(--to $SERVER_IP:7430)
namespace a
namespace b
wire a wa b wb

for driver in af_packet af_xdp; do
    echo "case: $driver on a wire"
    # shellcheck disable=SC2046
    start_server $driver $(in_ a) -- --device "net_${driver}0,iface=wa" "${at[@]}" --reference
    # shellcheck disable=SC2046
    client ${driver}_client $(in_ b) -- --device "net_${driver}0,iface=wb" --ip 10.9.0.2/24 "${to[@]}" --count 10000 \
        --size 1400 --window 8
    all_came_back 10000
    stop_server $driver
    started=$(head -n 1 "$dir/$driver.out")
    # What the device itself holds to receive into, and an idle queue's last, is all that is away.
    [ "$(field buffers "$counted")" -le $(($(field buffers "$started") + 64)) ] || fail "buffers are missing: $counted"
done
[ "$(field reference_min "$(head -n 1 "$dir/af_packet.out")")" -gt 0 ] || fail "af_packet does not send by reference"
[ "$(field reference_min "$(head -n 1 "$dir/af_xdp.out")")" = 0 ] || fail "af_xdp would send by reference"

echo "case: af_xdp, a queue that another process has: refused when that one stays, taken when it is killed"
xdp=(--device "net_af_xdp0,iface=wa" "${at[@]}")
# shellcheck disable=SC2046
start_server first $(in_ a) -- "${xdp[@]}"
code=0
# shellcheck disable=SC2046
timeout 60 $(in_ a) "$LINK_ECHO" server "${xdp[@]}" >/dev/null 2>"$dir/refused.err" || code=$?
[ $code = 1 ] && grep -q 'iface=wa: another process may use this queue' "$dir/refused.err" \
    || fail "exit $code: $(cat "$dir/refused.err")"
for i in 1 2 3 4; do
    # shellcheck disable=SC2046
    $(in_ a) "$LINK_ECHO" server "${xdp[@]}" >"$dir/after$i.out" 2>"$dir/after$i.err" &
    next=$!
    pids+=("$next")
    tries=0 # it pauses when it was refused; where the kernel does not say so, it has had the time
    until grep -qs nanosleep "/proc/$next/wchan" || [ $tries = 20 ]; do
        kill -0 "$next" 2>/dev/null || fail "the one after gives up: $(cat "$dir/after$i.err")"
        tries=$((tries + 1))
        read -rt 0.05 <> <(:) || :
    done
    kill -KILL "$server"
    wait "$server" 2>/dev/null || :
    server=$next
    until_said "$dir/after$i.out" start_ms "$server"
done
stop_server after4

echo "case: two queues, two lanes"
# shellcheck disable=SC2046
start_server queues $(in_ a) -- --device "net_af_packet0,iface=wa,qpairs=2" "${at[@]}" --lanes 2
# shellcheck disable=SC2046
client queues_client $(in_ b) -- --device "net_af_packet0,iface=wb" --ip 10.9.0.2/24 "${to[@]}" --count 10000 --window 8
all_came_back 10000
stop_server queues
[ "$(sed -E 's/.*"lanes":\[([^]]*)\].*/\1/' <<<"$counted")" = 7500,2500 ] || fail "sessions went elsewhere: $counted"

echo "case: the kernel at the other end"
ip -n "${mark}b" address add 10.9.0.2/24 dev wb
# shellcheck disable=SC2046
start_server kernel $(in_ a) -- --device "net_af_packet0,iface=wa" "${at[@]}"
# shellcheck disable=SC2046
$(in_ b) python3 - $SERVER_IP >"$dir/kernel_client.out" 2>"$dir/kernel_client.err" <<'P' || fail "the kernel's sockets"
import socket, struct, sys
there = sys.argv[1]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(5)
udp.connect((there, 7430))
for size in range(24, 1473, 8):
    sent = bytes(range(8)) + bytes(i * 3 & 255 for i in range(size - 8))
    udp.send(sent)
    assert udp.recv(2000) == sent, size
echo = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
echo.settimeout(5)
def checksum(b):
    s = sum(struct.unpack(">%dH" % (len(b) // 2), b))
    while s >> 16:
        s = (s & 0xffff) + (s >> 16)
    return ~s & 0xffff
for size in (0, 56, 1400):
    head = struct.pack(">BBHHH", 8, 0, 0, 77, size)
    body = bytes(i & 255 for i in range(size))
    head = struct.pack(">BBHHH", 8, 0, checksum(head + body), 77, size)
    echo.sendto(head + body, (there, 0))
    answer = echo.recv(2000)[20:]
    assert answer[0] == 0 and answer[4:] == (head + body)[4:], size
P
stop_server kernel
[ "$(field accepted "$counted")" = 182 ] || fail "datagrams: $counted"
[ "$(field answered "$counted")" -ge 4 ] || fail "ARP and echoes: $counted"
[ "$(drop 6 "$counted")" = 0 ] || fail "checksums: $counted"
ip -n "${mark}b" address flush dev wb

echo "case: tagged"
# shellcheck disable=SC2046
start_server tagged $(in_ a) -- --device "net_af_packet0,iface=wa" "${at[@]}"
# shellcheck disable=SC2046
client tagged_client $(in_ b) -- --device "net_af_packet0,iface=wb" --ip 10.9.0.2/24 --vlan 42 "${to[@]}" --count 100
all_came_back 100
stop_server tagged

echo "case: nobody there"
# shellcheck disable=SC2046
start_server alone $(in_ a) -- --device "net_af_packet0,iface=wa" "${at[@]}"
# shellcheck disable=SC2046
client alone_client $(in_ b) -- --device "net_af_packet0,iface=wb" --ip 10.9.0.2/24 --to 10.9.0.99:7430 --count 10
[ "$(field received "$pings")" = 0 ] && [ "$(field lost "$counted")" -ge 1 ] || fail "$pings $counted"
stop_server alone
[ "$(drop 2 "$counted")" -ge 5 ] || fail "it was asked for five times: $counted"

echo "case: a bridge between three"
namespace bridge
namespace c
ip -n "${mark}bridge" link add name switch0 type bridge 2>"$dir/ip.err" || skip "no bridge: $(cat "$dir/ip.err")"
ip -n "${mark}bridge" link set switch0 up
for end in a b c; do
    wire $end "x$end" bridge "p$end"
    ip -n "${mark}bridge" link set "p$end" master switch0
done
# shellcheck disable=SC2046
start_server bridge $(in_ a) -- --device "net_af_packet0,iface=xa" "${at[@]}"
# shellcheck disable=SC2046
client bridge_b $(in_ b) -- --device "net_af_packet0,iface=xb" --ip 10.9.0.2/24 "${to[@]}" --count 3000 --window 4 &
first=$!
# shellcheck disable=SC2046
client bridge_c $(in_ c) -- --device "net_af_xdp0,iface=xc" --ip 10.9.0.3/24 "${to[@]}" --count 3000 --window 4
all_came_back 3000
wait $first || fail "the first client"
pings=$(grep '"sent"' "$dir/bridge_b.out")
all_came_back 3000
stop_server bridge
[ "$(field accepted "$counted")" = 6000 ] || fail "$counted"
[ "$(field buffers "$counted")" = 0 ] || fail "buffers are missing: $counted"
echo "net_link_dpdk_veth: ok"
