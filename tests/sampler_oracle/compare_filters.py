"""Compares our penalties and filters with mlx_lm/sample_utils.py on random rows.

usage: compare_filters.py PROBE_BINARY [SEED]
"""

import json
import random
import subprocess
import sys

import mlx.core as mx
import numpy as np
from mlx_lm import sample_utils

PENALTIES = ("repetition", "presence", "frequency")


def random_case(rng):
    size = rng.choice([5, 40, 1000, 3000])
    scale = rng.choice([0.3, 2.0, 8.0])
    logits = np.array([rng.gauss(0, scale) for _ in range(size)], np.float32)
    if rng.random() < 0.2:  # masked tokens
        logits[rng.sample(range(size), size // 3)] = -1e30
    history = [rng.randrange(size) for _ in range(rng.choice([0, 1, 5, 60]))]
    params = {}
    for name in PENALTIES:
        if rng.random() < 0.4:
            params[f"{name}_penalty"] = rng.choice([0.5, 1.1, 2.0])
            params[f"{name}_context"] = rng.choice([0, 1, 4, 20])
    if rng.random() < 0.3:
        params["logit_bias"] = [[i, rng.uniform(-5, 5)] for i in rng.sample(range(size), 3)]
    if rng.random() < 0.5:
        params["top_p"] = rng.choice([0.01, 0.1, 0.5, 0.9, 0.999])
    if rng.random() < 0.5:
        params["min_p"] = rng.choice([0.001, 0.05, 0.3, 0.9])
        params["min_tokens_to_keep"] = rng.choice([1, 1, 2, 4])
    if rng.random() < 0.4:
        params["xtc_probability"] = 1.0
        params["xtc_threshold"] = rng.choice([0.0, 0.01, 0.1, 0.5])
        params["xtc_special_tokens"] = rng.sample(range(size), rng.choice([0, 2]))
    if rng.random() < 0.5:
        params["top_k"] = rng.randrange(1, size)
    return {"logits": [float(x) for x in logits], "history": history, "params": params}


def reference(case):
    """Penalized logits and the set of ids that mlx-lm leaves."""
    params = case["params"]
    logits = mx.array([case["logits"]], mx.float32)
    bias = {i: value for i, value in params.get("logit_bias", [])}
    arguments = {}
    for name in PENALTIES:
        if f"{name}_penalty" in params:
            arguments[f"{name}_penalty"] = params[f"{name}_penalty"]
            arguments[f"{name}_context_size"] = params[f"{name}_context"]
    processors = sample_utils.make_logits_processors(logit_bias=bias or None, **arguments)
    tokens = mx.array(case["history"], mx.int32)
    for processor in processors:
        logits = processor(tokens, logits)
    row = logits - mx.logsumexp(logits, keepdims=True)
    if 0 < params.get("top_p", 1) < 1:
        row = sample_utils.apply_top_p(row, params["top_p"])
    if params.get("min_p"):
        row = sample_utils.apply_min_p(row, params["min_p"], params["min_tokens_to_keep"])
    if params.get("xtc_probability"):
        row = sample_utils.apply_xtc(row, 1.0, params["xtc_threshold"],
                                     params["xtc_special_tokens"])
    if params.get("top_k"):
        row = sample_utils.apply_top_k(row, params["top_k"])
    left = np.array(row[0])
    return np.array(logits[0]), set(np.flatnonzero(left > -np.inf).tolist())


def near_a_cut(case, ours, left, other):
    """Whether two sets differ by tokens within rounding of a threshold only.

    mlx sums in float32 and we in float64, so the last token of a nucleus may differ when the mass
    before it equals top_p to five digits; and of two equal values either may be the last kept.
    """
    differ = sorted(left ^ other)
    if len(differ) > 2:
        return False
    values = np.array(ours["logprobs"], np.float64)
    if len(differ) == 2 and abs(values[differ[0]] - values[differ[1]]) < 1e-5:
        return True
    if "top_p" not in case["params"]:
        return False
    order = np.sort(np.exp(values))[::-1]
    mass = np.cumsum(order) - order
    return np.min(np.abs(mass - case["params"]["top_p"] * order.sum())) < 5e-6


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    cases = [random_case(rng) for _ in range(600)]
    done = subprocess.run([sys.argv[1]], input="\n".join(json.dumps(c) for c in cases) + "\n",
                          capture_output=True, text=True, timeout=250)
    if done.returncode != 0:
        sys.exit(f"the probe ended with {done.returncode}: {done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(cases):
        sys.exit(f"{len(cases)} rows, {len(answers)} answers")

    filtered, close = 0, 0
    for number, (case, ours) in enumerate(zip(cases, answers)):
        logits, left = reference(case)
        penalized = np.array(ours["penalized"], np.float32)
        if not np.allclose(penalized, logits, rtol=1e-5, atol=1e-5):
            sys.exit(f"row {number}: penalties differ: {case['params']}")
        kept = set(ours["ids"])
        filtered += len(kept) < len(penalized)
        if kept != left:
            if not near_a_cut(case, ours, kept, left):
                sys.exit(f"row {number}: we keep {len(kept)}, mlx-lm {len(left)}, difference "
                         f"{sorted(kept ^ left)[:8]}: {case['params']}")
            close += 1
    print(f"{len(cases)} rows agree, {filtered} of them filtered, {close} within rounding of a cut")
    if filtered < len(cases) // 3 or close > len(cases) // 100:
        sys.exit("the comparison has lost its meaning")


if __name__ == "__main__":
    main()
