"""Writes a model of a real model's shape with random 4-bit weights, for speed only.

    python3 bench/shape_model.py llama-1b FOLDER

Standard library only; the same shape gives the same bytes. The tokenizer knows bytes and nothing
else: use --prompt-ids, or `tandem bench`.
"""

import array
import json
import pathlib
import random
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "cluster"))
import tiny_model  # noqa: E402

GROUP, BITS = 64, 4
SHAPES = {
    # Llama-3.2-1B: 695 MB
    "llama-1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
                 "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
                 "vocab_size": 128256},
    # the same proportions, for a quick look: 26 MB
    "llama-50m": {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 8,
                  "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 64,
                  "vocab_size": 32000},
}


def bf16(value):
    """The upper half of the float32."""
    return struct.unpack("<I", struct.pack("<f", value))[0] >> 16


def quantized(name, rows, cols, rng):
    """Random integers with scales that keep a layer's output about as large as its input."""
    groups = rows * cols // GROUP
    scale = (12 / cols) ** 0.5 / 16
    yield f"{name}.weight", "U32", [rows, cols * BITS // 32], rng.randbytes(rows * cols * BITS // 8)
    # Every scale a little different, so that no kernel profits from equal ones.
    scales = array.array("H", (bf16(scale * (1 + 0.01 * i)) for i in range(16)))
    biases = array.array("H", (bf16(-7.5 * scale * (1 + 0.01 * i)) for i in range(16)))
    for part, values in (("scales", scales), ("biases", biases)):
        data = (values * (groups // len(values) + 1)).tobytes()[:groups * 2]
        yield f"{name}.{part}", "BF16", [rows, cols // GROUP], data


def norm(name, cols):
    yield f"{name}.weight", "BF16", [cols], struct.pack("<H", bf16(1.0)) * cols


def tensors(shape, rng):
    hidden, inter = shape["hidden_size"], shape["intermediate_size"]
    head = shape["head_dim"]
    heads, kv = shape["num_attention_heads"] * head, shape["num_key_value_heads"] * head
    yield from quantized("model.embed_tokens", shape["vocab_size"], hidden, rng)
    yield from norm("model.norm", hidden)
    for layer in range(shape["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield from norm(prefix + "input_layernorm", hidden)
        yield from norm(prefix + "post_attention_layernorm", hidden)
        for part, rows, cols in (
                ("self_attn.q_proj", heads, hidden), ("self_attn.k_proj", kv, hidden),
                ("self_attn.v_proj", kv, hidden), ("self_attn.o_proj", hidden, heads),
                ("mlp.gate_proj", inter, hidden), ("mlp.up_proj", inter, hidden),
                ("mlp.down_proj", hidden, inter)):
            yield from quantized(prefix + part, rows, cols, rng)


def write_weights(path, items):
    header, offset = {}, 0
    body = path.with_suffix(".body")
    with body.open("wb") as out:
        for name, dtype, shape, data in items:
            header[name] = {"dtype": dtype, "shape": shape,
                            "data_offsets": [offset, offset + len(data)]}
            offset += len(data)
            out.write(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 64)
    with path.open("wb") as out, body.open("rb") as data:
        out.write(struct.pack("<Q", len(text)) + text)
        while block := data.read(1 << 24):
            out.write(block)
    body.unlink()


def write(name, folder):
    shape = SHAPES[name]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], **shape,
              "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "max_position_embeddings": 131072,
              "tie_word_embeddings": True, "torch_dtype": "bfloat16", "hidden_act": "silu",
              "attention_bias": False, "mlp_bias": False, "bos_token_id": 256, "eos_token_id": 257,
              "quantization": {"group_size": GROUP, "bits": BITS}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tiny_model.tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}))
    write_weights(folder / "model.safetensors", tensors(shape, random.Random(1)))
    return folder


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    write(sys.argv[1], sys.argv[2])
