# The cases of a log that began anew: every kind of reader of `leat sub` is told before it prints a record of the new log, with what
# is known of the loss. To be sourced after tests/support/bus.sh.
# Readers are stopped while the broker is away, so that they find the new log and not a broker or a topic that is missing.
READERS=(plain plain_json group group_json)

lines() { # lines FROM TO
    seq -f 'line %.0f' "$1" "$2"
}

# Everything of a reader goes to one file, so that the order of events and records shows.
declare -A reader
begin_reader() { # begin_reader NAME ARGUMENTS...
    LEAT_URL=$(client_url 1) "$LEAT" sub "${@:2}" --from earliest </dev/null >"$dir/$1.out" 2>&1 &
    reader[$1]=$!
    pids+=("$!")
}

begin_readers() {
    begin_reader plain t
    begin_reader plain_json t --format json
    begin_reader group t --group g
    begin_reader group_json t --group h --format json
}

readers_have() { # readers_have N: line N is out, and committed
    local name g tries=0
    for name in "${READERS[@]}"; do
        until_said "$dir/$name.out" "line $1\b" "${reader[$name]}"
    done
    for g in g h; do
        until leat group describe $g --json | grep -q '"lag_records":0,'; do
            tries=$((tries + 1))
            [ $tries -lt 400 ] || fail "group $g does not commit: $(leat group describe $g --json)"
            read -rt 0.05 <> <(:) || :
        done
    done
}

signal_readers() { # signal_readers SIGNAL
    local name
    for name in "${!reader[@]}"; do kill -"$1" "${reader[$name]}"; done
}

end_readers() {
    local name
    for name in "${!reader[@]}"; do
        interrupt "${reader[$name]}"
        ended "${reader[$name]}" 20
        [ $code = 0 ] || fail "the reader $name ended with $code: $(tail -n 5 "$dir/$name.out")"
    done
    reader=()
}

# end_broker SIGNAL
end_broker() {
    kill -"$1" "$broker"
    wait "$broker" 2>/dev/null || [ "$1" = KILL ] || fail "leatd ended with $?"
}

# told EVENT FIRST PUBLISHED EXACT: what every reader was told of [offset of line FIRST, ...), of which lines up to PUBLISHED were
# in the old log, stands before the next line and holds what it has not printed.
told() {
    python3 - "$dir" "$@" "${READERS[@]}" <<'PY' || fail "what readers were told"
import json, re, sys
folder, event, first, published, exact = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
TEXT = re.compile(r"leat sub: (\w+): t partition 0: (?:offsets (\d+)\.\.(\d+)|the old log from offset (\d+) on)"
                  r"(?:, (\d+) records|, at least (\d+) records lost|, at least (\d+) and at most (\d+) records|, how many records is unknown)")

def read(line):
    """("line", N), ("told", {...}), or nothing of interest."""
    if line.startswith("{"):
        row = json.loads(line)
        if row.get("event") in ("gap", "log_reset"):
            return "told", row
        return ("line", int(row["value"].split()[1])) if "value" in row else (None, None)
    if line.startswith("line "):
        return "line", int(line.split()[1])
    found = TEXT.match(line)
    if found is None or found[1] not in ("gap", "log_reset"):
        return None, None
    whole, least, low, high = (int(x) if x else None for x in found.group(5, 6, 7, 8))
    return "told", {"event": found[1], "first_offset": int(found[2] or found[4]),
                    "next_offset": int(found[3]) + 1 if found[3] else None,
                    "lost_at_least": next((x for x in (whole, least, low) if x is not None), 0),
                    "lost_at_most": whole if whole is not None else high}

for name in sys.argv[6:]:
    rows = [read(line.rstrip("\n")) for line in open(f"{folder}/{name}.out", errors="replace")]
    printed = [n for kind, n in rows if kind == "line" and n <= published]
    tellings = [(i, e) for i, (kind, e) in enumerate(rows) if kind == "told" and e["first_offset"] >= first]
    assert printed == list(range(1, len(printed) + 1)), (name, printed)
    assert len(tellings) == 1, (name, tellings)
    at, said = tellings[0]
    new = next(i for i, (kind, n) in enumerate(rows) if kind == "line" and n > published)
    assert at < new, f"{name}: a record of the new log, and nothing said before it"
    assert said["event"] == event, (name, said)
    lost = published - len(printed)
    assert said["lost_at_least"] <= lost, (name, lost, said)
    if event == "log_reset":
        assert said["first_offset"] == len(printed), (name, len(printed), said)
        assert said["lost_at_most"] is None, (name, said)
    else:
        assert lost <= said["lost_at_most"], (name, lost, said)
        assert (said["lost_at_least"] == said["lost_at_most"]) == (exact == "exact"), (name, said)
PY
}

# group_lost GROUP FIRST LOST: `leat group describe` says what the group lost from line FIRST + 1 on, in JSON and in text: of LOST
# lines, what its reader was told of.
group_lost() {
    leat group describe "$1" --json >"$dir/described.json"
    leat group describe "$1" >"$dir/described.txt"
    python3 - "$dir" "$@" <<'PY' || fail "what group $1 lost: $(cat "$dir/described.json")"
import json, re, sys
folder, first, lost = sys.argv[1], int(sys.argv[3]), int(sys.argv[4])
row = next(p for p in json.load(open(f"{folder}/described.json"))["partitions"] if p["partition"] == 0)
least, most = row["lost_at_least"], row["lost_at_most"]
assert least <= lost <= most, (least, most)
told = [json.loads(line) for line in open(f"{folder}/group_json.out") if '"event":"gap"' in line]
assert [(e["first_offset"], e["lost_at_least"], e["lost_at_most"]) for e in told] == [(first, least, most)], told
said = str(most) if least == most else f"at most {most}" if least == 0 else f"{least} to {most}"
assert re.search(rf"\b{said} ", open(f"{folder}/described.txt").read()), said
PY
}

# ---- a broker that keeps nothing is killed
kills_without_a_state_folder() {
    local broker_is='"idle": "laptop", "topics": [{"name": "t", "ring_bytes": "1MiB", "record_bytes_max": 4096}]'
    keep_port
    start_broker new_log1 "$broker_is" --dev
    begin_readers
    lines 1 20 | leat pub t >/dev/null
    readers_have 20
    signal_readers STOP
    lines 21 30 | leat pub t >/dev/null
    end_broker KILL
    start_broker new_log2 "$broker_is" --dev
    lines 31 50 | leat pub t >/dev/null
    signal_readers CONT
    readers_have 50
    end_readers
    stop_broker
    port=0
    told log_reset 0 30 no
}
kills_without_a_state_folder

# ---- a broker that keeps its state is stopped, or killed
ends_with_a_state_folder() { # ends_with_a_state_folder SIGNAL SNAPSHOT_MS
    local broker_is='"idle": "laptop", "hugepages": "off", "offsets_snapshot_ms": '$2', "state_dir": "'$dir/state$1$2'", '
    broker_is+='"topics": [{"name": "t", "ring_bytes": "1MiB", "record_bytes_max": 4096}]'
    keep_port
    start_broker "kept1$1$2" "$broker_is"
    begin_readers
    lines 1 20 | leat pub t >/dev/null
    readers_have 20
    signal_readers STOP
    lines 21 30 | leat pub t >/dev/null
    end_broker "$1"
    start_broker "kept2$1$2" "$broker_is"
    lines 31 50 | leat pub t >/dev/null
    signal_readers CONT
    readers_have 50
    group_lost h 20 10
    end_readers
    stop_broker
    port=0
    told gap 20 30 "$([ "$1" = KILL ] || echo exact)"
}
ends_with_a_state_folder TERM 50
ends_with_a_state_folder KILL 50
ends_with_a_state_folder KILL 0 # of the groups nothing was stored: their members know where they stood

# ---- a topic is deleted and made again; the broker and the connections live on
# What had arrived is printed, then the end of the topic is told. A group reads the new one, and is told before; another reader ends.
makes_a_topic_again() {
    local broker_is='"idle": "laptop", "topics": [{"name": "t", "ring_bytes": "1MiB", "record_bytes_max": 4096}]' name
    start_broker again "$broker_is" --dev
    begin_readers
    lines 1 20 | leat pub t >/dev/null
    readers_have 20
    signal_readers STOP
    lines 21 30 | leat pub t >/dev/null
    leat topic delete t >/dev/null
    leat topic create t --partitions 2 >/dev/null
    signal_readers CONT
    lines 31 50 | leat pub t --partition 0 >/dev/null
    for name in plain plain_json; do
        ended "${reader[$name]}" 20
        [ "$code" = 1 ] || fail "the reader $name of a topic that is gone ended with $code"
        unset "reader[$name]"
    done
    for name in group group_json; do
        until_said "$dir/$name.out" "line 50\b" "${reader[$name]}"
    done
    end_readers
    stop_broker
    for name in "${READERS[@]}"; do
        python3 - "$dir/$name.out" <<'PY' || fail "what $name was told of a topic that was made again"
import json, re, sys
rows = re.findall(r"line (\d+)\b|leat sub: (\w+): t partition 0|\"event\":\"(\w+)\",\"topic\":\"t\",\"partition\":0", open(sys.argv[1]).read())
said = [int(line) if line else text or event for line, text, event in rows]
said = [x for x in said if x not in ("assigned", "commit_refused")] # the last commit may find the topic gone
wanted = [*range(1, 31), "topic_deleted"]
if "group" in sys.argv[1]:
    wanted += ["log_reset", *range(31, 51)]
assert said == wanted, said
# Where reading ended, and that nothing was left: line 30 has offset 29.
text = open(sys.argv[1]).read()
if "json" in sys.argv[1]:
    end = json.loads(next(line for line in text.splitlines() if '"event":"topic_deleted"' in line))
    assert (end["first_offset"], end["next_offset"], end["lost_at_least"], end["lost_at_most"]) == (30, 30, 0, 0), end
else:
    assert "topic_deleted: t partition 0: read up to offset 30 of 30, 0 records: " in text, text
PY
    done
}
makes_a_topic_again
