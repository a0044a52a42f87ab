"""House rules that a compiler does not check; a test of ./test.

    python3 tools/tidy.py

Lines and files have a length, a folder of src/ includes only folders above it, a header is used,
and a few words are banned, each with its replacement.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 300
COLUMNS_MAX = 100
# src/ in the order of docs/architecture.md: a folder uses itself and those before it.
FOLDERS = ["base", "config", "text", "kernels", "weights", "cache", "models", "stage", "cluster",
           "scheduler", "server", "client", "cli"]
CODE = {".h", ".cpp", ".cc", ".rs", ".py"}
BANNED = [
    (r"\bgetenv\b", "an option set by src/cli", r"^src/cli/"),
    (r"std::c(out|err)\b", "a sink passed in", r"^(src/cli|tests|bench)/"),
    (r"\b(TODO|FIXME|XXX)\b", "the work itself, or an issue", r"^tools/tidy\.py$"),
    (r"@@\w+@@", "the figure itself", r"^$"),
    (r"\busing namespace std\b", "std:: at the use", r"^$"),
    (r"/proc/|\bepoll", "src/base/platform.h",
     r"^(src/base/\w+_linux\.cpp|src/base/\w+\.h|tests/.*|bench/idle\.py|tools/tidy\.py)$"),
]


def files():
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                         cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in out if Path(name).suffix in CODE and (ROOT / name).is_file()]


def check_text(name, text, problems):
    lines = text.split("\n")
    if len(lines) - 1 > LINES_MAX:
        problems.append(f"{name}: {len(lines) - 1} lines, at most {LINES_MAX}")
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            problems.append(f"{name}:{number}: {len(line)} columns, at most {COLUMNS_MAX}")
        for pattern, instead, allowed in BANNED:
            if re.search(pattern, line) and not re.search(allowed, name):
                problems.append(f"{name}:{number}: matches {pattern!r}; use {instead}")


def check_includes(name, text, problems):
    match = re.match(r"src/(\w+)/", name)
    if not match:
        return
    level = FOLDERS.index(match[1])
    for include in re.findall(r'^#include "(\w+)/', text, re.M):
        if include in FOLDERS and FOLDERS.index(include) > level:
            problems.append(f"{name}: includes {include}/, a folder below {match[1]}/")


def check_orphans(texts, problems):
    included = set(re.findall(r'#include "([^"]+)"', "\n".join(texts.values())))
    names = {Path(include).name for include in included}
    for name in texts:
        if name.endswith(".h") and Path(name).name not in names:
            problems.append(f"{name}: no file includes it")


def main():
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in files()}
    problems = []
    for name, text in texts.items():
        check_text(name, text, problems)
        check_includes(name, text, problems)
    check_orphans(texts, problems)
    print("\n".join(problems) or f"{len(texts)} files are tidy")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
