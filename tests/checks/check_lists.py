#!/usr/bin/env python3
"""Whether each file of tests/ is in exactly one list of mk/lists.mk, so that no test is missed: by `make test`, which runs
unit/, process/, race/ and net/; by the sanitizers, which run the same, under TSan race/, process/ and net/; by the fuzzers.

usage: check_lists.py --rooms ROOM... --unit FILE... --process FILE... --race FILE... --fuzz FILE... --program FILE...
                      --preload FILE... --support FILE... --sim FILE... --net FILE...
exit status 1 when something was found, each on a line of its own
"""
import os
import re
import sys

LISTS = ("unit", "process", "race", "fuzz", "program", "preload", "support", "sim", "net")
EXCLUDED = "tests/checks/tsan_excluded.txt"
LEATD = "tests/support/leatd.h"  # whoever includes it starts a real broker
INCLUDE = re.compile(r'^#include "(tests/[^"]+)"', re.M)


def arguments(words):
    lists = {name: [] for name in LISTS + ("rooms",)}
    for word in words:
        if word.startswith("--"):
            current = lists[word[2:]]
        else:
            current.append(word)
    return lists


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def included(path, seen):
    """Adds what PATH includes of tests/, and what that includes."""
    for other in INCLUDE.findall(read(path)):
        if other not in seen:
            seen.add(other)
            included(other, seen)
    return seen


def stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def check_files(lists):
    """Each .c file and each script in one list, each header beside those who include it, each name once."""
    names = {}
    for folder, _, files in os.walk("tests"):
        for path in (f"{folder}/{name}" for name in files):
            listed = [name for name in LISTS if path in lists[name]]
            script = path.endswith(".sh") and not re.match(r"tests/(support/|checks/|sim/run\.sh|run\.sh)", path)
            if (path.endswith(".c") or script) and len(listed) != 1:
                yield f"{path}: in {' and '.join(listed) or 'no list'} of mk/lists.mk: is its folder or its name wrong?"
            if path.endswith(".h") and folder == "tests":
                yield f"{path}: headers are in tests/support, or beside the only ones who include them"
            if listed and listed[0] not in ("support", "sim"):
                if names.setdefault(stem(path), path) != path:
                    yield f"{path}: has the name of {names[stem(path)]}; programs lie side by side"


def check_kinds(lists):
    """process/ and nothing else starts a real broker: it is what TSan runs. Units are in the folder of a room."""
    for path in lists["process"]:
        if LEATD not in included(path, set()):
            yield f"{path}: starts no leatd ({LEATD}): it belongs to a room in tests/unit"
    for path in lists["unit"]:
        if LEATD in included(path, set()) or re.search(r'getenv\("LEATD?"\)', read(path)):
            yield f"{path}: starts a leatd: it belongs in tests/process, or TSan misses it"
        if os.path.dirname(path).removeprefix("tests/unit/") not in lists["rooms"]:
            yield f"{path}: its folder is no room"


def check_corpora(lists):
    fuzzers = {stem(path).removeprefix("fuzz_") for path in lists["fuzz"]}
    corpora = {name for name in os.listdir("tests/fuzz/corpus") if os.listdir(f"tests/fuzz/corpus/{name}")}
    for name in sorted(fuzzers ^ corpora):
        yield f"tests/fuzz: {name} has " + ("no corpus" if name in fuzzers else "no fuzzer")


def check_excluded(lists):
    """NAME, a tab, the reason."""
    known = {stem(path) for path in lists["process"] + lists["net"]}
    for number, line in enumerate(read(EXCLUDED).splitlines(), 1):
        if line.startswith("#"):
            continue
        name, _, reason = line.partition("\t")
        if name not in known:
            yield f"{EXCLUDED}:{number}: '{name}' is no test in process/ or net/, or is there twice"
        if len(reason.split()) < 3:
            yield f"{EXCLUDED}:{number}: '{name}' without a reason"
        known.discard(name)


def main(words):
    lists = arguments(words)
    found = [line for check in (check_files, check_kinds, check_corpora, check_excluded) for line in check(lists)]
    for name in LISTS:
        if not lists[name]:
            found.append(f"the list '{name}' is empty")
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
