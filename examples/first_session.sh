#!/bin/sh
# first_session.sh MSENTRY: what `make run` shows. A shell in a sandbox when there is a terminal, else a short demonstration in one.
set -eu
msentry=$1
if [ -t 0 ] && [ -t 1 ]; then
  echo "a shell in a sandbox; what you write stays in it, exit ends it"
  exec "$msentry" run -- /bin/bash
fi
# A directory of the caller's own: what is written and removed in it shows the same to root and to anybody else.
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
program=$(realpath "$msentry")
cd "$directory"
echo "the host's" > mine
"$program" run -- /bin/bash -c '
  echo "kernel:     $(uname -sr), up $(cut -d" " -f1 /proc/uptime) s"
  echo "user:       $(id -un), process $$ of $(ls /proc | grep -c "^[0-9]"), on $(hostname)"
  rm mine; echo hello > answer; echo "inside:     rm mine; echo hello > answer; ls shows $(ls)"
  echo "pipes:      $(seq 1 1000 | sort -rn | head -1)"
  echo "the log:    $(dmesg 2>/dev/null | tail -1)"
' </dev/null
echo "outside:    ls shows $(ls)"
