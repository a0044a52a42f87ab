#!/bin/sh
# Runs the clients that are too large for ./test against a built tandem. Installs them in .deps.
#   tests/http/more_clients.sh [TANDEM]
set -eu
cd "$(dirname "$0")/../.."
tandem=${1:-build/release/src/tandem}
venv=.deps/aider
if ! cmp -s tests/http/more_requirements.txt $venv/installed.txt; then
  rm -rf $venv
  python3 -m venv $venv
  $venv/bin/pip install --quiet --requirement tests/http/more_requirements.txt
  cp tests/http/more_requirements.txt $venv/installed.txt
fi
$venv/bin/python tests/http/aider_test.py --tandem "$tandem"
