#!/bin/sh
# tree.sh PROGRAM [RUNNER...]: makes a tree of files on the host and runs PROGRAM in it, through RUNNER (msentry run ... --) when there
# is one: then the tree is a lower layer, and must be the same afterwards.
set -u
program=$1
shift
tree=$(mktemp -d "$PWD/layers.XXXXXX") || exit 1
trap 'rm -rf "$tree"' EXIT
chmod 755 "$tree" && cd "$tree" || exit 1
umask 022
mkdir dir dir/sub dir/empty many empty other
echo "lower file" > file && chmod 640 file
echo a > dir/a && echo b > dir/b && echo deep > dir/sub/deep && echo other > other/o
echo linked > hl1 && ln hl1 hl2 && ln hl1 dir/hl3
ln -s file link
head -c 1048576 /dev/zero | tr '\0' 'L' > big
printf '#!/bin/sh\nexit 0\n' > program && chmod 755 program
i=0
while [ $i -lt 1000 ]; do
  : > many/f$i
  i=$((i + 1))
done
touch -d '2001-02-03 04:05:06' file dir big

describe() {
  find . -printf '%p %y %m %U %G %s %n %l %T@\n' | sort
  find . -type f | sort | xargs cat | cksum
}
before=$(describe)
"$@" "$program"
status=$?
if [ $# -gt 0 ] && [ "$(describe)" != "$before" ]; then
  echo "the lower layer was changed" >&2
  exit 1
fi
exit $status
