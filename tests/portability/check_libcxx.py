"""Checks every C++ source with clang and libc++, which stand in for Apple's compiler.

    check_libcxx.py BUILD_DIR SOURCE_DIR      (BUILD_DIR holds compile_commands.json)

Files named *_macos.cpp need Apple's headers and are left out.
"""

import concurrent.futures
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

COMPILER = "clang++-19"


def command_of(entry):
    """The entry's compile command as a syntax check by clang with libc++."""
    words = shlex.split(entry["command"])
    keep, skip = [], False
    for word in words[1:]:
        if skip:
            skip = False
        elif word in ("-o", "-c"):
            skip = word == "-o"
        elif word.startswith(("-I", "-D", "-isystem", "-m", "-ffp")) or keep[-1:] == ["-isystem"]:
            keep.append(word)
    return [COMPILER, "-stdlib=libc++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra",
            "-Werror", *keep, entry["file"]]


def check(entry):
    done = subprocess.run(command_of(entry), capture_output=True, text=True, check=False,
                          cwd=entry["directory"])
    return entry["file"], done.returncode, done.stderr


def main():
    build, source = Path(sys.argv[1]), Path(sys.argv[2])
    entries = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = Path(entry["file"])
        if source in path.parents and build not in path.parents:
            entries[entry["file"]] = entry
    if len(entries) < 50:
        sys.exit(f"{build}/compile_commands.json lists only {len(entries)} sources")
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for file, code, text in pool.map(check, entries.values()):
            if code:
                failed += 1
                print(f"{file}:\n{text}")
    print(f"{len(entries) - failed} of {len(entries)} sources pass")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
