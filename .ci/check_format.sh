#!/bin/sh
# Every C and C++ file is as clang-format leaves it (`make format`).
set -eu
cd "$(dirname "$0")/.."
bad=$(git ls-files '*.cc' '*.h' '*.c' | xargs -r -n 20 -P 2 sh -c '
  for f in "$@"; do clang-format "$f" | cmp -s - "$f" || echo "$f"; done' sh)
[ -z "$bad" ] || { echo "not formatted (make format):"; echo "$bad"; exit 1; }
