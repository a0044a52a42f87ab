#!/usr/bin/env python3
"""Compares a model's log-probabilities on the GPU with those on the CPU.

    bench/devices.py --tandem build/release/src/tandem MODEL --tokens 400

Scores the same random token ids with `tandem score` on the CPU (f32, bf16, int8) and on the GPU
(f32, bf16) and prints how far the 20 likeliest candidates of each position are from the CPU's in
f32. The test of a GPU: exit code 1 where its f32 is off by more than 2 % of the spread, or its bf16
by more than twice what the CPU's bf16 is. --bf16-only: for our own kernels, which have no f32.
"""
import argparse
import contextlib
import json
import math
import random
import subprocess
import sys
import tempfile

RUNS = [("cpu", "bf16"), ("cpu", "int8"), ("gpu", "f32"), ("gpu", "bf16")]
TOP = 20
F32_LIMIT = 0.02  # of the spread; experts whose scores are alike may be chosen differently
BF16_LIMIT = 2  # times the CPU's own error in bf16


def score(args, ids_file, device, activations):
    """The scored tokens, or None after printing why there are none."""
    run = subprocess.run(
        [args.tandem, "score", args.model, "--ids", ids_file, "--top-logprobs", str(TOP), "--json",
         "--device", device, "--activations", activations],
        capture_output=True, text=True)
    if run.returncode != 0:
        print(f"{device} {activations}: {run.stderr.strip()}")
        return None
    return json.loads(run.stdout)["tokens"][1:]


def compare(reference, tokens):
    """(rms of the differences, standard deviation of the reference, positions of the same best)."""
    errors, values, same = [], [], 0
    for ours, theirs in zip(reference, tokens):
        found = {each["id"]: each["logprob"] for each in theirs["top"]}
        same += ours["top"][0]["id"] == theirs["top"][0]["id"]
        for each in ours["top"]:
            if each["id"] in found:
                errors.append(each["logprob"] - found[each["id"]])
                values.append(each["logprob"])
    mean = sum(values) / len(values)
    rms = math.sqrt(sum(error * error for error in errors) / len(errors))
    return rms, math.sqrt(sum((v - mean) ** 2 for v in values) / len(values)), same


def arguments(description):
    """The command line that this and mixed_devices.py have in common."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--tandem", required=True)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--ids-below", type=int, default=8000, help="of the vocabulary")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16-only", action="store_true", help="no f32 on the GPU")
    return parser.parse_args()


@contextlib.contextmanager
def random_ids(args):
    """The name of a file with the ids to score."""
    rng = random.Random(args.seed)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([rng.randrange(args.ids_below) for _ in range(args.tokens)], file)
        file.flush()
        yield file.name


def main():
    args = arguments(__doc__)
    failed = False
    offs = {}
    with random_ids(args) as ids:
        reference = score(args, ids, "cpu", "f32")
        if reference is None:
            sys.exit(1)
        for device, activations in RUNS:
            if args.bf16_only and (device, activations) == ("gpu", "f32"):
                continue
            tokens = score(args, ids, device, activations)
            if tokens is None:
                failed = True
                continue
            rms, spread, same = compare(reference, tokens)
            offs[device, activations] = rms / spread
            print(f"{device} {activations}: rms {rms:.3e}, {rms / spread:.2e} of the spread, "
                  f"same best token at {same} of {len(reference)} positions", flush=True)
    limits = {("gpu", "f32"): F32_LIMIT}
    if ("cpu", "bf16") in offs:
        limits["gpu", "bf16"] = BF16_LIMIT * offs["cpu", "bf16"]
    for run, limit in limits.items():
        if offs.get(run, 0) > limit:
            print(f"{' '.join(run)}: WRONG, more than {limit:.2e} of the spread")
            failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
