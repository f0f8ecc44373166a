# The cases of who stops, dies and comes back: readers and writers that are alive meanwhile get every record once, in order,
# or are told exactly what they lost. To be sourced after tests/support/bus.sh.

lines() { # lines FROM TO
    seq -f 'line %.0f' "$1" "$2"
}

# ---- the broker ends, or is killed, and comes back; a writer and a reader live on
broker_comes_back() {
    local ending first reader writer lives='"idle": "laptop", "hugepages": "off", "state_dir": "'$dir/state'"'
    keep_port
    start_broker lives1 "$lives"
    leat topic create t --ring-bytes 4MiB --record-bytes-max 4KiB >/dev/null
    mkfifo "$dir/writer.in"
    begin 1 writer pub t --timeout 60
    writer=$begun
    exec 9>"$dir/writer.in"
    begin 2 reader sub t --from earliest
    reader=$begun
    lines 1 1000 >&9
    until_said "$dir/reader.out" 'line 1000$' "$reader"
    for ending in TERM KILL; do
        # By the time this one is here, the answers to all before it are with the writer.
        echo "mark $ending" >&9
        until_said "$dir/reader.out" "mark $ending" "$reader"
        kill -$ending "$broker"
        wait "$broker" 2>/dev/null || [ $ending = KILL ] || fail "leatd ended with $?"
        start_broker "lives$ending" "$lives"
        first=$(($(grep -c line "$dir/reader.out") + 1))
        lines $first $((first + 999)) >&9
        until_said "$dir/reader.out" "line $((first + 999))\$" "$reader"
    done
    exec 9>&-
    ended "$writer" 60
    [ $code = 1 ] && grep -q 'acknowledged records were lost with the broker' "$dir/writer.err" || fail "the writer ended with $code"
    interrupt "$reader"
    ended "$reader" 20
    [ $code = 0 ] || fail "the reader ended with $code"
    grep '^line' "$dir/reader.out" | cmp - <(lines 1 3000) || fail "records over restarts"
    grep -q 'DISCONNECTED\|disconnected\|onnection' "$dir/reader.err" || fail "the reader says nothing of a lost broker"
    stop_broker
    port=0
}
# virtio-user connects once: it goes on with a broker that came back only by fallback=tcp.
if [ "$transport" = vhost ]; then
    echo "SKIPPED: a broker that comes back under live virtio-user clients, whose driver connects once"
else
    broker_comes_back
fi

# ---- a subscriber is stopped: nobody else feels it, and it hears exactly what it lost
start_broker stopped '"idle": "laptop", "hugepages": "off", "topics": [{"name": "small", "ring_bytes": "1MiB", "record_bytes_max": 4096, "overrun": "block"}]'
begin 1 quick sub small --from earliest --name quick --required
quick=$begun
begin 2 stuck sub small --from earliest --format json
stuck=$begun
mkfifo "$dir/feeder.in"
begin 3 feeder pub small
feeder=$begun
exec 9>"$dir/feeder.in"
lines 1 10 >&9
until_said "$dir/quick.out" 'line 10$' "$quick"
until_said "$dir/stuck.out" 'line 10"' "$stuck"
kill -STOP "$stuck"
lines 11 150000 >&9
exec 9>&-
ended "$feeder" 60
[ $code = 0 ] || fail "the feeder ended with $code"
until_said "$dir/quick.out" 'line 150000$' "$quick"
cmp "$dir/quick.out" <(lines 1 150000) || fail "a reader beside a stopped one"
kill -CONT "$stuck"
until_said "$dir/stuck.out" 'line 150000"' "$stuck"
interrupt "$quick"
interrupt "$stuck"
ended "$quick" 20
ended "$stuck" 20
python3 - "$dir/stuck.out" "$dir/stuck.err" <<'PY' || fail "the stopped reader"
import json, sys
got = [json.loads(line) for line in open(sys.argv[1])]
events = [json.loads(line) for line in open(sys.argv[2]) if line.startswith("{")]
ranges = [(r["offset"], r["offset"] + 1) for r in got]
gaps = [(e["first_offset"], e["next_offset"]) for e in events if e["event"] == "gap"]
at = 0
for first, after in sorted(ranges + gaps):
    assert first == at, f"offset {at} is neither there nor told lost, or both: next is {first}"
    at = after
assert at == 150000, at
assert gaps, "it lost nothing: it was not stopped long enough to say anything"
assert [r["offset"] for r in got] == sorted(r["offset"] for r in got)
assert all(r["value"] == "line %d" % (r["offset"] + 1) for r in got)
PY
stop_broker
