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
LINES_MAX = 450
COLUMNS_MAX = 100
FUNCTION_MAX = 70  # lines of a function of src/
# What each folder of src/ may include besides itself and include/tandem; docs/architecture.md draws
# it. scheduler and server know the stages by include/tandem/pipeline.h only.
USES = {
    "base": [],
    "rules": ["base"],
    "config": ["base"],
    "planner": ["config"],
    "text": ["config"],
    "kernels": ["base"],
    "cuda": ["base"],
    "weights": ["config"],
    "cache": ["kernels"],
    "models": ["cache", "weights"],
    "stage": ["models", "rules", "cuda"],
    "cost": [],
    "cluster": ["stage", "cost", "planner"],
    "scheduler": ["rules", "cost"],
    "server": ["scheduler", "text"],
    "client": ["config"],
    "launch": ["config"],
    "cli": ["cluster", "server", "client", "launch"],
}
# Folders inside a folder, in order: each includes only those before it.
ORDER = {
    "cuda": ["kernels", "driver", "executor"],
    "cluster": ["wire", "trust", "link", "split", "rank", "gateway"],
    "server": ["http", "output", "api", "web", "serving"],
}
# Libraries that a folder must not name: the gateway's logic runs without a stage in its process.
FOREIGN = [(r"^#include [<\"](mlx|grpcpp?|google/protobuf)/",
            r"^(include|src/(scheduler|server|rules|cost|text|config|base|client|planner))/")]
CODE = {".h", ".cpp", ".cc", ".cu", ".cuh", ".rs", ".py"}
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


def check_functions(name, text, problems):
    """clang-format leaves definitions at column 0, from their first line to a lone brace."""
    if not re.match(r"src/.*\.(cpp|cc)$", name):
        return
    start, inside = None, False
    for number, line in enumerate(text.split("\n"), 1):
        if start is None and re.match(r"[\w~\[].*\(", line):
            start, inside = number, False
        if start is None:
            continue
        if not inside and line.endswith((";", "}")):  # no body, or one of a line
            start = None
        elif inside and line.startswith("}"):
            if number - start >= FUNCTION_MAX:
                problems.append(f"{name}:{start}: a function of {number - start + 1} lines, at "
                                f"most {FUNCTION_MAX}")
            start = None
        inside = inside or line.endswith("{")


def reachable(folder):
    found, todo = set(), [folder]
    while todo:
        each = todo.pop()
        if each not in found:
            found.add(each)
            todo += USES[each]
    return found


def check_includes(name, text, problems):
    for pattern, where in FOREIGN:
        if re.search(where, name) and re.search(pattern, text, re.M):
            problems.append(f"{name}: matches {pattern!r}, which this folder does without")
    match = re.match(r"src/(\w+)/(?:(\w+)/)?", name)
    if not match:
        return
    folder, inner = match[1], match[2]
    allowed = reachable(folder)
    for outer, deeper in re.findall(r'^#include "(\w+)/(?:(\w+)/)?', text, re.M):
        if outer in USES and outer not in allowed:
            problems.append(f"{name}: includes {outer}/, which {folder}/ does not use")
        order = ORDER.get(folder, [])
        if outer == folder and inner in order and deeper in order:
            if order.index(deeper) > order.index(inner):
                problems.append(f"{name}: includes {folder}/{deeper}/, which comes after {inner}/")


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
        check_functions(name, text, problems)
        check_includes(name, text, problems)
    check_orphans(texts, problems)
    print("\n".join(problems) or f"{len(texts)} files are tidy")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
