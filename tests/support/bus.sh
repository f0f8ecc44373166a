# For tests/net/net_*.sh: a broker and up to three clients at once, over any transport; what a case says is the same over all.
# To be sourced with the transport as argument; sets $dir.
#   tcp udp            on loopback
#   memif vhost        a bypass port of the broker for each client, in shared memory
#   af_packet af_xdp   one port of the broker on a bridge; broker and clients each in a namespace of their own
# shellcheck source=tests/support/dpdk.sh
. tests/support/dpdk.sh
LEATD=${LEATD:-build/release/bin/leatd}
LEAT=${LEAT:-build/release/bin/leat}
CLIENTS=3
transport=$1
url_more=   # appended to each client's URL, as "&fallback=tcp"
port_more=  # appended to each port of the broker, as ', "inject": {...}'
port=0      # the broker's control port
broker= broker_in=() broker_host=127.0.0.1
mtu=$(case $transport in memif | vhost) echo 9000 ;; *) echo 1500 ;; esac)
mark=leat$$ # namespaces are the machine's

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# Whatever it was that failed, what the programs said last is shown.
ending() {
    local code=$? file
    [ $code = 0 ] || [ $code = 77 ] || for file in "$dir"/*.err "$dir"/*.out; do
        [ -e "$file" ] || continue # an error here would be the last thing that is done
        echo "--- $file" >&2
        tail -n 80 "$file" >&2 # a sanitizer reports at length
    done
    cleanup
}
trap ending EXIT

# DPDK frees nothing at the end, and its threads mean nothing to TSan.
bypass_under_sanitizers() {
    case $LEATD in
    *tsan*) skip "DPDK under the thread sanitizer" ;;
    *san*) export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-} ;;
    esac
    [ -e "$(dirname "$LEATD")/../lib/libleat-dpdk.so" ] || skip "no libleat-dpdk.so"
}

namespace() { # namespace NAME
    ip netns add "$mark$1" 2>"$dir/ip.err" || skip "no network namespaces: $(cat "$dir/ip.err")"
    namespaces+=("$mark$1")
    ip -n "$mark$1" link set lo up
}

# plug NAME LINK BRIDGE: the namespace's interface LINK, on a bridge of the namespace "bridges".
plug() {
    ip link add "$2" netns "$mark$1" type veth peer name "$2.$1" netns "${mark}bridges" 2>"$dir/ip.err" \
        || skip "no veth: $(cat "$dir/ip.err")"
    # The kernel's own chatter (IPv6 neighbours) is not what is tested.
    ip netns exec "$mark$1" sysctl -qw "net.ipv6.conf.$2.disable_ipv6=1" 2>/dev/null || :
    ip -n "${mark}bridges" link set "$2.$1" master "$3" up
    ip -n "$mark$1" link set "$2" up
}

# Two networks: control over kernel sockets on 10.8.0.0/24, data on 10.9.0.0/24, of which the kernel knows nothing.
bridges() {
    [ "$(id -u)" = 0 ] || skip "network namespaces and packet sockets need root"
    namespace bridges
    for bridge in control data; do
        ip -n "${mark}bridges" link add name $bridge type bridge 2>"$dir/ip.err" || skip "no bridge: $(cat "$dir/ip.err")"
        ip -n "${mark}bridges" link set $bridge up
    done
    local name number=1
    for name in b 1 2 3; do
        namespace $name
        plug $name ctl control
        plug $name wire data
        ip -n "$mark$name" address add 10.8.0.$number/24 dev ctl
        number=$((number + 1))
    done
    broker_in=(ip netns exec "${mark}b")
    broker_host=10.8.0.1
}

case $transport in
tcp | udp) ;;
memif | vhost)
    bypass_under_sanitizers
    reserve_pages 320
    ;;
af_packet | af_xdp)
    bypass_under_sanitizers
    reserve_pages 320
    bridges
    ;;
*) fail "transport $transport" ;;
esac

broker_ports() { # what the broker's configuration says of them
    local i ports=()
    case $transport in
    tcp | udp) return ;;
    af_*) ports=("net_${transport}0,iface=wire") ;;
    memif) for ((i = 1; i <= CLIENTS; i++)); do ports+=("net_memif$i,role=server,socket=$dir/port$i.sock,socket-abstract=no"); done ;;
    vhost) for ((i = 1; i <= CLIENTS; i++)); do ports+=("net_vhost$i,iface=$dir/port$i.sock"); done ;;
    esac
    for ((i = 0; i < ${#ports[@]}; i++)); do
        ports[i]=$(printf '{"device": "%s", "ip": "10.9.%d.1/24", "mtu": %d%s%s}' "${ports[i]}" $((i + 1)) "$mtu" \
            "$([ "$mtu" = 1500 ] || echo ', "descriptors": 256')" "$port_more") # of large buffers fewer
    done
    printf '"dpdk": {"ports": [%s]},' "$(IFS=,; echo "${ports[*]}")"
}

client_url() { # client_url NUMBER
    local device
    case $transport in
    tcp | udp)
        echo "$transport://$control${url_more:+?${url_more#&}}"
        return
        ;;
    # The second one gets what the broker wrote without a copy.
    memif) device=net_memif0,role=client,socket=$dir/port$1.sock,socket-abstract=no$([ "$1" != 2 ] || echo ,zero-copy=yes) ;;
    vhost) device=net_virtio_user0,path=$dir/port$1.sock ;;
    af_*) device=net_${transport}0,iface=wire ;;
    esac
    echo "dpdk://$control?device=$device&ip=10.9.$([ "$broker_host" = 127.0.0.1 ] && echo "$1" || echo 1).$(($1 + 1))/24&mtu=$mtu$url_more"
}

# start_broker NAME SETTINGS ARGUMENTS...: leatd, with its log in $dir/NAME.err; sets $broker and $control. SETTINGS are members
# of the configuration, beside the ports.
start_broker() {
    local ready
    printf '{"host": "%s", "allow_unauthenticated": true, "port": %d, "data_port": 0, %s %s}' \
        "$broker_host" "$port" "$(broker_ports)" "$2" >"$dir/$1.json"
    rm -f "$dir/ready"
    mkfifo "$dir/ready"
    "${broker_in[@]}" "$LEATD" --config "$dir/$1.json" "${@:3}" >"$dir/ready" 2>"$dir/$1.err" 9>&- &
    broker=$!
    pids+=("$broker")
    read -r ready <"$dir/ready" || fail "leatd does not start"
    control=$(sed -E 's/.*"control":"([^"]+)".*/\1/' <<<"$ready")
}

# Sets $port to a free one that stays ours while the script runs, so that a broker can come back to it: the kernel gives it to nobody
# else as long as a socket is bound to it, and a listener may be beside that one.
keep_port() {
    rm -f "$dir/kept"
    mkfifo "$dir/kept"
    python3 -c '
import socket, signal
kept = socket.socket()
kept.bind(("127.0.0.1", 0))
kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
print(kept.getsockname()[1], flush=True)
signal.pause()' >"$dir/kept" 9>&- &
    pids+=("$!")
    disown # bash is not to report its end
    read -r port <"$dir/kept" || fail "no port"
}

stop_broker() { # it ends well
    local code=0
    kill -TERM "$broker"
    wait "$broker" || code=$?
    [ $code = 0 ] || fail "leatd ended with $code"
}

# as NUMBER ARGUMENTS...: `leat` as that client. Two at once need two numbers: a port has one owner.
as() {
    local client_in=()
    case $transport in af_*) client_in=(ip netns exec "$mark$1") ;; esac
    LEAT_URL=$(client_url "$1") "${client_in[@]}" "$LEAT" "${@:2}"
}

leat() {
    as 1 "$@"
}

# begin NUMBER NAME ARGUMENTS...: the same beside the test; standard input is $dir/NAME.in where there is one, the rest
# goes to $dir/NAME.out and $dir/NAME.err. A test's own end of a pipe is its descriptor 9. Sets $begun.
begin() {
    local client_in=() input=/dev/null
    case $transport in af_*) client_in=(ip netns exec "$mark$1") ;; esac
    [ ! -e "$dir/$2.in" ] || input=$dir/$2.in
    LEAT_URL=$(client_url "$1") "${client_in[@]}" "$LEAT" "${@:3}" <"$input" >"$dir/$2.out" 2>"$dir/$2.err" 9>&- &
    begun=$!
    pids+=("$begun")
}

# interrupt PID: Ctrl-C, once it is waited for: what runs beside a script ignores it before. SIGINT and SIGTERM are blocked
# then, SIGHUP too unless the test itself runs under nohup, and nothing else: a shell about to become the program blocks SIGCHLD too.
interrupt() {
    local tries=0
    until grep -q '^SigBlk:[[:space:]]*0*400[23]$' "/proc/$1/status"; do
        tries=$((tries + 1))
        [ $tries -lt 400 ] || fail "process $1 does not listen to Ctrl-C after 20 s"
        read -rt 0.05 <> <(:) || :
    done
    kill -INT "$1"
}

# ended PID SECONDS: waits for it to end by itself; sets $code.
ended() {
    code=0
    timeout "$2" tail --pid="$1" -f /dev/null || fail "process $1 goes on"
    wait "$1" || code=$?
}
