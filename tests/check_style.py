#!/usr/bin/env python3
"""What a reviewer would say of the length of things: functions over 70 lines, files over 600.

usage: check_style.py FILE...      exit status 1 when something was found, each on a line of its own
"""
import re
import sys

FUNCTION_LINES_MAX = 70  # from its opening brace to its closing one
FILE_LINES_MAX = 600


def long_functions(lines):
    """Yields (first line, length). clang-format puts both braces of a function in the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            if number - start + 1 > FUNCTION_LINES_MAX:
                yield start, number - start + 1
            start = None


def main(paths):
    found = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        if len(lines) > FILE_LINES_MAX:
            found.append(f"{path}: {len(lines)} lines, more than {FILE_LINES_MAX}")
        if not re.search(r"\.[ch]$", path):
            continue
        for start, length in long_functions(lines):
            found.append(f"{path}:{start}: a function of {length} lines, more than {FUNCTION_LINES_MAX}")
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
