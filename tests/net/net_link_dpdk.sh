#!/usr/bin/env bash
# Goal: the DPDK driver moves every datagram between processes that share memory with each other (memif, vhost-user):
# copied or by reference, one lane or two, with hugepages or without; counts what its injector takes; gives every buffer
# back; and neither end dies with the other, or stays dead.
# Method: link_echo, which knows the driver's table and nothing of DPDK, against itself.
set -euo pipefail
# shellcheck source=tests/support/dpdk.sh
. tests/support/dpdk.sh
[ -x "$LINK_ECHO" ] || skip "no $LINK_ECHO"
case $LINK_ECHO in *san*) export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-} ;; esac # DPDK's own, never freed
reserve_pages 160

memif() { # memif NUMBER ROLE [MORE]
    echo "net_memif$1,role=$2,socket=$dir/memif$1.sock,socket-abstract=no${3:+,$3}"
}
at=(--ip $SERVER_IP/24 --port 7430)
to=(--ip 10.9.0.2/24 --to $SERVER_IP:7430)

echo "case: two memif clients of one server, each with its own memif"
start_server two -- --device "$(memif 0 server)" "${at[@]}" --device "$(memif 1 server)" "${at[@]}"
client one -- --device "$(memif 0 client)" "${to[@]}" --count 20000 --size 214 --window 8 &
first=$!
client other -- --device "$(memif 1 client)" "${to[@]}" --count 20000 --size 1472 --window 8
all_came_back 20000
wait $first || fail "the first client"
pings=$(grep '"sent"' "$dir/one.out")
all_came_back 20000
stop_server two
[ "$(grep -c '"accepted":20000' "$dir/two.out")" = 2 ] || fail "the server counted otherwise: $counted"
[ "$(field buffers "$(head -n 1 <<<"$counted")")" = 0 ] || fail "buffers are missing: $counted"

echo "case: a zero-copy memif client, answered by reference"
start_server zero -- --device "$(memif 0 server)" "${at[@]}" --reference
client zero_client -- --device "$(memif 0 client zero-copy=yes)" "${to[@]}" --count 20000 --size 1400 --window 16
all_came_back 20000
[ "$(field reference_min "$(head -n 1 "$dir/zero_client.out")")" = 0 ] || fail "a zero-copy client would send by reference"
stop_server zero
[ "$(field references "$references")" -gt 0 ] || fail "nothing went by reference: $references"
[ "$(field buffers "$counted")" = 0 ] || fail "buffers are missing: $counted"

echo "case: packets larger than a driver's own buffers"
start_server large -- --device "$(memif 0 server)" "${at[@]}" --mtu 9000 --reference
client large_client -- --device "$(memif 0 client)" "${to[@]}" --mtu 9000 --count 5000 --size 8972 --window 16
all_came_back 5000
stop_server large

echo "case: normal pages"
start_server normal -- --device "$(memif 0 server)" "${at[@]}" --pages 2
client normal_client -- --device "$(memif 0 client zero-copy=yes)" "${to[@]}" --pages 2 --count 5000 --window 4
all_came_back 5000
stop_server normal

echo "case: vhost-user and virtio-user"
start_server vhost -- --device "net_vhost0,iface=$dir/vhost.sock" "${at[@]}" --reference
client virtio -- --device "net_virtio_user0,path=$dir/vhost.sock" "${to[@]}" --count 20000 --size 1400 --window 16
all_came_back 20000
stop_server vhost
[ "$(field references "$references")" -gt 0 ] || fail "nothing went by reference: $references"
[ "$(field buffers "$counted")" = 0 ] || fail "buffers are missing: $counted"

# woke FILE: its ends of a link slept, and were woken by what came rather than by their own deadlines.
woke() {
    local line
    while IFS= read -r line; do
        [ "$(field able "$line")" = true ] || fail "$1: an end that cannot sleep: $line"
        [ "$(field woken "$line")" -gt 100 ] && [ "$(field timed_out "$line")" -lt 50 ] || fail "$1: $line"
    done < <(grep '"able"' "$dir/$1.out")
}

echo "case: both ends asleep between two packets"
vhost="net_vhost0,iface=$dir/vhost.sock" virtio="net_virtio_user0,path=$dir/vhost.sock"
start_server asleep -- --device "$vhost" "${at[@]}" --idle
client asleep_client -- --device "$virtio" "${to[@]}" --count 5000 --window 1 --idle
all_came_back 5000
stop_server asleep
woke asleep
woke asleep_client
grep -hE '"able"|"sent"' "$dir/asleep.out" "$dir/asleep_client.out"

echo "case: lanes asleep, woken by the lane that has the queue, and the other way round"
start_server lanes_asleep -- --device "$vhost" "${at[@]}" --lanes 2 --idle
client lanes_client -- --device "$virtio" "${to[@]}" --count 5000 --window 1
all_came_back 5000
stop_server lanes_asleep
woke lanes_asleep
start_server half_asleep -- --device "$(memif 0 server)" "${at[@]}" --lanes 2 --idle
client half_client -- --device "$(memif 0 client)" "${to[@]}" --count 5000 --window 1
all_came_back 5000
stop_server half_asleep
[ "$(grep -c '"able":false' "$dir/half_asleep.out")" = 1 ] || fail "memif's own lane cannot sleep: $(cat "$dir/half_asleep.out")"
[ "$(field woken "$(grep '"able":true' "$dir/half_asleep.out")")" -gt 100 ] || fail "$(cat "$dir/half_asleep.out")"

echo "case: clients that die while the server sleeps, and a server while its client does"
start_server sleeper -- --device "$vhost" "${at[@]}" --idle
for i in 1 2 3 4 5; do
    "$LINK_ECHO" client --device "$virtio" "${to[@]}" --count 4000000 --idle >"$dir/dying$i.out" 2>"$dir/dying.err" &
    victim=$!
    pids+=("$victim")
    until_said "$dir/dying$i.out" heard "$victim"
    kill -KILL "$victim"
    wait "$victim" 2>/dev/null || :
done
client survivor_client -- --device "$virtio" "${to[@]}" --count 1000 --idle
all_came_back 1000
"$LINK_ECHO" client --device "$virtio" "${to[@]}" --count 4000000 --idle >"$dir/widow.out" 2>"$dir/widow.err" &
widow=$!
pids+=("$widow")
until_said "$dir/widow.out" heard "$widow"
kill -KILL "$server"
wait "$server" 2>/dev/null || :
kill -TERM "$widow"
wait "$widow" || fail "the client of a server that died ended with $?"
rm -f "$dir/vhost.sock"

echo "case: two lanes on the one queue of a memif"
start_server lanes -- --device "$(memif 0 server)" "${at[@]}" --lanes 2
client lanes_client -- --device "$(memif 0 client)" "${to[@]}" --count 20000 --window 16
all_came_back 20000
stop_server lanes
[ "$(sed -E 's/.*"lanes":\[([^]]*)\].*/\1/' <<<"$counted")" = 15000,5000 ] || fail "sessions went elsewhere: $counted"

echo "case: losses are counted, in bursts"
start_server lossy -- --device "$(memif 0 server)" "${at[@]}" --rx-loss 20000 --burst 3 --seed 7
client lossy_client -- --device "$(memif 0 client)" "${to[@]}" --count 20000 --window 32 --patience 100
lost=$(($(field sent "$pings") - $(field received "$pings")))
stop_server lossy
[ "$lost" -gt 100 ] && [ "$(drop 10 "$counted")" = "$lost" ] || fail "$lost pings lost, the server counted $counted"
start_server unsent -- --device "$(memif 0 server)" "${at[@]}" --tx-loss 20000 --seed 7
client unsent_client -- --device "$(memif 0 client)" "${to[@]}" --count 20000 --window 32 --patience 100
lost=$(($(field sent "$pings") - $(field received "$pings")))
stop_server unsent
[ "$lost" -gt 100 ] && [ "$(field lost "$counted")" = "$lost" ] || fail "$lost pongs lost, the server counted $counted"

echo "case: duplicates and disorder"
start_server disorder -- --device "$(memif 0 server)" "${at[@]}" --duplicate 50000 --reorder 50000 --seed 3
client disorder_client -- --device "$(memif 0 client)" "${to[@]}" --count 20000 --window 8
[ "$(field received "$pings")" = 20000 ] || fail "$pings"
[ "$(field duplicates "$pings")" -gt 100 ] || fail "no duplicates: $pings"
stop_server disorder
[ "$(field buffers "$counted")" = 0 ] || fail "buffers are missing: $counted"

echo "case: a client that does not listen holds no memory of others"
start_server waiting -- --device "$(memif 0 server)" "${at[@]}" --reference
client deaf -- --device "$(memif 0 client)" "${to[@]}" --count 1500 --size 1400 --window 1500 --deaf
[ "$(field sent "$pings")" = 1500 ] || fail "$pings"
stop_server waiting
[ "$(field lost "$counted")" -gt 100 ] || fail "answers by reference waited: $counted"
[ "$(field buffers "$counted")" = 0 ] || fail "buffers are missing: $counted"

echo "case: peers that connect and run away"
start_server rude -- --device "$(memif 0 server)" "${at[@]}"
mkfifo "$dir/standing"
"${LINK_MEMIF_CONNECT:-build/release/tests/link_memif_connect}" "$dir/memif0.sock" 500 <"$dir/standing" >"$dir/connect.out" 2>"$dir/connect.err" &
runaway=$!
pids+=("$runaway")
exec 8>"$dir/standing"
until_said "$dir/connect.out" standing "$runaway"
exec 8>&-
wait "$runaway" || fail "link_memif_connect: $?"
client polite -- --device "$(memif 0 client)" "${to[@]}" --count 1000
all_came_back 1000
stop_server rude

echo "case: clients that die in the middle of a burst"
start_server survivor -- --device "$(memif 0 server)" "${at[@]}"
for i in 1 2 3 4 5; do
    "$LINK_ECHO" client --device "$(memif 0 client zero-copy=yes)" "${to[@]}" --count 4000000 --window 32 \
        >"$dir/victim$i.out" 2>"$dir/victim.err" &
    victim=$!
    pids+=("$victim")
    until_said "$dir/victim$i.out" start_ms "$victim"
    until_said "$dir/victim$i.out" heard "$victim"
    kill -KILL "$victim"
    wait "$victim" 2>/dev/null || :
    kill -0 "$server" || fail "the server died with its client"
done
client after -- --device "$(memif 0 client zero-copy=yes)" "${to[@]}" --count 1000
all_came_back 1000
stop_server survivor

echo "case: a client that outlives its servers"
for copy in yes no; do
    "$LINK_ECHO" client --device "$(memif 0 client zero-copy=$copy)" "${to[@]}" --count 400000000 --patience 200 \
        >"$dir/patient.out" 2>"$dir/patient.err" &
    patient=$!
    pids+=("$patient")
    until_said "$dir/patient.out" start_ms "$patient"
    for i in 1 2 3; do
        start_server "mortal$i" -- --device "$(memif 0 server)" "${at[@]}"
        until_said "$dir/mortal$i.out" heard "$server"
        kill -KILL "$server"
        wait "$server" 2>/dev/null || :
        rm -f "$dir/memif0.sock"
    done
    kill -TERM "$patient"
    wait "$patient" || fail "the client did not outlive its servers"
done

echo "case: more start at once than there are hugepages for: the others have normal ones"
servers=()
for i in 0 1 2 3 4 5 6 7; do
    "$LINK_ECHO" server --device "$(memif $i server)" "${at[@]}" >"$dir/crowd$i.out" 2>"$dir/crowd$i.err" &
    servers+=("$!")
    pids+=("$!")
done
for i in 0 1 2 3 4 5 6 7; do
    until_said "$dir/crowd$i.out" start_ms "${servers[i]}"
done
for i in 0 1 2 3 4 5 6 7; do
    kill -TERM "${servers[i]}"
    wait "${servers[i]}" || fail "server $i of the crowd ended with $?"
done

echo "case: a port of an application that runs DPDK itself"
"${LINK_EXTERNAL:-build/release/tests/link_external}" >"$dir/external.out" 2>"$dir/external.err" || fail "link_external: $?"

refused() { # refused TEXT ARGUMENTS...
    local text=$1
    shift
    ! "$LINK_ECHO" server "$@" >"$dir/refused.out" 2>"$dir/refused.err" || fail "not refused: $*"
    grep -qF -- "$text" "$dir/refused.err" || fail "no \"$text\" said of: $*"
}

echo "case: what is wrong is said"
refused "expected a virtual device" --device eth0 "${at[@]}"
refused "control character" --device "net_memif0,role=server, x" "${at[@]}"
refused "mtu 100: expected 576" --device "$(memif 0 server)" "${at[@]}" --mtu 100
refused "expected a host's address" --device "$(memif 0 server)" --ip 224.0.0.1/24 --port 7430
refused "\"$dir/none\" of its socket" --device "net_memif0,role=server,socket=$dir/none/x.sock,socket-abstract=no" "${at[@]}"
refused "net_nonsense0" --device "net_nonsense0" "${at[@]}"
refused "started without PCI" --device "0000:7f:1f.7" "${at[@]}"
refused "vm.nr_hugepages=" --device "$(memif 0 server)" "${at[@]}" --pages 1 --memory 900000
refused "needs" --device "$(memif 0 server)" "${at[@]}" --pages 2 --buffers 400000
echo "net_link_dpdk: ok"
