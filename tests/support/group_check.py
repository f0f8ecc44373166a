"""Judges what the members of a group left on file: tests/net/net_groups.sh's checker.

    group_check.py DIR SESSION_MS      every rule; exit 1 and the violations, or 0 and a summary
    group_check.py DIR --missing       how many acknowledged records nobody has processed yet

DIR has feed.log (tests/programs/group_feed.c), member.LIFE.log for each process (tests/programs/group_member.c says what the lines are)
and chaos.log of the script: "stop|cont|kill LIFE time". All times are one machine's wall clock, in ns.

What must hold:
  - every acknowledged record was processed, and what was processed is what was published;
  - while a member has a partition, offsets follow each other without a hole, from the offset it was told;
  - nothing is processed outside an assignment, no commit is beyond what was processed, none goes back;
  - an owner begins at or above all that a former one had committed, and above all that one processed which let go in
    peace: so records are processed twice only from the uncommitted window of a member that was killed or stopped;
  - a member that lets go in peace has let go before the next one begins.
"""
import bisect
import glob
import os
import statistics
import sys

SECOND = 1_000_000_000
SETTLES = SECOND  # a commit made in a revocation has arrived by then, unless its member is stopped or killed meanwhile
WINDOW = 300_000_000  # after a change, in which the gaps of who did not move are looked at


class Span:
    """One member's time with one partition."""

    def __init__(self, life, partition, first, begin):
        self.life, self.partition, self.first, self.begin = life, partition, first, begin
        self.end, self.how = None, "killed"
        self.next, self.committed, self.times = first, 0, []

    def __str__(self):
        return f"member {self.life}, partition {self.partition} from offset {self.first}, {self.how}"


class Judge:
    def __init__(self, folder):
        self.folder = folder
        self.wrong, self.spans, self.numbers = [], {}, {}
        self.changes, self.lost, self.lives, self.processed = [], 0, 0, 0
        self.actions = {}  # of a life: (time, what)
        self.acked = self.read_feed()
        self.read_chaos()
        for path in sorted(glob.glob(os.path.join(folder, "member.*.log"))):
            self.read_member(path)

    def lines(self, path):
        with open(path, encoding="ascii") as file:
            for line in file:
                if line.endswith("\n"):  # a torn last one is not there
                    yield line.split()

    def read_feed(self):
        acked = {}
        for _, number, partition, offset in self.lines(os.path.join(self.folder, "feed.log")):
            acked[int(number)] = None if offset == "-" else (int(partition), int(offset))
        return acked

    def read_chaos(self):
        path = os.path.join(self.folder, "chaos.log")
        for what, life, time in self.lines(path) if os.path.exists(path) else ():
            self.actions.setdefault(life, []).append((int(time), what))

    # ---- a member's file, in its order

    def read_member(self, path):
        life = os.path.basename(path).split(".")[1]
        self.lives += 1
        open_spans, latest = {}, {}
        for kind, *words in self.lines(path):
            if kind in ("A", "V", "R", "C", "X"):
                partition, *rest = map(int, words)
            if kind == "A":
                if partition in open_spans:
                    self.wrong.append(f"member {life}: partition {partition} assigned twice")
                span = open_spans[partition] = latest[partition] = Span(life, partition, rest[0], rest[1])
                self.spans.setdefault(partition, []).append(span)
                self.changes.append(rest[1])
            elif kind == "V":
                span = open_spans.pop(partition, None)
                if span is None:
                    self.wrong.append(f"member {life}: partition {partition} revoked, and not its own")
                    continue
                span.how, span.end = "revoked", rest[1]
                self.changes.append(rest[1])
            elif kind == "L":
                self.lose(latest, open_spans, int(words[0]))
            elif kind == "R":
                self.take(life, open_spans.get(partition), partition, *rest)
            elif kind == "C":
                self.commit(life, latest.get(partition), partition, rest[0])
            elif kind == "X" and partition in latest:
                latest[partition].how = "refused"
            elif kind == "G":
                self.wrong.append(f"member {life}: records skipped: {words}")
            elif kind == "E":
                for span in open_spans.values():
                    span.how, span.end = "ended", int(words[0])
                open_spans.clear()

    def lose(self, latest, open_spans, time):
        self.lost += 1
        self.changes.append(time)
        for span in latest.values():
            # Revoked, but lost before its last commit was through.
            if span.end is None or (span.how == "revoked" and time - span.end < SETTLES):
                span.how, span.end = "lost", span.end or time
        open_spans.clear()

    def take(self, life, span, partition, offset, number, time):
        self.processed += 1
        if self.numbers.setdefault(number, (partition, offset)) != (partition, offset):
            self.wrong.append(f"record {number} is at {self.numbers[number]} and at {(partition, offset)}")
        if span is None:
            self.wrong.append(f"member {life}: processed {partition}/{offset}, and the partition is not its own")
            return
        if offset != span.next:
            self.wrong.append(f"{span}: offset {offset} after {span.next - 1}")
        span.next = offset + 1
        span.times.append(time)

    def commit(self, life, span, partition, offset):
        if span is None:
            self.wrong.append(f"member {life}: committed {partition}/{offset}, and the partition was never its own")
            return
        if offset > span.next:
            self.wrong.append(f"{span}: committed {offset}, processed up to {span.next}")
        if offset < span.committed:
            self.wrong.append(f"{span}: the commit went back from {span.committed} to {offset}")
        span.committed = max(span.committed, offset)

    # ---- between members

    def disturbed(self, life, begin, end):
        """The life was stopped, killed or woken between the two times, or slept over them."""
        asleep = None
        for time, what in self.actions.get(life, ()):
            if begin <= time <= end:
                return True
            if time < begin:
                asleep = what != "cont"
        return bool(asleep)

    def in_peace(self, span):
        """Let go by itself, with all that it processed committed."""
        if span.how == "ended":
            return True
        return span.how == "revoked" and not self.disturbed(span.life, span.end - SETTLES, span.end + SETTLES)

    def heard_late(self, span):
        """It may have read of the assignment long after it was made: its place in the order is unknown."""
        return self.disturbed(span.life, span.begin - SETTLES, span.begin) or (span.how == "lost" and not span.times)

    def handovers(self):
        """Returns how many records were processed twice, and how many spans were looked at."""
        twice = pairs = 0
        for spans in self.spans.values():
            spans.sort(key=lambda span: span.begin)
            floor, from_whom = 0, None
            for span in spans:
                if self.heard_late(span):
                    continue
                if from_whom is not None:
                    pairs += 1
                    if span.first < floor:
                        self.wrong.append(f"{span} begins below {floor}, where it stood after {from_whom}")
                peace = self.in_peace(span)
                reached = span.next if peace else span.committed
                if reached >= floor:
                    floor, from_whom = reached, span
            for former, span in zip(spans, spans[1:]):
                twice += max(0, min(former.next, span.next) - span.first)
                if self.in_peace(former) and span.begin < former.end and not self.heard_late(span):
                    self.wrong.append(f"{span} begins {(former.end - span.begin) / 1e6:.1f} ms before {former}")
        return twice, pairs

    def missing(self):
        return [number for number in self.acked if number not in self.numbers]

    def content(self):
        missing = self.missing()
        if missing:
            where = [self.acked[number] for number in missing[:5]]
            self.wrong.append(f"{len(missing)} acknowledged records processed by nobody, as {missing[:5]} at {where}")
        for number, place in self.acked.items():
            if place is not None and self.numbers.get(number, place) != place:
                self.wrong.append(f"record {number} was acknowledged at {place}, processed at {self.numbers[number]}")

    # ---- gaps of who did not move

    def longest(self, begin):
        """The longest silence from `begin` on for a window, of each partition that one undisturbed member has then."""
        for spans in self.spans.values():
            for span in spans:
                last = span.times[-1] if span.times else 0
                if span.begin < begin - WINDOW and last > begin + WINDOW and not self.disturbed(
                        span.life, begin - WINDOW, begin + WINDOW):
                    at = bisect.bisect_right(span.times, begin)
                    to = bisect.bisect_left(span.times, begin + WINDOW)
                    times = span.times[max(0, at - 1):to + 1]
                    yield max((b - a for a, b in zip(times, times[1:])), default=0)

    def gaps(self):
        """Medians in ms, with and without a change; None where there was nothing to measure."""
        changes = sorted(self.changes)
        ends = [span.times[-1] for spans in self.spans.values() for span in spans if span.times]
        with_change, without, begin = [], [], 0
        for time in changes:
            if time >= begin:  # one window for a burst of them
                with_change.extend(self.longest(time))
                begin = time + WINDOW
        for begin in range(changes[0], max(ends), WINDOW) if changes and ends else ():
            at = bisect.bisect_left(changes, begin - WINDOW)
            if at == len(changes) or changes[at] > begin + WINDOW:
                without.extend(self.longest(begin))
        return [statistics.median(values) / 1e6 if values else None for values in (with_change, without)]


def main():
    judge = Judge(sys.argv[1])
    if sys.argv[2] == "--missing":
        print(len(judge.missing()))
        return 0
    session_ms = int(sys.argv[2])
    judge.content()
    twice, pairs = judge.handovers()
    moved, calm = judge.gaps()
    if moved is not None and moved > session_ms / 2:
        judge.wrong.append(f"partitions that did not move were silent for {moved:.0f} ms during a change (median)")
    for line in judge.wrong[:20]:
        print("WRONG:", line)
    ratio = f"{moved / calm:.2f}" if moved and calm else "-"
    print(f"{len(judge.acked)} acknowledged, {judge.processed} processed, {twice} of them again; {judge.lives} members "
          f"(lost {judge.lost} times), {pairs} handovers; longest gap of the unmoved in {WINDOW / 1e6:.0f} ms, median: "
          f"{moved or 0:.1f} ms with a change, {calm or 0:.1f} ms without: {ratio}")
    if not judge.acked or not pairs:
        print("WRONG: nothing was published, or never handed over: this proves nothing")
        return 1
    return 1 if judge.wrong else 0


sys.exit(main())
