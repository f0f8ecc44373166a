# The cases of the bus: what `leat pub` sends, `leat sub` prints: lines, keys, headers, binary, large and last lines, files,
# captures, recorded spacing; from any start, over one shard and four; what perf and topic administration say.
# To be sourced after tests/support/bus.sh; what comes back is compared with what went in.
start_broker pubsub "$(printf '"shards": 4, "idle": "laptop", "hugepages": "off", "topics": [%s, %s, %s]' \
    '{"name": "one", "ring_bytes": "16MiB", "record_bytes_max": "2MiB"}' \
    '{"name": "eight", "partitions": 8, "ring_bytes": "4MiB", "record_bytes_max": 65536}' \
    '{"name": "timed", "ring_bytes": "4MiB", "record_bytes_max": 65536}')"

# Lines come back as they went, the empty one and the last one without its newline too.
printf 'first\n\nthird with spaces \nlast' >"$dir/lines"
leat pub one <"$dir/lines" 2>"$dir/pub.err" >"$dir/said"
leat sub one --from earliest --count 4 --timeout 20 >"$dir/got"
printf 'first\n\nthird with spaces \nlast\n' | cmp - "$dir/got" || fail "lines"
grep -q '4 records' "$dir/said" || fail "it does not say how many: $(cat "$dir/said")"

# From an offset, from the end, from a time.
leat sub one --from 2 --count 1 --timeout 20 | grep -qx 'third with spaces ' || fail "--from 2"
leat sub one --from @0 --count 1 --timeout 20 | grep -qx first || fail "--from @0"
leat sub one --from @1970-01-01T00:00:00Z --count 1 --timeout 20 | grep -qx first || fail "--from @RFC 3339"
[ -z "$(leat sub one --from latest --timeout 0.2)" ] || fail "--from latest printed what was there"

# One record of 1 MiB, and all input as one record of any bytes.
head -c 1048576 /dev/zero | tr '\0' x >"$dir/large"
leat pub one --file "$dir/large" >/dev/null
leat sub one --from 4 --count 1 --timeout 20 | head -c 1048576 | cmp - "$dir/large" || fail "1 MiB"
printf 'a\0\n\377b' | leat pub one --delimiter '' >/dev/null
leat sub one --from 5 --count 1 --format json --timeout 20 >"$dir/got"
grep -q '"value_base64":"YQAK/2I="' "$dir/got" || fail "bytes that are no text: $(cat "$dir/got")"

# Keys, headers, a delimiter of its own; JSON shows them.
printf 'k=v1;k=v2;' | leat pub one --delimiter ';' --key-separator = --header kind=test >/dev/null
leat sub one --from 6 --count 2 --format json --timeout 20 >"$dir/got"
python3 - "$dir/got" <<'PY' || fail "JSON: $(cat "$dir/got")"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert [(r["topic"], r["partition"], r["offset"], r["key"], r["value"]) for r in rows] == [
    ("one", 0, 6, "k", "v1"), ("one", 0, 7, "k", "v2")]
assert all(r["headers"] == [{"name": "kind", "value": "test"}] for r in rows), rows[0]["headers"]
PY

# Keyed over eight partitions on four shards: each key's lines stay in order, and lie where murmur2 says.
python3 - >"$dir/keyed" <<'PY'
for i in range(20000):
    print(f"key{i * 7919 % 211}:{i}")
PY
leat pub eight --file "$dir/keyed" --key-separator : >/dev/null
leat sub eight --from earliest --count 20000 --timeout 20 --format json >"$dir/got"
python3 - "$dir/keyed" "$dir/got" <<'PY' || fail "keys over partitions"
import collections, json, sys
def murmur2(data):  # Kafka's: org.apache.kafka.common.utils.Utils.murmur2, by its published constants
    m, h, mask = 0x5bd1e995, 0x9747b28c ^ len(data), 0xffffffff
    for at in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[at:at + 4], "little") * m & mask
        h = h * m & mask ^ ((k ^ k >> 24) * m & mask)
    tail = data[len(data) // 4 * 4:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
sent, got = collections.defaultdict(list), collections.defaultdict(list)
for line in open(sys.argv[1]):
    key, value = line.rstrip("\n").split(":")
    sent[key].append(value)
for line in open(sys.argv[2]):
    row = json.loads(line)
    got[row["key"]].append(row["value"])
    assert row["partition"] == (murmur2(row["key"].encode()) & 0x7fffffff) % 8, row
assert sent == got
PY

# gzip is read as it is; a truncated one is refused by name.
gzip -c "$dir/keyed" >"$dir/keyed.gz"
leat pub one --file "$dir/keyed.gz" --json | grep -q '"records":20000' || fail "gzip"
head -c 5000 "$dir/keyed.gz" >"$dir/cut.gz"
code=0
leat pub one --file "$dir/cut.gz" >/dev/null 2>"$dir/err" || code=$?
[ "$code" = 1 ] && grep -q "cut.gz" "$dir/err" || fail "a truncated gzip: exit $code, $(cat "$dir/err")"

# A recorded feed keeps its spacing: the last of ten lines 50 ms apart is at the broker 225 ms after the start, at twice the
# speed, or later.
python3 -c 'for i in range(10): print(1700000000000000000 + i * 50000000, "tick", i)' >"$dir/feed"
began=$(date +%s%N)
leat pub timed --file "$dir/feed" --replay-speed 2 --timestamp-field 1 >/dev/null
leat sub timed --from earliest --count 10 --timeout 20 --format json >"$dir/got"
python3 - "$dir/got" "$began" <<'PY' || fail "spacing"
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
assert [r["timestamp"] for r in rows] == [1700000000000000000 + i * 50000000 for i in range(10)]
assert rows[9]["append_time"] - int(sys.argv[2]) >= 225_000_000, rows
PY

# The UDP payloads of a capture, with their times; what is no UDP is counted.
python3 - "$dir/capture.pcap" <<'PY'
import struct, sys
def udp(payload):
    body = struct.pack(">HHHH", 5, 6, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
    return b"\0" * 12 + b"\x08\0" + ip + body
packets = [udp(b"tick one"), b"\0" * 12 + b"\x08\x06" + b"\0" * 28, udp(b"tick two") + b"\0" * 20]
with open(sys.argv[1], "wb") as out:
    out.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
    for i, packet in enumerate(packets):
        out.write(struct.pack("<IIII", 1700000000, 1000 * i, len(packet), len(packet)) + packet)
PY
leat pub timed --pcap "$dir/capture.pcap" >"$dir/err" 2>&1
leat sub timed --from 10 --count 2 --timeout 20 --format json >"$dir/got"
grep -q '"timestamp":1700000000000000000,.*"value":"tick one"' "$dir/got" || fail "capture: $(cat "$dir/got")"
grep -q '"timestamp":1700000000002000000,.*"value":"tick two"' "$dir/got" || fail "capture: $(cat "$dir/got")"
grep -qi 'skipped\|passed over\|not UDP' "$dir/err" || fail "what was passed over is not said: $(cat "$dir/err")"

# A reader that leaves early, and one that is stopped by Ctrl-C, end well.
leat sub eight --from earliest | head -n 1 >/dev/null || fail "head"
begin 2 early sub one --from latest
reader=$begun
interrupt "$reader"
code=0
wait "$reader" || code=$?
[ "$code" = 0 ] || [ "$code" = 130 ] || fail "Ctrl-C: exit $code" # where it had only begun, the signal's

# Stopped before --count came, it does not say that all is well.
begin 2 counting sub one --from 0 --count 1000000000
reader=$begun
until_said "$dir/counting.out" first "$reader"
interrupt "$reader"
code=0
wait "$reader" || code=$?
[ "$code" = 1 ] && grep -q 'of 1000000000 records' "$dir/counting.err" || fail "sub --count, Ctrl-C: exit $code"

# Ctrl-C ends a `pub` whose broker is silent, though records are unanswered, and says so; who asks twice need not wait.
mkfifo "$dir/silent.in"
for signals in INT "INT TERM"; do
    end=$(leat topic describe one --json | sed -E 's/.*"next_offset":([0-9]+).*/\1/')
    begin 2 silent pub one --timeout 0
    writer=$begun
    exec 9>"$dir/silent.in"
    echo answered >&9
    leat sub one --from "$end" --count 1 --timeout 20 >/dev/null || fail "nothing of the writer's came"
    kill -STOP "$broker"
    printf 'unanswered %s\n' $(seq 4500) >&9 # more than a pipe holds: it has read some of it
    exec 9>&-
    interrupt "$writer"
    case "$signals $transport" in
    "INT vhost") # whose client asks its server before it ends
        until_said "$dir/silent.err" 'did not answer' "$writer"
        kill -CONT "$broker"
        ;;
    "INT TERM "*) kill -TERM "$writer" ;;
    esac
    code=0
    timeout 20 tail --pid="$writer" -f /dev/null || { kill -9 "$writer"; code=9; }
    kill -CONT "$broker"
    [ "$code" = 0 ] || fail "$signals: pub goes on"
    wait "$writer" || code=$?
    case $signals in
    INT) [ "$code" = 1 ] && grep -q 'did not answer' "$dir/silent.err" || fail "Ctrl-C: exit $code" ;;
    *) [ "$code" = 130 ] || [ "$code" = 143 ] || fail "Ctrl-C twice: exit $code" ;;
    esac
done

# More than the topic takes: refused with the line's number, and what came before it is in.
code=0
{ echo small; head -c 100000 /dev/zero | tr '\0' y; echo; } | leat pub eight >/dev/null 2>"$dir/err" || code=$?
[ "$code" = 1 ] && grep -q '65536' "$dir/err" || fail "too large: exit $code, $(cat "$dir/err")"

# perf prints what it says it prints, from an open loop, and cleans up after itself.
leat perf latency --rate 2000 --duration 0.5 --size 100 --json >"$dir/latency.json"
leat perf throughput --size 1000 --duration 2 --json >"$dir/throughput.json"
python3 - "$dir/latency.json" "$dir/throughput.json" <<'PY' || fail "perf: $(cat "$dir"/*.json)"
import json, sys
latency, throughput = (json.load(open(path)) for path in sys.argv[1:3])
for run in latency, throughput:
    assert 0 < run["p50_us"] <= run["p99_us"] <= run["max_us"], run
    assert run["records"] == run["delivered"] > 0, run
assert latency["records"] == 1000, latency
PY
! leat topic list | grep -q perf- || fail "perf left its topic behind"

# Topics come and go.
leat topic create passing --partitions 3 --ring-bytes 1MiB --record-bytes-max 4KiB >/dev/null
echo gone | leat pub passing >/dev/null
leat topic describe passing --json | grep -q '"partitions":3' || fail "describe"
leat topic delete passing >/dev/null
! leat pub passing </dev/null >/dev/null 2>"$dir/err" || fail "published to a topic that is gone"
grep -q 'leat topic create passing' "$dir/err" || fail "a topic that is gone: $(cat "$dir/err")"
stop_broker
