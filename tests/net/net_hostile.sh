#!/usr/bin/env bash
# Goal: no memif or vhost-user peer ends the broker or holds its thread, whatever it says and whatever it writes into the memory
# it shares, or takes away of it; another client beside it goes on, and the next one at the same port begins; the broker ends when
# it is told to.
# Method: link_hostile and link_hostile_vhost in each of their ways against a broker, with an honest client's records through
# another port meanwhile.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh memif
HOSTILE=${LINK_HOSTILE:-build/release/tests/link_hostile}
mtu=1500
topic='"idle": "laptop", "hugepages": "off", "topics": [{"name": "t", "ring_bytes": "8MiB"}]'
descriptors() { # descriptors: how many the broker has
    find "/proc/$broker/fd" -type l 2>/dev/null | wc -l
}
# one: an honest record through the port 2 client's reader.
one() {
    said=$((said + 1))
    echo "record $said" | leat pub t >/dev/null 2>"$dir/pub.err" || fail "after $1: $(cat "$dir/pub.err")"
    until_said "$dir/reader-$transport.out" "^record $said\$" "$reader"
}
# every PROGRAM LEFT: in each of its ways; LEFT descriptors may stay open.
every() {
    local way code before='' tries=0
    start_broker "hostile-$transport" "$topic"
    begin 2 "reader-$transport" sub t --from earliest --timeout 300
    reader=$begun
    said=0
    one nothing
    for way in $("$1"); do
        code=0
        timeout 30 "$1" "$dir/port1.sock" "$way" >"$dir/way.out" 2>"$dir/way.err" || code=$?
        kill -0 "$broker" 2>/dev/null || fail "$transport: $way ended the broker"
        [ $code = 0 ] || fail "$transport: $way: exit $code: $(cat "$dir/way.err")"
        echo "$transport: $way: $(cat "$dir/way.out")"
        one "$way"
        [ -n "$before" ] || before=$(descriptors)
    done
    until [ "$(descriptors)" -le $((before + $2)) ]; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || fail "$transport: descriptors are left: $before before, $(descriptors) now"
        read -rt 0.1 <> <(:) || :
    done
    interrupt "$reader"
    ended "$reader" 30
    stop_broker
}
transport=vhost
# DPDK 22.11 leaves the descriptor of memory open that it cannot map: region-wraps, region-of-a-pipe.
every "${HOSTILE}_vhost" 2
transport=memif
every "$HOSTILE" 0

echo "case: a peer that never ends what it began to say"
transport=vhost
start_broker half "$topic"
"${HOSTILE}_vhost" "$dir/port1.sock" half-a-message >"$dir/half.out" 2>"$dir/half.err" 9>&- &
half=$!
pids+=("$half")
until_said "$dir/half.out" said "$half"
kill -TERM "$broker"
ended "$broker" 30
[ $code = 0 ] || fail "leatd ended with $code"

# The memory of a client's own DPDK cannot be sealed. It stands still, so that it does not hang up first.
for transport in memif vhost; do
    echo "case: a client whose memory is gone, $transport"
    url_more='&pages=normal'
    start_broker "gone-$transport" "$topic"
    begin 2 "gone-$transport" sub t --from earliest --timeout 300
    victim=$begun
    echo first | leat pub t >/dev/null
    until_said "$dir/gone-$transport.out" first "$victim"
    kill -STOP "$victim"
    cut=0
    for file in "/proc/$victim/fd/"*; do
        case $(readlink "$file") in
        /memfd:nohuge*) : 2>/dev/null >"$file" && cut=$((cut + 1)) ;;
        esac
    done
    [ $cut -gt 0 ] || fail "no memory to take away"
    for i in 1 2 3; do
        echo "more $i" | leat pub t >/dev/null 2>"$dir/pub.err" || fail "beside it: $(cat "$dir/pub.err")"
    done
    kill -0 "$broker" || fail "it ended the broker"
    kill -KILL "$victim"
    wait "$victim" 2>/dev/null || :
    [ "$(as 2 sub t --from earliest --count 4 --timeout 30 | wc -l)" = 4 ] || fail "the next client at the same port"
    stop_broker
done
echo "net_hostile: ok"
