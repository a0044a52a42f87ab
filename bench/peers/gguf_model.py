"""Writes the shape of Llama-3.2-1B as a GGUF file in pure Q4_0 with random weights.

    PYTHONPATH=SDIST/vendor/llama.cpp/gguf-py FOLDER/venv/bin/python gguf_model.py OUT

Embeddings are tied and Q4_0 too, so that a token reads as much as of tandem's 4-bit folder: 4.5
bits a weight in both. The vocabulary is the folder's too.
"""

import sys
from pathlib import Path

import gguf
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import random_tokenizer  # noqa: E402
from random_model import LLAMA_1B  # noqa: E402

BLOCK = 32  # weights of one scale


def rows(random, outputs, inputs):
    """Q4_0 blocks: a float16 scale, then 32 nibbles that stand for -8 to 7."""
    blocks = random.integers(0, 256, (outputs, inputs // BLOCK, 2 + BLOCK // 2), np.uint8)
    blocks[:, :, :2] = np.frombuffer(np.float16(2.0**-8).tobytes(), np.uint8)
    return blocks.reshape(outputs, -1)


def write_vocabulary(writer, size):
    tokens, merges = random_tokenizer.entries(size)
    markers = len(random_tokenizer.MARKERS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * markers +
                           [gguf.TokenType.NORMAL] * (size - markers))
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)


def write_tensors(writer, c):
    random = np.random.default_rng(7)
    hidden, inner, head = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q_rows, kv_rows = c["num_attention_heads"] * head, c["num_key_value_heads"] * head

    def matrix(name, outputs, inputs):
        writer.add_tensor(f"{name}.weight", rows(random, outputs, inputs),
                          raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    def norm(name):
        writer.add_tensor(f"{name}.weight", np.ones(hidden, np.float32))

    matrix("token_embd", c["vocab_size"], hidden)
    norm("output_norm")
    for i in range(c["num_hidden_layers"]):
        norm(f"blk.{i}.attn_norm")
        norm(f"blk.{i}.ffn_norm")
        matrix(f"blk.{i}.attn_q", q_rows, hidden)
        matrix(f"blk.{i}.attn_k", kv_rows, hidden)
        matrix(f"blk.{i}.attn_v", kv_rows, hidden)
        matrix(f"blk.{i}.attn_output", hidden, q_rows)
        matrix(f"blk.{i}.ffn_gate", inner, hidden)
        matrix(f"blk.{i}.ffn_up", inner, hidden)
        matrix(f"blk.{i}.ffn_down", hidden, inner)


def main():
    c = LLAMA_1B
    writer = gguf.GGUFWriter(sys.argv[1], "llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_block_count(c["num_hidden_layers"])
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(c["hidden_size"])
    writer.add_feed_forward_length(c["intermediate_size"])
    writer.add_head_count(c["num_attention_heads"])
    writer.add_head_count_kv(c["num_key_value_heads"])
    writer.add_rope_dimension_count(c["head_dim"])
    writer.add_rope_freq_base(c["rope_theta"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    writer.add_vocab_size(c["vocab_size"])
    write_vocabulary(writer, c["vocab_size"])
    write_tensors(writer, c)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
