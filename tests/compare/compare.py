#!/usr/bin/env python3
"""Runs every case of cases.py on the host and under `msentry run`, and compares output and exit status.

  compare.py --msentry PATH [--platform systrap] [--user] [--slow] [--only NAME,...] [--keep-going]

Both runs happen in the same directory, emptied in between, with the same small environment. The host is the oracle.
Exit status 0 when every case that ran agreed; what was skipped, and why, is printed.
"""
import argparse
import difflib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cases import CASES  # noqa: E402

USER_ID = 65533
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


def environment(home, extra_path=()):
    return {"PATH": ":".join([PATH, *extra_path]), "HOME": home, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TERM": "dumb",
            "SHELL": "/bin/bash"}


def empty(directory):
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)


def execute(command, directory, env, timeout):
    """(exit status, stdout, stderr, seconds); a time-out counts as status 'timeout'."""
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = process.communicate(timeout=timeout)
        # A shell's view of a death by signal, which is also msentry's exit status.
        status = process.returncode if process.returncode >= 0 else 128 - process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        status = "timeout"
    return status, out, err, time.monotonic() - start


def why_skip(case, args, path):
    missing = [p for p in case.needs if shutil.which(p, path=path) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    if case.slow and not args.slow and not args.only:
        return "slow"
    as_root = os.geteuid() == 0 and not args.user
    if case.root_only and not as_root:
        return "for root"
    if case.user_only and as_root:
        return "for an ordinary user"
    return None


def report(case, host, guest):
    print(f"--- {case.name}: host {host[0]}, sandbox {guest[0]}")
    diff = difflib.unified_diff(host[1].decode(errors="replace").splitlines(), guest[1].decode(errors="replace").splitlines(),
                                "host", "sandbox", lineterm="", n=1)
    for line in list(diff)[:30]:
        print("   ", line[:300])
    for line in guest[2].decode(errors="replace").splitlines()[-8:]:
        print("    stderr:", line[:300])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--msentry", required=True)
    parser.add_argument("--platform", default="systrap")
    parser.add_argument("--user", action="store_true", help="as an ordinary user (needs root to change to one)")
    parser.add_argument("--slow", action="store_true", help="the slow ones too")
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--option", action="append", default=[], help="one more option of msentry run")
    args = parser.parse_args()
    only = [n for n in args.only.split(",") if n]
    unknown = set(only) - {c.name for c in CASES}
    if unknown:
        sys.exit(f"no such case: {', '.join(sorted(unknown))}")

    top = tempfile.mkdtemp(prefix="msentry-compare-", dir="/var/tmp")
    become = []
    if args.user and os.geteuid() == 0:
        become = ["setpriv", f"--reuid={USER_ID}", f"--regid={USER_ID}", "--clear-groups", "--"]
        os.chown(top, USER_ID, USER_ID)
    home = os.path.join(top, "home")
    os.mkdir(home)
    if become:
        os.chown(home, USER_ID, USER_ID)
    # Readable for whoever runs it, wherever it was built.
    msentry = os.path.join(top, "msentry")
    shutil.copy(args.msentry, msentry)
    os.chmod(top, 0o755)
    os.chmod(msentry, 0o755)

    passed, failed, skipped = [], [], []
    try:
        for case in CASES:
            if only and case.name not in only:
                continue
            extra = ["/root/.cargo/bin"] if case.show else []
            reason = why_skip(case, args, ":".join([PATH, *extra]))
            if reason:
                skipped.append(f"{case.name} ({reason})")
                continue
            env = environment(home, extra)
            if case.show:
                env["RUSTUP_HOME"], env["CARGO_HOME"] = "/root/.rustup", "/root/.cargo"
            script = textwrap.dedent(case.script)
            empty(home)
            host = execute([*become, "/bin/bash", "-c", script], home, env, case.timeout)
            empty(home)
            options = [f"--platform={args.platform}", "--inherit-env", *args.option]
            for path in case.show:
                options += ["--show", path]
            guest = execute([*become, msentry, "run", *options, "--", "/bin/bash", "-c", script], home, env, case.timeout)
            if host[:2] == guest[:2]:
                passed.append(case.name)
                print(f"ok   {case.name}  (host {host[3]:.1f} s, sandbox {guest[3]:.1f} s)", flush=True)
            else:
                failed.append(case.name)
                report(case, host, guest)
                print(f"FAIL {case.name}", flush=True)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    for name in skipped:
        print(f"skip {name}")
    print(f"{len(passed)} agree, {len(failed)} differ, {len(skipped)} skipped")
    if failed:
        print("differ:", ",".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
