#!/usr/bin/env bash
# Goal: a bypass path that dies in the middle is left for TCP: the client says so once, and goes on without a loss or a
# duplicate, writer and reader alike; without fallback=tcp it waits for the wire to come back.
# Method: the real programs on a bridge between namespaces; the wire they have beside the control network is pulled.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh af_packet

wire() { # wire up|down: of the broker
    ip -n "${mark}bridges" link set wire.b "$1"
}

lines() { # lines FROM TO
    seq -f 'line %.0f' "$1" "$2"
}

start_broker dies '"idle": "laptop", "hugepages": "off", "topics": [{"name": "t", "ring_bytes": "64MiB", "record_bytes_max": 65536}]'
mkfifo "$dir/writer.in"
url_more='&fallback=tcp'
begin 1 writer pub t --timeout 60
writer=$begun
exec 9>"$dir/writer.in"
begin 2 reader sub t --from earliest --count 100000
reader=$begun
url_more=
begin 3 patient sub t --from earliest --count 100000
patient=$begun
lines 1 20000 >&9
until_said "$dir/reader.out" 'line 20000$' "$reader"
until_said "$dir/patient.out" 'line 20000$' "$patient"
(lines 20001 80000 >&9) & # while it is pulled
feeding=$!
wire down
wait $feeding
for file in writer reader; do
    until_said "$dir/$file.err" 'data goes over TCP from now on' "${!file}"
done
lines 80001 100000 >&9
exec 9>&-
ended "$writer" 60
[ $code = 0 ] || fail "the writer ended with $code"
wire up
ended "$patient" 60
[ $code = 0 ] || fail "the reader that waits ended with $code"
ended "$reader" 60
[ $code = 0 ] || fail "the reader ended with $code"
for file in reader patient; do
    cmp "$dir/$file.out" <(lines 1 100000) || fail "$file: records"
done
for file in writer reader; do # once
    [ "$(grep -c 'data goes over TCP from now on' "$dir/$file.err")" = 1 ] || fail "$file: what it says"
done
! grep -q 'over TCP' "$dir/patient.err" || fail "it was not asked to fall back"
stop_broker
echo "net_fallback: ok"
