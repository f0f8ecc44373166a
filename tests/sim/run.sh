#!/usr/bin/env bash
# run.sh SIMULATION SEEDS FROM: the seeds shared out to a few processes (each waits more than it works), one summary; a
# seed that fails is said, and is enough to have the run again.
set -euo pipefail
simulation=$1 seeds=$2 from=$3 processes=8
[ "$seeds" -ge $processes ] || processes=1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
pids=()
for ((i = 0; i < processes; i++)); do
    first=$((from + seeds * i / processes)) last=$((from + seeds * (i + 1) / processes))
    "$simulation" --seeds $((last - first)) --from "$first" >"$dir/$i.out" 2>"$dir/$i.err" &
    pids+=($!)
done
failed=0
for ((i = 0; i < processes; i++)); do
    wait "${pids[$i]}" || { failed=1 && cat "$dir/$i.err"; }
done
[ $failed = 0 ] || exit 1
# The same sentences from each: their numbers are added up.
paste -d '\n' "$dir"/*.out | awk '
    { kind = $0; gsub(/[0-9]+/, "#", kind)
      if (!(kind in text)) { text[kind] = $0; order[++kinds] = kind }
      n = split($0, word, /[^0-9]+/); k = 0
      for (i = 1; i <= n; i++) if (word[i] != "") sum[kind, ++k] += word[i] }
    END { for (at = 1; at <= kinds; at++) { kind = order[at]; line = ""; rest = text[kind]; k = 0
            while (match(rest, /[0-9]+/)) { line = line substr(rest, 1, RSTART - 1) sprintf("%d", sum[kind, ++k])
                rest = substr(rest, RSTART + RLENGTH) }
            print line rest } }'
