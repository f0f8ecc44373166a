#!/usr/bin/env bash
# count.sh BENCH_DIR [--update]: counts the instructions per record with callgrind and compares them with bench/counts.txt.
# Each count is the difference of a longer and a shorter run, which cancels the cost of starting. Fails when a count is above
# its limit; --update writes the counts of this build into the file and keeps the limits.
# Counts hold for one compiler and one implementation of CRC-32C. With others it says so and exits with code 77 (skipped).
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$1 update=${2:-}
file=bench/counts.txt
command -v valgrind >/dev/null || { echo "make count: no valgrind here: make deps-ci installs it"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# collected FUNCTION COMMAND...: instructions within FUNCTION
collected() {
    local function=$1
    shift
    valgrind --tool=callgrind --toggle-collect="$function" --callgrind-out-file="$scratch/out" "$@" >"$scratch/stdout" 2>"$scratch/stderr" \
        || { cat "$scratch/stderr" >&2; return 1; }
    sed -n 's/.*Collected *: *\([0-9]*\).*/\1/p' "$scratch/stderr"
}

# per NAME SHORT LONG FUNCTION COMMAND...: instructions per unit; the number of units is appended to the command
per() {
    local name=$1 short=$2 long=$3 few many
    shift 3
    few=$(collected "$@" "$short")
    many=$(collected "$@" "$long")
    printf '%s %d\n' "$name" $(((many - few) / (long - short))) >>"$scratch/counts"
}

here="$(${CC:-gcc} -dumpfullversion 2>/dev/null || echo unknown), CRC-32C by $(valgrind -q "$dir/bench_append" crc)"
written=$(sed -n 's/^# gcc //p' $file)
if [ -z "$update" ] && [ "$here" != "$written" ]; then
    echo "make count: the counts in $file are of gcc $written; this build has gcc $here: nothing to compare with"
    exit 77
fi

per path_record      2000  6000  one_trip    "$dir/bench_path" count one udp
per path_flow        40000 120000 flow       "$dir/bench_path" count flow udp
per tcp_record       2000  6000  one_trip    "$dir/bench_path" count one tcp
per tcp_flow         40000 120000 flow       "$dir/bench_path" count flow tcp
per append_record    2000  6000  append_some "$dir/bench_append" count single
per append_batch     200   600   append_some "$dir/bench_append" count full

if [ -n "$update" ]; then
    awk -v here="$here" 'FNR == NR { now[$1] = $2; next } /^# gcc / { print "# gcc " here; next } /^#/ { print; next }
        { printf "%-14s %8d  %s\n", $1, now[$1], $3 }' "$scratch/counts" $file >"$scratch/new"
    cp "$scratch/new" $file
fi
awk 'FNR == NR { if ($1 != "#") { base[$1] = $2; limit[$1] = $3 } next }
    { change = 100 * ($2 - base[$1]) / base[$1]
      over = change > limit[$1]
      failed += over
      printf "%-14s %8d instructions, %8d in the file: %+6.2f %% (at most +%s %%)%s\n", $1, $2, base[$1], change, limit[$1], over ? "  TOO MANY" : "" }
    END { exit failed != 0 }' $file "$scratch/counts"
