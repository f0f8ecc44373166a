#!/usr/bin/env bash
# Goal: what `make install` puts down is enough: a program builds against it with pkg-config and sees leat.h alone, from C
# and from C++, with the shared and the static library, and talks to the installed broker.
# Method: an installation in a folder of its own.
set -euo pipefail
case ${LEATD:-release} in *release*) ;; *) echo "the release build is what is installed, and is tested beside it" && exit 77 ;; esac
dir=$(mktemp -d)
pid=
reader=
cleanup() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || :
    [ -z "$reader" ] || kill "$reader" 2>/dev/null || :
    rm -rf "$dir"
}
trap cleanup EXIT
make --no-print-directory install DESTDIR="$dir/root" PREFIX=/opt/leat >/dev/null
export PKG_CONFIG_PATH="$dir/root/opt/leat/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$dir/root"
export LD_LIBRARY_PATH="$dir/root/opt/leat/lib"
cp client/examples/*publish.c client/examples/*subscribe.c "$dir"
cd "$dir"
# shellcheck disable=SC2046
gcc -std=c17 -Wall -Wextra -Werror publish.c -o publish $(pkg-config --cflags --libs leat)
gcc -std=c17 subscribe.c -o subscribe $(pkg-config --cflags leat) root/opt/leat/lib/libleat.a $(pkg-config --libs libprotobuf-c)
printf '#include <leat.h>\nint main() { return leat_version()[0] == 0; }\n' >plus.cpp
gcc -std=c17 -Wall -Wextra -Werror hello_publish.c -o hello_publish $(pkg-config --cflags --libs leat)
gcc -std=c17 -Wall -Wextra -Werror hello_subscribe.c -o hello_subscribe $(pkg-config --cflags --libs leat)
if command -v g++ >/dev/null; then
    g++ -Wall -Wextra -Werror plus.cpp -o plus $(pkg-config --cflags --libs leat) && ./plus
fi
mkfifo ready
root/opt/leat/bin/leatd --dev --port 0 >ready 2>leatd.err &
pid=$!
read -r ready <ready
url=tcp://$(sed -E 's/.*"control":"([^"]+)".*/\1/' <<<"$ready")
root/opt/leat/bin/leat topic create t --url "$url" >/dev/null
./publish t "$url" | grep -q "offset 0"
./subscribe t 2 "$url" | grep -q "0/1 MSFT=411.05"
# The two programs of README.md.
root/opt/leat/bin/leat topic create hello --url "$url" >/dev/null
./hello_publish hello "$url"
mkfifo heard
stdbuf -oL ./hello_subscribe hello "$url" >heard &
reader=$!
read -r -t 10 record <heard
[ "$record" = 187.20 ]
echo "net_install: ok"
