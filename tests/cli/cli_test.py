#!/usr/bin/env python3
"""What `msentry run` answers: options, exit statuses, bad input, descriptors, signals, the terminal, and that nothing is left behind.

  MSENTRY=build/debug/cmd/msentry MSENTRY_PLATFORM=systrap tests/cli/cli_test.py [-k NAME]
"""
import errno
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

MSENTRY = os.environ.get("MSENTRY", "msentry")
PLATFORM = os.environ.get("MSENTRY_PLATFORM", "systrap")
LIMIT = 60  # seconds that anything may take on a busy machine


def command(*args, program=()):
    return [MSENTRY, "run", f"--platform={PLATFORM}", *args, "--", *program]


def children_of(pid):
    out = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,comm="], capture_output=True, text=True, check=True).stdout
    return [(int(p), comm) for p, parent, comm in (line.split(None, 2) for line in out.splitlines()) if int(parent) == pid]


def wait_for(condition, what):
    end = time.monotonic() + LIMIT
    while not (result := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.02)
    return result


class CliTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="msentry-cli-test-", dir="/var/tmp")
        self.state = os.path.join(self.directory, "state")
        os.mkdir(self.state)
        self.work = os.path.join(self.directory, "work")
        os.mkdir(self.work)

    def tearDown(self):
        self.assertEqual(os.listdir(self.state), [], "something was left in the state directory")
        shutil.rmtree(self.directory)

    def env(self, **more):
        return {"PATH": "/usr/bin:/bin", "TMPDIR": self.state, "HOME": "/", "LC_ALL": "C", **more}

    def run_msentry(self, *options, program, stdin=subprocess.DEVNULL, env=None, **more):
        return subprocess.run(command(*options, program=program), cwd=self.work, env=env or self.env(), stdin=stdin,
                              capture_output=True, text=True, timeout=LIMIT, **more)

    def start(self, *options, program, **more):
        return subprocess.Popen(command(*options, program=program), cwd=self.work, env=self.env(), **more)

    def expect_failure(self, result, status, *words):
        """One line that names the thing, and the status."""
        self.assertEqual(result.returncode, status, result.stderr)
        lines = [line for line in result.stderr.splitlines() if not line.startswith("msentry: warning:")]
        self.assertEqual(len(lines), 1, result.stderr)
        self.assertTrue(lines[0].startswith("msentry: "), lines[0])
        for word in words:
            self.assertIn(word, lines[0])

    def expect_output(self, result, text):
        self.assertEqual((result.returncode, result.stdout), (0, text), result.stderr)

    # ---- exit statuses ----
    def test_exit_status_is_the_programs(self):
        self.assertEqual(self.run_msentry(program=["/bin/sh", "-c", "exit 42"]).returncode, 42)

    def test_death_by_signal_is_128_and_its_number(self):
        self.assertEqual(self.run_msentry(program=["/bin/sh", "-c", "kill -KILL $$"]).returncode, 137)
        self.assertEqual(self.run_msentry(program=["/bin/sh", "-c", "kill -SEGV $$"]).returncode, 139)

    def test_missing_program(self):
        self.expect_failure(self.run_msentry(program=["no-such-program"]), 127, "no-such-program")
        self.expect_failure(self.run_msentry(program=["/no/such/program"]), 127, "/no/such/program")

    def test_directory_as_program(self):
        self.expect_failure(self.run_msentry(program=["/etc"]), 126, "/etc")

    def test_file_without_execute_permission(self):
        self.expect_failure(self.run_msentry(program=["/etc/passwd"]), 126, "/etc/passwd")

    def make_program(self, content):
        path = os.path.join(self.work, "program")
        with open(path, "wb") as f:
            f.write(content)
        os.chmod(path, 0o755)
        return path

    def test_broken_programs(self):
        with open("/bin/true", "rb") as f:
            good = f.read()

        def patched(offset, data):
            return good[:offset] + data + good[offset + len(data):]
        broken = {
            "garbage": bytes(range(256)) * 8,
            "empty header": b"\x7fELF" + bytes(60),
            "truncated header": good[:40],
            "truncated segments": good[:120],
            "another machine": patched(18, struct.pack("<H", 183)),
            "thousands of segments": patched(56, struct.pack("<H", 60000)),
            "segment table out of the file": patched(32, struct.pack("<Q", 1 << 40)),
            "32 bits": patched(4, b"\x01"),
            "huge segment": patched(64 + 2 * 56 + 40, struct.pack("<Q", 1 << 62)),
        }
        for name, content in broken.items():
            with self.subTest(name):
                result = self.run_msentry(program=[self.make_program(content)])
                # What the kernel can see is refused; the rest makes the program die at its start.
                self.assertIn(result.returncode, (126, 127, 139, 137), f"{name}: {result.stderr}")

    def test_script_with_a_missing_interpreter(self):
        self.make_program(b"#!/no/such/interpreter\n")
        self.expect_failure(self.run_msentry(program=["./program"]), 127, "./program", "interpreter")

    def test_too_many_arguments(self):
        script = 'exec /bin/true $(head -c 10000000 /dev/zero | tr "\\0" x)'
        result = self.run_msentry(program=["/bin/sh", "-c", script])
        self.assertEqual(result.returncode, 126)
        self.assertIn("too long", result.stderr)

    # ---- options ----
    def test_unknown_option_is_named(self):
        result = subprocess.run([MSENTRY, "run", "--bogus", "--", "/bin/true"], capture_output=True, text=True, timeout=LIMIT)
        self.expect_failure(result, 125, "--bogus")

    def test_bad_options_name_the_value(self):
        for options, words in [
            (["--bind", "nowhere"], ["nowhere"]), (["--bind", "/no/such:/x"], ["/no/such"]), (["--bind", "/etc:relative"], ["relative"]),
            (["--memory", "lots"], ["--memory", "lots"]), (["--timeout", "soon"], ["--timeout", "soon"]), (["--cpus", "many"], ["--cpus"]),
            (["--cpus", "100000"], ["100000"]), (["--user", "no-such-user"], ["no-such-user"]), (["--env", "=x"], ["--env"]),
            (["--rootfs", "/no/such"], ["/no/such"]), (["--rootfs", "/etc/passwd"], ["/etc/passwd"]), (["--cwd", "/no/such"], ["/no/such"]),
            (["--keep", "/no/such/parent"], ["/no/such/parent"]), (["--log", "/no/such/log"], ["/no/such/log"]), (["--pids", "0"], ["no process"]),
            (["--hostname", "x" * 65], ["host name"]), (["--hostname", "a b/.."], ["a b/.."]), (["--memory", "1K"], ["too small", "1024"]), (["--platform-gate", "odd"], ["odd"]),
        ]:
            with self.subTest(options):
                self.expect_failure(self.run_msentry(*options, program=["/bin/true"]), 125, *words)
        result = subprocess.run([MSENTRY, "run", "--platform", "magic", "/bin/true"], capture_output=True, text=True, timeout=LIMIT)
        self.expect_failure(result, 125, "magic")

    def test_no_program(self):
        result = subprocess.run([MSENTRY, "run"], capture_output=True, text=True, timeout=LIMIT)
        self.expect_failure(result, 125, "no program")

    def test_version_and_help(self):
        for args in (["--version"], ["--help"], ["run", "--help"]):
            result = subprocess.run([MSENTRY, *args], capture_output=True, text=True, timeout=LIMIT)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertIn("msentry", result.stdout)

    def test_identity_options(self):
        result = self.run_msentry("--user", "1234:567", "--hostname", "box", "--cwd", "/usr", "--env", "A=b c",
                                  program=["/bin/sh", "-c", "id -u; id -g; uname -n; pwd; echo $A"])
        self.expect_output(result, "1234\n567\nbox\n/usr\nb c\n")

    def test_user_by_name_has_its_home(self):
        self.expect_output(self.run_msentry("--user", "daemon", program=["/bin/sh", "-c", "id -un; echo $HOME"]), "daemon\n/usr/sbin\n")

    def test_cpus_are_what_the_program_sees(self):
        self.expect_output(self.run_msentry("--cpus", "1", program=["/bin/sh", "-c", "nproc; grep -c ^processor /proc/cpuinfo"]), "1\n1\n")

    def test_memory_is_what_the_program_sees(self):
        result = self.run_msentry("--memory", "512M", program=["/bin/sh", "-c", "grep MemTotal /proc/meminfo | tr -s ' '"])
        self.expect_output(result, "MemTotal: 524288 kB\n")

    def test_memory_limit_kills_and_says_so(self):
        script = "python3 -c 'x = []\nwhile True: x.append(bytearray(1 << 20))'; echo $?; dmesg | grep -c 'Memory cgroup out of memory: Kill process'"
        result = self.run_msentry("--memory", "96M", "--user", "0", program=["/bin/sh", "-c", script])
        self.expect_output(result, "137\n1\n")
        result = self.run_msentry("--memory", "96M", program=["/usr/bin/python3", "-c", "x = []\nwhile True: x.append(bytearray(1 << 20))"])
        self.expect_failure(result, 137, "out of memory", "96M")
        self.assertEqual(self.run_msentry(program=["/bin/sh", "-c", "kill -9 $$"]).stderr, "")

    def test_the_host_name_resolves(self):
        script = "cat /etc/hostname; getent hosts box | tr -s ' '; getent hosts localhost | wc -l; stat -c '%u %a %h %Y' /etc/hosts; wc -l < /etc/hosts"
        st = os.stat("/etc/hosts")
        result = self.run_msentry("--hostname", "box.example", program=["/bin/sh", "-c", script])
        self.expect_output(result, f"box.example\n127.0.0.1 box.example box\n1\n{st.st_uid} {st.st_mode & 0o7777:o} {st.st_nlink} {int(st.st_mtime)}\n3\n")
        hosts = os.path.join(self.directory, "hosts")
        with open(hosts, "w") as f:
            f.write("127.0.0.1 other\n")
        self.expect_output(self.run_msentry("--bind", f"{hosts}:/etc/hosts", program=["/bin/cat", "/etc/hosts"]), "127.0.0.1 other\n")
        with open("/etc/hosts") as f:
            self.expect_output(self.run_msentry("--show", "/etc/hosts", program=["/bin/cat", "/etc/hosts"]), f.read())

    def test_a_fraction_of_a_cpu_is_a_quota(self):
        script = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us; nproc; cat /sys/fs/cgroup/pids/pids.max"
        result = self.run_msentry("--cpus", "0.5", "--pids", "77", program=["/bin/sh", "-c", script])
        self.expect_output(result, "50000\n1\n77\n")

    def test_task_id_is_the_cgroup_path(self):
        self.expect_output(self.run_msentry("--task-id", "ta-1", program=["/bin/head", "-1", "/proc/self/cgroup"]), "7:pids:/ta-1\n")
        result = self.run_msentry(program=["/bin/head", "-1", "/proc/self/cgroup"])
        self.assertRegex(result.stdout, r"^7:pids:/ms-[0-9A-HJKMNP-TV-Z]{26}\n$")
        self.expect_failure(self.run_msentry("--task-id", "a/b", program=["/bin/true"]), 125, "a/b")

    def test_profiles(self):
        profiles = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/profiles")
        env = self.env(MSENTRY_PROFILES=profiles)
        script = "uname -n; cat /etc/resolv.conf; echo $PYTHONHASHSEED; nproc; id -u; cut -c1-10 /proc/self/cgroup | head -1; df --output=size /dev/shm | tail -1"
        result = self.run_msentry("--profile", "modal", program=["/bin/sh", "-c", script], env=env)
        self.expect_output(result, "modal\nnameserver 172.21.0.1\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n0\n1\n0\n7:pids:/ta\n 16777216\n")
        result = self.run_msentry("--profile", "modal", "--hostname", "mine", program=["/bin/uname", "-n"], env=env)
        self.expect_output(result, "mine\n")
        shown = subprocess.run([MSENTRY, "profile", "show", "modal"], capture_output=True, text=True, timeout=LIMIT, env=env)
        self.assertIn('hostname: "modal"', shown.stdout)
        path = os.path.join(self.work, "bad.textproto")
        with open(path, "w") as f:
            f.write('hostname: "x"\nlimits {\n  cpu: 1\n}\n')
        self.expect_failure(self.run_msentry("--profile", path, program=["/bin/true"]), 125, "bad.textproto:3: no field cpu in Limits")
        path = os.path.join(self.work, "masked.textproto")
        with open(path, "w") as f:
            f.write('memory_to_report: "1G"\ncpu { vendor: "Acme" model_name: "M1" hide_flags: "sse2" }\n')
        script = "grep MemTotal /proc/meminfo; grep -c 'Acme' /proc/cpuinfo; grep -m1 model.name /proc/cpuinfo; grep -cw sse2 /proc/cpuinfo; free -m | awk 'NR == 2 { print $2 }'"
        result = self.run_msentry("--profile", path, "--cpus", "1", program=["/bin/sh", "-c", script])
        self.expect_output(result, "MemTotal:        1048576 kB\n1\nmodel name\t: M1\n0\n1024\n")

    def test_environment_is_not_passed_unless_asked_for(self):
        env = self.env(SECRET="s", TOKEN="t", LANG="C.UTF-8")
        script = ["/bin/sh", "-c", "echo [$SECRET] [$TOKEN] [$LANG]"]
        self.expect_output(self.run_msentry(program=script, env=env), "[] [] [C.UTF-8]\n")
        self.expect_output(self.run_msentry("--env", "TOKEN", program=script, env=env), "[] [t] [C.UTF-8]\n")
        self.expect_output(self.run_msentry("--inherit-env", program=script, env=env), "[s] [t] [C.UTF-8]\n")

    def test_pids_bounds_a_fork_bomb(self):
        script = "import os, signal\nn = 0\ntry:\n  while True:\n    if os.fork() == 0: signal.pause()\n    n += 1\nexcept OSError as e: print(e.errno, n < 30)\n"
        result = self.run_msentry("--pids", "30", program=["/usr/bin/python3", "-c", script])
        self.expect_output(result, f"{errno.EAGAIN} True\n")

    def test_timeout_kills(self):
        result = self.run_msentry("--timeout", "500ms", program=["/bin/sleep", "1000"])
        self.expect_failure(result, 137, "500ms")

    # ---- files ----
    def test_writes_stay_inside(self):
        path = os.path.join(self.work, "file")
        with open(path, "w") as f:
            f.write("before")
        self.expect_output(self.run_msentry(program=["/bin/sh", "-c", "echo -n after > file; cat file; touch new"]), "after")
        with open(path) as f:
            self.assertEqual(f.read(), "before")
        self.assertEqual(os.listdir(self.work), ["file"])

    def test_working_directory_under_tmp_is_visible_and_the_rest_of_tmp_is_not(self):
        with tempfile.TemporaryDirectory(prefix="msentry-cli-", dir="/tmp") as here, tempfile.NamedTemporaryFile(dir="/tmp") as other:
            with open(os.path.join(here, "f"), "w") as f:
                f.write("seen\n")
            result = subprocess.run(command(program=["/bin/sh", "-c", f"cat f; ls /tmp | wc -l; ls {other.name} 2>/dev/null; echo x > g; cat g"]),
                                    cwd=here, env=self.env(), capture_output=True, text=True, timeout=LIMIT)
            self.expect_output(result, "seen\n1\nx\n")
            self.assertEqual(os.listdir(here), ["f"])

    def test_binds(self):
        shared = os.path.join(self.directory, "shared")
        os.mkdir(shared)
        with open(os.path.join(shared, "f"), "w") as f:
            f.write("bound\n")
        result = self.run_msentry("--bind", f"{shared}:/mnt/rw", "--bind", f"{shared}:/mnt/ro:ro", "--bind", f"{shared}/f:/mnt/one:ro",
                                  program=["/bin/sh", "-c", "cat /mnt/rw/f /mnt/ro/f /mnt/one; echo made > /mnt/rw/g; (echo no > /mnt/ro/h) 2>/dev/null || echo refused; cat /mnt/ro/g"])
        self.expect_output(result, "bound\nbound\nbound\nrefused\nmade\n")
        self.assertEqual(sorted(os.listdir(shared)), ["f", "g"])

    def test_bind_shows_what_the_host_changes(self):
        shared = os.path.join(self.directory, "shared")
        os.mkdir(shared)
        process = self.start("--bind", f"{shared}:/mnt/s", program=["/bin/sh", "-c", "echo ready; read x; cat /mnt/s/later"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "ready\n")
        with open(os.path.join(shared, "later"), "w") as f:
            f.write("from outside\n")
        self.assertEqual(process.communicate("go\n", timeout=LIMIT)[0], "from outside\n")

    def test_kept_layer_goes_on(self):
        keep = os.path.join(self.directory, "keep")
        self.expect_output(self.run_msentry("--keep", keep, program=["/bin/sh", "-c", "echo kept > /etc/kept; rm /etc/hostname; mkdir /srv/d"]), "")
        result = self.run_msentry("--keep", keep, program=["/bin/sh", "-c", "cat /etc/kept; ls /etc/hostname 2>/dev/null; ls -d /srv/d"])
        self.assertEqual((result.returncode, result.stdout), (0, "kept\n/srv/d\n"), result.stderr)

    def test_kept_layer_in_use_is_refused(self):
        keep = os.path.join(self.directory, "keep")
        process = self.start("--keep", keep, program=["/bin/sh", "-c", "echo up; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "up\n")
        self.expect_failure(self.run_msentry("--keep", keep, program=["/bin/true"]), 125, keep, "another sandbox")
        process.communicate("x\n", timeout=LIMIT)

    def test_root_without_the_program(self):
        root = os.path.join(self.directory, "root")
        os.mkdir(root)
        self.expect_failure(self.run_msentry("--rootfs", root, program=["/bin/sh"]), 127, "/bin/sh")

    @unittest.skipUnless(shutil.which("busybox"), "needs a static busybox")
    def test_root_of_its_own(self):
        root = os.path.join(self.directory, "root")
        os.makedirs(os.path.join(root, "bin"))
        shutil.copy(shutil.which("busybox"), os.path.join(root, "bin/busybox"))
        result = self.run_msentry("--rootfs", root, "--env", "PATH=/bin", program=["/bin/busybox", "sh", "-c", "busybox ls /; busybox pwd"])
        self.expect_output(result, "bin\ndev\nproc\nsys\ntmp\n/\n")

    def test_secrets_are_hidden(self):
        script = ["/bin/sh", "-c", "cat /etc/shadow 2>/dev/null | cut -d: -f2 | sort -u; ls /etc/ssh/ssh_host_*_key 2>/dev/null; ls /root"]
        if os.geteuid() == 0:
            self.expect_output(self.run_msentry(program=script), "!*\n")
        else:
            self.assertEqual(self.run_msentry(program=script).stdout, "")

    def test_layers_of_other_sandboxes_are_hidden(self):
        """Also one that is made later, by whomever."""
        other = f"/var/tmp/msentry-{4000000000 + os.getpid()}"
        process = self.start(program=["/bin/sh", "-c", f"echo up; read _; ls /var/tmp | grep -c '^msentry-[0-9]*$'; cat {other}/layer"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "up\n")
        os.mkdir(other)
        try:
            with open(os.path.join(other, "layer"), "w") as f:
                f.write("another's\n")
            out, err = process.communicate("go\n", timeout=LIMIT)
        finally:
            shutil.rmtree(other)
        self.assertEqual(out, "0\n")
        self.assertIn("No such file", err)

    # ---- descriptors ----
    def test_standard_descriptors_may_be_pipes_files_or_closed(self):
        out = os.path.join(self.work, "out")
        with open("/etc/hostname") as stdin, open(out, "w") as stdout:
            stdout.write("first\n")
            stdout.flush()
            subprocess.run(command(program=["/bin/sh", "-c", "cat; echo last"]), cwd=self.work, env=self.env(), stdin=stdin, stdout=stdout, timeout=LIMIT, check=True)
        with open(out) as f, open("/etc/hostname") as h:
            self.assertEqual(f.read(), "first\n" + h.read() + "last\n")
        piped = subprocess.run(command(program=["/bin/cat"]), cwd=self.work, env=self.env(), input="x" * 300000, capture_output=True, text=True, timeout=LIMIT)
        self.expect_output(piped, "x" * 300000)
        closed = subprocess.run(["/bin/sh", "-c", 'exec "$@" <&- >&-', "sh", *command(program=["/bin/sh", "-c", "ls -l /proc/self/fd | grep -c ' [01] -> ' >&2; exit 7"])],
                                cwd=self.work, env=self.env(), capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(closed.returncode, 7, closed.stderr)

    def test_a_file_opened_again_has_a_position_of_its_own(self):
        script = ["/bin/sh", "-c", "read a; exec 3</dev/stdin; read b <&3; read c; echo $a $b $c; echo cut >/dev/stdout; echo end"]
        outputs = []
        for program in (script, command(program=script)):
            out = os.path.join(self.work, "out")
            with open(os.path.join(self.work, "in"), "w+") as stdin, open(out, "w") as stdout:
                stdin.write("1\n2\n3\n")
                stdin.seek(0)
                subprocess.run(program, cwd=self.work, env=self.env(), stdin=stdin, stdout=stdout, timeout=LIMIT, check=True)
            with open(out) as f:
                outputs.append(f.read())
        self.assertEqual(outputs[0], outputs[1])

    def test_reader_that_leaves_is_sigpipe(self):
        result = subprocess.run(["/bin/bash", "-c", '"$@" | head -1; echo ${PIPESTATUS[0]}', "bash", *command(program=["/usr/bin/yes"])],
                                cwd=self.work, env=self.env(), capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(result.stdout, "y\n141\n", result.stderr)

    # ---- ends ----
    def assert_gone(self, pids):
        for pid in pids:
            def gone():
                try:
                    with open(f"/proc/{pid}/stat") as f:
                        return f.read().rsplit(")", 1)[1].split()[0] == "Z"
                except FileNotFoundError:
                    return True
            wait_for(gone, f"the end of process {pid}")

    def start_sleeper(self):
        """A running sandbox: (Popen, {role: pid}, every pid)."""
        process = self.start(program=["/bin/sh", "-c", "echo up; exec sleep 1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "up\n")
        supervisor = children_of(process.pid)[0][0]
        roles = {comm: pid for pid, comm in children_of(supervisor)}
        pids = [process.pid, supervisor, *roles.values()]
        for pid in roles.values():
            pids += [child for child, _ in children_of(pid)]
        return process, {"client": process.pid, "supervisor": supervisor, **roles}, pids

    def test_nothing_is_left_after_a_kill_of_any_process(self):
        for role in ("client", "supervisor", "msentry-sentry", "msentry-gofer"):
            with self.subTest(role):
                process, roles, pids = self.start_sleeper()
                os.kill(roles[role], signal.SIGKILL)
                _, stderr = process.communicate(timeout=LIMIT)
                self.assertEqual(process.returncode, -9 if role == "client" else 125, stderr)
                if role != "client":
                    self.assertIn("killed by signal 9", stderr)
                self.assert_gone(pids)
                wait_for(lambda: os.listdir(self.state) == [], "an empty state directory")

    def test_sigterm_and_sighup_end_it(self):
        for number in (signal.SIGTERM, signal.SIGHUP):
            process, _, pids = self.start_sleeper()
            process.send_signal(number)
            process.communicate(timeout=LIMIT)
            self.assertEqual(process.returncode, 128 + number)
            self.assert_gone(pids)

    def test_sigusr1_reaches_the_program(self):
        script = "trap 'echo got; exit 4' USR1; echo up; while :; do sleep 0.1; done"
        process = self.start(program=["/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "up\n")
        process.send_signal(signal.SIGUSR1)
        self.assertEqual((process.communicate(timeout=LIMIT)[0], process.returncode), ("got\n", 4))

    def test_sigterm_ends_a_program_that_ignores_it(self):
        process = self.start(program=["/bin/sh", "-c", "trap '' TERM; echo up; sleep 1000 & wait; wait"], stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "up\n")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)

    def test_sigint_reaches_the_program(self):
        process = self.start(program=["/bin/bash", "-c", "trap 'echo got it; exit 3' INT; echo up; while :; do sleep 0.1; done"], stdout=subprocess.PIPE, text=True)
        self.assertEqual(process.stdout.readline(), "up\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate(timeout=LIMIT)[0], "got it\n")
        self.assertEqual(process.returncode, 3)

    # ---- the terminal ----
    def open_terminal(self, program, rows=33, columns=77):
        pid, fd = pty.fork()
        if pid == 0:
            os.chdir(self.work)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execve(MSENTRY, command(program=program), self.env(TERM="dumb", PS1="@@ "))
        return pid, fd

    def read_until(self, fd, pattern):
        text = ""
        end = time.monotonic() + LIMIT
        while not re.search(pattern, text):
            if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {pattern!r} in {text!r}")
            try:
                data = os.read(fd, 4096)
            except OSError:
                raise AssertionError(f"the terminal closed before {pattern!r}: {text!r}")
            text += data.decode(errors="replace")
        return text

    def test_job_control_and_window_size(self):
        pid, fd = self.open_terminal(["/bin/bash", "--norc", "--noprofile", "--noediting"])
        self.read_until(fd, r"[$#] $")
        os.write(fd, b"stty size; tty\n")
        self.read_until(fd, r"33 77\r\n/dev/pts/\d+\r\n")
        # The job itself says that it runs: then the terminal is its own.
        os.write(fd, b"sh -c \"echo st''art; exec sleep 1000\"\n")
        self.read_until(fd, r"start\r\n")
        os.write(fd, b"\x1a")
        self.read_until(fd, r"Stopped.*sleep 1000")
        os.write(fd, b"fg\n")
        self.read_until(fd, r"sh -c .*sleep 1000.*\r\n")
        # bash names the job before the terminal is the job's: an early Ctrl-C is bash's own and does not count.
        text = ""
        while not re.search(r"[$#] $", text):
            if select.select([fd], [], [], 1)[0]:
                text += os.read(fd, 4096).decode(errors="replace")
            else:
                os.write(fd, b"\x03")
        os.write(fd, b"echo status $?\n")
        self.read_until(fd, r"status 130\r\n")
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        os.write(fd, b"trap 'stty size' WINCH; kill -WINCH $$; stty size\n")
        self.read_until(fd, r"40 100\r\n")
        os.write(fd, b"exit 5\n")
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 5)
        os.close(fd)

    def test_background_job_is_not_stopped(self):
        log = os.path.join(self.work, "log")
        pid, fd = pty.fork()
        if pid == 0:
            # The session's leader stays in the foreground; msentry is a job behind it.
            with open(log, "wb") as out:
                job = subprocess.Popen(command(program=["/bin/sh", "-c", "echo ran; exit 6"]), cwd=self.work, env=self.env(), stdout=out, stderr=out, preexec_fn=os.setpgrp)
            os._exit(job.wait(timeout=LIMIT) == 6)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 1)
        with open(log) as out:
            self.assertEqual(out.read(), "ran\n")
        os.close(fd)

    def test_terminal_is_restored_whatever_happens(self):
        for victim in (None, "client", "supervisor", "msentry-sentry"):
            with self.subTest(victim):
                master, slave = pty.openpty()
                before = termios.tcgetattr(slave)
                process = subprocess.Popen(command(program=["/bin/sh", "-c", "echo up; read x; exit 4"]), cwd=self.work, env=self.env(), stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
                self.read_until(master, r"up\r\n")
                self.assertNotEqual(termios.tcgetattr(slave), before, "not in raw mode")
                if victim is None:
                    os.write(master, b"x\n")
                else:
                    supervisor = children_of(process.pid)[0][0]
                    roles = {"client": process.pid, "supervisor": supervisor, **{comm: pid for pid, comm in children_of(supervisor)}}
                    os.kill(roles[victim], signal.SIGKILL)
                process.wait(timeout=LIMIT)
                wait_for(lambda: termios.tcgetattr(slave) == before, "the terminal's settings")
                os.close(master)
                os.close(slave)


if __name__ == "__main__":
    if not os.path.isabs(MSENTRY):
        MSENTRY = os.path.abspath(MSENTRY) if os.path.sep in MSENTRY else shutil.which(MSENTRY) or sys.exit("no msentry")
    unittest.main(verbosity=2)
