#!/bin/sh
# full.sh PROGRAM [RUNNER...]: runs PROGRAM on a file system of 4 MiB and 200 inodes: natively in it, or through RUNNER (msentry run ...)
# with the writable layer there; then also the path of a lower file that has no room in it. Needs root.
set -u
program=$1
shift
[ "$(id -u)" = 0 ] || exit 77
top=$(mktemp -d "$PWD/full.XXXXXX") || exit 1
trap 'umount "$top/small" 2>/dev/null; rm -rf "$top"' EXIT
mkdir "$top/small" && mount -t tmpfs -o size=4m,nr_inodes=200 none "$top/small" || exit 77
if [ $# -eq 0 ]; then
  (mkdir "$top/small/d" && cd "$top/small/d" && exec "$program")
  exit
fi
head -c 8388608 /dev/zero | tr '\0' 'B' > "$top/big"
mkdir "$top/d"
"$@" --keep "$top/small/keep" --cwd "$top/d" -- "$program" "$top/big"
