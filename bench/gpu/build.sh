#!/usr/bin/env bash
# Builds the programs of bench/gpu beside themselves: build.sh NVCC [FOLDER] [PROGRAM...]
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
nvcc="$1"
out="${2:-.}"
shift; shift || true
for program in "${@:-check products token}"; do
  for each in $program; do
    "$nvcc" -std=c++20 -O3 -gencode=arch=compute_90a,code=sm_90a -Xcudafe --diag_suppress=128 \
      -I "$here/../../src/cuda/kernels" -I "$here" -o "$out/$each" "$here/$each.cu" &
  done
  wait
done
