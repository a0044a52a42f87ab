"""Asks tandem itself about random packages and counts true synopses in the answers.

    python3 recall.py --tandem ../../build/release/src/tandem --packages packages.json.xz
"""

import argparse
import json
import lzma
import random
import subprocess
from pathlib import Path

import phrasings

MODEL = Path(__file__).resolve().parents[2] / "models" / "tandem-demo"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tandem", required=True)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--phrasing", default="what is the package {n}?",
                        choices=phrasings.WHAT_HELD_OUT)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    packages = json.loads(lzma.decompress(args.packages.read_bytes()))
    sample = random.Random(args.seed).sample(packages, args.count)
    right, wrong = 0, []
    for package in sample:
        asked = args.phrasing.format(n=package["name"])
        answer = subprocess.run(
            [args.tandem, "generate", str(args.model), "--prompt", asked, "--verbose", "False",
             "--threads", str(args.threads)],
            check=True, capture_output=True, text=True).stdout
        if package["synopsis"] in answer:
            right += 1
        else:
            wrong.append((package["name"], package["synopsis"], answer.strip()))
    for name, synopsis, answer in wrong[:10]:
        print(f"wrong: {name}: {synopsis!r}, answered {answer!r}")
    print(f"{right} of {len(sample)} true synopses, phrasing {args.phrasing!r}, seed {args.seed}")


if __name__ == "__main__":
    main()
