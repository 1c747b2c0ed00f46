#!/usr/bin/env python3
"""Holds the include rule of docs/architecture.md: a directory includes only itself and lower layers."""
import pathlib
import re
import subprocess
import sys

LAYERS = [
    "sentry/base", "sentry/abi", "sentry/arch", "sentry/sched", "platform", "sentry/auth", "sentry/cgroup",
    "sentry/mm", "vfs", "gofer", "fsimpl", "loader", "net", "sentry/kernel", "procfs", "sentry/syscalls",
    "sentry/control", "sentry/boot", "runtime", "cmd",
]
# Tests, benchmarks and fuzzers may use what stands above: a path walk is tested on a tmpfs.
PROOF = re.compile(r"(_test|_benchmark)\.cc$|/(bench|fuzz|tests|testing)/")
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def layer_of(path):
    best = None
    for index, layer in enumerate(LAYERS):
        if path.startswith(layer + "/"):
            best = index
    return best


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    files = subprocess.run(["git", "ls-files", "*.cc", "*.h", "*.c", "*.S"], cwd=root, check=True,
                           capture_output=True, text=True).stdout.split()
    errors = 0
    for name in files:
        own = layer_of(name)
        if own is None or PROOF.search(name):
            continue
        for number, line in enumerate((root / name).read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            other = layer_of(match.group(1))
            if other is not None and other > own:
                print(f"{name}:{number}: {LAYERS[own]} may not include {match.group(1)}")
                errors += 1
    return 1 if errors else 0


sys.exit(main())
