#!/usr/bin/env bash
# Goal: a broker in a container stays within its memory: the budget follows the limit, what does not fit is refused with
# figures, and the kernel kills nobody.
# Method: the real leatd in a control group of 256 MiB, version 1 or 2, that this test makes below its own.
set -euo pipefail
LEATD=${LEATD:-build/release/bin/leatd}
LEAT=${LEAT:-build/release/bin/leat}
dir=$(mktemp -d)
limit=$((256 << 20))
group= broker=
cleanup() {
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || :
    wait 2>/dev/null || :
    [ -z "$group" ] || rmdir "$group" 2>/dev/null || :
    rm -rf "$dir"
}
trap cleanup EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

skip() {
    echo "SKIPPED: $*"
    exit 77
}

# The folder of our own group in the hierarchy that limits memory, and the limit's name there.
find_group() {
    local path point
    if path=$(grep -m1 -E '^[0-9]+:([^:]*,)?memory(,[^:]*)?:' /proc/self/cgroup); then
        point=$(awk '/ - cgroup / && $NF ~ /(^|,)memory(,|$)/ { print $5; exit }' /proc/self/mountinfo)
        file=memory.limit_in_bytes
    else
        path=$(grep -m1 '^0::' /proc/self/cgroup) || skip "no control groups"
        point=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)
        file=memory.max
    fi
    [ -n "$point" ] || skip "control groups are not mounted"
    parent=$point${path##*:}
    [ -d "$parent" ] || parent=$point
}

case $LEATD in
*tsan*) skip "ThreadSanitizer's shadow of the logs, several times their size, is in the group too" ;;
*san*) export ASAN_OPTIONS=quarantine_size_mb=8:${ASAN_OPTIONS:-} ;; # else up to 256 MiB of what was freed
esac
find_group
mkdir "$parent/leat-test-$$" 2>"$dir/err" || skip "no control group can be made: $(cat "$dir/err")"
group=$parent/leat-test-$$
[ -e "$group/$file" ] || skip "groups below $parent do not limit memory"
echo $limit >"$group/$file" || skip "$group/$file cannot be written"
inside() { bash -c 'echo $$ >"$0/cgroup.procs" || exit 77; exec "$@"' "$group" "$@"; }
inside true 2>"$dir/err" || skip "no process can be put into $group: $(cat "$dir/err")"

number() { sed -nE "s/.*\"$1\": ([0-9]+).*/\1/p" "$dir/plan"; }
inside "$LEATD" --dev --plan >"$dir/plan"
[ "$(number limit_bytes)" = $limit ] || fail "--plan: $(cat "$dir/plan")"
grep -q "\"limit_from\": \".*$group\"" "$dir/plan" || fail "--plan does not say which: $(cat "$dir/plan")"
[ $(($(number log_limit_bytes) + $(number client_limit_bytes))) -lt $limit ] || fail "budgets: $(cat "$dir/plan")"
[ $(($(number each_address_max) * 2)) = "$(number client_limit_bytes)" ] || fail "half for one address: $(cat "$dir/plan")"

echo '{"port": 0, "data_port": 0, "hugepages": "off", "log_memory_bytes": "1GiB"}' >"$dir/config.json"
code=0
inside "$LEATD" --config "$dir/config.json" >"$dir/out" 2>"$dir/err" || code=$?
[ $code = 1 ] && grep -q "$group" "$dir/err" || fail "1 GiB in $limit bytes: status $code: $(cat "$dir/err")"

mkfifo "$dir/ready"
bash -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$group" "$LEATD" --dev --port 0 >"$dir/ready" 2>"$dir/leatd.err" &
broker=$!
read -r ready <"$dir/ready" || fail "$(cat "$dir/leatd.err")"
LEAT_URL=tcp://$(sed -E 's/.*"control":"([^"]+)".*/\1/' <<<"$ready")
export LEAT_URL
made=0
while "$LEAT" topic create "t$made" --ring-bytes 8MiB >"$dir/out" 2>"$dir/err"; do
    seq 100000 | "$LEAT" pub "t$made" >/dev/null || fail "publishing to t$made: is the broker gone?"
    made=$((made + 1))
    [ $made -lt 100 ] || fail "$made topics of 8 MiB in $limit bytes"
done
grep -q "are missing" "$dir/err" || fail "the refusal: $(cat "$dir/err")"
[ $made -ge 8 ] || fail "only $made topics of 8 MiB in $limit bytes"
"$LEAT" topic list >/dev/null || fail "the broker is gone"
kill -TERM "$broker"
wait "$broker" || fail "the broker ended with $?"
broker=
echo "net_limits: ok"
