#!/bin/sh
# short.sh BINARY SCRATCH OPTIONS... CORPUS: one fuzz target for ./test, with no inputs of an earlier run.
set -eu
binary=$1
scratch=$2
shift 2
rm -rf "$scratch"
mkdir -p "$scratch/new" "$scratch/tmp"
TMPDIR=$scratch/tmp ASAN_OPTIONS=detect_leaks=1 exec "$binary" -artifact_prefix="$scratch/" \
  -print_final_stats=1 "$scratch/new" "$@"
