"""Speed of mlx-lm on this machine's CPU, by its own generation loop; prints one JSON object.

    FOLDER/venv/bin/python bench/peers/mlx_lm_speed.py MODEL --dtype f32 -p 17 -n 4

The prompt's time ends when its last token but one is in the cache: the last one is computed with the
head, as every drawn token is. MLX's CPU backend takes a prompt token by token, so that the length
of the prompt hardly matters; use one that ends within a minute.
"""

import argparse
import json
import time
from importlib import metadata

import mlx.core as mx
from mlx_lm import load
from mlx_lm.generate import generate_step


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
    marks = []

    def progress(done, total):
        if done == total - 1:
            marks.append(time.perf_counter())

    begin = time.perf_counter()
    for _ in generate_step(prompt, model, max_tokens=args.n, prompt_progress_callback=progress):
        drawn = time.perf_counter()
    prefilled = marks[0]
    print(json.dumps({"prompt_tps": (args.p - 1) / (prefilled - begin),
                      "decode_tps": args.n / (drawn - prefilled),
                      "version": f"mlx-lm {metadata.version('mlx-lm')}, "
                                 f"mlx {metadata.version('mlx')}"}))


if __name__ == "__main__":
    main()
