"""tandem against mlx-lm: logits of all positions and a greedy continuation, case by case.

    run.py --tandem build/src/tandem [--family llama] [--match q4g64] [--keep DIR]
"""

import argparse
import pathlib
import shutil
import sys
import tempfile
import time

import numpy as np

import cases
import checkpoint
import compare
import drivers


def choose_prompt(model, case):
    """Random ids, none of which is a near tie between experts: reduced activations may then choose
    others than the reference, and that result, and all that attend to it, would be another one
    rather than a less precise one. Grows by the candidate that stays clear the longest."""
    rng = np.random.default_rng(case.seed)
    if case.activations == ("f32",):
        return [int(i) for i in rng.integers(0, case.config["vocab_size"], case.tokens)]
    ids = []
    for _ in range(200):
        ahead = min(8, case.tokens - len(ids))
        tails = rng.integers(0, case.config["vocab_size"], (8, ahead))
        rows = [ids + [int(i) for i in tail] for tail in tails]
        margins = checkpoint.routing_margins(model, case.config, rows)[:, len(ids) :]
        clear = np.cumprod(margins >= compare.ROUTING_TIE, axis=1).sum(1)
        best = int(clear.argmax())
        ids = rows[best][: len(ids) + int(clear[best])]
        if len(ids) == case.tokens:
            return ids
    raise drivers.Failure("no prompt without near ties between experts was found")


def run_case(case, folder, driver):
    """What is wrong with the case: a list of lines."""
    model = checkpoint.make(folder, case)
    ids = choose_prompt(model, case)

    def reference_of(tokens):
        return compare.log_softmax(checkpoint.logits(model, tokens))

    reference = reference_of(ids)
    wrong = []
    for activations in case.activations:
        ours = driver.log_probabilities(folder, ids, activations, reference.shape[1])
        wrong.append(compare.judge(ours, reference, activations))
    continuation = driver.greedy(folder, ids, compare.CONTINUATION)
    wrong.append(compare.judge_greedy(ids, continuation, compare.CONTINUATION, reference_of))
    return [line for line in wrong if line]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tandem", help="the binary under test")
    parser.add_argument("--probe", help="decoder_probe instead of the binary")
    parser.add_argument("--probe-flag", action="append", default=[])
    parser.add_argument("--family", action="append", help="only these families")
    parser.add_argument("--variants", action="store_true",
                        help="only families that are others under another name")
    parser.add_argument("--match", default="", help="only cases whose name contains this")
    parser.add_argument("--keep", type=pathlib.Path, help="leave the folders there")
    options = parser.parse_args()
    if options.probe:
        driver = drivers.Probe(options.probe, options.probe_flag)
    else:
        driver = drivers.Cli(options.tandem)
    chosen = [c for c in cases.all_cases() if options.match in c.name
              and (not options.family or c.family in options.family)
              and (not options.variants or c.family in cases.VARIANTS)]
    failed = 0
    for case in chosen:
        root = options.keep or pathlib.Path(tempfile.mkdtemp(prefix="tandem-oracle-"))
        folder, begin = root / case.name, time.monotonic()
        try:
            wrong = run_case(case, folder, driver)
        except drivers.Failure as error:
            wrong = [str(error)]
        finally:
            if not options.keep:
                shutil.rmtree(root)
        failed += bool(wrong)
        seconds = time.monotonic() - begin
        print(f"{'FAIL' if wrong else 'ok  '} {case.name} seed {case.seed} ({seconds:.1f} s)",
              *wrong, sep="\n     ", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} cases agree")
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
