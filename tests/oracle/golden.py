"""References that transformers computed once, kept as small files: golden/*.json.

mlx-lm is not the reference where it differs from the models' own code: it gives Mistral, Qwen 2 and
Gemma 2 full attention where they slide, DeepSeek-V3 experts of groups that are out, Phi-3 the long
factors always. A file holds a config, a seed, the tensors' names and shapes (Hugging Face's own)
and the logits; the weights are drawn again from the seed (tensors.py). make_golden.py writes the
files.

    golden.py --tandem build/src/tandem [--match fp8]
"""

import argparse
import base64
import json
import pathlib
import shutil
import sys
import tempfile
import zlib

import numpy as np

import compare
import drivers
import tensors

FOLDER = pathlib.Path(__file__).parent / "golden"


def pack(logits):
    """Logits as 16-bit steps of their range: 1e-4 of a deviation at most."""
    low, high = float(logits.min()), float(logits.max())
    steps = np.round((logits - low) / (high - low) * 65535).astype("<u2")
    data = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()
    return {"low": low, "high": high, "shape": list(logits.shape), "data": data}


def unpack(packed):
    steps = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), "<u2")
    span = packed["high"] - packed["low"]
    return (packed["low"] + steps / 65535 * span).reshape(packed["shape"])


def weights_of(golden):
    """(tensors of the folder, float32 values that the model computes with), by name."""
    stored, values = {}, {}
    for name, shape in golden["tensors"].items():
        drawn = tensors.draw(name, shape, golden["seed"])
        # The gated norms of recurrent layers are stored as they are.
        if golden.get("norms_less_one") and "norm" in name and "linear_attn" not in name:
            drawn = drawn - 1.0
        if golden.get("negative_corrections") and name.endswith("e_score_correction_bias"):
            drawn = -6.0 * drawn
        if golden["dtype"] == "fp8" and tensors.is_projection(name):
            codes, scale = tensors.fp8_blocks(drawn)
            stored[name], stored[name + "_scale_inv"] = codes, scale
            values[name] = tensors.from_fp8_blocks(codes, scale)
        elif golden["dtype"] == "f32" or name.endswith("e_score_correction_bias"):
            stored[name] = values[name] = drawn
        else:
            stored[name] = tensors.to_bf16(drawn)
            values[name] = tensors.from_bf16(stored[name])
    return stored, values


def check(golden, folder, driver):
    stored, _ = weights_of(golden)
    tensors.write_folder(folder, golden["config"], stored)
    reference = compare.log_softmax(unpack(golden["logits"]))
    ours = driver.log_probabilities(folder, golden["ids"], "f32", reference.shape[1])
    wrong = [compare.judge(ours, reference, "f32")]
    continuation = driver.greedy(folder, golden["ids"], compare.CONTINUATION)
    if golden["greedy"] != continuation:
        wrong.append(f"greedy: {continuation} instead of {golden['greedy']}")
    return [line for line in wrong if line]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tandem", help="the binary under test")
    parser.add_argument("--probe", help="decoder_probe instead of the binary")
    parser.add_argument("--match", default="", help="only files whose name contains this")
    options = parser.parse_args()
    driver = drivers.Probe(options.probe) if options.probe else drivers.Cli(options.tandem)
    files = sorted(f for f in FOLDER.glob("*.json") if options.match in f.name)
    failed = 0
    for file in files:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="tandem-golden-"))
        try:
            wrong = check(json.loads(file.read_text()), folder, driver)
        except drivers.Failure as error:
            wrong = [str(error)]
        finally:
            shutil.rmtree(folder)
        failed += bool(wrong)
        print(f"{'FAIL' if wrong else 'ok  '} {file.stem}", *wrong, sep="\n     ", flush=True)
    print(f"{len(files) - failed} of {len(files)} references agree")
    return 1 if failed or not files else 0


if __name__ == "__main__":
    sys.exit(main())
