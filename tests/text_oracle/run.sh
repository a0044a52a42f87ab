#!/bin/sh
# run.sh PYTHON SCRIPT ARGUMENTS...: runs an oracle, or fails saying how to get its Python.
if ! "$1" -c 'import transformers' 2>/dev/null; then
  echo "no Python with transformers at $1: run ./test once, which makes .deps/oracle," \
    "or set TANDEM_ORACLE_PYTHON" >&2
  exit 1
fi
exec "$@"
