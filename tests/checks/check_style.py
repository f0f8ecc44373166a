#!/usr/bin/env python3
"""Refuses functions over 70 lines, files over 600, .c files without an opening comment, opening comments in which `Role:`,
`Must not know:` and `Threads:` do not begin a line, and retired words (tests/checks/retired_words.txt).

usage: check_style.py FILE...      prints one finding per line; exit status 1 if there are any
"""
import re
import sys

FUNCTION_LINES_MAX = 70  # from its opening brace to its closing one
FILE_LINES_MAX = 600
ROLE_INSIDE_LINE = re.compile(r"^ \* *[^\s*].*\s(?:Role|Must not know|Threads): |\bMust(?: not)?\n \*(?: not)? know: ", re.M)
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def retired_words():
    """(pattern, word, instead, where, paths)"""
    with open("tests/checks/retired_words.txt", encoding="utf-8") as file:
        for line in file:
            if line.startswith("#"):
                continue
            word, instead, where, paths = line.rstrip("\n").split("\t")
            if where == "tag":
                pattern = rf"(?:struct|enum) {word}"
            elif where == "entry":
                pattern = rf"\b(?:TAILQ|LIST)_ENTRY\(\w+\) (?:\w*{word}|link)\b"
            else:
                before = r"(?<!\w)" if where == "code" else r"(?<![A-Za-z])"  # a comment's word may be a part of a name
                pattern = before + re.escape(word) + ("" if word.endswith("_") else r"(?![A-Za-z-])")
            yield re.compile(pattern), word, instead, where, re.compile(paths)


def without_prose(text):
    """The code without comments and strings; line numbers stay the same."""
    return TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


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
    words = list(retired_words())
    for path in paths:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        if len(lines) > FILE_LINES_MAX:
            found.append(f"{path}: {len(lines)} lines, more than {FILE_LINES_MAX}")
        if not re.search(r"\.[ch]$", path):
            continue
        text = "\n".join(lines)
        if path.endswith(".c") and not text.startswith("/*"):
            found.append(f"{path}: does not open with a comment that says what it is for")
        opening = re.match(r"(?:/\* clang-format off \*/\n)?/\*.*?\*/", text, re.S)
        if opening and ROLE_INSIDE_LINE.search(opening.group()):
            found.append(f"{path}: `Role:`, `Must not know:` and `Threads:` each begin a line of the opening comment")
        code = without_prose(text)
        for pattern, word, instead, where, paths in words:
            for m in pattern.finditer(text if where == "all" else code) if paths.search(path) else ():
                number = text.count("\n", 0, m.start()) + 1
                found.append(f"{path}:{number}: '{word}' is retired: {instead}")
        for start, length in long_functions(lines):
            found.append(f"{path}:{start}: a function of {length} lines, more than {FUNCTION_LINES_MAX}")
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
