"""Seeded tensors and the files they go into, with numpy alone.

The same names, shapes and seed give the same bytes in every environment, so that a reference
computed elsewhere (make_golden.py, with torch) belongs to the checkpoint that the tests write here.
"""

import json
import zlib

import numpy as np


def draw(name, shape, seed):
    """float32 values for a parameter, spread so that a deep stack neither fades nor blows up."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    noise = rng.standard_normal(size=shape).astype(np.float32)
    if "norm" in name:
        # Gemma stores its norms less one; the caller subtracts it.
        return 1.0 + 0.2 * noise
    if name.endswith("correction_bias"):
        # Positive: mlx-lm lets experts of groups that are out back in at a score of zero, which a
        # negative sum would lose against. golden/deepseek_v3_yarn.json has negative ones.
        return 0.1 * np.abs(noise)
    if name.endswith("bias"):
        return 0.1 * noise
    if "embed_tokens" in name:
        return noise
    if name.endswith(("mlp.gate.weight", "moe.gate.weight")):
        return noise * (1.5 / np.sqrt(shape[-1])).astype(np.float32)
    return noise * (1.0 / np.sqrt(shape[-1])).astype(np.float32)


def to_bf16(values):
    """The bits of float32 values rounded to bfloat16, to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def is_projection(name):
    """Matrices that an fp8 checkpoint stores in fp8."""
    return name.endswith(("_proj.weight", "_mqa.weight"))


def e4m3_values():
    """The value of each of the 256 codes; the two NaN codes are nan."""
    codes = np.arange(256)
    exponent, fraction = (codes >> 3) & 15, codes & 7
    values = np.where(
        exponent == 0, fraction * 2.0**-9, (8 + fraction) * 2.0 ** (exponent - 10.0)
    )
    values[(codes & 127) == 127] = np.nan
    return np.where(codes >= 128, -values, values).astype(np.float32)


def to_e4m3(values):
    """Codes of the nearest representable values."""
    table = e4m3_values()[:127]
    index = np.searchsorted((table[1:] + table[:-1]) / 2, np.abs(values))
    return (index + 128 * (values < 0)).astype(np.uint8)


def fp8_blocks(values, block=128):
    """(codes, scale_inv) of a matrix, one scale for each block x block square."""
    rows, cols = values.shape
    scale = np.zeros((-(-rows // block), -(-cols // block)), np.float32)
    codes = np.zeros(values.shape, np.uint8)
    for r in range(scale.shape[0]):
        for c in range(scale.shape[1]):
            at = np.s_[r * block : (r + 1) * block, c * block : (c + 1) * block]
            scale[r, c] = np.abs(values[at]).max() / 448.0
            codes[at] = to_e4m3(values[at] / scale[r, c])
    return codes, scale


def from_fp8_blocks(codes, scale, block=128):
    """What the codes mean: value * scale_inv, rounded to bfloat16, as float32."""
    spread = np.repeat(np.repeat(scale, block, 0), block, 1)[: codes.shape[0], : codes.shape[1]]
    return from_bf16(to_bf16(e4m3_values()[codes] * spread))


_DTYPES = {
    np.dtype(np.float32): "F32",
    np.dtype(np.float16): "F16",
    np.dtype(np.uint16): "BF16",
    np.dtype(np.uint32): "U32",
    np.dtype(np.uint8): "F8_E4M3",
}


def write_safetensors(path, arrays):
    """numpy arrays; uint16 stands for bfloat16 bits and uint8 for e4m3 codes."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": _DTYPES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes())


def write_folder(folder, config, arrays, shards=1):
    """A model folder: config, weights in `shards` files with an index, a word-level tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    names = sorted(arrays)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", {n: arrays[n] for n in names})
    else:
        index = {}
        for i in range(shards):
            file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
            part = names[i::shards]
            write_safetensors(folder / file, {n: arrays[n] for n in part})
            index.update({n: file for n in part})
        total = sum(a.nbytes for a in arrays.values())
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {"total_size": total}, "weight_map": index})
        )
    text = config.get("text_config", config)
    vocab = {f"t{i}": i for i in range(text["vocab_size"])}
    (folder / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": [],
                "normalizer": None,
                "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": None,
                "decoder": None,
                "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "t0"},
            }
        )
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
