#!/bin/sh
# long.sh SECONDS [NAME...]: each fuzz target (or those named) for so long, with coverage of the Rust
# library too. Inputs that reach new code stay in build/fuzz/corpus/NAME for the next time; what fails
# lies in build/fuzz/found/NAME-*. Exits with 1 when anything failed.
set -eu
cd "$(dirname "$0")/../.."
seconds=$1
shift
cmake --preset fuzz
cmake --build --preset fuzz
mkdir -p build/fuzz/found build/fuzz/tmp
failed=0
[ $# -gt 0 ] || set -- $(cd tests/fuzz && ls *.cpp | sed 's/\.cpp$//')
for name in "$@"; do
  corpus=build/fuzz/corpus/$name
  mkdir -p "$corpus"
  echo "== $name"
  # Words of the options hold no spaces.
  TMPDIR=$PWD/build/fuzz/tmp ASAN_OPTIONS=detect_leaks=1 "build/fuzz/tests/fuzz_$name" \
    $(tr ';' ' ' < "build/fuzz/tests/fuzz_$name.options") -max_total_time="$seconds" \
    -artifact_prefix="build/fuzz/found/$name-" -print_final_stats=1 \
    "$corpus" "tests/fuzz/corpus/$name" || failed=1
done
exit $failed
