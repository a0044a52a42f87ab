#!/usr/bin/env python3
"""Writes a model folder with random weights, for measurements of speed only.

    bench/random_model.py llama-1b OUT        # the shape of Llama-3.2-1B
    bench/random_model.py qwen3-moe OUT       # Qwen3-30B-A3B's layers, eight of them

4 bits, groups of 64, bf16 scales, one safetensors file. Needs the standard library only. The same
random megabyte is repeated, so the folder is made in seconds; kernels do the same work on it.
"""
import argparse
import json
import math
import random
import struct
from pathlib import Path

GROUP = 64
BITS = 4
SCALE = struct.pack("<H", 0x3B80)  # 2^-8
BIAS = struct.pack("<H", 0xBCF0)  # -7.5 * 2^-8: elements are centred on zero
ONE = struct.pack("<H", 0x3F80)

LLAMA_1B = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}

QWEN3_MOE = {
    "model_type": "qwen3_moe",
    "architectures": ["Qwen3MoeForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "moe_intermediate_size": 768,
    "num_hidden_layers": 8,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "norm_topk_prob": True,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def quantized(name, *shape):
    rows, cols = math.prod(shape[:-1]), shape[-1]
    groups = cols // GROUP
    yield f"{name}.weight", "U32", [*shape[:-1], cols * BITS // 32], rows * cols * BITS // 8, None
    yield f"{name}.scales", "BF16", [*shape[:-1], groups], rows * groups * 2, SCALE
    yield f"{name}.biases", "BF16", [*shape[:-1], groups], rows * groups * 2, BIAS


def norm(name, size):
    yield f"{name}.weight", "BF16", [size], size * 2, ONE


def tensors(c):
    """(name, type, shape, bytes, repeated element or None for random bytes)."""
    hidden, head = c["hidden_size"], c["head_dim"]
    yield from quantized("model.embed_tokens", c["vocab_size"], hidden)
    if not c["tie_word_embeddings"]:
        yield from quantized("lm_head", c["vocab_size"], hidden)
    yield from norm("model.norm", hidden)
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        yield from norm(f"{layer}.input_layernorm", hidden)
        yield from norm(f"{layer}.post_attention_layernorm", hidden)
        heads, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
        yield from quantized(f"{layer}.self_attn.q_proj", heads, hidden)
        yield from quantized(f"{layer}.self_attn.k_proj", kv, hidden)
        yield from quantized(f"{layer}.self_attn.v_proj", kv, hidden)
        yield from quantized(f"{layer}.self_attn.o_proj", hidden, heads)
        if c["model_type"] == "qwen3_moe":
            yield from norm(f"{layer}.self_attn.q_norm", head)
            yield from norm(f"{layer}.self_attn.k_norm", head)
            experts, inner = c["num_experts"], c["moe_intermediate_size"]
            yield from quantized(f"{layer}.mlp.gate", experts, hidden)
            yield from quantized(f"{layer}.mlp.switch_mlp.gate_proj", experts, inner, hidden)
            yield from quantized(f"{layer}.mlp.switch_mlp.up_proj", experts, inner, hidden)
            yield from quantized(f"{layer}.mlp.switch_mlp.down_proj", experts, hidden, inner)
        else:
            inner = c["intermediate_size"]
            yield from quantized(f"{layer}.mlp.gate_proj", inner, hidden)
            yield from quantized(f"{layer}.mlp.up_proj", inner, hidden)
            yield from quantized(f"{layer}.mlp.down_proj", hidden, inner)


def write_weights(path, config):
    header, offset = {"__metadata__": {"format": "mlx"}}, 0
    for name, dtype, shape, size, _ in tensors(config):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    noise = random.Random(7).randbytes(1 << 20)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, size, element in tensors(config):
            block = noise if element is None else element * (len(noise) // len(element))
            for _ in range(size // len(block)):
                out.write(block)
            out.write(block[: size % len(block)])


def write_tokenizer(folder):
    """One word a token is enough: measurements send ids."""
    vocabulary = {"<unk>": 0, "<eos>": 1, "a": 2}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    tokenizer = {"version": "1.0", "added_tokens": [], "model": model, "decoder": None,
                 "normalizer": None, "post_processor": None,
                 "pre_tokenizer": {"type": "Whitespace"}, "truncation": None, "padding": None}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "eos_token": "<eos>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"}))


def main():
    shapes = {"llama-1b": LLAMA_1B, "qwen3-moe": QWEN3_MOE}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=shapes)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, help="instead of the shape's own number")
    args = parser.parse_args()
    config = dict(shapes[args.shape])
    if args.layers:
        config["num_hidden_layers"] = args.layers
    config["quantization"] = {"group_size": GROUP, "bits": BITS}
    config["eos_token_id"] = 1
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "config.json").write_text(json.dumps(config, indent=1))
    write_weights(args.folder / "model.safetensors", config)
    write_tokenizer(args.folder)


if __name__ == "__main__":
    main()
