#!/usr/bin/env bash
# Goal: a broker with bypass ports that has nothing to do leaves the processor alone: with nobody there, with readers that
# wait, and after work; and what comes then is there at once. Over vhost-user it sleeps on the ports' interrupts; memif has
# none, so it polls with a backoff.
# Method: the real programs; processor time from /proc over some seconds, printed beside the latency it costs. The reader
# is an example of the library, which waits in leat_client_poll.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh vhost
EXAMPLES=${EXAMPLES:-build/release/client/examples}
WINDOW_S=2
ticks() { # ticks PID: user and system time so far
    local stat
    read -r stat <"/proc/$1/stat"
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

# costs MOST WHAT PID: what it used in WINDOW_S seconds, in thousandths of a core, MOST at most.
costs() {
    local before=$(ticks "$3") used
    read -rt $WINDOW_S <> <(:) || :
    used=$((($(ticks "$3") - before) * 1000 / $(getconf CLK_TCK) / WINDOW_S))
    echo "$transport, $idle, $2: $used/1000 of a core"
    [ $used -le "$1" ] || fail "more than $1/1000 of a core"
}

# settled PID: it has started, and uses nothing for a while.
settled() {
    local before=-1 now tries=0
    until now=$(ticks "$1") && [ "$now" = "$before" ]; do
        before=$now tries=$((tries + 1))
        [ $tries -lt 60 ] || fail "process $1 is always busy"
        read -rt 0.5 <> <(:) || :
    done
}

# case_of IDLE MOST READERS: so much at most of broker and reader; of the latter "", where it polls.
case_of() {
    idle=$1
    echo "case: $transport, $idle"
    start_broker "$transport-$idle" "\"idle\": \"$idle\", \"hugepages\": \"off\", \"topics\": [{\"name\": \"t\", \"ring_bytes\": \"8MiB\"}]"
    costs "$2" "nobody there" "$broker"
    "$EXAMPLES/subscribe" t 2 "$(client_url 2)" >"$dir/reader.out" 2>"$dir/reader.err" &
    local reader=$!
    pids+=("$reader")
    leat pub t --file <(echo one) >/dev/null
    [ -z "$3" ] || settled "$reader"
    costs "$2" "a reader waits" "$broker"
    [ -z "$3" ] || costs "$3" "the reader" "$reader"
    leat pub t --file <(echo two) >/dev/null
    ended "$reader" 30
    [ $code = 0 ] || fail "the reader ended with $code"
    [ "$(sed 's/.*=//' "$dir/reader.out" | tr '\n' ' ')" = "one two " ] || fail "it read $(cat "$dir/reader.out")"
    local latency
    latency=$(leat perf latency --rate 200 --duration 2 --size 64 --json)
    echo "$transport, $idle: a record every 5 ms, there in $(field min_us "$latency") us at best, p50 $(field p50_us "$latency") us"
    costs "$2" "after work" "$broker"
    stop_broker
}

case_of laptop 50 50
case_of balanced 50 50
transport=memif
case_of laptop 250 ""
case_of balanced 500 ""
echo "net_idle: ok"
