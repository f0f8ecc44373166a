#!/usr/bin/env bash
# Goal: every way to use `leat` wrongly ends with exit code 2 (or 1, where only the broker can know) and one text that
# names what was wrong; nothing is done by halves; administration does what it says.
# Method: the real programs.
set -euo pipefail
LEATD=${LEATD:-build/release/bin/leatd}
LEAT=${LEAT:-build/release/bin/leat}
dir=$(mktemp -d)
pid=
pid2=
cleanup() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || :
    [ -z "$pid2" ] || kill "$pid2" 2>/dev/null || :
    rm -rf "$dir"
}
trap cleanup EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# refused CODE TEXT ARGUMENTS...: nothing on stdout, TEXT on stderr.
refused() {
    local code=$1 text=$2 got=0
    shift 2
    timeout 20 "$LEAT" "$@" >"$dir/out" 2>"$dir/err" </dev/null || got=$?
    [ "$got" = "$code" ] || fail "leat $*: exit $got, expected $code: $(cat "$dir/err")"
    grep -qF -- "$text" "$dir/err" || fail "leat $*: no \"$text\" in: $(cat "$dir/err")"
    [ ! -s "$dir/out" ] || fail "leat $*: said something on stdout"
}

# await TEXT PID: until the process has said it on stderr.
await() {
    until grep -q -- "$1" "$dir/err"; do
        kill -0 "$2" 2>/dev/null || fail "ended before it said $1: $(cat "$dir/err")"
    done
}

refused 2 "nonsense" nonsense
refused 2 "--nonsense" pub t --nonsense
refused 2 "--to" group reset g --topic t --to sometime
refused 2 "--topic" group reset g --to latest
refused 2 "--partition" pub t --partition -3
refused 2 "--partition" pub t --partition many
refused 2 "--replay-speed" pub t --replay-speed fast
refused 2 "--from" sub t --from sometime
refused 2 "--from" sub t --group g --from 7
refused 2 "--partition" sub t --group g --partition 1
refused 2 "--member" sub t --member m
refused 2 "--format" sub t --format xml
refused 2 "--count" sub t --count -1
refused 2 "--ring-bytes" topic create t --ring-bytes 12parsecs
refused 2 "--overrun" topic create t --overrun maybe
refused 2 "--rate" perf latency --rate 0
refused 2 "" topic create
refused 2 "" topic frobnicate t
refused 2 "" group frobnicate g
refused 2 "" group delete
refused 2 "" pub
refused 2 "" sub
for command in pub sub topic group producer perf; do
    "$LEAT" $command --help >"$dir/out" 2>"$dir/err" || fail "$command --help: exit $?"
    [ -s "$dir/out" ] && [ ! -s "$dir/err" ] || fail "$command --help: not on stdout"
done
"$LEAT" --version | grep -q '^leat [0-9]' || fail "--version"

# Nobody there, and addresses that are none.
refused 1 "127.0.0.1:1" topic list --url tcp://127.0.0.1:1
refused 1 "ftp" topic list --url ftp://127.0.0.1:7420
refused 1 "70000" topic list --url tcp://127.0.0.1:70000
refused 1 "tls" topic list --url tls://127.0.0.1:7420

mkfifo "$dir/ready"
"$LEATD" --dev --port 0 >"$dir/ready" 2>"$dir/leatd.err" &
pid=$!
read -r ready <"$dir/ready" || fail "$(cat "$dir/leatd.err")"
LEAT_URL=tcp://$(sed -E 's/.*"control":"([^"]+)".*/\1/' <<<"$ready")
export LEAT_URL

# A paced replay that is stopped sends nothing that was not due: the second record is due in 2.5 hours.
"$LEAT" topic create paced --ring-bytes 64KiB >/dev/null
printf '1 first\n9000000000000 second\n' >"$dir/paced.in"
"$LEAT" pub paced --file "$dir/paced.in" --timestamp-field 1 --replay-speed 1 >"$dir/paced.out" 2>"$dir/paced.err" &
paced=$!
timeout 60 "$LEAT" sub paced --from earliest --count 1 >/dev/null || fail "the first record did not come"
kill -TERM $paced
! wait $paced || fail "a replay that was stopped: status 0"
grep -q "stopped after 1 records" "$dir/paced.err" || fail "a replay that was stopped: $(cat "$dir/paced.err")"
grep -q "^1 records, 7 bytes" "$dir/paced.out" || fail "a replay that was stopped: $(cat "$dir/paced.out")"
"$LEAT" topic delete paced >/dev/null

# A terminal that goes is SIGHUP, perhaps twice: the member leaves its group in order all the same. Under nohup it goes on.
blocks() { # blocks PID MASK: waits until it blocks these signals, and no others
    until grep -q "^SigBlk:[[:space:]]*0*$2\$" "/proc/$1/status"; do
        kill -0 "$1" || return 1
    done
}
members() { "$LEAT" group describe hung --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["members"]))'; }
"$LEAT" topic create hung --ring-bytes 64KiB >/dev/null
env --default-signal=HUP "$LEAT" sub hung --group hung >/dev/null 2>"$dir/hung.err" & # these tests may run under nohup
hung=$!
until grep -q assigned "$dir/hung.err"; do
    kill -0 $hung || fail "sub: $(cat "$dir/hung.err")"
done
kill -STOP $pid # it does not answer that the member leaves
kill -HUP $hung
blocks $hung 1 || fail "SIGHUP ended it before it had left its group"
kill -HUP $hung
kill -CONT $pid
code=0
wait $hung || code=$?
[ $code = 0 ] || fail "SIGHUP twice: status $code"
[ "$(members)" = 0 ] || fail "its member did not leave at SIGHUP"
(trap '' HUP; exec "$LEAT" sub hung --group hung >"$dir/nohup.out" 2>"$dir/nohup.err") &
hung=$!
until grep -q assigned "$dir/nohup.err"; do
    kill -0 $hung || fail "sub: $(cat "$dir/nohup.err")"
done
kill -HUP $hung
echo record | "$LEAT" pub hung >/dev/null
until grep -q record "$dir/nohup.out"; do
    kill -0 $hung || fail "SIGHUP ended what nohup started"
done
kill -TERM $hung
wait $hung || fail "sub under nohup: status $?"
"$LEAT" group delete hung >/dev/null
"$LEAT" topic delete hung >/dev/null

# What a broker says of an event is shown as text: nothing in it reaches the terminal as a command. This one ends each session.
cat >"$dir/broker.py" <<'PY'
import socket, struct

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))

def number(field, n): return varint(field << 3) + varint(n)
def fixed(field, n): return varint(field << 3 | 1) + struct.pack("<Q", n)
def text(field, b): return varint(field << 3 | 2) + varint(len(b)) + b

data = socket.create_server(("127.0.0.1", 0))
place = text(2, b"127.0.0.1:%d" % data.getsockname()[1])
topic = text(1, b"t") + fixed(2, 7) + text(3, number(1, 1) + number(2, 65536) + number(5, 1024)) + text(4, fixed(3, 9))
answers = {  # by the request's field: the answer's
    2: (5, number(1, 2) + text(2, b"broker") + fixed(3, 1) + text(4, place) + number(5, 15000)),
    6: (6, topic),
    7: (8, number(1, 5) + text(3, bytes(16)) + text(4, bytes(16)) + fixed(5, 1) + fixed(6, 2)),
}
listener = socket.create_server(("127.0.0.1", 0))
print("tcp://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    client = listener.accept()[0].makefile("rwb", buffering=0)
    while len(head := client.read(4)) == 4:
        message = client.read(struct.unpack("<I", head)[0])  # an id below 128, then the body
        id, kind = message[1], message[2] >> 3
        if kind not in answers:
            break
        said = [number(1, id) + text(*answers[kind])]
        if kind == 7:
            said.append(text(17, number(1, 5) + number(2, 1) + text(3, b"over\x1b]0;taken\x07")))
        for message in said:
            client.write(struct.pack("<I", len(message)) + message)
PY
mkfifo "$dir/broker.url"
python3 "$dir/broker.py" >"$dir/broker.url" &
pid2=$!
read -r url <"$dir/broker.url"
! timeout 20 "$LEAT" sub t --count 1 --timeout 1 --url "$url" >"$dir/out" 2>"$dir/err" || fail "a session that ended: $(cat "$dir/err")"
kill $pid2
pid2=
grep -qF 'over\x1B]0;taken\x07' "$dir/err" || fail "what the broker says is not shown as text: $(cat -v "$dir/err")"
! grep -q $'\e' "$dir/err" || fail "what the broker says reaches the terminal: $(cat -v "$dir/err")"

# A file that reaches its limit ends `leat sub` in order, with the reason, not by a signal.
"$LEAT" topic create limited --ring-bytes 1MiB >/dev/null
seq 10000 | "$LEAT" pub limited >/dev/null
code=0
truncate -s $((64 << 20)) "$dir/limited.out"
(ulimit -f 65536; timeout 60 "$LEAT" sub limited --from earliest --count 10000 --group g >>"$dir/limited.out" 2>"$dir/limited.err") || code=$?
[ $code = 1 ] || fail "a full file: status $code"
grep -q "stdout: File too large" "$dir/limited.err" || fail "a full file: $(cat "$dir/limited.err")"
"$LEAT" topic delete limited >/dev/null
[ "$("$LEAT" group list --json)" = '[]' ] || fail "its member did not leave: $("$LEAT" group list --json)"

refused 1 "leat topic create nothere" pub nothere
refused 1 "leat topic create nothere" sub nothere
refused 1 "leat topic create nothere" sub nothere --group early
refused 1 "nothere" topic describe nothere
refused 1 "nothere" topic delete nothere
refused 1 'group "nothere" does not exist' group describe nothere
refused 1 'group "nothere" does not exist' group delete nothere
refused 1 'producer "nothere" does not exist' producer delete nothere
[ "$("$LEAT" producer list --json)" = '[]' ] || fail "producers: $("$LEAT" producer list --json)"
[ "$("$LEAT" group list --json)" = '[]' ] || fail "groups: $("$LEAT" group list --json)"
refused 1 "a b" topic create "a b"
refused 1 "ring_bytes" topic create t --ring-bytes 64KiB --record-bytes-max 1MiB
"$LEAT" topic create t --partitions 3 --ring-bytes 1MiB --record-bytes-max 4KiB --retention-ms 60000 --overrun block >/dev/null
refused 1 "already" topic create t
grep -q 'create: topic "t".*already' "$dir/err" && ! grep -q '"t": topic "t"' "$dir/err" || fail "says it twice: $(cat "$dir/err")"
refused 1 'a\x1B[31m' topic create $'a\e[31m'
printf 'k:v\nkeyless\n' >"$dir/keyless.txt"
! "$LEAT" pub t --key-separator : --file "$dir/keyless.txt" >"$dir/out" 2>"$dir/err" || fail "a record without key"
grep -q "keyless.txt: record 2: no --key-separator" "$dir/err" && grep -q '^1 records' "$dir/out" || fail "$(cat "$dir/err" "$dir/out")"
refused 1 "missing.txt" pub t --file "$dir/missing.txt"
echo "no capture" >"$dir/lines.txt"
refused 1 "$dir/lines.txt" pub t --pcap "$dir/lines.txt"
refused 1 "missing.pcap" pub t --pcap "$dir/missing.pcap"
refused 1 "has partitions 0 to 2" sub t --partition 3
refused 1 "99" sub t --from 99 --partition 0
"$LEAT" topic describe t --json >"$dir/topic.json"
python3 - "$dir/topic.json" <<'PY' || fail "describe: $(cat "$dir/topic.json")"
import json, sys
topic = json.load(open(sys.argv[1]))
settings = topic["settings"]
assert topic["name"] == "t" and len(topic["partitions"]) == settings["partitions"] == 3, topic
assert settings["ring_bytes"] == 1 << 20 and settings["record_bytes_max"] == 4096, topic
assert settings["retention_ms"] == 60000 and settings["overrun"] == "block", topic
PY

# What cannot be written is said, by every command that says something; a reader that has seen enough is no failure.
for command in "topic list" "topic describe t" "topic list --json" "group list" "--help" "--version" "pub --help"; do
    code=0
    # shellcheck disable=SC2086
    "$LEAT" $command >/dev/full 2>"$dir/err" || code=$?
    [ "$code" = 1 ] && grep -q 'stdout cannot be written' "$dir/err" || fail "$command >/dev/full: exit $code, $(cat "$dir/err")"
done
exec 8> >(:) # a pipe whose reader ends at once
wait $!
"$LEAT" topic list >&8 2>"$dir/err" && [ ! -s "$dir/err" ] || fail "topic list, nobody reads: exit $?, $(cat "$dir/err")"
exec 8>&-

# A closed standard file fails by name; nothing else, least of all the connection, gets its number.
"$LEAT" topic create closed --ring-bytes 1MiB --record-bytes-max 4KiB >/dev/null
code=0
timeout 20 "$LEAT" pub closed <&- >"$dir/out" 2>"$dir/err" || code=$?
[ "$code" = 1 ] && grep -q 'stdin.*Bad file descriptor' "$dir/err" || fail "pub <&-: exit $code, $(cat "$dir/err")"
echo one | "$LEAT" pub closed >/dev/null
code=0
timeout 20 "$LEAT" sub closed --from earliest --count 1 >&- 2>"$dir/err" || code=$?
[ "$code" = 1 ] && grep -q 'stdout.*Bad file descriptor' "$dir/err" || fail "sub >&-: exit $code, $(cat "$dir/err")"
"$LEAT" topic delete closed >/dev/null

# A group goes on where it committed what it printed.
"$LEAT" topic create shared --partitions 2 --ring-bytes 1MiB --record-bytes-max 4KiB >/dev/null
seq 6 | "$LEAT" pub shared >/dev/null
timeout 20 "$LEAT" sub shared --group team --from earliest --count 4 >"$dir/out" 2>"$dir/err" || fail "sub --group: $(cat "$dir/err")"
[ "$(grep -c ': assigned: shared partition [01]: continues at offset 0' "$dir/err")" = 2 ] || fail "sub --group: $(cat "$dir/err")"
timeout 20 "$LEAT" sub shared --group team --member one --from earliest --count 2 >>"$dir/out" 2>"$dir/err" || fail "sub --group: $(cat "$dir/err")"
[ "$(sort "$dir/out" | tr '\n' ' ')" = "1 2 3 4 5 6 " ] || fail "sub --group printed $(cat "$dir/out")"
"$LEAT" topic delete shared >/dev/null
"$LEAT" topic delete t >/dev/null
[ "$("$LEAT" topic list --json)" = '[]' ] || "$LEAT" topic list --json | grep -qv '"t"' || fail "the topic is still there"

# Who reads a topic that is deleted ends at once: no timer of the connection wakes it. A group's member says that the topic
# is missing, and reads the one that is made with its name later.
mkfifo "$dir/ready2"
echo '{"port": 0, "data_port": 0, "keepalive_ms": 600000}' >"$dir/quiet.json"
"$LEATD" --config "$dir/quiet.json" >"$dir/ready2" 2>"$dir/leatd2.err" &
pid2=$!
read -r ready <"$dir/ready2" || fail "$(cat "$dir/leatd2.err")"
quiet=$(sed -E 's/.*"control":"([^"]+)".*/\1/' <<<"$ready")
for way in tcp udp; do
    for how in "" "--name n --required"; do
        : >"$dir/out"
        "$LEAT" topic create goes --ring-bytes 1MiB --record-bytes-max 4KiB --url "tcp://$quiet" >/dev/null
        # shellcheck disable=SC2086
        timeout 20 "$LEAT" sub goes $how --url "$way://$quiet" >"$dir/out" 2>"$dir/err" &
        reader=$!
        until [ -s "$dir/out" ] || ! kill -0 $reader 2>/dev/null; do
            echo one | "$LEAT" pub goes --url "tcp://$quiet" >/dev/null
        done
        "$LEAT" topic delete goes --url "tcp://$quiet" >/dev/null
        code=0
        wait $reader || code=$?
        [ "$code" = 1 ] && grep -q 'topic "goes" was deleted' "$dir/err" ||
            fail "sub goes $how over $way, deleted: exit $code, $(cat "$dir/err")"
    done
    "$LEAT" topic create goes --ring-bytes 1MiB --record-bytes-max 4KiB --url "tcp://$quiet" >/dev/null
    for format in value json; do
        : >"$dir/err"
        : >"$dir/out"
        "$LEAT" sub goes --group g --from earliest --format $format --url "$way://$quiet" >"$dir/out" 2>"$dir/err" &
        reader=$!
        await "assigned" $reader
        "$LEAT" topic delete goes --url "tcp://$quiet" >/dev/null
        await "topic_missing" $reader
        "$LEAT" topic create goes --ring-bytes 1MiB --record-bytes-max 4KiB --url "tcp://$quiet" >/dev/null
        echo again | "$LEAT" pub goes --url "tcp://$quiet" >/dev/null
        until grep -q again "$dir/out"; do
            kill -0 $reader 2>/dev/null || fail "sub --group over $way: ended, $(cat "$dir/err")"
        done
        kill $reader
        wait $reader || fail "sub --group over $way, its topic made anew: exit $?, $(cat "$dir/err")"
        [ $format = value ] || grep -q '^{"event":"topic_missing","topic":"goes","missing_ms":0,' "$dir/err" ||
            fail "sub --group --format json, deleted: $(cat "$dir/err")"
    done
    "$LEAT" topic delete goes --url "tcp://$quiet" >/dev/null
done
kill "$pid2"
wait "$pid2" || fail "leatd with a long keepalive: exit $?"
pid2=

# perf prints what it says it prints, from an open loop, and cleans up after itself.
"$LEAT" perf latency --rate 2000 --duration 0.5 --size 100 --json >"$dir/latency.json"
"$LEAT" perf throughput --size 1000 --duration 0.3 --json >"$dir/throughput.json"
python3 - "$dir/latency.json" "$dir/throughput.json" <<'PY' || fail "perf: $(cat "$dir"/*.json)"
import json, sys
latency, throughput = (json.load(open(path)) for path in sys.argv[1:3])
for run in latency, throughput:
    assert 0 < run["p50_us"] <= run["p99_us"] <= run["max_us"], run
    assert run["records"] == run["delivered"] > 0, run
assert latency["records"] == 1000, latency
PY
[ -z "$("$LEAT" topic list | grep perf- || :)" ] || fail "perf left its topic behind"
echo "net_cli: ok"
