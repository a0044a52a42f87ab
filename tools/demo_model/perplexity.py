"""Perplexity of held-out conversations, by tandem itself.

    python3 perplexity.py --tandem ../../build/release/src/tandem --packages packages.json.xz

Needs the Python package tokenizers (./test puts it into .deps/oracle). Two sets: synopses asked
for in phrasings that are held out of training, and descriptions of packages whose description is.
"""

import argparse
import json
import lzma
import math
import random
import subprocess
import tempfile
from pathlib import Path

import corpus
import phrasings

MODEL = Path(__file__).resolve().parents[2] / "models" / "tandem-demo"
TRAINING_SEED = 20261124


def score(tandem, ids, activations):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(ids, file)
        file.flush()
        out = subprocess.run(
            [tandem, "score", str(MODEL), "--ids", file.name, "--top-logprobs", "0", "--json",
             "--activations", activations],
            check=True, capture_output=True, text=True).stdout
    return [token["logprob"] for token in json.loads(out)["tokens"]]


def perplexity(tandem, encoded, activations):
    """Over the answers' tokens, each conversation from position 0."""
    ids, mask, ends = encoded
    total, count, begin = 0.0, 0, 0
    for end in ends.tolist():
        logprobs = score(tandem, ids[begin:end].tolist(), activations)
        for logprob, wanted in zip(logprobs, mask[begin:end]):
            if wanted:
                total -= logprob
                count += 1
        begin = end
    return math.exp(total / count), count


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tandem", required=True)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    packages = json.loads(lzma.decompress(args.packages.read_bytes()))
    random.Random(TRAINING_SEED).shuffle(packages)
    described = [p for p in packages if p["description"]]
    rng = random.Random(1)
    sets = {
        "synopses, held-out phrasings": [
            [(rng.choice(phrasings.WHAT_HELD_OUT).format(n=p["name"]), corpus.what_answer(p))]
            for p in rng.sample(packages, args.count)],
        "held-out descriptions": [
            [(rng.choice(phrasings.MORE).format(n=p["name"]), corpus.more_answer(p))]
            for p in rng.sample(described[: len(described) // 50], args.count)],
    }
    tokenizer = corpus.Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    for name, talks in sets.items():
        encoded = corpus.encode(tokenizer, talks, 1)
        for activations in ("f32", "bf16", "int8"):
            value, count = perplexity(args.tandem, encoded, activations)
            print(f"{name}, --activations {activations}: {value:.4f} over {count} tokens",
                  flush=True)


if __name__ == "__main__":
    main()
