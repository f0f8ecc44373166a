#!/usr/bin/env bash
# Goal: a broker that cannot start says which thing, which value, what was expected and what to do, with
# exit code 1 (2 for usage), and leaves what it found as it was.
# Method: the real leatd, wrong in every way a user can be wrong.
set -euo pipefail
LEATD=${LEATD:-build/release/bin/leatd}
LEAT=${LEAT:-build/release/bin/leat}
dir=$(mktemp -d)
pids=()
cleanup() {
    for pid in "${pids[@]:-}"; do
        [ -z "$pid" ] || kill "$pid" 2>/dev/null || :
    done
    rm -rf "$dir"
}
trap cleanup EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# refused CODE TEXT ARGUMENTS...: leatd ends with CODE and says TEXT on stderr, nothing on stdout.
refused() {
    local code=$1 text=$2 got=0
    shift 2
    timeout 20 "$LEATD" "$@" >"$dir/out" 2>"$dir/err" || got=$?
    [ "$got" = "$code" ] || fail "leatd $*: exit $got, expected $code: $(cat "$dir/err")"
    grep -qF -- "$text" "$dir/err" || fail "leatd $*: no \"$text\" in: $(cat "$dir/err")"
    [ ! -s "$dir/out" ] || fail "leatd $*: said it was ready"
}

config() { # config TEXT: refused with code 1 and every TEXT given after it
    printf '%s' "$1" >"$dir/config.json"
    shift
    for text in "$@"; do
        refused 1 "$text" --config "$dir/config.json"
    done
}

refused 2 "--nonsense" --nonsense
refused 2 "unknown option: -xyz" -xyz
refused 2 "unknown option: -x" --dev -x
refused 2 "--port" --dev --port 70000
refused 1 "$dir/missing.json" --config "$dir/missing.json"
config '{"port": 7420' "$dir/config.json" "line"
config '{"prot": 7420}' "prot" "port"
config '{"port": "many"}' "port" "many"
config '{"port": 70000}' "70000" "65535"
config '{"shards": 0}' "shards"
config '{"idle": "lazy"}' "lazy" "laptop"
config '{"log_memory_bytes": "12 parsecs"}' "log_memory_bytes" "12 parsecs"
config '{"topics": [{"name": "a b"}]}' "topics[0].name" "a b"
config '{"topics": [{"name": "a"}, {"name": "a"}]}' "topics[1]"
config '{"topics": [{"name": "a", "overrun": "maybe"}]}' "maybe" "evict"
config '{"host": "0.0.0.0"}' "allow_unauthenticated"
config '{"port": 1, "shards": "x", "idle": 3}' "port" "shards" "idle"
config '{"state_dir": "/proc/leat"}' "/proc/leat"

start() { # start NAME ARGUMENTS...: sets $control, appends the pid
    local name=$1
    shift
    mkfifo "$dir/$name.ready"
    "$LEATD" "$@" >"$dir/$name.ready" 2>"$dir/$name.err" &
    pids+=($!)
    read -r ready <"$dir/$name.ready" || fail "leatd $*: $(cat "$dir/$name.err")"
    control=$(sed -E 's/.*"control":"([^"]+)".*/\1/' <<<"$ready")
}

stop() { # the last one started
    local pid=${pids[-1]} got=0
    kill -TERM "$pid"
    wait "$pid" || got=$?
    [ "$got" = 0 ] || fail "leatd ended with $got after SIGTERM"
    unset 'pids[-1]'
}

# The ready line is what the plan says, to the byte.
start ready --dev --port 0
[[ $ready =~ ^\{\"control\":\"127\.0\.0\.1:[0-9]+\",\"admin\":null,\"data\":\[\{\"shard\":0,\"tcp\":\"127\.0\.0\.1:[0-9]+\",\"udp\":\"127\.0\.0\.1:[0-9]+\",\"dpdk\":\[\]\}\]\}$ ]] \
    || fail "ready line: $ready"
# A port in use.
refused 1 "$control" --dev --port "${control##*:}"
stop

# State: torn, corrupt, from a newer version, and two brokers at once.
mkdir "$dir/state"
printf '{"port": 0, "data_port": 0, "state_dir": "%s"}' "$dir/state" >"$dir/stateful.json"
start first --config "$dir/stateful.json"
"$LEAT" topic create kept --url "tcp://$control" --ring-bytes 8MiB >/dev/null
refused 1 "$dir/state" --config "$dir/stateful.json"
stop
start second --config "$dir/stateful.json"
"$LEAT" topic list --url "tcp://$control" --json | grep -q '"kept"' || fail "the topic is gone after a restart"
stop
for file in "$dir"/state/*; do
    [ -s "$file" ] || continue # the lock
    cp "$file" "$dir/good"
    head -c "$(($(stat -c %s "$file") - 7))" "$dir/good" >"$file"
    refused 1 "$file" --config "$dir/stateful.json"
    printf 'x' | dd of="$file" bs=1 seek="$(($(stat -c %s "$dir/good") / 2))" conv=notrunc status=none
    refused 1 "$file" --config "$dir/stateful.json"
    cp "$dir/good" "$file"
done
start third --config "$dir/stateful.json"
"$LEAT" topic list --url "tcp://$control" --json | grep -q '"kept"' || fail "a refused start changed the state"
stop
# Clients reach an IPv6 address that is advertised (this one is 127.0.0.1, written as IPv6).
printf '{"port": 0, "data_port": 0, "advertise": {"host": "::ffff:127.0.0.1"}, "hugepages": "off"}' >"$dir/advertise.json"
start advertise --config "$dir/advertise.json"
"$LEAT" topic create t --ring-bytes 1MiB --url "tcp://$control" >/dev/null
echo reached | timeout 20 "$LEAT" pub t --url "tcp://$control" >/dev/null || fail "an advertised IPv6 address"
stop

# With stdin and stderr closed, the log is lost and nothing else: the state folder's lock does not become the log.
printf '{"port": 0, "data_port": 0, "state_dir": "%s", "hugepages": "off"}' "$dir/quiet" >"$dir/quiet.json"
mkfifo "$dir/quiet.ready"
"$LEATD" --config "$dir/quiet.json" >"$dir/quiet.ready" <&- 2>&- &
pids+=($!)
read -r ready <"$dir/quiet.ready" || fail "leatd <&- 2>&-"
"$LEAT" topic create t --ring-bytes 1MiB --url "tcp://$(sed -E 's/.*"control":"([^"]+)".*/\1/' <<<"$ready")" >/dev/null
stop
for file in "$dir"/quiet/*; do
    ! grep -qa '"event"' "$file" || fail "leatd <&- 2>&- wrote its log into $file"
done
# A configuration that can be read once only: a pipe.
start piped --config <(echo '{"port": 0, "data_port": 0, "hugepages": "off"}')
kill -HUP "${pids[-1]}"
until grep -q '"event":"leatd.nothing_to_reload"' "$dir/piped.err"; do
    kill -0 "${pids[-1]}" || fail "SIGHUP ended it: $(cat "$dir/piped.err")"
done
stop
# A configuration that takes long to come: nothing but TERM and INT ends leatd meanwhile.
mkfifo "$dir/slow.json"
exec 8< <(exec "$LEATD" --config "$dir/slow.json" 2>"$dir/slow.err")
pids+=($!)
exec 9>"$dir/slow.json" # once leatd waits for it
for signal in HUP USR1 USR2 XFSZ PIPE; do
    kill -$signal "${pids[-1]}" || fail "SIG$signal: leatd has ended before"
done
printf '{"port": 0, "data_port": 0, "hugepages": "off"}' >&9
exec 9>&-
read -r ready <&8 || fail "a signal before there was a configuration: $(cat "$dir/slow.err")"
stop
exec 8<&-
# What an orderly end could not store is an end with status 1.
printf '{"port": 0, "data_port": 0, "state_dir": "%s", "hugepages": "off"}' "$dir/removed" >"$dir/removed.json"
start removed --config "$dir/removed.json"
"$LEAT" topic create t --ring-bytes 1MiB --url "tcp://$control" >/dev/null
rm -r "$dir/removed"
kill -TERM "${pids[-1]}"
got=0
wait "${pids[-1]}" || got=$?
unset 'pids[-1]'
[ "$got" = 1 ] || fail "an end that stored nothing: status $got"
grep -q '"event":"catalog.not_stored"' "$dir/removed.err" || fail "not said: $(cat "$dir/removed.err")"
# What somebody else put into the state folder.
rm -rf "$dir/state"
mkdir -m 0700 "$dir/state"
mkfifo "$dir/state/catalog"
refused 1 "$dir/state/catalog: expected a regular file" --config "$dir/stateful.json"
rm "$dir/state/catalog"
chmod 0777 "$dir/state"
refused 1 "every user may write" --config "$dir/stateful.json"
# Normal pages instead of hugepages are said out loud, unless they were asked for.
if [ "$(awk '/HugePages_Free/ { print $2 }' /proc/meminfo)" = 0 ]; then
    printf '{"port": 0, "data_port": 0, "topics": [{"name": "t", "ring_bytes": "4MiB", "record_bytes_max": 4096}]}' >"$dir/pages.json"
    start pages --config "$dir/pages.json"
    stop
    grep -q '"event":"log.normal_pages","topic":"t"' "$dir/pages.err" || fail "nothing said of normal pages"
fi
echo "net_start: ok"
