#!/usr/bin/env python3
"""Writes a model folder with random weights, for measurements of speed only.

    bench/random_model.py llama-1b OUT        # the shape of Llama-3.2-1B
    bench/random_model.py llama-8b OUT        # of Llama-3.1-8B
    bench/random_model.py qwen3-8b OUT
    bench/random_model.py qwen3-moe OUT       # Qwen3-30B-A3B's layers, eight of them
    bench/random_model.py deepseek-v3 OUT     # its parts, at DeepSeek-V2-Lite's sizes, six layers

4 bits, groups of 64, bf16 scales, one safetensors file. Needs the standard library only. The same
random megabyte is repeated, so the folder is made in seconds; kernels do the same work on it.
"""
import argparse
import json
import math
import random
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import random_tokenizer  # noqa: E402

GROUP = 64
BITS = 4
SCALE = struct.pack("<H", 0x3B80)  # 2^-8
BIAS = struct.pack("<H", 0xBCF0)  # -7.5 * 2^-8: elements are centred on zero
ONE = struct.pack("<H", 0x3F80)
ZERO = b"\0\0\0\0"
RANDOM = None  # random bytes: quantized elements
SMALL = "small"  # random bfloat16 of magnitude 2^-7 to 2^-6, of either sign

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

LLAMA_8B = {
    **LLAMA_1B,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "head_dim": 128,
    "tie_word_embeddings": False,
}

QWEN3_8B = {
    "model_type": "qwen3",
    "architectures": ["Qwen3ForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0,
    "tie_word_embeddings": False,
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

DEEPSEEK_V3 = {
    "model_type": "deepseek_v3",
    "architectures": ["DeepseekV3ForCausalLM"],
    "hidden_size": 2048,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "num_hidden_layers": 6,
    "first_k_dense_replace": 1,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "q_lora_rank": 768,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 64,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "routed_scaling_factor": 2.5,
    "norm_topk_prob": True,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "moe_layer_freq": 1,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def quantized(name, *shape):
    rows, cols = math.prod(shape[:-1]), shape[-1]
    groups = cols // GROUP
    yield f"{name}.weight", "U32", [*shape[:-1], cols * BITS // 32], rows * cols * BITS // 8, RANDOM
    yield f"{name}.scales", "BF16", [*shape[:-1], groups], rows * groups * 2, SCALE
    yield f"{name}.biases", "BF16", [*shape[:-1], groups], rows * groups * 2, BIAS


def norm(name, size):
    yield f"{name}.weight", "BF16", [size], size * 2, ONE


def grouped_attention(c, prefix):
    hidden, head = c["hidden_size"], c["head_dim"]
    heads, kv = c["num_attention_heads"] * head, c["num_key_value_heads"] * head
    yield from quantized(f"{prefix}.q_proj", heads, hidden)
    yield from quantized(f"{prefix}.k_proj", kv, hidden)
    yield from quantized(f"{prefix}.v_proj", kv, hidden)
    yield from quantized(f"{prefix}.o_proj", hidden, heads)
    if c["model_type"] in ("qwen3", "qwen3_moe"):
        yield from norm(f"{prefix}.q_norm", head)
        yield from norm(f"{prefix}.k_norm", head)


def latent_attention(c, prefix):
    hidden, heads = c["hidden_size"], c["num_attention_heads"]
    q_rank, kv_rank = c["q_lora_rank"], c["kv_lora_rank"]
    nope, rope, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    yield from quantized(f"{prefix}.q_a_proj", q_rank, hidden)
    yield from norm(f"{prefix}.q_a_layernorm", q_rank)
    yield from quantized(f"{prefix}.q_b_proj", heads * (nope + rope), q_rank)
    yield from quantized(f"{prefix}.kv_a_proj_with_mqa", kv_rank + rope, hidden)
    yield from norm(f"{prefix}.kv_a_layernorm", kv_rank)
    yield from quantized(f"{prefix}.kv_b_proj", heads * (nope + value), kv_rank)
    yield from quantized(f"{prefix}.o_proj", hidden, heads * value)


def mlp(prefix, hidden, *inner):
    """`inner` is the width, behind the number of experts where there are some."""
    yield from quantized(f"{prefix}.gate_proj", *inner, hidden)
    yield from quantized(f"{prefix}.up_proj", *inner, hidden)
    yield from quantized(f"{prefix}.down_proj", *inner[:-1], hidden, inner[-1])


def feed_forward(c, layer, prefix):
    hidden, width = c["hidden_size"], c.get("moe_intermediate_size")
    if c["model_type"] == "qwen3_moe":
        yield from quantized(f"{prefix}.gate", c["num_experts"], hidden)
        yield from mlp(f"{prefix}.switch_mlp", hidden, c["num_experts"], width)
    elif layer >= c.get("first_k_dense_replace", c["num_hidden_layers"]):
        experts = c["n_routed_experts"]
        yield f"{prefix}.gate.weight", "BF16", [experts, hidden], experts * hidden * 2, SMALL
        yield f"{prefix}.gate.e_score_correction_bias", "F32", [experts], experts * 4, ZERO
        yield from mlp(f"{prefix}.switch_mlp", hidden, experts, width)
        yield from mlp(f"{prefix}.shared_experts", hidden, c["n_shared_experts"] * width)
    else:
        yield from mlp(prefix, hidden, c["intermediate_size"])


def tensors(c):
    """(name, type, shape, bytes, repeated element or RANDOM or SMALL)."""
    hidden = c["hidden_size"]
    attention = latent_attention if c["model_type"] == "deepseek_v3" else grouped_attention
    yield from quantized("model.embed_tokens", c["vocab_size"], hidden)
    if not c["tie_word_embeddings"]:
        yield from quantized("lm_head", c["vocab_size"], hidden)
    yield from norm("model.norm", hidden)
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        yield from norm(f"{layer}.input_layernorm", hidden)
        yield from norm(f"{layer}.post_attention_layernorm", hidden)
        yield from attention(c, f"{layer}.self_attn")
        yield from feed_forward(c, i, f"{layer}.mlp")


def blocks_of(noise):
    """element -> what is repeated in the file; as long as the noise."""
    small = bytearray(noise)
    small[1::2] = bytes(0x3C | byte & 0x80 for byte in noise[1::2])
    special = {RANDOM: noise, SMALL: bytes(small)}
    return lambda element: special.get(element) or element * (len(noise) // len(element))


def write_weights(path, config):
    header, offset = {"__metadata__": {"format": "mlx"}}, 0
    for name, dtype, shape, size, _ in tensors(config):
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block_of = blocks_of(random.Random(7).randbytes(1 << 20))
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, size, element in tensors(config):
            block = block_of(element)
            for _ in range(size // len(block)):
                out.write(block)
            out.write(block[: size % len(block)])


def write_tokenizer(folder, size):
    (folder / "tokenizer.json").write_text(random_tokenizer.tokenizer_json(size))
    bos, eos = random_tokenizer.MARKERS
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "bos_token": bos, "eos_token": eos, "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"}))


SHAPES = {"llama-1b": LLAMA_1B, "llama-8b": LLAMA_8B, "qwen3-8b": QWEN3_8B,
          "qwen3-moe": QWEN3_MOE, "deepseek-v3": DEEPSEEK_V3}


def write_folder(folder, shape):
    config = {**shape, "quantization": {"group_size": GROUP, "bits": BITS}, "eos_token_id": 1}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    write_weights(folder / "model.safetensors", config)
    write_tokenizer(folder, shape["vocab_size"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, help="instead of the shape's own number")
    args = parser.parse_args()
    shape = dict(SHAPES[args.shape])
    if args.layers:
        shape["num_hidden_layers"] = args.layers
    write_folder(args.folder, shape)


if __name__ == "__main__":
    main()
