"""What int8 activations cost: perplexity, divergence and greedy agreement against float32.

    python3 accuracy.py --tandem ../../build/release/src/tandem --packages packages.json.xz
    python3 accuracy.py … --activations int8,int8+kv8       # what KV in 8 bits adds to that

Needs the Python package tokenizers (./test puts it into .deps/oracle). Two sets of held-out text:
synopses asked for in phrasings that are held out of training, and descriptions of packages whose
description is. Only the answers' tokens count, each conversation from position 0.

The divergence is KL(f32 || other) a token, over the likeliest tokens of both and one rest; the
greedy figure compares whole answers drawn at temperature 0.
"""

import argparse
import json
import lzma
import math
import random
import statistics
import subprocess
import tempfile
from pathlib import Path

import corpus
import phrasings

MODEL = Path(__file__).resolve().parents[2] / "models" / "tandem-demo"
TRAINING_SEED = 20261124
CANDIDATES = 256  # likeliest tokens that the divergence is taken over
GREEDY_TOKENS = 64  # of an answer, at most


def run(command):
    return json.loads(subprocess.run([str(word) for word in command], check=True,
                                     capture_output=True, text=True).stdout)


def precision_flags(kind):
    """"int8+kv8" -> activations in int8, KV too."""
    activations, _, kv = kind.partition("+kv")
    return ["--activations", activations, *(["--kv-bits", kv] if kv else [])]


def score(tandem, ids, activations):
    """What the model says before each of ids[1:]: its log-probability and the likeliest tokens."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(ids, file)
        file.flush()
        out = run([tandem, "score", MODEL, "--ids", file.name, "--top-logprobs", CANDIDATES,
                   "--json", *precision_flags(activations)])
    return [(token["logprob"], {top["id"]: top["logprob"] for top in token["top"]})
            for token in out["tokens"]]


def divergence(reference, other):
    """KL(reference || other) of two {token: log-probability}; all else is one outcome."""
    shared = reference.keys() & other.keys()
    total = sum(math.exp(reference[t]) * (reference[t] - other[t]) for t in shared)
    rest = [max(1e-12, 1 - sum(math.exp(side[t]) for t in shared)) for side in (reference, other)]
    return total + rest[0] * math.log(rest[0] / rest[1])


def held_out(packages, count):
    """{name: [(question, answer)]}, `count` of each where there are as many."""
    random.Random(TRAINING_SEED).shuffle(packages)
    described = [p for p in packages if p["description"]]
    untold = described[: len(described) // 50]
    rng = random.Random(1)
    return {
        "synopses, held-out phrasings": [
            (rng.choice(phrasings.WHAT_HELD_OUT).format(n=p["name"]), corpus.what_answer(p))
            for p in rng.sample(packages, min(count, len(packages)))],
        "held-out descriptions": [
            (rng.choice(phrasings.MORE).format(n=p["name"]), corpus.more_answer(p))
            for p in rng.sample(untold, min(count, len(untold)))],
    }


def conversations(talks):
    """(ids, mask) of each."""
    tokenizer = corpus.Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    ids, mask, ends = corpus.encode(tokenizer, [[talk] for talk in talks], 1)
    begin = 0
    for end in ends.tolist():
        yield ids[begin:end].tolist(), mask[begin:end].tolist()
        begin = end


class Against:
    """One precision beside the reference."""

    def __init__(self):
        self.changes = []  # of the loss of each token
        self.divergences = []
        self.same = 0  # tokens whose likeliest is the same

    def add(self, reference, other):
        for (own, ours), (their, theirs) in zip(reference, other):
            self.changes.append(own - their)
            self.divergences.append(divergence(ours, theirs))
            self.same += max(ours, key=ours.get) == max(theirs, key=theirs.get)

    def text(self, reference_loss):
        count = len(self.changes)
        change = statistics.fmean(self.changes)
        error = 100 * statistics.stdev(self.changes) / math.sqrt(count)
        return (f"{math.exp(reference_loss + change):.4f}, {100 * math.expm1(change):+.3f} % "
                f"(standard error {error:.3f}), KL {statistics.fmean(self.divergences):.6f}, "
                f"same likeliest token {100 * self.same / count:.2f} %")


def compare(name, tandem, talks, reference, others):
    """Perplexity with the reference, and of the others against it, token by token."""
    losses = []
    found = [Against() for _ in others]
    for ids, mask in conversations(talks):
        base = score(tandem, ids, reference)
        wanted = [i for i, own in enumerate(mask) if own]
        losses += [-base[i][0] for i in wanted]
        for kind, against in zip(others, found):
            other = score(tandem, ids, kind)
            against.add([base[i] for i in wanted], [other[i] for i in wanted])
    mean = statistics.fmean(losses)
    print(f"{name}, {len(losses)} tokens: perplexity {math.exp(mean):.4f} with {reference}")
    for kind, against in zip(others, found):
        print(f"  {kind}: {against.text(mean)}", flush=True)


def answers(tandem, questions, activations):
    return [run([tandem, "generate", MODEL, "-p", question, "-m", GREEDY_TOKENS, "--json",
                 *precision_flags(activations)])["ids"] for question in questions]


def greedy(tandem, questions, reference, others):
    base = answers(tandem, questions, reference)
    for kind in others:
        pairs = list(zip(base, answers(tandem, questions, kind)))
        same = sum(a == b for a, b in pairs)
        tokens = sum(max(len(a), len(b)) for a, b in pairs)
        agreed = sum(x == y for a, b in pairs for x, y in zip(a, b))
        print(f"greedy answers, {kind}: {same} of {len(pairs)} the same as with {reference}, "
              f"{100 * agreed / tokens:.2f} % of {tokens} tokens", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tandem", required=True)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200, help="conversations of each set, at most")
    parser.add_argument("--activations", default="f32,bf16,int8",
                        help="the first is what the others are compared with; +kv8 behind one: KV "
                        "in 8 bits")
    args = parser.parse_args()
    reference, *others = args.activations.split(",")
    packages = json.loads(lzma.decompress(args.packages.read_bytes()))
    sets = held_out(packages, args.count)
    for name, talks in sets.items():
        compare(name, args.tandem, talks, reference, others)
    questions = [question for talks in sets.values() for question, _ in talks]
    greedy(args.tandem, questions, reference, others)


if __name__ == "__main__":
    main()
