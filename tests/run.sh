#!/usr/bin/env bash
# Runs tests, one line each, and counts. Criterion programs (test_*) count case by case, from their TAP report;
# plain programs (race_*) and scripts (net_*.sh) count as one each. Exit code 77 is a skip, said loudly with the last line,
# which says why; a line "SKIPPED: ..." of a script that passed, one of a case.
# Every outcome is appended to $TALLY, so that whoever called can add up. Output of what failed is shown whole.
set -uo pipefail
TALLY=${TALLY:-build/tally}
label=
if [ "${1:-}" = --label ]; then
    label="$2 "
    shift 2
fi
mkdir -p "$(dirname "$TALLY")"
out=$(mktemp) tap=$(mktemp)
trap 'rm -f "$out" "$tap"' EXIT
passed=0 failed=0 skipped=0

outcome() { # outcome pass|fail|skip NAME
    echo "$1 $label$2" >>"$TALLY"
    case $1 in
        pass) passed=$((passed + 1)) ;;
        fail) failed=$((failed + 1)) ;;
        skip) skipped=$((skipped + 1)) ;;
    esac
}

run_criterion() {
    local code=0 line name
    "$1" --tap="$tap" >"$out" 2>&1 || code=$?
    local here_failed=0 here_passed=0
    while IFS= read -r line; do
        name="$(basename "$1"): $(sed -E 's/^(not )?ok - //' <<<"$line")"
        case $line in
            "ok - "*"# SKIP"*) outcome skip "$name"; echo "SKIPPED: $label$name" ;;
            "ok - "*) outcome pass "$name"; here_passed=$((here_passed + 1)) ;;
            "not ok - "*) outcome fail "$name"; here_failed=$((here_failed + 1)) ;;
        esac
    done <"$tap"
    if [ "$code" != 0 ] && [ "$here_failed" = 0 ]; then
        outcome fail "$(basename "$1"): ended with $code"
        here_failed=1
    fi
    if [ "$here_passed" = 0 ] && [ "$here_failed" = 0 ] && ! grep -q SKIP "$tap"; then
        outcome fail "$(basename "$1"): ran no test"
        here_failed=1
    fi
    : >"$tap"
    return "$here_failed"
}

run_plain() {
    local code=0 line
    "$1" >"$out" 2>&1 || code=$?
    case $code in
        0)
            outcome pass "$(basename "$1")"
            # Cases that this machine refused, of a script that did the others.
            while IFS= read -r line; do
                outcome skip "$(basename "$1"): ${line#SKIPPED: }"
                echo "SKIPPED: $label$(basename "$1"): ${line#SKIPPED: }"
            done < <(grep '^SKIPPED: ' "$out")
            ;;
        77)
            line=$(tail -n 1 "$out")
            outcome skip "$(basename "$1"): ${line#SKIPPED: }"
            echo "SKIPPED: $label$(basename "$1"): ${line#SKIPPED: }"
            skipped_here=1
            ;;
        *) outcome fail "$(basename "$1")"; return 1 ;;
    esac
}

for test in "$@"; do
    started=$SECONDS skipped_here=0
    case $(basename "$test") in
        test_*) run_criterion "$test" ;;
        *) run_plain "$test" ;;
    esac && verdict=ok || verdict=FAILED
    [ $skipped_here = 1 ] || printf '%-6s %s%s (%d s)\n' "$verdict" "$label" "$(basename "$test")" $((SECONDS - started))
    [ $verdict = ok ] || cat "$out"
done
echo "$label$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
[ $failed = 0 ]
