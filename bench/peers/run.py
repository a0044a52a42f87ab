"""Measures tandem and its peers in turn; see README.md beside this file.

    python3 bench/peers/run.py FOLDER --tandem build/release/src/tandem --rounds 5
"""

import argparse
import json
import time
from pathlib import Path

import lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of prepare.py")
    parser.add_argument("--tandem", required=True, help="the binary")
    parser.add_argument("--model", type=Path, help="instead of FOLDER/llama-1b")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lines", default=",".join(lines.LINES), metavar="NAME,NAME",
                        help="some of " + ", ".join(lines.LINES))
    parser.add_argument("--out", type=Path, help="instead of FOLDER/results.jsonl; appended to")
    parser.add_argument("--short", action="store_true",
                        help="few tokens: shows that the scripts work, measures nothing")
    args = parser.parse_args()
    names = args.lines.split(",")
    if unknown := [name for name in names if name not in lines.LINES]:
        parser.error(f"--lines: there is no {unknown[0]}; there are {', '.join(lines.LINES)}")
    tools = lines.Tools(args.folder, args.tandem, args.model or args.folder / "llama-1b",
                        args.short)
    with open(args.out or args.folder / "results.jsonl", "a", encoding="utf-8") as out:
        for _ in range(args.rounds):
            for name in names:
                got = {"line": name, "time": round(time.time()), **lines.LINES[name](tools)}
                out.write(json.dumps(got) + "\n")
                out.flush()
                speeds = (f"{kind} {got[kind + '_tps']:.2f}" for kind in ("prompt", "decode")
                          if kind + "_tps" in got)
                print(f"{name}: {', '.join(speeds)} tok/s", flush=True)


if __name__ == "__main__":
    main()
