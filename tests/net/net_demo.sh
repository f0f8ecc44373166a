#!/usr/bin/env bash
# Goal: the demo passes on what is whole and fails on what is not: it cannot be fooled by a lost, doubled or swapped
# line, nor by half a file. Method: a small feed of the spot kind, then the same one damaged in one place.
set -euo pipefail
LEATD=${LEATD:-build/release/bin/leatd}
LEAT_DEMO=${LEAT_DEMO:-build/release/bin/leat-demo}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

python3 - "$dir" <<'PY'
import json, os, sys
lines, u, price = [], 100, 5000
at = 1700000000000000000
def line(data, stream=None):
    global at
    at += 1000000
    lines.append(f"{at} " + json.dumps({"stream": stream, "data": data} if stream else data, separators=(",", ":")))
line({"lastUpdateId": u, "bids": [["5000", "1"]], "asks": [["5001", "1"]]})
for i in range(300):
    first, u = u + 1, u + 1 + i % 3
    q = str(i % 7 + 1)
    line({"e": "depthUpdate", "U": first, "u": u, "b": [["5000", q]], "a": [["5001", q]]}, "x@depth")
    line({"u": u, "b": "5000", "B": q, "a": "5001", "A": q}, "x@bookTicker")
depth = [i for i, text in enumerate(lines) if "depthUpdate" in text]
cases = {"whole": lines, "lost": lines[:depth[150]] + lines[depth[150] + 1:],
         "doubled": lines[:depth[150]] + [lines[depth[150]]] + lines[depth[150]:]}
swapped = list(lines)
swapped[depth[150]], swapped[depth[151]] = swapped[depth[151]], swapped[depth[150]]
cases["swapped"] = swapped
for name, text in cases.items():
    open(os.path.join(sys.argv[1], name), "w").write("\n".join(text) + "\n")
PY

run() { "$LEAT_DEMO" --leatd "$LEATD" --feed "$1" >"$dir/out" 2>&1; }

run "$dir/whole" || fail "a whole feed: $(cat "$dir/out")"
grep -q "250 of 250" "$dir/out" || fail "the book was not compared: $(cat "$dir/out")"
for damage in lost doubled swapped; do
    if run "$dir/$damage"; then fail "a feed with one line $damage passed"; fi
    grep -q "FAILED" "$dir/out" || fail "$damage: $(cat "$dir/out")"
done
gzip -c "$dir/whole" >"$dir/whole.gz"
run "$dir/whole.gz" || fail "gzip: $(cat "$dir/out")"
head -c 2000 "$dir/whole.gz" >"$dir/cut.gz"
if run "$dir/cut.gz"; then fail "half a gzip file passed"; fi
grep -q "truncated" "$dir/out" || fail "half a gzip file: $(cat "$dir/out")"
seq 1 500 >"$dir/numbers"
run "$dir/numbers" || fail "lines of no kind: $(cat "$dir/out")"
grep -q "book not checked" "$dir/out" || fail "lines of no kind: $(cat "$dir/out")"
if run "$dir/missing"; then fail "a missing feed passed"; fi
echo "net_demo: ok"
