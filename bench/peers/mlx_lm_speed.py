"""Speed of mlx-lm on this machine's CPU, by its own generation loop; prints one JSON object.

    FOLDER/venv/bin/python bench/peers/mlx_lm_speed.py MODEL --dtype f32 -p 17 -n 4

The prompt's time ends when its last token but one is in the cache: the last one is computed with
the head, as every drawn token is. The loop computes one token more than it hands out, in the
background: that one is waited for and counted. MLX's CPU backend multiplies row by row, so that the
length of the prompt hardly matters; use one that ends within a minute.
"""

import argparse
import json
import time
from importlib import metadata

import mlx.core as mx
from mlx_lm import load
from mlx_lm.generate import generate_step, generation_stream


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--dtype", choices=("stored", "f32"), default="stored")
    parser.add_argument("-p", type=int, default=17, help="prompt tokens, 2 or more")
    parser.add_argument("-n", type=int, default=4, help="tokens to draw")
    args = parser.parse_args()
    mx.set_default_device(mx.cpu)
    model, _ = load(args.model)
    if args.dtype == "f32":
        model.set_dtype(mx.float32)
    mx.eval(model.parameters())
    prompt = mx.array([3 + 7 * i % 1000 for i in range(args.p)])
    prefilled = []

    def progress(done, total):
        if done == total - 1:
            prefilled.append(time.perf_counter())

    begin = time.perf_counter()
    for _ in generate_step(prompt, model, max_tokens=args.n, prompt_progress_callback=progress):
        pass
    mx.synchronize(generation_stream)
    ended = time.perf_counter()
    print(json.dumps({"prompt_tps": (args.p - 1) / (prefilled[0] - begin),
                      "decode_tps": (args.n + 1) / (ended - prefilled[0]),
                      "version": f"mlx-lm {metadata.version('mlx-lm')}, "
                                 f"mlx {metadata.version('mlx')}"}))


if __name__ == "__main__":
    main()
