#!/bin/bash
# install_test.sh BUILD SOURCE: what `make install` leaves is complete. Installs into a fresh prefix, builds the examples
# against it with CMake and with pkg-config, and runs them.
set -eu
build=$1 source=$2
work=$(mktemp -d /var/tmp/msentry-install-XXXXXX)
trap 'rm -rf "$work"' EXIT
unset MSENTRY_BINARY
prefix=$work/prefix
cmake --install "$build" --prefix "$prefix" > "$work/log" || { cat "$work/log"; exit 1; }

expect() {  # expect WANT COMMAND...
  local want=$1 got
  shift
  got=$("$@" 2>&1) || true
  [ "$got" = "$want" ] || { echo "FAILED: $*"; echo "want: $want"; echo "got:  $got"; exit 1; }
  echo "ok: $*"
}

expect "msentry 0.1.0" "$prefix/bin/msentry" --version
cd "$work"  # visible in the sandbox as the working directory
cmake -S "$source/examples/embed" -B examples -DCMAKE_PREFIX_PATH="$prefix" > log 2>&1 || { cat log; exit 1; }
cmake --build examples > log 2>&1 || { cat log; exit 1; }
expect 'exited 0, output "42"' examples/judge 'read x; echo $((x * 2))' 21
expect 'exited 3, output ""' examples/judge 'exit 3' x
# The static one does not know where it was installed.
MSENTRY_BINARY=$prefix/bin/msentry expect 'exited 0, output "static"' examples/judge_static 'echo static' x
expect hello examples/hello_c /bin/echo hello
rc=0; examples/hello_c /bin/sh -c 'exit 9' || rc=$?
[ $rc = 9 ] || { echo "FAILED: exit status $rc instead of 9"; exit 1; }

libdir=$(dirname "$(find "$prefix" -name msentry.pc)")
export PKG_CONFIG_PATH=$libdir LD_LIBRARY_PATH=${libdir%/pkgconfig}
gcc -o by_pkg_config "$source/examples/embed/hello.c" $(pkg-config --cflags --libs msentry)
expect "from C" ./by_pkg_config /bin/echo "from C"
g++ -std=c++17 -o by_pkg_config_static "$source/examples/embed/judge.cc" $(pkg-config --cflags msentry) "$LD_LIBRARY_PATH/libmsentry.a" -lprotobuf-lite -lpthread
MSENTRY_BINARY=$prefix/bin/msentry expect 'exited 0, output "x"' ./by_pkg_config_static cat x
