# A group of consumers whose members start, end, hang and die at random while a feed goes on; then every line they left is
# judged (tests/support/group_check.py). To be sourced after tests/support/bus.sh.
#   CHAOS_SECONDS=60    how long [10]      LEAT_TEST_SEED=N    what happens when [random, printed]
GROUP_MEMBER=${GROUP_MEMBER:-build/release/tests/group_member}
GROUP_FEED=${GROUP_FEED:-build/release/tests/group_feed}
CHAOS_SECONDS=${CHAOS_SECONDS:-10}
MEMBERS=8
CLIENTS=$((MEMBERS + 1)) # the last one is the feed
PARTITIONS=12
SESSION_MS=1500
RATE=1200 # records a second
seed=${LEAT_TEST_SEED:-$((EPOCHSECONDS % 100000 + $$))}
lives=0
state=() member=() life_of=() # of each slot, from 1: none, running or stopped; its process; its file's number

chaos_line() { # chaos_line WHAT SLOT
    echo "$1 ${life_of[$2]} ${EPOCHREALTIME/[.,]/}000" >>"$dir/chaos.log"
}

start_member() { # start_member SLOT: every other one has a name, and commits in one of three ways
    local name=()
    [ $((RANDOM % 2)) = 0 ] || name=("static$1")
    local ways=(processed exact interval)
    lives=$((lives + 1))
    life_of[$1]=$lives state[$1]=running
    "$GROUP_MEMBER" "$(client_url "$1")" g t "$dir/member.$lives.log" "${ways[RANDOM % 3]}" $SESSION_MS "${name[@]}" \
        >/dev/null 2>"$dir/member.$lives.err" 9>&- &
    member[$1]=$!
    pids+=("$!")
}

# A number that was waited for may be another process's by the time of the clean-up.
forget() { # forget PID
    local pid rest=()
    for pid in "${pids[@]}"; do
        [ "$pid" = "$1" ] || rest+=("$pid")
    done
    pids=("${rest[@]}")
}

gone() { # gone SLOT
    forget "${member[$1]}"
    state[$1]=none
}

kill_member() {
    chaos_line kill "$1"
    kill -KILL "${member[$1]}"
    wait "${member[$1]}" 2>/dev/null || :
    gone "$1"
}

stop_member() {
    chaos_line stop "$1"
    kill -STOP "${member[$1]}"
    state[$1]=stopped
}

wake_member() {
    kill -CONT "${member[$1]}"
    chaos_line cont "$1"
    state[$1]=running
}

end_member() { # it leaves by itself, once it has joined
    until_said "$dir/member.${life_of[$1]}.log" '^J' "${member[$1]}"
    kill -TERM "${member[$1]}"
    ended "${member[$1]}" 40
    [ "$code" = 0 ] || fail "member ${life_of[$1]} ended with $code: $(tail -n 3 "$dir/member.${life_of[$1]}.err")"
    gone "$1"
}

slots_in() { # slots_in STATE
    local slot
    for ((slot = 1; slot <= MEMBERS; slot++)); do
        [ "${state[slot]}" != "$1" ] || echo "$slot"
    done
}

all_alive() {
    local slot
    for slot in $(slots_in running); do
        kill -0 "${member[slot]}" 2>/dev/null || fail "member ${life_of[slot]} died: $(tail -n 3 "$dir/member.${life_of[slot]}.err")"
    done
}

pause_ms() {
    read -rt "$(printf '0.%03d' "$1")" <> <(:) || :
}

# At least one runs at any time.
chaos() {
    local end=$((EPOCHSECONDS + CHAOS_SECONDS)) slot dice
    while ((EPOCHSECONDS < end)); do
        slot=$((RANDOM % MEMBERS + 1)) dice=$((RANDOM % 100))
        case ${state[slot]} in
        none) start_member $slot ;;
        stopped) if ((dice < 25)); then kill_member $slot; else wake_member $slot; fi ;;
        running)
            if [ "$(slots_in running | wc -l)" -gt 1 ]; then
                if ((dice < 30)); then kill_member $slot; elif ((dice < 60)); then stop_member $slot; elif ((dice < 80)); then end_member $slot; fi
            fi
            ;;
        esac
        pause_ms $((100 + RANDOM % 500))
        all_alive
    done
}

drained() { # every record that was acknowledged has been processed
    local tries=0
    until [ "$(python3 tests/support/group_check.py "$dir" --missing)" = 0 ]; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || break # the judge says what is missing
        all_alive
        pause_ms 500
    done
}

group_under_chaos() {
    local feed slot
    RANDOM=$seed
    echo "case: a group of 1 to $MEMBERS members over $transport for $CHAOS_SECONDS s, LEAT_TEST_SEED=$seed"
    start_broker groups '"idle": "laptop", "hugepages": "off", "topics": [{"name": "t", "partitions": '$PARTITIONS', "ring_bytes": "8MiB", "record_bytes_max": 4096}]'
    for ((slot = 1; slot <= MEMBERS; slot++)); do state[slot]=none; done
    "$GROUP_FEED" "$(client_url $CLIENTS)" t "$dir/feed.log" $RATE >/dev/null 2>"$dir/feed.err" 9>&- &
    feed=$!
    pids+=("$feed")
    start_member 1
    until_said "$dir/feed.log" '^K' "$feed"
    until_said "$dir/member.1.log" '^R' "${member[1]}"
    chaos
    for slot in $(slots_in stopped); do wake_member "$slot"; done
    kill -TERM "$feed"
    ended "$feed" 40
    [ "$code" = 0 ] || fail "the feed ended with $code: $(cat "$dir/feed.err")"
    forget "$feed"
    drained
    for slot in $(slots_in running); do end_member "$slot"; done
    python3 tests/support/group_check.py "$dir" $SESSION_MS || fail "the group"
    stop_broker
}

# judged WORD MEMBER1 MEMBER2: the checker says WORD of these lines (commas between them).
judged() {
    mkdir "$dir/judged"
    printf 'K %d 0 %d\n' 0 0 1 1 2 2 3 3 >"$dir/judged/feed.log"
    tr , '\n' <<<"$2" >"$dir/judged/member.1.log"
    tr , '\n' <<<"$3" >"$dir/judged/member.2.log"
    echo "${4:-}" >"$dir/judged/chaos.log"
    [ -n "${4:-}" ] || : >"$dir/judged/chaos.log"
    python3 tests/support/group_check.py "$dir/judged" $SESSION_MS >"$dir/judged.out" || :
    grep -q "$1" "$dir/judged.out" || fail "the checker says $(cat "$dir/judged.out"), and should: $1"
    [ "$1" != acknowledged ] || ! grep WRONG "$dir/judged.out" || fail "the checker is wrong"
    rm -r "$dir/judged" "$dir/judged.out"
}

checker_is_not_fooled() {
    local s=000000000
    local first="J 1$s,A 0 0 10$s,R 0 0 0 11$s,R 0 1 1 11$s" second="J 1$s,A 0 1 20$s,R 0 1 1 21$s,R 0 2 2 21$s,R 0 3 3 21$s,E 22$s"
    echo "case: the checker is not fooled"
    judged acknowledged "$first,C 0 1 12$s" "$second"
    judged 'stood after' "$first,C 0 2 12$s" "$second"
    judged 'stood after' "$first,V 0 1 12$s" "$second"
    judged acknowledged "$first,V 0 1 12$s" "$second" "kill 1 12$s"
    judged acknowledged "$first,L 12$s" "$second"
    judged 'processed by nobody' "$first" "${second/R 0 3 3 21$s,/}"
    judged 'offset 3 after 1' "$first" "${second/R 0 2 2 21$s,/}"
    judged 'not its own' "$first,L 12$s,R 0 2 2 13$s" "$second"
    judged 'processed up to' "$first,C 0 3 12$s" "$second"
    judged 'went back' "$first,C 0 1 12$s,C 0 0 12$s" "$second"
    judged 'ms before' "$first,V 0 2 25$s" "${second/A 0 1/A 0 2}"
    judged 'records skipped' "$first,G 0 2 3 13$s" "$second"
    judged 'acknowledged at' "$first" "${second/R 0 2 2 21$s,R 0 3 3/R 0 2 3 21$s,R 0 3 2}"
    judged 'never handed over' "J 1$s" "J 1$s"
}
