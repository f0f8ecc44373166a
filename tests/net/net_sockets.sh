#!/usr/bin/env bash
# Goal: memory is shared with nobody but our own user and root. memif's socket is a file by default, of mode 0600; a folder
# that does not keep others out is refused, on both sides and for vhost-user too; an abstract socket, for who insists, lets
# no other user in; and what needs control only shares nothing.
# Method: the real programs; an ordinary user is nobody (setpriv).
set -euo pipefail
# shellcheck source=tests/support/bus.sh
. tests/support/bus.sh memif
[ "$(id -u)" = 0 ] && command -v setpriv >/dev/null || skip "needs root, to be another user, and setpriv"
chmod 711 "$dir" # nobody may go through, and reach what lies deeper
mkdir -m 700 "$dir/own" "$dir/bin" "$dir/lib"
cp "$LEAT" "$dir/bin/leat"
cp "$(dirname "$LEATD")/../lib/"libleat*.so "$dir/lib"
chmod -R a+rX "$dir/bin" "$dir/lib"
echo one >"$dir/one"
chmod 644 "$dir/one"

# serve DEVICE: a broker with this port.
serve() {
    broker_ports() { printf '"dpdk": {"pages": "normal", "ports": [{"device": "%s", "ip": "10.9.1.1/24"}]},' "$device"; }
    device=$1
    start_broker served '"hugepages": "off", "topics": [{"name": "t", "ring_bytes": "1MiB"}]'
}
# url DEVICE: for a client of that broker.
url() {
    echo "dpdk://$control?device=$1&ip=10.9.1.2/24&pages=normal"
}
# stranger DEVICE: user nobody publishes, and must not get through.
stranger() {
    local code=0
    LEAT_URL=$(url "$1") XDG_RUNTIME_DIR=/tmp as_nobody "$dir/bin/leat" pub t --file "$dir/one" --timeout 4 \
        >"$dir/stranger.out" 2>"$dir/stranger.err" || code=$?
    [ $code = 1 ] || fail "user nobody shares memory with the broker: exit $code"
}
# friend DEVICE: our own user does.
friend() {
    LEAT_URL=$(url "$1") "$LEAT" pub t --file "$dir/one" >"$dir/friend.out" 2>"$dir/friend.err" || fail "our own user does not"
}

echo "case: memif, as docs/bypass.md has it"
socket=$dir/own/m0.sock
serve "net_memif0,role=server,socket=$socket"
[ "$(stat -c '%a %F' "$socket")" = "600 socket" ] || fail "the socket is $(stat -c '%a %F' "$socket")"
! grep -q "@.*m0.sock" /proc/net/unix || fail "an abstract socket: $(grep m0.sock /proc/net/unix)"
stranger "net_memif0,role=client,socket=$socket"
stranger "net_memif0,role=client,socket=$socket,socket-abstract=yes"
friend "net_memif0,role=client,socket=$socket"
chmod 711 "$dir/own" # the file alone keeps them out
stranger "net_memif0,role=client,socket=$socket"
chmod 700 "$dir/own"
stop_broker
[ ! -e "$socket" ] || fail "its socket is left"

echo "case: memif, abstract"
name=leat-$$
serve "net_memif0,role=server,socket=$name,socket-abstract=yes"
grep -q "@$name" /proc/net/unix || fail "it is not abstract"
stranger "net_memif0,role=client,socket=$name,socket-abstract=yes"
friend "net_memif0,role=client,socket=$name,socket-abstract=yes"
stop_broker

echo "case: vhost-user"
socket=$dir/own/v0.sock
serve "net_vhost0,iface=$socket"
[ "$(stat -c '%a %F' "$socket")" = "600 socket" ] || fail "the socket is $(stat -c '%a %F' "$socket")"
chmod 711 "$dir/own"
stranger "net_virtio_user0,path=$socket"
chmod 700 "$dir/own"
friend "net_virtio_user0,path=$socket"

echo "case: topics and groups need no port"
for words in "topic list" "topic describe t" "topic create u" "group list" "topic delete u"; do
    # shellcheck disable=SC2086
    LEAT_URL=$(url "net_nonsense0") "$LEAT" $words >"$dir/words.out" 2>"$dir/words.err" || fail "leat $words opens a port"
done

# refused TEXT DEVICE: leatd and `leat` both say so.
refused() {
    local code=0 client=${2/role=server/role=client}
    client=${client/net_vhost0,iface=/net_virtio_user0,path=}
    printf '{"port": 0, "data_port": 0, "hugepages": "off", "dpdk": {"pages": "normal", "ports": [{"device": "%s", "ip": "10.9.7.1/24"}]}}' \
        "$2" >"$dir/refused.json"
    timeout 30 "$LEATD" --config "$dir/refused.json" >"$dir/refused.out" 2>"$dir/refused.err" || code=$?
    [ $code = 1 ] && grep -qF -- "$1" "$dir/refused.err" || fail "$2: exit $code, no \"$1\": $(cat "$dir/refused.err")"
    code=0
    LEAT_URL=$(url "$client") timeout 30 "$LEAT" pub t --file "$dir/one" >"$dir/refused.out" 2>"$dir/refused.err" || code=$?
    [ $code = 1 ] && grep -qF -- "$1" "$dir/refused.err" || fail "$client: exit $code, no \"$1\": $(cat "$dir/refused.err")"
}
echo "case: folders that do not keep others out"
mkdir -m 777 "$dir/open"
mkdir -m 1777 "$dir/sticky"
mkdir -m 770 "$dir/group"
mkdir -m 700 "$dir/theirs" "$dir/sticky/own" "$dir/open/own"
chown 65534 "$dir/theirs"
mkdir -m 700 "$dir/theirs/own"
ln -s "$dir/sticky" "$dir/link"
for device in "net_memif0,role=server,socket=" "net_vhost0,iface="; do
    refused "No such file or directory" "$device$dir/none/x.sock"
    refused "every user may write there" "$device$dir/open/x.sock"
    refused "every user may write there" "$device$dir/open/own/x.sock"
    refused "every user may write there" "$device$dir/sticky/x.sock"
    refused "every user may write there" "$device$dir/link/x.sock"
    refused "a group may write there" "$device$dir/group/x.sock"
    refused "it belongs to another user" "$device$dir/theirs/x.sock"
    refused "it belongs to another user" "$device$dir/theirs/own/x.sock"
done
stop_broker

echo "case: a folder of our own in one of everybody, through a link"
ln -s "$dir/sticky/own" "$dir/short"
serve "net_memif0,role=server,socket=$dir/short/m0.sock"
friend "net_memif0,role=client,socket=$dir/sticky/own/m0.sock,zero-copy=yes"
friend "net_memif0,role=client,socket=$dir/short/m0.sock"
stop_broker
echo "net_sockets: ok"
