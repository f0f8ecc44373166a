#!/usr/bin/env bash
# Goal: a broker whose wall clock was wrong for a moment, by ten days ahead and by steps back, keeps what its retention
# keeps, forgets what it forgets, and tells the right lag; what was appended since is found by its time.
# Method: the real leatd, whose CLOCK_REALTIME is the kernel's plus what a file says; the real leat. Nothing is timed: the
# broker says in its log when it saw a step, and a topic that keeps records for a moment shows that it has looked at ages
# since.
set -euo pipefail
LEATD=${LEATD:-build/release/bin/leatd}
LEAT=${LEAT:-build/release/bin/leat}
PRELOAD_CLOCK=$(realpath "${PRELOAD_CLOCK:-build/release/tests/preload_clock.so}")
dir=$(mktemp -d)
pid=
cleanup() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || :
    rm -rf "$dir"
}
trap cleanup EXIT

fail() {
    echo "FAILED: $*" >&2
    tail -n 5 "$dir/leatd.err" >&2
    exit 1
}

# A sanitizer's library must come first; its clock_gettime asks the next one's, which is ours.
preload=$(ldd "$LEATD" | awk '/lib[at]san/ { printf "%s:", $3 }')$PRELOAD_CLOCK
DAY=86400

# clock_off SECONDS: so far is the broker's wall clock from the kernel's. One write: it never sees half of it.
clock_off() {
    local value=$(($1 * 1000000000)) bytes= i
    for ((i = 0; i < 8; i++)); do
        bytes+=$(printf '\\x%02x' $((value >> (8 * i) & 255)))
    done
    printf '%b' "$bytes" | dd of="$dir/offset" bs=8 count=1 conv=notrunc status=none
}

# until_true WHAT COMMAND...: it comes about; without an end to waiting a failure would be silence.
until_true() {
    local what=$1 tries=0
    shift
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 1200 ] || fail "$what did not come about"
        read -rt 0.05 <> <(:) || :
    done
}

steps=0
has_seen_steps() { [ "$(grep -c shard.clock_stepped "$dir/leatd.err")" -ge $steps ]; }
step_to() { # step_to SECONDS: the broker has taken the step over
    clock_off "$1"
    steps=$((steps + 1))
    until_true "step $steps of the clock" has_seen_steps
}

leat() { timeout 60 "$LEAT" "$@"; }
say() { printf '%s\n' "$2" | leat pub "$1" >/dev/null || fail "pub $1 $2"; }
head_of() { leat topic describe "$1" --json | sed -E 's/.*"head_offset":([0-9]+).*/\1/'; }
next_of() { leat topic describe "$1" --json | sed -E 's/.*"next_offset":([0-9]+).*/\1/'; }
is_empty() { [ "$(head_of "$1")" = "$(next_of "$1")" ]; }
# Every log's age is looked at in the same turn: what must not go had its chance to.
ages_were_looked_at() {
    say moment now
    until_true "forgetting what is kept for a moment" is_empty moment
}
first_at() { leat sub t --from "@$1" --count 1; } # the first record of that time or later

clock_off 0 2>/dev/null || fail "dd"
echo '{"port": 0, "shards": 1, "log_memory_bytes": "64MiB"}' >"$dir/config.json"
mkfifo "$dir/ready"
CLOCK_OFFSET="$dir/offset" LD_PRELOAD="$preload" "$LEATD" --config "$dir/config.json" >"$dir/ready" 2>"$dir/leatd.err" &
pid=$!
read -r ready <"$dir/ready" || fail "it did not start"
LEAT_URL=tcp://$(sed -E 's/.*"control":"([^"]+)".*/\1/' <<<"$ready")
export LEAT_URL
leat topic create t --ring-bytes 1MiB --retention-ms 600000 >/dev/null
leat topic create moment --ring-bytes 1MiB --retention-ms 1 >/dev/null
for i in 1 2 3 4 5; do
    say t "before $i"
done
leat sub t --group g --from earliest --count 2 >"$dir/out" 2>/dev/null || fail "the group's member: $(cat "$dir/out")"

# Ten days ahead: nothing of ten minutes goes.
step_to $((10 * DAY))
ages_were_looked_at
[ "$(head_of t)" = 0 ] || fail "a jump forward took $(head_of t) records of ten minutes"
say t "ahead"
ages_were_looked_at
[ "$(head_of t)" = 0 ] || fail "an append after the jump took $(head_of t) records"

# And right again: what came while it was ahead is not kept for ten days, nor do ages count them.
say moment "ahead"
step_to 0
until_true "forgetting what was stamped ten days ahead" is_empty moment
corrected=$(date +%s%N)
say t "corrected"
[ "$(first_at "$corrected")" = "corrected" ] || fail "@$corrected: $(first_at "$corrected")"
leat group describe g --json >"$dir/group" || fail "group describe"
for field in lag_ms overrun_ms; do
    value=$(sed -nE "s/.*\"$field\":([0-9]+).*/\1/p" "$dir/group")
    # The lag is this test's; at that rate the ring lasts for hours, and for years by a clock ten days off.
    [ -n "$value" ] && [ "$value" -lt $((10 * DAY * 1000)) ] || fail "$field: $(cat "$dir/group")"
done

# Steps back, one after the other, each a line of times of its own.
for back in 1 2 3; do
    step_to $((-back * DAY))
    since=$(($(date +%s%N) - back * DAY * 1000000000))
    say t "back $back"
    [ "$(first_at "$since")" = "back $back" ] || fail "@$since, $back days back: $(first_at "$since")"
    ages_were_looked_at
done
[ "$(head_of t)" = 0 ] || fail "steps back took $(head_of t) records"
[ "$(next_of t)" = 10 ] || fail "not all was appended: $(next_of t)"
[ "$(leat sub t --from earliest --count 10 | wc -l)" = 10 ] || fail "not all is there"
