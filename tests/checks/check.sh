#!/usr/bin/env bash
# Runs the named checks (`make check-NAME`), all of them whatever happens to one, and counts each in $TALLY.
set -uo pipefail
TALLY=${TALLY:-build/tally}
mkdir -p "$(dirname "$TALLY")"
passed=0 failed=0
for check in "$@"; do
    started=$SECONDS
    echo "== check-$check"
    if "${MAKE:-make}" --no-print-directory "check-$check" >"$TALLY.out" 2>&1; then
        verdict=pass passed=$((passed + 1))
        # What was skipped inside is said here too, and how much ran.
        grep -E '^SKIPPED|passed, |runs, ' "$TALLY.out"
    else
        verdict=fail failed=$((failed + 1))
        tail -n 200 "$TALLY.out"
    fi
    echo "$verdict check-$check" >>"$TALLY"
    echo "$verdict check-$check ($((SECONDS - started)) s)"
done
rm -f "$TALLY.out"
echo "checks: $passed passed, $failed failed"
[ $failed = 0 ]
