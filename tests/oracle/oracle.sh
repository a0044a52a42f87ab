#!/bin/sh
# Runs a script of this folder with the oracle's Python. Without it the test fails: a reference that
# is not there has not agreed.
#   oracle.sh SOURCE_DIR SCRIPT [ARGUMENT ...]
source="$1"
script="$2"
shift 2
python="$source/.deps/oracle/bin/python"
if ! "$python" -c "import mlx_lm, transformers, numpy" 2>/dev/null; then
  echo "tests/oracle needs mlx-lm in $source/.deps/oracle. Run ./test, which installs it, or:" >&2
  echo "  python3 -m venv .deps/oracle" >&2
  echo "  .deps/oracle/bin/pip install -r tests/oracle/requirements.txt" >&2
  exit 1
fi
exec "$python" "$source/tests/oracle/$script" "$@"
