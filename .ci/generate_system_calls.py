#!/usr/bin/env python3
"""docs/system-calls.md from the lines of the system call table (sentry/syscalls/calls_*.h).

  generate_system_calls.py          writes the page
  generate_system_calls.py --check  exits with 1 when it is not up to date
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "system-calls.md"
LINE = re.compile(
    r'\{\s*(\d+),\s*"(\w+)",\s*(\w+),\s*(?:\{\{.*?\}\}|\{\}),\s*Support::k(\w+)(?:,\s*((?:"[^"]*"\s*)+))?\}', re.S)
WORDS = {"Full": "yes", "Partial": "in part", "Unsupported": "no (ENOSYS)"}


def table():
    rows = []
    for header in sorted((ROOT / "sentry" / "syscalls").glob("calls_*.h")):
        family = header.stem.removeprefix("calls_")
        for number, name, _, support, note in LINE.findall(header.read_text()):
            rows.append((int(number), name, family, WORDS[support],
                         "".join(re.findall(r'"([^"]*)"', note))))
    return sorted(rows)


def page():
    rows = table()
    counts = {word: sum(r[3] == word for r in rows) for word in WORDS.values()}
    lines = [
        "# System calls", "",
        "Generated from the table in `sentry/syscalls` by `.ci/generate_system_calls.py`; do not edit.", "",
        f"{len(rows)} calls of Linux on x86-64: {counts['yes']} supported, {counts['in part']} in part, "
        f"{counts['no (ENOSYS)']} not.", "",
        "| number | call | family | supported | note |", "| ---: | --- | --- | --- | --- |",
    ]
    lines += [f"| {n} | {name} | {family} | {support} | {note} |" for n, name, family, support, note in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = page()
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.exists() and PAGE.read_text() == text else
                 "docs/system-calls.md is not up to date: run .ci/generate_system_calls.py")
    PAGE.write_text(text)
