#!/usr/bin/env bash
# Goal: where a kernel does not know a newer system call (ENOSYS), or a container's profile refuses it (EPERM), a broker with a
# memif port serves it and a client with one uses it; what DPDK cannot do without ends the start, with words. test_refused_calls
# shows the same over kernel sockets.
# Method: filters of system calls around the real programs, first around the broker and then around the client, one call each.
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh memif
WITHOUT=${LINK_WITHOUT:-build/release/tests/link_without}
mtu=1500
CLIENTS=1
url_more='&pages=normal'
"$WITHOUT" ENOSYS statx true || [ $? != 77 ] || skip "no filters of system calls here"
settings='"idle": "laptop", "hugepages": "off", "topics": [{"name": "t", "ring_bytes": "1MiB"}]'

# needed ERROR CALL: DPDK's EAL and drivers may know no other way; some do with normal pages.
needed() {
    case $2-$1 in
    sched_setaffinity-* | faccessat2-EPERM | get_mempolicy-EPERM | fallocate-* | memfd_create-*) ;;
    *) return 1 ;;
    esac
}

# publishes WHAT: a record is acknowledged through the port. `without`: what is before the client's program.
without=()
publishes() {
    echo record | LEAT_URL=$(client_url 1) timeout 60 "${without[@]}" "$LEAT" pub t >"$dir/pub.out" 2>"$dir/pub.err"
}

for error in ENOSYS EPERM; do
    for call in $("$WITHOUT"); do
        if needed $error "$call"; then
            printf '{"allow_unauthenticated": true, "port": 0, "data_port": 0, %s %s}' "$(broker_ports)" "$settings" >"$dir/refused.json"
            code=0
            timeout -s INT 2 "$WITHOUT" $error "$call" "$LEATD" --config "$dir/refused.json" >/dev/null 2>"$dir/refused.err" || code=$?
            [ $code = 124 ] || [ $code = 1 ] && grep -q '^leatd: cannot start: .\|leatd.ready' "$dir/refused.err" \
                || fail "a broker without $call ($error): $code"
            continue
        fi
        broker_in=("$WITHOUT" $error "$call")
        start_broker "$call-$error" "$settings"
        publishes || fail "a broker without $call ($error): $(cat "$dir/pub.err")"
        stop_broker
    done
done

broker_in=()
start_broker clients "$settings"
for error in ENOSYS EPERM; do
    for call in $("$WITHOUT"); do
        without=("$WITHOUT" $error "$call")
        code=0
        publishes || code=$?
        [ $code = 0 ] || { [ $code = 1 ] && needed $error "$call" && grep -q 'DPDK\|device' "$dir/pub.err"; } \
            || fail "a client without $call ($error): $code: $(cat "$dir/pub.err")"
    done
done
stop_broker
echo "net_refused: ok"
