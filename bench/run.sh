#!/usr/bin/env bash
# Runs the benches one at a time, writes their results as one JSON list, and prints them as a table. A bench that fails or
# hangs does not lose the results of the others.
set -euo pipefail
results=$1
failed=
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
for bench in "$BENCH_DIR"/bench_*; do
    [ -x "$bench" ] && [ ! -d "$bench" ] && [[ $bench != *.[od] ]] || continue
    echo "== $(basename "$bench")" >&2
    timeout -k 10 600 "$bench" | tee -a "$lines" >&2 || failed+=" $(basename "$bench")"
done
{
    echo '['
    sed '$!s/$/,/' "$lines"
    echo ']'
} >"$results"
python3 - "$results" <<'PY'
import json, os, sys
rows = json.load(open(sys.argv[1]))
print(f"\n{os.uname().sysname} {os.uname().release}, {os.cpu_count()} cores\n")
width = max(len(r["name"]) for r in rows)
for r in rows:
    met = {True: "met", False: "goal missed", None: ""}[r["met"]]
    value = "-" if r["value"] is None else f'{r["value"]:.4g}'
    print(f'{r["name"]:<{width}}  {value:>9} {r["unit"]:<24} {r["target"] or "":<8} {met:<11} {r["note"]}')
PY
[ -z "$failed" ] || { echo "bench: failed:$failed" >&2; exit 1; }
