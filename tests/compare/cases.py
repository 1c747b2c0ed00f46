"""What compare.py runs: one bash script a case, whose output and exit status must be those of the host.

`needs` are programs without which a case is skipped; `slow` ones run only with --slow; `show` are paths that are hidden by
default. A script runs in an empty directory of its own, which is its home, and prints nothing that depends on time or on process ids.
"""
from dataclasses import dataclass, field


@dataclass
class Case:
    name: str
    script: str
    needs: list = field(default_factory=list)
    slow: bool = False
    timeout: int = 60
    root_only: bool = False
    user_only: bool = False
    show: list = field(default_factory=list)


CASES = [
    # ---- bash ----
    Case("bash_arithmetic_and_loops", r"""
        s=0; for ((i=1; i<=1000; i++)); do s=$((s+i)); done; echo $s
        a=(one two three); echo ${#a[@]} "${a[@]^}"; declare -A m=([x]=1 [y]=2); echo "${m[x]}${m[y]}"
        printf '%05d|%-8s|%x\n' 42 left 255; echo "${PWD##*/}" | tr -d '\n' | wc -c | grep -c .
    """),
    Case("bash_pipelines", r"""
        set -o pipefail
        seq 1 100000 | sort -rn | head -5; echo "status ${PIPESTATUS[@]/141/sigpipe}"
        yes | head -3; false | true; echo $?; ! true; echo $?
        for i in {1..20}; do echo $i | cat | cat | cat; done | md5sum
    """),
    Case("bash_here_documents", r"""
        cat <<A; cat <<'B'; cat <<-C
expanded $((6*7))
A
literal $((6*7))
B
	stripped
	C
        cat <<< "here string"; read -r x y <<< "first second third"; echo "$y"
    """),
    Case("bash_process_substitution", r"""
        diff <(seq 1 5) <(seq 1 6); echo $?
        paste <(printf 'a\nb\n') <(printf 'c\nd\n'); { seq 3; } > >(sort -r); wait $!
        while read -r l; do n=$((n+1)); done < <(seq 50); echo $n
    """),
    Case("bash_coproc", r"""
        coproc CAT { while read -r line; do echo "got $line"; done; }
        echo hello >&${CAT[1]}; read -r reply <&${CAT[0]}; echo "$reply"
        eval "exec ${CAT[1]}>&-"; wait $CAT_PID; echo $?
    """),
    Case("bash_job_control", r"""
        set -m
        sleep 100 & kill -STOP $!; while [ "$(jobs -s | wc -l)" = 0 ]; do :; done; jobs | sed 's/  */ /g'
        kill -CONT %1; kill -TERM %1; wait %1; echo $?
        (exit 7) & wait $!; echo $?
    """),
    Case("bash_traps", r"""
        trap 'echo usr1' USR1; kill -USR1 $$; trap 'echo exit trap' EXIT
        trap 'echo err on line' ERR; false; trap - ERR
        (trap 'echo term; exit 3' TERM; kill -TERM $BASHPID; echo not reached); echo $?
        bash -c 'kill -SEGV $$' 2>/dev/null; echo $?; bash -c 'kill -9 $$' 2>/dev/null; echo $?
    """),
    Case("bash_exit_statuses", r"""
        /nonexistent 2>/dev/null; echo $?; /etc 2>/dev/null; echo $?; touch f; ./f 2>/dev/null; echo $?
        chmod +x f; ./f; echo $?; printf '#!/no/such/interpreter\n' > g; chmod +x g; ./g 2>/dev/null; echo $?; exit 42
    """),
    Case("bash_redirections", r"""
        exec 3>out; echo three >&3; exec 3>&-; cat out; echo more >> out; wc -l < out
        { echo a; echo b >&2; } 2>&1 | sort; (set -C; echo x > out) 2>/dev/null; echo $?
        exec 4<>out; read -r l <&4; echo "$l"; echo Z >&4; exec 4>&-; cat out; ls -l /proc/self/fd | wc -l
    """),
    Case("bash_globs_and_find", r"""
        mkdir -p d/{a,b,c}/{1,2}; touch d/{a,b}/{1,2}/f.{txt,log}; shopt -s globstar nullglob
        echo d/**/*.txt; echo d/*/nothing*; find d -type f -name '*.log' | sort; find d -empty | sort; find d -newer /etc/passwd | wc -l
        find d -type f -exec rm {} +; find d -depth -type d -exec rmdir {} \; ; ls
    """),
    Case("bash_big_environment_and_arguments", r"""
        export BIG=$(head -c 100000 /dev/zero | tr '\0' x); bash -c 'echo ${#BIG}'
        /bin/echo $(seq 1 20000) | wc -c; /bin/true $(head -c 3000000 /dev/zero | tr '\0' 'y') 2>/dev/null; echo $?
    """),
    # ---- coreutils and friends ----
    Case("coreutils_text", r"""
        seq 1 1000 > n; sort -R n | sort -n | cmp - n && echo same; uniq -c <(printf 'a\na\nb\n'); cut -d: -f1,3 /etc/passwd | head -3
        tac n | head -2; shuf -i 1-10 | sort -n | tr '\n' ' '; nl n | tail -1; fold -w 10 <<< "0123456789abcdefghij"; expr 3 \* 4
        join <(printf '1 a\n2 b\n') <(printf '1 x\n2 y\n'); comm -12 <(seq 5) <(seq 3 8); split -l 100 n part.; ls part.*; od -c <<< "hi" ; base64 n | md5sum
        sha256sum n; cksum n; wc n; tsort <<< "a b b c"; numfmt --to=iec 123456789; factor 1234567890
    """),
    Case("coreutils_files", r"""
        umask 022; mkdir -p a/b; echo x > a/f; cp -a a c; mv a/f a/g; ln a/g a/h; ln -s g a/s; readlink a/s; stat -c '%A %h %s %F' a/g a/s a
        chmod 640 a/g; stat -c %a a/g; touch -d '2001-02-03 04:05:06 UTC' a/g; TZ=UTC stat -c %y a/g; truncate -s 1M big; stat -c '%s' big; du --apparent-size -k big
        rm a/h; stat -c %h a/g; mkfifo p; (echo through > p &); cat p; test -p p && echo fifo; install -m 700 a/g inst; stat -c %a inst; realpath --relative-to=. a/s
        ls -lA a | awk '{print $1, $2, $5, $9}'; rmdir a 2>&1; rm -rf a c; ls; dd if=/dev/zero of=z bs=1k count=10 2>/dev/null; cmp z <(head -c 10240 /dev/zero) && echo zeros
        tee t1 t2 <<< tee; cat t1 t2; mktemp -d tmp.XXXX | cut -c1-4; pathchk -p ok; sync z; df . >/dev/null && echo df; chmod 000 t1; stat -c %a t1
    """),
    Case("coreutils_identity", r"""
        id -u; id -g; id -un; whoami; groups | wc -w; [ -O . ] && echo mine; umask; nproc | grep -c .; printenv HOME | wc -l; tty; echo $?
        uname -s -m; arch; date -u -d @0; TZ=Europe/Berlin date -d @1700000000; getconf PAGESIZE; logname 2>/dev/null; env -i /usr/bin/env; timeout 1 sleep 10; echo $?
        nice -n 5 nice; nohup true 2>/dev/null; echo $?; stdbuf -oL echo buffered; sleep 0.01; echo slept; seq 3 | xargs -n1 -P2 echo | sort
    """),
    Case("grep_sed_awk", r"""
        seq 1 500 | grep -c 7; grep -rn root /etc/passwd | head -1; echo 'a.b' | grep -F . ; echo abc | grep -oP '(?<=a)b'; grep -E '^(root|daemon):' /etc/passwd
        sed -n '2,4p' /etc/passwd; echo hello | sed -E 's/(l+)/[\1]/; y/h/H/'; printf '1\n2\n3\n' > f; sed -i '2d' f; cat f; sed 'N;P;D' f
        awk -F: '{n[$7]++} END {for (s in n) print s, n[s]}' /etc/passwd | sort; awk 'BEGIN { while (("seq 3" | getline l) > 0) s += l; print s; print toupper("x") }'
        awk 'BEGIN { srand(1); printf "%.3f %d %s\n", atan2(0,-1), 7/2, substr("hello", 2, 3) }'; echo 'x y' | awk '{ print $2 | "cat" }'
    """, needs=["awk"]),
    Case("find_whole_system", r"""find /usr/share/doc /etc /usr/lib/x86_64-linux-gnu -xdev 2>/dev/null | sort | md5sum; find /usr/bin -xdev -type l | wc -l""", timeout=120),
    Case("find_root_xdev", r"""find / -xdev -not -path '/proc*' \( -path /tmp -o -path /root -o -path /home -o -path /work -o -path /var/tmp -o -path /run -o -path /dev -o -path /sys \) -prune -o -type f -print 2>/dev/null | grep -cE '^/(usr|etc|bin|lib)' """, slow=True, timeout=400),
    Case("tar_and_compressors", r"""
        mkdir t; for i in $(seq 50); do seq 1 $((i*20)) > t/f$i; done; ln -s f1 t/link; mkdir t/sub; echo deep > t/sub/x
        for z in gzip xz zstd bzip2; do command -v $z >/dev/null || continue; tar -c --sort=name --mtime=@0 --owner=0 --group=0 -f t.tar.$z --$z t && mkdir x.$z && tar -xf t.tar.$z -C x.$z && diff -r t x.$z/t && echo $z ok; done
        tar -c --sort=name --mtime=@0 --owner=0 --group=0 t | md5sum; tar tvf t.tar.gzip | wc -l; gzip -dc t.tar.gzip | wc -c; zcat t.tar.gzip | cmp - <(tar -c --sort=name --mtime=@0 --owner=0 --group=0 t) && echo same
    """),
    Case("tar_preserves_modes_and_times", r"""
        mkdir t; echo a > t/a; chmod 751 t/a; touch -d @1234567890 t/a; tar cf a.tar t; rm -r t; tar xpf a.tar; stat -c '%a %Y %s' t/a; cpio --version >/dev/null 2>&1 && (echo t/a | cpio -o 2>/dev/null | wc -c); echo done
    """),
    # ---- git ----
    Case("git_life", r"""
        export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000'
        git init -q -b main r; cd r; for i in $(seq 20); do echo $i > f$i; git add f$i; git commit -qm "c$i"; done; git log --oneline | head -3; git checkout -qb topic HEAD~5; echo t > t; git add t; git commit -qm topic; git merge -q main -m merged; git log --oneline | wc -l
        git status --short | wc -l; echo changed >> f1; git diff --stat; git stash -q; git stash list | wc -l; git gc -q; git fsck 2>&1 | grep -v dangling | sort; git rev-parse HEAD; cd ..; git clone -q r s; git -C s log -1 --format=%s; git -C s blame f3 | cut -d')' -f2
    """, needs=["git"]),
    # ---- compilers ----
    Case("gcc_threads", r"""
        cat > t.c <<'E'
#include <pthread.h>
#include <stdio.h>
static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER; static pthread_cond_t c = PTHREAD_COND_INITIALIZER; static long n; static int turn;
static void *f(void *a) { for (int i = 0; i < 20000; i++) { pthread_mutex_lock(&m); n++; pthread_mutex_unlock(&m); } (void)a; return 0; }
static void *g(void *a) { long me = (long)a; for (int i = 0; i < 500; i++) { pthread_mutex_lock(&m); while (turn != me) pthread_cond_wait(&c, &m); turn = !me; pthread_cond_broadcast(&c); pthread_mutex_unlock(&m); } return 0; }
int main(void) { pthread_t t[8]; for (int i = 0; i < 8; i++) pthread_create(t + i, 0, f, 0); for (int i = 0; i < 8; i++) pthread_join(t[i], 0); printf("%ld\n", n);
  pthread_create(t, 0, g, (void *)0); pthread_create(t + 1, 0, g, (void *)1); pthread_join(t[0], 0); pthread_join(t[1], 0); puts("ping pong"); return 0; }
E
        gcc -O2 -Wall -o t t.c -lpthread && ./t; echo $?; gcc -static -o ts t.c && ./ts
    """, needs=["gcc"]),
    Case("gcc_errors", r"""echo 'int main(void) { return x; }' > b.c; gcc b.c > log 2>&1; echo $?; head -2 log; echo 'int main(){return 5;}' | gcc -x c - -o five && ./five; echo $?""", needs=["gcc"]),
    Case("gxx_threads", r"""
        cat > t.cc <<'E'
#include <atomic>
#include <future>
#include <iostream>
#include <map>
#include <numeric>
#include <thread>
#include <vector>
int main() { std::vector<std::future<long>> fs; for (int i = 0; i < 6; i++) fs.push_back(std::async(std::launch::async, [i] { std::vector<long> v(10000); std::iota(v.begin(), v.end(), i); return std::accumulate(v.begin(), v.end(), 0L); }));
  long s = 0; for (auto& f : fs) s += f.get(); std::cout << s << "\n"; try { throw std::runtime_error("thrown"); } catch (const std::exception& e) { std::cout << e.what() << "\n"; } std::map<int, int> m; for (int i = 0; i < 1000; i++) m[i % 7]++; std::cout << m.size() << std::endl; }
E
        g++ -O1 -std=c++17 -o t t.cc -pthread && ./t; echo $?
    """, needs=["g++"], timeout=120),
    Case("make_parallel", r"""
        { echo 'all: $(addsuffix .o,$(shell seq 1 12))'; printf '%%.o: %%.c\n\tgcc -c -o $@ $<\n'; } > Makefile; for i in $(seq 12); do echo "int f$i(void) { return $i; }" > $i.c; done; make -s -j2 all; echo $?; ls *.o | wc -l; make -s all | wc -l; nm 7.o | awk '{print $3}'
    """, needs=["make", "gcc"], timeout=120),
    Case("cmake_ninja", r"""
        printf 'cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_library(l STATIC l.c)\nadd_executable(e e.c)\ntarget_link_libraries(e l)\nenable_testing()\nadd_test(t e)\n' > CMakeLists.txt; echo 'int l(void) { return 41; }' > l.c; printf '#include <stdio.h>\nint l(void);\nint main(void) { printf("%%d\\n", l() + 1); return 0; }\n' > e.c
        cmake -G Ninja -B b . > log 2>&1 || tail -20 log; ninja -C b -j2 > log2 2>&1 || tail log2; b/e; (cd b && ctest 2>&1 | grep -c Passed)
    """, needs=["cmake", "ninja", "gcc"], slow=True, timeout=240),
    # ---- python ----
    Case("python_subprocess", r"""
        python3 - <<'E'
import subprocess, os, sys
print(subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True))
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE); print(p.communicate(b"x" * 200000)[0] == b"x" * 200000, p.returncode)
try: subprocess.run(["sleep", "10"], timeout=0.2)
except subprocess.TimeoutExpired: print("timed out")
print(subprocess.check_output("seq 5 | tail -1", shell=True)); print(os.system("exit 9") >> 8); pid = os.fork()
if pid == 0: os._exit(17)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
E
    """, needs=["python3"]),
    Case("python_threading", r"""
        python3 - <<'E'
import threading, queue, time
q = queue.Queue(); out = []
def w():
    while True:
        x = q.get()
        if x is None: return
        out.append(x * x)
ts = [threading.Thread(target=w) for _ in range(8)]
for t in ts: t.start()
for i in range(1000): q.put(i)
for _ in ts: q.put(None)
for t in ts: t.join()
print(sum(out), len(out)); e = threading.Event(); threading.Timer(0.05, e.set).start(); print(e.wait(5)); b = threading.Barrier(4); r = []
def bb(): b.wait(); r.append(1)
ts = [threading.Thread(target=bb) for _ in range(4)]; [t.start() for t in ts]; [t.join() for t in ts]; print(len(r))
E
    """, needs=["python3"]),
    Case("python_multiprocessing", r"""
        cat > m.py <<'E'
import multiprocessing as mp
def sq(x): return x * x
if __name__ == "__main__":
    with mp.Pool(3) as p: print(p.map(sq, range(20)))
    q = mp.Queue(); pr = mp.Process(target=q.put, args=("from child",)); pr.start(); print(q.get()); pr.join(); print(pr.exitcode)
    v = mp.Value("i", 0); l = [mp.Process(target=inc, args=(v,)) for _ in range(0)]; a, b = mp.Pipe(); a.send([1, "two"]); print(b.recv())
E
        python3 m.py
    """, needs=["python3"], timeout=120),
    Case("python_asyncio_unix", r"""
        python3 - <<'E'
import asyncio
async def main():
    async def h(r, w):
        while l := await r.readline(): w.write(l.upper()); await w.drain()
        w.close()
    s = await asyncio.start_unix_server(h, "s.sock")
    async def c(i):
        r, w = await asyncio.open_unix_connection("s.sock"); w.write(b"hello %d\n" % i); d = await r.readline(); w.close(); return d
    print(sorted(await asyncio.gather(*[c(i) for i in range(20)]))); await asyncio.sleep(0.01)
    p = await asyncio.create_subprocess_exec("echo", "sub", stdout=asyncio.subprocess.PIPE); print(await p.communicate()); s.close()
asyncio.run(main())
E
    """, needs=["python3"]),
    Case("python_mmap_signal_pty", r"""
        python3 - <<'E'
import mmap, os, signal, pty, sys
open("f", "wb").write(b"0" * 8192); f = open("f", "r+b"); m = mmap.mmap(f.fileno(), 0); m[0:5] = b"hello"; m.flush(); print(open("f", "rb").read(8)); print(m.find(b"lo"), len(m)); m.close()
a = mmap.mmap(-1, 4096); pid = os.fork()
if pid == 0: a[0:2] = b"ok"; os._exit(0)
os.waitpid(pid, 0); print(a[0:2])
got = []; signal.signal(signal.SIGUSR1, lambda s, f: got.append(s)); os.kill(os.getpid(), signal.SIGUSR1); signal.signal(signal.SIGALRM, lambda s, f: got.append(s)); signal.setitimer(signal.ITIMER_REAL, 0.05); signal.pause(); print(got)
pid, fd = pty.fork()
if pid == 0: os.execlp("sh", "sh", "-c", "tty | cut -c1-9; read x; echo got $x; stty size")
os.write(fd, b"typed\n"); out = b""
try:
    while d := os.read(fd, 1000): out += d
except OSError: pass
print(out); print(os.waitpid(pid, 0)[1])
E
    """, needs=["python3"]),
    Case("python_files_and_locks", r"""
        python3 - <<'E'
import fcntl, os, tempfile, shutil, stat, sqlite3
f = open("l", "w"); fcntl.flock(f, fcntl.LOCK_EX); g = open("l"); 
try: fcntl.flock(g, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError: print("locked")
fcntl.lockf(f, fcntl.LOCK_EX, 10); fcntl.flock(f, fcntl.LOCK_UN); d = tempfile.mkdtemp(dir="."); os.mkdir(d + "/x"); open(d + "/x/y", "w").write("z"); shutil.copytree(d, "copy"); print(sorted(os.listdir("copy/x"))); shutil.rmtree(d); print(os.path.exists(d))
os.symlink("copy", "ln"); print(os.path.realpath("ln/x").endswith("copy/x")); s = os.statvfs("."); print(s.f_namemax); os.truncate("copy/x/y", 100); print(os.stat("copy/x/y").st_size); print([e.name for e in sorted(os.scandir("."), key=lambda e: e.name)])
r, w = os.pipe(); os.set_blocking(r, False)
try: os.read(r, 1)
except BlockingIOError: print("would block")
print(os.sendfile(w, os.open("copy/x/y", os.O_RDONLY), 0, 50), os.cpu_count() > 0, os.umask(0o22))
E
    """, needs=["python3"]),
    Case("python_selectors_sockets", r"""
        python3 - <<'E'
import socket, select, selectors, os, array
a, b = socket.socketpair(); a.send(b"hi"); print(select.select([b], [a], [], 1)[0] == [b], b.recv(10)); p = select.poll(); p.register(b, select.POLLIN); print(p.poll(0)); e = select.epoll(); e.register(b.fileno(), select.EPOLLIN); a.send(b"x"); print(len(e.poll(1)))
s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM); s.bind("u"); s.listen(5); c = socket.socket(socket.AF_UNIX); c.connect("u"); d, _ = s.accept(); c.sendall(b"data" * 1000); n = 0
while n < 4000: n += len(d.recv(4096))
print(n); fd = os.open("/etc/hostname", os.O_RDONLY); a.sendmsg([b"f"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]); m = b.recvmsg(10, 100); print(len(m[1])); d1 = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d1.bind("d1"); d2 = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); d2.sendto(b"dgram", "d1"); print(d1.recv(100))
E
    """, needs=["python3"]),
    # ---- other languages and programs ----
    Case("perl", r"""
        perl -e 'use POSIX; my %h; $h{$_ % 7}++ for 1..1000; print join(",", map {"$_=$h{$_}"} sort keys %h), "\n"; open(my $p, "-|", "seq 3") or die; print while <$p>; close $p; my $pid = fork; if (!$pid) { exit 5 } waitpid($pid, 0); print $? >> 8, "\n"; local $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; POSIX::pause();'
        perl -ne 'print if /root/' /etc/passwd; perl -MSocket -e 'socketpair(A, B, AF_UNIX, SOCK_STREAM, 0) or die; syswrite A, "x\n"; print scalar <B>'
    """, needs=["perl"]),
    Case("node", r"""
        cat > n.js <<'E'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads'); const cp = require('child_process'); const fs = require('fs');
if (!isMainThread) { let s = 0; for (let i = 0; i < workerData; i++) s += i; parentPort.postMessage(s); } else {
  console.log(cp.execSync('echo sync').toString().trim(), process.platform);
  Promise.all([1000, 2000, 3000].map(n => new Promise((ok, no) => { const w = new Worker(__filename, { workerData: n }); w.on('message', ok); w.on('error', no); }))).then(r => { console.log(r);
    const c = cp.spawn('cat'); c.stdout.on('data', d => console.log('child', d.toString().trim())); c.on('close', code => { console.log(code); fs.writeFileSync('x', 'y'); fs.promises.readFile('x', 'utf8').then(t => { console.log(t); setTimeout(() => console.log('timer'), 10); }); }); c.stdin.end('piped'); }); }
E
        node n.js
    """, needs=["node"], timeout=120),
    Case("sqlite3", r"""
        sqlite3 d.db 'create table t(a integer primary key, b text); begin;' "$(for i in $(seq 200); do echo "insert into t values($i, 'row $i');"; done)" 'commit; select count(*), sum(a) from t; create index i on t(b); pragma integrity_check; pragma journal_mode=wal; delete from t where a % 2; select count(*) from t; vacuum;'; sqlite3 d.db 'select * from t limit 2'; ls
    """, needs=["sqlite3"]),
    Case("sqlite3_python", r"""
        python3 - <<'E'
import sqlite3
c = sqlite3.connect("d.db"); c.execute("pragma journal_mode=wal"); c.execute("create table t(a, b)"); c.executemany("insert into t values(?, ?)", [(i, str(i)) for i in range(1000)]); c.commit(); d = sqlite3.connect("d.db"); print(d.execute("select count(*), sum(a) from t").fetchall(), d.execute("pragma integrity_check").fetchall()); c.close()
E
    """, needs=["python3"]),
    Case("busybox", r"""
        busybox sh -c 'for i in 1 2 3; do echo $i; done | busybox sort -r'; busybox ls /usr | busybox head -3; busybox tar c -C /etc passwd | busybox tar t; busybox awk 'BEGIN { print 6*7 }'; busybox sha1sum /etc/passwd; busybox vi --help 2>&1 | busybox grep -c Usage; busybox find /etc -name passwd; busybox dd if=/dev/zero bs=1k count=1 2>/dev/null | busybox wc -c
    """, needs=["busybox"]),
    Case("raw_static_program", r"""
        cat > r.c <<'E'
static long call(long n, long a, long b, long c, long d, long e, long f) { long r; register long r10 __asm__("r10") = d; register long r8 __asm__("r8") = e; register long r9 __asm__("r9") = f; __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory"); return r; }
static char buf[64];
void _start(void) { long p = call(9, 0, 65536, 3, 0x22, -1, 0); *(char *)p = 'm'; call(1, 1, p, 1, 0, 0, 0); int fds[2]; call(22, (long)fds, 0, 0, 0, 0, 0); long pid = call(57, 0, 0, 0, 0, 0, 0); if (pid == 0) { call(1, fds[1], (long)"child", 5, 0, 0, 0); call(60, 3, 0, 0, 0, 0, 0); } long n = call(0, fds[0], (long)buf, 64, 0, 0, 0); call(1, 1, (long)buf, n, 0, 0, 0); int st; call(61, pid, (long)&st, 0, 0, 0, 0); call(1, 1, (long)"\n", 1, 0, 0, 0); call(231, st >> 8, 0, 0, 0, 0, 0); }
E
        gcc -O1 -static -nostdlib -ffreestanding -fno-stack-protector -o r r.c && ./r; echo $?
    """, needs=["gcc"]),
    Case("go", r"""printf 'package main\nimport ("fmt"; "sync")\nfunc main() { var w sync.WaitGroup; var m sync.Mutex; s := 0; for i := 0; i < 100; i++ { w.Add(1); go func(i int) { defer w.Done(); m.Lock(); s += i; m.Unlock() }(i) }; w.Wait(); fmt.Println(s) }\n' > m.go; GOCACHE=$PWD/c GO111MODULE=off go run m.go""", needs=["go"], slow=True, timeout=300),
    Case("java", r"""
        cat > T.java <<'E'
import java.util.*; import java.util.concurrent.*;
public class T { public static void main(String[] a) throws Exception { ExecutorService e = Executors.newFixedThreadPool(4); List<Future<Integer>> fs = new ArrayList<>(); for (int i = 0; i < 20; i++) { final int n = i; fs.add(e.submit(() -> n * n)); } int s = 0; for (Future<Integer> f : fs) s += f.get(); System.out.println(s); e.shutdown(); Process p = new ProcessBuilder("echo", "sub").start(); System.out.println(new String(p.getInputStream().readAllBytes()).trim() + p.waitFor()); Object[] keep = new Object[1000]; for (int i = 0; i < 200000; i++) keep[i % 1000] = new byte[1000]; System.gc(); System.exit(3); } }
E
        javac T.java && java -Xmx128m T; echo $?
    """, needs=["javac"], slow=True, timeout=240),
    Case("rustc", r"""printf 'use std::thread;\nfn main() { let h: Vec<_> = (0..4).map(|i| thread::spawn(move || i * i)).collect(); let s: i32 = h.into_iter().map(|t| t.join().unwrap()).sum(); println!("{}", s); }\n' > m.rs; rustc -O m.rs && ./m""", needs=["rustc"], slow=True, timeout=240, root_only=True, show=["/root/.cargo", "/root/.rustup"]),
    Case("vim", r"""printf 'one\ntwo\nthree\n' > f; vim -es -u NONE -c '%s/t/T/g' -c 'normal Gofour' -c 'wq' f; echo $?; cat f; ls -A""", needs=["vim"]),
    Case("tmux", r"""export TERM=xterm; tmux -S ./sock -f /dev/null new-session -d -x 80 -y 24 'echo inside > out; tty | cut -c1-8 >> out; stty size >> out; tmux -S ./sock wait-for -S done; sleep 20' && tmux -S ./sock wait-for done; cat out; tmux -S ./sock list-sessions | cut -d: -f1; tmux -S ./sock kill-server; echo $?""", needs=["tmux"]),
    Case("openssl", r"""openssl version | cut -d' ' -f1; echo -n abc | openssl dgst -sha256; openssl genrsa 2048 2>/dev/null > k; openssl rsa -in k -check -noout 2>&1 | head -1; echo secret | openssl enc -aes-256-cbc -pbkdf2 -k pw | openssl enc -d -aes-256-cbc -pbkdf2 -k pw; openssl req -x509 -new -key k -subj /CN=x -days 1 -out c && openssl verify -CAfile c c; openssl rand 32 | wc -c""", needs=["openssl"]),
    Case("dpkg", r"""dpkg -l | wc -l; dpkg -l bash | tail -1 | awk '{print $1, $2}'; dpkg -S /bin/bash 2>/dev/null; dpkg -L coreutils | wc -l; dpkg --print-architecture; apt-cache policy bash 2>/dev/null | head -1""", needs=["dpkg"]),
    Case("dd_64_mib", r"""dd if=/dev/zero of=z bs=1M count=64 2>&1 | head -2; md5sum z; dd if=z of=y bs=64k 2>/dev/null; cmp z y && echo same; dd if=z bs=1 count=5 skip=100 2>/dev/null | wc -c; rm z; stat -c %s y""", timeout=120),
    Case("dd_1_gib", r"""dd if=/dev/zero of=z bs=1M count=1024 2>&1 | head -2; stat -c '%s %b' z; dd if=z of=/dev/null bs=1M 2>&1 | head -2""", slow=True, timeout=300),
    Case("procfs_as_programs_use_it", r"""ps -o stat= -p $$ | cut -c1; pgrep -x bash | wc -l | grep -c '[1-9]'; cat /proc/self/comm; readlink /proc/self/exe; tr '\0' ' ' < /proc/self/cmdline; ls /proc/self/fd | wc -l; free -b | awk 'NR==2 {print ($2 > 0)}'; head -1 /proc/self/maps | wc -l; cat /proc/filesystems | grep -c proc; uptime | grep -c load; grep -c '^processor' /proc/cpuinfo | grep -c '[1-9]'""", needs=["ps"]),
    Case("strace_inside", r"""strace -f -e trace=openat -o log true; echo $?; grep -c openat log | grep -c '[1-9]'""", needs=["strace"], slow=True),
    Case("gdb_inside", r"""printf 'int f(int x) { return x * 2; }\nint main(void) { return f(21); }\n' > g.c; gcc -g -O0 -o g g.c; gdb -q -batch -ex 'break f' -ex run -ex 'print x' -ex finish ./g 2>/dev/null | grep -E '^\$|Value'""", needs=["gdb", "gcc"], slow=True, timeout=120),
    Case("signals_to_groups", r"""setsid bash -c 'trap "echo p; exit 0" TERM; (trap "echo c; exit 0" TERM; while :; do sleep 0.05; done) & sleep 0.3; kill 0; wait' | sort; setsid bash -c 'echo $(( $(ps -o sid= -p $$) == $$ ))'; (kill -INT $BASHPID; echo survived); echo $?"""),
    Case("su_and_passwords", r"""su -s /bin/sh -c 'id -un' daemon; echo $?; grep -c . /etc/shadow | grep -c '[1-9]'; getent passwd root""", needs=["su"], root_only=True),
    Case("file_ownership_as_root", r"""touch f; chown daemon:adm f; stat -c '%U:%G' f; chmod 4755 f; stat -c %a f; chown root f; stat -c '%a %U' f; mkdir d; chmod 2775 d; chgrp adm d; touch d/x; stat -c %G d/x; mknod n c 1 3 && stat -c '%F %t %T' n; setpriv --reuid daemon --regid daemon --clear-groups sh -c 'echo no > f' 2>/dev/null; echo $?""", root_only=True),
    Case("root_directory", r"""stat -c '%u:%g %a' /; [ -w / ]; echo $?; [ "$(id -u)" = 0 ] || { touch /forbidden; echo $?; mkdir /forbidden; echo $?; } 2>&1"""),
    Case("file_permissions_as_user", r"""echo x > f; chmod 0 f; cat f 2>/dev/null; echo $?; chmod 200 f; echo y >> f; cat f 2>/dev/null; echo $?; chown root f 2>/dev/null; echo $?; touch /etc/forbidden 2>/dev/null; echo $?; mkdir d; chmod 555 d; touch d/x 2>/dev/null; echo $?; chmod 755 d; touch d/x; ls d; cat /etc/shadow 2>/dev/null; echo $?""", user_only=True),
]
