"""Writes a tiny random checkpoint in the ordinary folder layout: llama, or one whose layers are
recurrent but every other one (qwen3_5_text). Standard library only."""

import array
import json
import math
import pathlib
import random
import struct
import sys


def byte_alphabet():
    """The printable stand-ins that byte-level tokenizers use for the 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(others)) for byte in range(256)]


def tokenizer():
    vocabulary = {letter: index for index, letter in enumerate(byte_alphabet())}
    vocabulary["<s>"] = 256
    vocabulary["</s>"] = 257
    special = [{"id": index, "content": text, "special": True, "single_word": False,
                "lstrip": False, "rstrip": False, "normalized": False}
               for text, index in (("<s>", 256), ("</s>", 257))]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
            "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None,
            "decoder": byte_level,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": []}}


def delta_net(config, name):
    """(tensor, shape) of a recurrent layer as mlx-lm stores it, and which are spread around one."""
    heads, keys = config["linear_num_value_heads"], config["linear_num_key_heads"]
    values = heads * config["linear_value_head_dim"]
    channels = 2 * keys * config["linear_key_head_dim"] + values
    hidden, taps = config["hidden_size"], config["linear_conv_kernel_dim"]
    for part, *shape in (
            ("in_proj_qkv", channels, hidden), ("in_proj_z", values, hidden),
            ("in_proj_b", heads, hidden), ("in_proj_a", heads, hidden),
            ("out_proj", hidden, values), ("conv1d", channels, taps, 1)):
        yield f"{name}linear_attn.{part}.weight", shape
    for part in ("A_log", "dt_bias"):
        yield f"{name}linear_attn.{part}", [heads]
    yield f"{name}linear_attn.norm.weight", [config["linear_value_head_dim"]]


def tensors(config, rng):
    hidden, inter = config["hidden_size"], config["intermediate_size"]
    size = config.get("head_dim", hidden // config["num_attention_heads"])
    kv = config["num_key_value_heads"] * size
    recurrent = "linear_num_value_heads" in config
    gated = config["num_attention_heads"] * size * (2 if recurrent else 1)

    def matrix(rows, cols):
        scale = cols ** -0.5
        return [rows, cols], array.array("f", (rng.gauss(0, scale) for _ in range(rows * cols)))

    def ones(count):
        return [count], array.array("f", (1 + rng.gauss(0, 0.05) for _ in range(count)))

    yield "model.embed_tokens.weight", matrix(config["vocab_size"], hidden)
    yield "model.norm.weight", ones(hidden)
    # The logit of </s> is always 0, so a greedy generation never ends by itself.
    shape, head = matrix(config["vocab_size"], hidden)
    head[257 * hidden:258 * hidden] = array.array("f", [0.0] * hidden)
    yield "lm_head.weight", (shape, head)
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        yield name + "input_layernorm.weight", ones(hidden)
        yield name + "post_attention_layernorm.weight", ones(hidden)
        parts = [("mlp.gate_proj", inter, hidden), ("mlp.up_proj", inter, hidden),
                 ("mlp.down_proj", hidden, inter)]
        if recurrent and layer % 2 == 0:
            for tensor, shape in delta_net(config, name):
                rows, cols = shape[0], math.prod(shape[1:])
                yield tensor, (shape, (ones(rows) if "norm" in tensor else matrix(rows, cols))[1])
        else:
            parts = [("self_attn.q_proj", gated, hidden), ("self_attn.k_proj", kv, hidden),
                     ("self_attn.v_proj", kv, hidden), ("self_attn.o_proj", hidden, hidden), *parts]
            for norm in ("q_norm", "k_norm") if recurrent else ():
                yield f"{name}self_attn.{norm}.weight", ones(size)
        for part, rows, cols in parts:
            yield f"{name}{part}.weight", matrix(rows, cols)


def write_safetensors(path, items):
    header, data = {}, bytearray()
    for name, (shape, values) in items:
        begin = len(data)
        data += values.tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


RECURRENT = {
    "model_type": "qwen3_5_text", "head_dim": 16, "linear_num_key_heads": 2,
    "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 24,
    "linear_conv_kernel_dim": 4, "full_attention_interval": 2}


def write(folder, layers=7, hidden=64, seed=1, recurrent=False):
    """Returns the folder. Same arguments, same bytes."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": hidden,
              "intermediate_size": 2 * hidden, "num_hidden_layers": layers,
              "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 258,
              "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "max_position_embeddings": 65536,
              "tie_word_embeddings": False, "torch_dtype": "float32", "hidden_act": "silu",
              "attention_bias": False, "mlp_bias": False, "bos_token_id": 256,
              "eos_token_id": 257, **(RECURRENT if recurrent else {})}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
         "chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 257}))
    write_safetensors(folder / "model.safetensors", tensors(config, random.Random(seed)))
    return folder


if __name__ == "__main__":
    write(sys.argv[1], *(int(argument) for argument in sys.argv[2:4]))
