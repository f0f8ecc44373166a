# For tests/net/net_link_dpdk*.sh: processes, hugepages and answers. To be sourced; sets $dir.
LINK_ECHO=${LINK_ECHO:-build/release/tests/link_echo}
SERVER_IP=10.9.0.1
dir=$(mktemp -d)
pids=() pages_before= namespaces=()

cleanup() {
    for pid in "${pids[@]:-}"; do
        [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || :
    done
    for name in "${namespaces[@]:-}"; do
        [ -z "$name" ] || ip netns del "$name" 2>/dev/null || :
    done
    [ -z "$pages_before" ] || echo "$pages_before" >/proc/sys/vm/nr_hugepages || :
    rm -rf "$dir"
}
trap cleanup EXIT

fail() {
    echo "FAILED: $*" >&2
    for file in "$dir"/*.err "$dir"/*.out; do
        echo "--- $file" >&2
        tail -n 5 "$file" >&2
    done
    exit 1
}

skip() { # exit code 77: tests/run.sh says it loudly
    echo "$*"
    exit 77
}

# reserve_pages N: as many are free, or the drivers do with normal pages. What was there before comes back at the end.
reserve_pages() {
    local free total
    free=$(sed -n 's/^HugePages_Free: *//p' /proc/meminfo)
    total=$(cat /proc/sys/vm/nr_hugepages 2>/dev/null || echo 0)
    [ "${free:-0}" -lt "$1" ] || return 0
    if [ -w /proc/sys/vm/nr_hugepages ]; then
        pages_before=$total
        echo $((total + $1 - free)) >/proc/sys/vm/nr_hugepages || :
    fi
}

# as_nobody COMMAND...: as an ordinary user of the machine, who may read what the tests wrote but $dir.
as_nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

field() { # field NAME LINE: a number or word of a JSON line
    sed -nE "s/.*\"$1\":([^],}]+).*/\1/p" <<<"$2"
}

# until_said FILE TEXT PID: waits for it, as long as the process lives.
until_said() {
    local tries=0
    until grep -qs "$2" "$1"; do
        kill -0 "$3" 2>/dev/null || fail "$1: ended before it said $2"
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "$1: did not say $2 in 30 s"
        read -rt 0.05 <> <(:) || :
    done
}

# start_server NAME [PREFIX...] -- ARGUMENTS...: sets $server; output in $dir/NAME.out
start_server() {
    local name=$1 prefix=()
    shift
    while [ "$1" != -- ]; do
        prefix+=("$1")
        shift
    done
    shift
    "${prefix[@]}" "$LINK_ECHO" server "$@" >"$dir/$name.out" 2>"$dir/$name.err" &
    server=$!
    pids+=("$server")
    until_said "$dir/$name.out" start_ms "$server"
}

# stop_server NAME: it ends well; its ports' counters balance; its buffers are all back. Sets $counted, $references.
stop_server() {
    local code=0
    kill -TERM "$server"
    wait "$server" || code=$?
    [ $code = 0 ] || fail "the server ended with $code"
    counted=$(grep '"rx"' "$dir/$1.out")
    balanced "$counted"
    references=$(tail -n 1 "$dir/$1.out")
    [ "$(field references "$references")" = "$(field released "$references")" ] || fail "references: $references"
}

balanced() {
    while IFS= read -r line; do
        [ "$(field balanced "$line")" = true ] || fail "received is not accepted + answered + dropped: $line"
    done <<<"$1"
}

# client NAME [PREFIX...] -- ARGUMENTS...: runs it; sets $pings and $counted.
client() {
    local name=$1 prefix=()
    shift
    while [ "$1" != -- ]; do
        prefix+=("$1")
        shift
    done
    shift
    timeout 120 "${prefix[@]}" "$LINK_ECHO" client "$@" >"$dir/$name.out" 2>"$dir/$name.err" || fail "client $name: $?"
    pings=$(grep '"sent"' "$dir/$name.out")
    counted=$(grep '"rx"' "$dir/$name.out")
    balanced "$counted"
    [ "$(field bad "$pings")" = 0 ] || fail "answers that were not what was sent: $pings"
}

all_came_back() { # all_came_back COUNT
    [ "$(field received "$pings")" = "$1" ] && [ "$(field sent "$pings")" = "$1" ] || fail "of $1 pings: $pings"
}

drop() { # drop NUMBER LINE: one of the reasons' counters, see enum link_drop
    sed -E 's/.*"drops":\[([^]]*)\].*/\1/' <<<"$2" | cut -d, -f$(($1 + 1))
}
