"""Writes golden/*.json with transformers on torch. Not run by the tests: torch is too big for them.

    python3 -m venv /tmp/golden
    /tmp/golden/bin/pip install torch==2.15.0 transformers==5.23.0 numpy
    /tmp/golden/bin/python tests/oracle/make_golden.py [NAME ...]

Everything is float32 in eager mode on the CPU. The weights are drawn for the names under which
transformers saves the model, which are Hugging Face's.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

import compare
import golden

TOKENS = 40
_COMMON = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
_DEEPSEEK = {
    **_COMMON, "num_key_value_heads": 4, "moe_intermediate_size": 32, "n_shared_experts": 1,
    "n_routed_experts": 8, "num_experts_per_tok": 3, "routed_scaling_factor": 1.5,
    "kv_lora_rank": 32, "q_lora_rank": 48, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16,
    "v_head_dim": 12, "first_k_dense_replace": 1,
}
_YARN = {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32,
         "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.7}
_LONGROPE = {"rope_type": "longrope", "short_factor": [1.0 + 0.05 * i for i in range(8)],
             "long_factor": [1.0 + 0.6 * i for i in range(8)]}
_MOE = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 48, "head_dim": 16}
_NOAUX = {
    **_COMMON, "head_dim": 16, "moe_intermediate_size": 48, "n_shared_experts": 1,
    "n_routed_experts": 8, "num_experts_per_tok": 3, "routed_scaling_factor": 1.5,
    "first_k_dense_replace": 1,
}
_HYBRID = {
    **_COMMON, "head_dim": 16, "linear_num_key_heads": 2, "linear_num_value_heads": 4,
    "linear_key_head_dim": 16, "linear_value_head_dim": 24, "linear_conv_kernel_dim": 4,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "partial_rotary_factor": 0.25},
}
_SHARED = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 48,
           "shared_expert_intermediate_size": 32}

MODELS = {
    "llama_llama3": {**_COMMON, "model_type": "llama", "rope_theta": 500000.0, "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32}},
    "llama_yarn": {**_COMMON, "model_type": "llama", "rope_scaling": {
        "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32}},
    "mistral_window": {**_COMMON, "model_type": "mistral", "sliding_window": 7},
    "mixtral_window": {**_COMMON, "model_type": "mixtral", "sliding_window": 9,
                       "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_window": {**_COMMON, "model_type": "qwen2", "use_sliding_window": True,
                     "sliding_window": 8, "max_window_layers": 1, "tie_word_embeddings": True},
    "qwen3_bias": {**_COMMON, "model_type": "qwen3", "head_dim": 24, "attention_bias": True},
    "qwen3_moe": {**_COMMON, **_MOE, "model_type": "qwen3_moe", "norm_topk_prob": True,
                  "mlp_only_layers": [1], "decoder_sparse_step": 1},
    "gemma2_window": {**_COMMON, "model_type": "gemma2", "head_dim": 16, "sliding_window": 6,
                      "query_pre_attn_scalar": 24, "attn_logit_softcapping": 5.0,
                      "final_logit_softcapping": 9.0, "tie_word_embeddings": True},
    "gemma3_rope": {**_COMMON, "model_type": "gemma3_text", "head_dim": 16, "sliding_window": 6,
                    "query_pre_attn_scalar": 24, "tie_word_embeddings": True,
                    "num_hidden_layers": 4, "layer_types": [
                        "sliding_attention", "sliding_attention", "full_attention",
                        "sliding_attention"],
                    "rope_parameters": {
                        "full_attention": {"rope_type": "linear", "factor": 8.0,
                                           "rope_theta": 1e6},
                        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "phi3_longrope": {**_COMMON, "model_type": "phi3", "sliding_window": 11,
                      "original_max_position_embeddings": 32, "rope_scaling": _LONGROPE},
    "phi3_short": {**_COMMON, "model_type": "phi3", "original_max_position_embeddings": 256,
                   "rope_scaling": _LONGROPE},
    "deepseek_v2_groups": {**_DEEPSEEK, "model_type": "deepseek_v2", "n_group": 4, "topk_group": 2,
                           "topk_method": "group_limited_greedy", "rope_scaling": _YARN},
    "deepseek_v3_yarn": {**_DEEPSEEK, "model_type": "deepseek_v3", "n_group": 4, "topk_group": 2,
                         "rope_scaling": _YARN},
    "deepseek_v3_fp8": {**_DEEPSEEK, "model_type": "deepseek_v3", "n_group": 2, "topk_group": 1,
                        "hidden_size": 136, "kv_lora_rank": 144, "rope_scaling": _YARN},
    "glm4_moe": {**_NOAUX, "model_type": "glm4_moe", "use_qk_norm": True, "attention_bias": True,
                 "n_group": 2, "topk_group": 1},
    "glm4_moe_lite": {**_DEEPSEEK, "model_type": "glm4_moe_lite", "rms_norm_eps": 1e-4},
    "solar_open": {k: v for k, v in {**_NOAUX, "model_type": "solar_open"}.items()
                   if k not in ("intermediate_size", "first_k_dense_replace")},
    "dots1_window": {**_NOAUX, "model_type": "dots1", "norm_topk_prob": True, "sliding_window": 9,
                     "max_window_layers": 1},
    "ernie4_5_moe": {**_COMMON, "model_type": "ernie4_5_moe", "moe_num_experts": 8, "moe_k": 3,
                     "moe_intermediate_size": 48, "moe_num_shared_experts": 1},
    "seed_oss": {**_COMMON, "model_type": "seed_oss", "head_dim": 24, "attention_out_bias": True},
    # mlx-lm goes by full_attention_interval alone.
    "qwen3_5_types": {**_HYBRID, "model_type": "qwen3_5_text", "layer_types": [
        "full_attention", "linear_attention", "linear_attention"]},
    "qwen3_5_moe": {**_HYBRID, **_SHARED, "model_type": "qwen3_5_moe_text", "layer_types": [
        "linear_attention", "full_attention", "linear_attention"]},
    "qwen3_next": {**_HYBRID, **_SHARED, "model_type": "qwen3_next", "norm_topk_prob": True,
                   "mlp_only_layers": [1], "layer_types": [
                       "linear_attention", "linear_attention", "full_attention"]},
    "iquestcoder": {**_COMMON, "model_type": "iquestcoder", "head_dim": 24},
}
_PADDING = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}


def build(config):
    kwargs = {k: v for k, v in config.items() if k != "model_type"}
    made = transformers.AutoConfig.for_model(config["model_type"], **_PADDING, **kwargs)
    made._attn_implementation = "eager"
    return transformers.AutoModelForCausalLM.from_config(made, dtype=torch.float32).eval()


def saved_shapes(model):
    """Names and shapes of the checkpoint that transformers writes for the model."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with safe_open(pathlib.Path(folder) / "model.safetensors", "np") as file:
            return {name: list(file.get_slice(name).get_shape()) for name in sorted(file.keys())}


def load(model, values, config):
    """The same model with these weights, through transformers' own loading."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        save_file({n: torch.from_numpy(np.ascontiguousarray(v)) for n, v in values.items()},
                  pathlib.Path(folder) / "model.safetensors", metadata={"format": "pt"})
        loaded, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    wrong = {k: v for k, v in report.items() if v}
    assert not wrong, wrong
    return loaded.eval()


def compute(file, model):
    """Adds ids, logits and the greedy continuation; returns the smallest gap between the two best
    tokens of a step, in deviations of the logits."""
    rng = np.random.default_rng(file["seed"])
    file["ids"] = [int(i) for i in rng.integers(0, file["config"]["vocab_size"], TOKENS)]
    ids, smallest = list(file["ids"]), np.inf
    with torch.no_grad():
        logits = model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
        for _ in range(compare.CONTINUATION):
            row = model(torch.tensor([ids]), use_cache=False).logits[0, -1].numpy()
            best = np.sort(row)[::-1]
            smallest = min(smallest, (best[0] - best[1]) / logits.std())
            ids.append(int(row.argmax()))
    file["logits"], file["greedy"] = golden.pack(logits), ids[TOKENS:]
    return smallest


def make(name, config):
    model = build(config)
    file = {"config": dict(config), "seed": len(name) * 1000 + TOKENS, "dtype": "f32",
            "transformers": transformers.__version__, "torch": torch.__version__,
            "tensors": saved_shapes(model)}
    file["norms_less_one"] = config["model_type"].startswith(("gemma", "qwen3_5", "qwen3_next"))
    if name == "deepseek_v3_yarn":
        file["negative_corrections"] = True
    if name.endswith("fp8"):
        file["dtype"] = "fp8"
        file["config"]["quantization_config"] = {
            "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    file["config"]["torch_dtype"] = "bfloat16" if file["dtype"] == "fp8" else "float32"
    smallest = 0.0
    while smallest < 4 * compare.LARGEST_F32:  # a tie would leave the continuation to rounding
        file["seed"] += 1
        smallest = compute(file, load(model, golden.weights_of(file)[1], config))
    path = golden.FOLDER / f"{name}.json"
    path.write_text(json.dumps(file, indent=None, separators=(",", ":")) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes, smallest gap {smallest:.4f} deviations")


if __name__ == "__main__":
    golden.FOLDER.mkdir(exist_ok=True)
    for chosen in sys.argv[1:] or MODELS:
        make(chosen, MODELS[chosen])
