#!/usr/bin/env python3
"""What a sandbox costs: msbench natively, in msentry on each platform and, when it is there, in runsc.

    bench/run.py [--build DIR] [--runsc PATH] [--rounds N] [OPERATION ...]

All runtimes take turns within each round, so that a drift of the machine's speed hits them alike; the
figures are medians over the rounds, the ratios are to native. Needs a quiet machine: it says so when
it is not. Prints a table, the geometric means, the time of a whole /bin/true, and what an idle sandbox
holds and burns. --json FILE keeps every figure. On a machine that is quiet for a short while only:

    bench/run.py --merge FILE --starts 0 OPERATION ...     one group of operations at a time
    bench/run.py --merge FILE --rounds 0                    the rest, and the table of all
"""
import argparse
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN_TIMEOUT_S = 900


class Runtime:
    """One way to run a command; `prefix` comes before it."""

    def __init__(self, name, prefix):
        self.name = name
        self.prefix = prefix

    def command(self, args):
        return self.prefix + args


def find_runtimes(args, state_dir):
    runtimes = [Runtime("native", [])]
    msentry = os.path.join(args.build, "cmd", "msentry")
    if not os.access(msentry, os.X_OK):
        sys.exit(f"bench: no msentry at {msentry}: run make first, or name the build with --build")
    for platform in args.platforms.split(","):
        runtimes.append(Runtime(platform, [msentry, "run", f"--platform={platform}", "--"]))
    runsc = args.runsc or shutil.which("runsc")
    if runsc:
        common = [runsc, "--network=none", "--overlay2=none", "--ignore-cgroups", f"--root={state_dir}"]
        runtimes.append(Runtime("runsc", common + ["--platform=systrap", "do"]))
    return runtimes


def run(runtime, args):
    """Standard output of a command in the sandbox, or None with the reason on stderr."""
    try:
        done = subprocess.run(runtime.command(args), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=RUN_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        print(f"bench: {runtime.name}: no answer in {RUN_TIMEOUT_S} s: {' '.join(args)}", file=sys.stderr)
        return None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"bench: {runtime.name}: exit status {done.returncode}: {last}", file=sys.stderr)
    return done.stdout


def measure_operations(runtimes, args, scratch):
    """{runtime: {operation: [ns per round]}}, operations in msbench's order."""
    msbench = os.path.join(scratch, "msbench")
    shutil.copy(os.path.join(args.build, "bench", "msbench"), msbench)
    figures = {r.name: {} for r in runtimes}
    for round_number in range(args.rounds):
        for runtime in runtimes:
            print(f"bench: round {round_number + 1} of {args.rounds}: {runtime.name}", file=sys.stderr)
            out = run(runtime, [msbench, "-d", scratch, "-t", str(args.milliseconds)] + args.operations)
            for line in (out or "").splitlines():
                name, _, value = line.partition(" ")
                try:
                    figures[runtime.name].setdefault(name, []).append(float(value))
                except ValueError:
                    print(f"bench: {runtime.name}: odd line: {line}", file=sys.stderr)
    return figures


def merge(path, figures):
    """`figures` with those of an earlier run, which they replace where both have an operation."""
    if not path or not os.path.exists(path):
        return figures
    with open(path) as f:
        earlier = json.load(f)["ns"]
    return {name: {**earlier.get(name, {}), **ours} for name, ours in figures.items()}


def geometric_mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def print_table(runtimes, figures):
    native = {op: statistics.median(v) for op, v in figures["native"].items()}
    others = [r.name for r in runtimes if r.name != "native"]
    print("| operation | native ns |" + "".join(f" {n} ns | x native |" for n in others))
    print("| --- | ---: |" + " ---: | ---: |" * len(others))
    ratios = {n: {} for n in others}
    for op, base in native.items():
        row = f"| {op} | {base:.0f} |"
        for name in others:
            values = figures[name].get(op)
            if not values:
                row += " – | – |"
                continue
            value = statistics.median(values)
            ratios[name][op] = value / base
            row += f" {value:.0f} | {value / base:.2f} |"
        print(row)
    print()
    for name in others:
        if ratios[name]:
            worst = max(ratios[name], key=ratios[name].get)
            print(f"{name}: geometric mean {geometric_mean(ratios[name].values()):.2f} x native over "
                  f"{len(ratios[name])} of {len(native)} operations; worst: {worst} {ratios[name][worst]:.1f} x")
    return ratios


def measure_start(runtimes, times):
    """Median seconds of /bin/true from start to exit."""
    took = {r.name: [] for r in runtimes}
    for _ in range(times):
        for runtime in runtimes:
            start = time.monotonic()
            done = subprocess.run(runtime.command(["/bin/true"]), stdin=subprocess.DEVNULL,
                                  capture_output=True)
            if done.returncode == 0:
                took[runtime.name].append(time.monotonic() - start)
    return {name: statistics.median(v) for name, v in took.items() if v}


def descendants(pid):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    parent = int(f.read().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry))
            except OSError:
                pass
    found, todo = [], [pid]
    while todo:
        p = todo.pop()
        found.append(p)
        todo += children.get(p, [])
    return found


def proportional_kib(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def measure_idle(runtime):
    """(MiB of proportional memory, CPU seconds in 3 s) of a sandbox that sleeps."""
    process = subprocess.Popen(runtime.command(["/bin/sleep", "60"]), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(2)
        pids = descendants(process.pid)
        before = cpu_seconds(pids)
        time.sleep(3)
        return proportional_kib(pids) / 1024, cpu_seconds(pids) - before
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"), help="build directory")
    parser.add_argument("--platforms", default="systrap,ptrace")
    parser.add_argument("--runsc", help="the peer; default: the one in PATH, if any")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--milliseconds", type=int, default=100, help="per measurement")
    parser.add_argument("--starts", type=int, default=11, help="times /bin/true is started; 0: not at all")
    parser.add_argument("--json", help="write every figure to this file")
    parser.add_argument("--merge", help="the same, with what the file holds already")
    parser.add_argument("operations", nargs="*")
    args = parser.parse_args()

    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"bench: the load average is {load:.2f}: not a quiet machine", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR", ROOT), prefix="bench.") as scratch, \
            tempfile.TemporaryDirectory(prefix="msentry-bench-") as state_dir:
        runtimes = find_runtimes(args, state_dir)
        figures = merge(args.merge, measure_operations(runtimes, args, scratch))
        ratios = print_table(runtimes, figures)
        starts = measure_start(runtimes, args.starts) if args.starts else {}
        idle = {r.name: measure_idle(r) for r in runtimes if r.name not in ("native", "runsc")} if args.starts else {}
    for name, seconds in starts.items():
        print(f"{name}: /bin/true from start to exit {seconds * 1000:.1f} ms")
    for name, (mib, cpu) in idle.items():
        print(f"{name}: an idle sandbox holds {mib:.1f} MiB (proportional), burns {cpu:.2f} s of CPU in 3 s")
    if args.json or args.merge:
        with open(args.json or args.merge, "w") as f:
            json.dump({"ns": figures, "ratios": ratios, "start_s": starts, "idle": idle}, f, indent=1)


if __name__ == "__main__":
    main()
