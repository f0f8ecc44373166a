#!/usr/bin/env bash
# Goal: a bypass path that is broken, missing or refused: what is lost on the wire comes again, every record compared; a
# client told to falls back to TCP, says so once, and loses and doubles nothing; whatever cannot start says what to do.
# Method: the real programs; faults by the injector, by a port without a peer, by limits on the process.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh memif
topics='"idle": "laptop", "hugepages": "off", "topics": [{"name": "t", "ring_bytes": "64MiB", "record_bytes_max": 65536}]'
RECORDS=50000
keyed() { # lines of many sizes, in order
    python3 -c "for i in range($RECORDS): print(i, 'x' * (i * 7919 % 997))"
}
keyed >"$dir/sent"

echo "case: 1 % lost each way at both ends, then in bursts, doubled and out of order: every record once, in order"
for faults in 'rx_loss_ppm": 10000, "tx_loss_ppm": 10000 loss:10000' \
    'rx_loss_ppm": 1000, "burst": 8, "rx_duplicate_ppm": 10000, "rx_reorder_ppm": 10000 loss:1000,burst:8,duplicate:10000,reorder:10000'; do
    port_more=", \"inject\": {\"${faults% *}, \"seed\": 7}" url_more="&inject=${faults##* },seed:11"
    start_broker injected "$topics"
    begin 2 reader sub t --from earliest --count $RECORDS --timeout 60
    leat pub t --file "$dir/sent" >/dev/null
    ended "$begun" 60
    [ $code = 0 ] || fail "the reader ended with $code"
    cmp "$dir/sent" "$dir/reader.out" || fail "$faults: records"
    stop_broker
done
port_more= url_more=

echo "case: no peer comes up: over TCP, said once"
start_broker alone "$topics"
missing="dpdk://$control?device=net_memif0,role=client,socket=$dir/nobody.sock,socket-abstract=no&ip=10.9.1.2/24"
LEAT_URL="$missing&fallback=tcp" "$LEAT" pub t --file "$dir/sent" >/dev/null 2>"$dir/pub.err" || fail "pub without a peer"
LEAT_URL="$missing&fallback=tcp" "$LEAT" sub t --from earliest --count $RECORDS --timeout 20 >"$dir/got" 2>"$dir/sub.err" \
    || fail "sub without a peer"
cmp "$dir/sent" "$dir/got" || fail "records over TCP"
for command in pub sub; do
    [ "$(grep -c 'data goes over TCP from now on' "$dir/$command.err")" = 1 ] || fail "$command says: $(cat "$dir/$command.err")"
done
code=0
LEAT_URL=$missing "$LEAT" pub t --file "$dir/sent" --timeout 3 >/dev/null 2>"$dir/pub.err" || code=$?
[ $code = 1 ] && [ -s "$dir/pub.err" ] || fail "without fallback=tcp: exit $code"
stop_broker

echo "case: the broker has no packets at all"
transport=udp
start_broker deaf "\"udp\": false, $topics"
code=0
leat pub t --file "$dir/sent" --timeout 3 >/dev/null 2>"$dir/pub.err" || code=$?
[ $code = 1 ] && grep -q 'fallback=tcp' "$dir/pub.err" || fail "exit $code: $(cat "$dir/pub.err")"
url_more='&fallback=tcp'
leat pub t --file "$dir/sent" >/dev/null 2>"$dir/pub.err"
grep -q 'data goes over TCP from now on' "$dir/pub.err" || fail "it says: $(cat "$dir/pub.err")"

# refused TEXT COMMAND...: ends with 1 and says TEXT.
refused() {
    local text=$1 code=0
    shift
    timeout 30 "$@" >"$dir/refused.out" 2>"$dir/refused.err" || code=$?
    [ $code = 1 ] || fail "$*: exit $code"
    grep -qF -- "$text" "$dir/refused.err" || fail "$*: no \"$text\" said"
}
# wrong TEXT PORT [MORE]: leatd with that port, and `leat` with that device, each alone. Then `leat` falls back.
wrong() {
    local device="$2"
    printf '{"port": 0, "data_port": 0, "hugepages": "off", "allow_unauthenticated": true, "dpdk": {"ports": [{"device": "%s", "ip": "10.9.7.1/24"}]%s}}' \
        "$device" "${3:-}" >"$dir/wrong.json"
    refused "$1" "${before[@]}" "$leatd" --config "$dir/wrong.json"
    local url="dpdk://$control?device=$device&ip=10.9.7.2/24${4:-}"
    refused "$1" "${before[@]}" env LEAT_URL="$url" "$leat" pub t --file "$dir/one"
    LEAT_URL="$url&fallback=tcp" "${before[@]}" "$leat" pub t --file "$dir/one" >/dev/null 2>"$dir/refused.err" \
        || fail "no fallback"
    grep -qF -- "$1" "$dir/refused.err" || fail "fallback without its reason: \"$1\""
    grep -qF 'data goes over TCP from now on' "$dir/refused.err" || fail "fallback is not said"
}
echo one >"$dir/one"
before=() leatd=$LEATD leat=$LEAT
memif="net_memif0,role=server,socket=$dir/wrong.sock,socket-abstract=no"

echo "case: too few hugepages"
wrong 'sysctl -w vm.nr_hugepages=' "$memif" ', "pages": "huge", "memory_mb": 900000' '&pages=huge&memory_mb=900000'

echo "case: no such device"
wrong net_nonsense0 net_nonsense0
wrong 'expected a virtual device' eth0
wrong "\"$dir/none\" of its socket" "net_vhost0,iface=$dir/none/x.sock"
refused allow_unauthenticated "$LEATD" --config <(echo '{"port": 0, "dpdk": {"ports": [{"device": "net_af_packet0,iface=lo", "ip": "10.9.7.1/24"}]}}')

echo "case: libleat-dpdk.so is not installed"
mkdir "$dir/bin"
cp "$LEATD" "$LEAT" "$dir/bin"
leatd=$dir/bin/leatd leat=$dir/bin/leat
wrong 'the DPDK driver is missing' "$memif"
leatd=$LEATD leat=$LEAT

echo "case: EAL is refused its memory"
case $LEATD in
*san*) echo "SKIPPED: EAL refused: a sanitizer needs more address space than that" ;;
*)
    before=(prlimit --as=2000000000)
    wrong 'DPDK does not start' "$memif" ', "pages": "normal", "memory_mb": 2000' '&pages=normal&memory_mb=2000'
    before=()
    ;;
esac
stop_broker
echo "net_bypass: ok"
