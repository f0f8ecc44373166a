#!/usr/bin/env bash
# Goal: a broker whose budget became smaller than its topics starts with those that fit, says which do not, loses nothing of
# them (names, ids, offsets, what groups committed), and has them back when there is room.
# Method: the real leatd with a state folder and a budget filled to the brim, started again with less, and with more.
set -euo pipefail
LEATD=${LEATD:-build/release/bin/leatd}
LEAT=${LEAT:-build/release/bin/leat}
dir=$(mktemp -d)
broker=
cleanup() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || :
    wait 2>/dev/null || :
    rm -rf "$dir"
}
trap cleanup EXIT

fail() {
    echo "FAILED: $*" >&2
    [ ! -e "$dir/err" ] || cat "$dir/err" >&2
    exit 1
}

start() { # start SIZE [TOPICS]: with this budget
    printf '{"port": 0, "data_port": 0, "hugepages": "off", "state_dir": "%s", "log_memory_bytes": "%s", "topics": [%s]}' \
        "$dir/state" "$1" "${2:-}" >"$dir/config.json"
    rm -f "$dir/ready"
    mkfifo "$dir/ready"
    "$LEATD" --config "$dir/config.json" >"$dir/ready" 2>"$dir/err" &
    broker=$!
    read -r ready <"$dir/ready" || fail "leatd with $1 does not start"
    LEAT_URL=tcp://$(sed -E 's/.*"control":"([^"]+)".*/\1/' <<<"$ready")
    export LEAT_URL
}

stop() {
    kill -TERM "$broker"
    wait "$broker" || fail "leatd ended with $?"
    broker=
}

create() {
    "$LEAT" topic create "$1" --ring-bytes 1MiB --record-bytes-max 64KiB
}

topics() { # "name left_out", by name
    "$LEAT" topic list --json | python3 -c 'import json, sys; print(" ".join(t["name"] + ("-" if t["left_out"] else "+") for t in json.load(sys.stdin)))'
}

refused() { # refused TEXT ARGUMENTS...
    local text=$1
    shift
    ! timeout 20 "$LEAT" "$@" >"$dir/out" 2>"$dir/refusal" </dev/null || fail "leat $*: done"
    grep -qF -- "$text" "$dir/refusal" || fail "leat $*: $(cat "$dir/refusal")"
}

start 16MiB
for i in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do create $i >/dev/null; done
refused "are missing" topic create g --ring-bytes 1MiB --record-bytes-max 64KiB
seq 10 | "$LEAT" pub f >/dev/null
"$LEAT" sub f --group readers --from earliest --count 7 >/dev/null 2>&1
stop

# 6 % less: one is left out, and nothing of it is lost.
start 15MiB '{"name": "f", "ring_bytes": "1MiB", "record_bytes_max": "64KiB"}'
[ "$(topics)" = "0+ 1+ 2+ 3+ 4+ 5+ 6+ 7+ 8+ 9+ a+ b+ c+ d+ e+ f-" ] || fail "topics: $(topics)"
"$LEAT" topic list | grep -q '^f .*left out' || fail "$("$LEAT" topic list)"
refused 'topic "f" was left out' topic describe f
refused 'topic "f" was left out' pub f
refused 'topic "f" was left out' sub f --group readers --count 1
refused 'already' topic create f --ring-bytes 1MiB --record-bytes-max 64KiB
echo still | "$LEAT" pub 0 >/dev/null || fail "the others do not work"
"$LEAT" group describe readers >/dev/null || fail "the group is gone"
"$LEAT" group list --json | grep -q '"readers"' || fail "the group is gone"
stop
grep -q '"event":"topic.left_out","topic":"f"' "$dir/err" || fail "the log does not say which"
grep -q '"event":"leatd.topics_left_out","topics":1,.*"names":"f"' "$dir/err" || fail "the log does not say which"

# Room is made while it runs: it comes back, above all that was, and the group goes on with its first record.
start 15MiB
"$LEAT" topic delete 3 >/dev/null
seq 3 | timeout 30 "$LEAT" pub f >"$dir/out" || fail "f did not come back"
grep -q 'offsets 10 to 12' "$dir/out" || fail "$(cat "$dir/out")"
[ "$(timeout 30 "$LEAT" sub f --group readers --from latest --count 3 2>"$dir/said" | tr '\n' ' ')" = "1 2 3 " ] || fail "the group: $(cat "$dir/said")"
grep -q gap "$dir/said" || fail "what was lost is not told: $(cat "$dir/said")"
[ "$(topics)" = "0+ 1+ 2+ 4+ 5+ 6+ 7+ 8+ 9+ a+ b+ c+ d+ e+ f+" ] || fail "topics: $(topics)"
stop
grep -q '"event":"topic.came_back","topic":"f"' "$dir/err" || fail "the log does not say that it is back"

# Many are left out; one is deleted for good; the rest are there again with more.
start 2MiB
[ "$(topics)" = "0+ 1+ 2- 4- 5- 6- 7- 8- 9- a- b- c- d- e- f-" ] || fail "topics: $(topics)"
"$LEAT" topic delete 4 >/dev/null || fail "one that was left out cannot be deleted"
stop
grep -q '"names":"2, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f"' "$dir/err" || fail "the log does not name all"
start 16MiB
[ "$(topics)" = "0+ 1+ 2+ 5+ 6+ 7+ 8+ 9+ a+ b+ c+ d+ e+ f+" ] || fail "topics: $(topics)"
seq 2 | "$LEAT" pub f >"$dir/out"
grep -q 'offsets 13 to 14' "$dir/out" || fail "$(cat "$dir/out")"
stop
echo "net_left_out: ok"
