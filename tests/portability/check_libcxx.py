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
import tempfile
from pathlib import Path

COMPILER = ["clang++-19", "-stdlib=libc++", "-std=c++20", "-Wall", "-Wextra", "-Werror"]


def parts_of(entry):
    """What a syntax check needs of the flags, and the header that the build precompiles."""
    words = iter(shlex.split(entry["command"])[1:])
    flags, header = [], None
    for word in words:
        if word == "-o":
            next(words)
        elif word == "-include":
            header = next(words)
        elif word == "-isystem":
            flags += [word, next(words)]
        elif word.startswith(("-I", "-D", "-m", "-ffp")):
            flags.append(word)
    return tuple(flags), header


def precompile(task):
    """Libraries' headers are most of a source's text: parsed once for all sources of a group."""
    (flags, text), place = task
    inner, header = place.with_suffix(".inner.h"), place.with_suffix(".h")
    inner.write_text(text)
    header.write_text(f'#include "{inner}"\n')
    done = subprocess.run([*COMPILER, *flags, "-x", "c++-header", str(header), "-o", str(place)],
                          capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def check(task):
    entry, flags, place = task
    include = ["-include-pch", str(place)] if place else []
    done = subprocess.run([*COMPILER, *flags, *include, "-fsyntax-only", entry["file"]],
                          capture_output=True, text=True, check=False, cwd=entry["directory"])
    return entry["file"], done.returncode, done.stderr


def check_all(entries, folder):
    """How many entries fail; each failure is printed."""
    places, tasks = {}, []
    for entry in entries:
        flags, header = parts_of(entry)
        place = None
        if header:
            key = (flags, Path(header).read_text())
            place = places.setdefault(key, folder / f"{len(places)}.pch")
        tasks.append((entry, flags, place))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for (key, place), (code, text) in zip(places.items(),
                                              pool.map(precompile, places.items())):
            if code:
                sys.exit(f"{place.name} of {key[1]}:\n{text}")
        for file, code, text in pool.map(check, tasks):
            if code:
                failed += 1
                print(f"{file}:\n{text}")
    return failed


def main():
    build, source = Path(sys.argv[1]), Path(sys.argv[2])
    entries = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = Path(entry["file"])
        if source in path.parents and build not in path.parents:
            entries[entry["file"]] = entry
    if len(entries) < 50:
        sys.exit(f"{build}/compile_commands.json lists only {len(entries)} sources")
    with tempfile.TemporaryDirectory() as folder:
        failed = check_all(entries.values(), Path(folder))
    print(f"{len(entries) - failed} of {len(entries)} sources pass")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
