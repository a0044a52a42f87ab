#!/usr/bin/env python3
"""Compares a pipeline of a CPU rank and a GPU rank with one device.

    bench/mixed_devices.py --tandem build/release/src/tandem MODEL --tokens 400

Scores the same random token ids on the CPU alone in f32, on the CPU alone in bf16, and on two local
ranks, CPU and GPU in either order, in f32 and bf16: hidden states cross from one device to the
other. Prints how far the 20 likeliest candidates of each position are from the CPU's in f32. Exit
code 1 where a mixed pipeline is off by more than devices.py allows a GPU alone. --bf16-only: for
our own kernels, which have no f32.
"""
import sys

import devices

ORDERS = ("cpu,gpu", "gpu,cpu")


def main():
    args = devices.arguments(__doc__)
    failed = False
    with devices.random_ids(args) as ids:
        reference = devices.score(args, ids, "cpu", "f32")
        alone = devices.score(args, ids, "cpu", "bf16")
        if reference is None or alone is None:
            sys.exit(1)
        rms, spread, _ = devices.compare(reference, alone)
        print(f"cpu bf16: {rms / spread:.2e} of the spread")
        limits = {"f32": devices.F32_LIMIT, "bf16": devices.BF16_LIMIT * rms / spread}
        if args.bf16_only:
            del limits["f32"]
        for order in ORDERS:
            for activations, limit in limits.items():
                tokens = devices.score(args, ids, order, activations)
                if tokens is None:
                    failed = True
                    continue
                rms, spread, same = devices.compare(reference, tokens)
                wrong = rms / spread > limit
                failed |= wrong
                print(f"{order} {activations}: {rms / spread:.2e} of the spread, at most "
                      f"{limit:.2e}, same best token at {same} of {len(reference)} positions"
                      f"{' WRONG' if wrong else ''}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
