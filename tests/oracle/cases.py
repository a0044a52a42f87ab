"""The matrix: every family x every quantization, and for each family the configs that differ."""

import dataclasses
import zlib

BITS = (2, 3, 4, 5, 6, 8)
GROUPS = (32, 64, 128)


@dataclasses.dataclass
class Case:
    name: str
    family: str
    config: dict
    dtype: str = "f32"  # of dense weights, and of scales and biases: f32, bf16, f16
    quantization: dict | None = None
    layout: str = "mlx"  # mlx, hf, stacked, fp8
    shards: int = 1
    prefix: str = ""  # of every tensor, for a text model inside another
    outer_type: str = ""
    leftovers: dict = dataclasses.field(default_factory=dict)  # known extra tensors
    activations: tuple = ("f32",)
    tokens: int = 40

    @property
    def seed(self):
        return zlib.crc32(self.name.encode())


_COMMON = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 160,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
}
_GEMMA = {
    **_COMMON, "head_dim": 32, "rms_norm_eps": 1e-6, "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
}
_DEEPSEEK = {
    **_COMMON,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 128,
    "n_shared_experts": 1,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "routed_scaling_factor": 1.5,
    "kv_lora_rank": 128,
    "q_lora_rank": 64,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
}
_YARN = {
    "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128,
    "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.8,
}
_LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

BASE = {
    "llama": {**_COMMON, "model_type": "llama"},
    # mlx-lm has no windows here, so they are off: golden/mistral_window.json has them.
    "mistral": {**_COMMON, "model_type": "mistral", "sliding_window": None, "head_dim": 32},
    "qwen2": {**_COMMON, "model_type": "qwen2"},
    "qwen3": {**_COMMON, "model_type": "qwen3", "head_dim": 64},
    "qwen3_moe": {
        **_COMMON, "model_type": "qwen3_moe", "head_dim": 32, "num_experts": 8,
        "num_experts_per_tok": 3, "moe_intermediate_size": 128, "norm_topk_prob": True,
        "decoder_sparse_step": 1, "mlp_only_layers": [],
    },
    "mixtral": {
        **_COMMON, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2,
    },
    "gemma2": {
        **_GEMMA, "model_type": "gemma2", "sliding_window": 512, "query_pre_attn_scalar": 40,
        "attn_logit_softcapping": 8.0, "final_logit_softcapping": 12.0,
    },
    "gemma3": {
        **_GEMMA, "model_type": "gemma3_text", "sliding_window": 12, "sliding_window_pattern": 2,
        "query_pre_attn_scalar": 40, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
    },
    "phi3": {**_COMMON, "model_type": "phi3", "original_max_position_embeddings": 512},
    "deepseek_v2": {
        **_DEEPSEEK, "model_type": "deepseek_v2", "rope_scaling": _YARN, "topk_method": "greedy",
        "norm_topk_prob": False, "n_group": 1, "topk_group": 1,
    },
    "deepseek_v3": {
        **_DEEPSEEK, "model_type": "deepseek_v3", "rope_scaling": _YARN, "n_group": 4,
        "topk_group": 2, "norm_topk_prob": True, "topk_method": "noaux_tc",
        "scoring_func": "sigmoid", "n_routed_experts": 16, "num_experts_per_tok": 6,
        "routed_scaling_factor": 1.25,
    },
}
_MROPE = {"type": "mrope", "mrope_section": [4, 6, 6]}
_NOAUX = {
    **_COMMON, "head_dim": 32, "moe_intermediate_size": 128, "n_routed_experts": 8,
    "num_experts_per_tok": 3, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
    "norm_topk_prob": True, "routed_scaling_factor": 1.5, "rope_scaling": None,
    "attention_bias": False, "use_qk_norm": False, "first_k_dense_replace": 1,
}
_HYBRID = {
    **_COMMON, "head_dim": 32, "linear_num_key_heads": 2,
    "linear_num_value_heads": 4, "linear_key_head_dim": 32, "linear_value_head_dim": 48,
    "linear_conv_kernel_dim": 4, "full_attention_interval": 2, "attention_bias": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25},
}
_HYBRID_MOE = {
    **_HYBRID, "num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 128,
    "shared_expert_intermediate_size": 128, "norm_topk_prob": True,
}
# Families of the same blocks under other names and defaults: a few formats each.
VARIANTS = {
    "glm4_moe": {**_NOAUX, "model_type": "glm4_moe", "partial_rotary_factor": 0.5,
                 "attention_bias": True, "use_qk_norm": True, "n_routed_experts": 16,
                 "n_group": 2, "topk_group": 1},
    "glm4_moe_lite": {**_DEEPSEEK, "model_type": "glm4_moe_lite", "n_group": 1, "topk_group": 1,
                      "norm_topk_prob": True, "rms_norm_eps": 1e-6, "rope_scaling": None},
    "solar_open": {**_NOAUX, "model_type": "solar_open", "partial_rotary_factor": 1.0,
                   "first_k_dense_replace": 0},
    "dots1": {**_NOAUX, "model_type": "dots1", "scoring_func": "noaux_tc"},
    "kimi_k2": {**BASE["deepseek_v3"], "model_type": "kimi_k2", "n_group": 1, "topk_group": 1,
                "num_nextn_predict_layers": 0},
    "ernie4_5": {**_COMMON, "model_type": "ernie4_5", "use_bias": False, "head_dim": 32},
    "ernie4_5_moe": {
        **_COMMON, "model_type": "ernie4_5_moe", "use_bias": False, "moe_num_experts": 8,
        "moe_k": 3, "moe_intermediate_size": 128, "moe_num_shared_experts": 2,
        "moe_layer_start_index": 1, "moe_layer_end_index": 1, "moe_layer_interval": 1},
    "seed_oss": {**_COMMON, "model_type": "seed_oss", "head_dim": 48, "attention_bias": True,
                 "attention_out_bias": False, "mlp_bias": False},
    "iquestcoder": {**_COMMON, "model_type": "iquestcoder", "clip_qkv": None},
    "mimo": {**_COMMON, "model_type": "mimo", "num_nextn_predict_layers": 1},
    "qwen2_5_vl": {**_COMMON, "model_type": "qwen2_5_vl", "rope_scaling": _MROPE},
    "qwen3_vl_text": {**BASE["qwen3"], "model_type": "qwen3_vl_text"},
    "qwen3_5_text": {**_HYBRID, "model_type": "qwen3_5_text"},
    "qwen3_5_moe_text": {**_HYBRID_MOE, "model_type": "qwen3_5_moe_text"},
    "qwen3_next": {
        **_HYBRID_MOE, "model_type": "qwen3_next", "rope_parameters": "absent",
        "partial_rotary_factor": 0.25, "decoder_sparse_step": 1, "mlp_only_layers": [2]},
    "qwen3_vl_moe_text": {**BASE["qwen3_moe"], "model_type": "qwen3_vl_moe_text"},
}


def _q(bits, group, **overrides):
    return {"bits": bits, "group_size": group, "overrides": overrides}


def _case(family, name, changes=None, **fields):
    config = {**(BASE | VARIANTS)[family], **(changes or {})}
    config = {k: v for k, v in config.items() if v != "absent"}
    return Case(f"{family}-{name}", family, config, **fields)


def _quantized(family):
    """All 18 formats, scales in all three types in turn, a third with bf16 activations too."""
    i = 0
    for bits in BITS:
        for group in GROUPS:
            dtype = ("bf16", "f16", "f32")[i % 3]
            also = ("bf16",) if (bits + group // 32) % 3 == 0 else ()
            yield _case(family, f"q{bits}g{group}-{dtype}", dtype=dtype,
                        quantization=_q(bits, group), activations=("f32", "int8") + also)
            i += 1


def _common(family):
    yield _case(family, "f32")
    yield _case(family, "bf16", dtype="bf16", activations=("f32", "bf16"))
    yield _case(family, "f16", dtype="f16", activations=("f32", "bf16"))
    yield _case(family, "five-layers-two-shards", {"num_hidden_layers": 5}, shards=2)
    yield _case(family, "mixed-bits", dtype="bf16",
                quantization=_q(4, 64, **{
                    r"layers\.1\..*(v_proj|down_proj|kv_a_proj_with_mqa)$":
                        {"bits": 8, "group_size": 32},
                    r"embed_tokens|lm_head": {"bits": 6, "group_size": 64}}))
    yield from _quantized(family)


def _llama():
    yield _case("llama", "multi-query-tied", {"num_key_value_heads": 1,
                                              "tie_word_embeddings": True})
    yield _case("llama", "tied-q4", {"tie_word_embeddings": True}, dtype="bf16",
                quantization=_q(4, 64))
    yield _case("llama", "all-heads-biases", {"num_key_value_heads": 4, "attention_bias": True,
                                              "mlp_bias": True})
    yield _case("llama", "biases-q4", {"attention_bias": True, "mlp_bias": True}, dtype="bf16",
                quantization=_q(4, 32))
    yield _case("llama", "head-dim", {"head_dim": 48})
    yield _case("llama", "rope-llama3", {"rope_scaling": _LLAMA3, "rope_theta": 500000.0})
    yield _case("llama", "rope-linear", {"rope_scaling": {"type": "linear", "factor": 2.5}})
    yield _case("llama", "rope-dynamic", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}})
    yield _case("llama", "rope-yarn", {"rope_scaling": {
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}})
    yield _case("llama", "rope-interleaved", {"rope_traditional": True})
    yield _case("llama", "windows", {"sliding_window": 9, "layer_types": [
        "sliding_attention", "full_attention", "sliding_attention"]})
    yield _case("llama", "leftovers", leftovers={
        f"model.layers.{i}.self_attn.rotary_emb.inv_freq": (16,) for i in range(3)})


def _others():
    yield _case("mistral", "wide-heads", {"head_dim": 64})
    yield _case("qwen2", "tied", {"tie_word_embeddings": True, "rope_theta": 1e6})
    yield _case("qwen3", "tied-yarn", {"tie_word_embeddings": True, "rope_scaling": {
        "rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 256}})
    yield _case("qwen3_moe", "sparse-steps", {"num_hidden_layers": 5, "decoder_sparse_step": 2,
                                              "mlp_only_layers": [3], "norm_topk_prob": False})
    yield _case("qwen3_moe", "hf", dtype="bf16", layout="hf")
    yield _case("qwen3_moe", "stacked", dtype="bf16", layout="stacked")
    yield _case("qwen3_moe", "dense-router-8bit", dtype="bf16", quantization=_q(
        4, 64, **{r"mlp\.gate$": {"bits": 8, "group_size": 64}}))
    yield _case("mixtral", "hf", dtype="bf16", layout="hf")
    yield _case("mixtral", "hf-q4", dtype="bf16", layout="hf", quantization=_q(4, 64))
    yield _case("mixtral", "stacked", dtype="bf16", layout="stacked")
    yield _case("mixtral", "top-1", {"num_experts_per_tok": 1})
    yield _case("gemma2", "multi-query", {"num_key_value_heads": 1})
    yield _case("gemma3", "untied", {"tie_word_embeddings": "absent"})
    yield _case("gemma3", "rope-linear", {"rope_scaling": {"rope_type": "linear", "factor": 8.0}})
    yield _case("gemma3", "inside-another", dtype="bf16", prefix="language_model.",
                outer_type="gemma3")
    yield _case("gemma3", "inside-another-q4", dtype="bf16", prefix="language_model.",
                outer_type="gemma3", quantization=_q(4, 64),
                leftovers={})
    yield _case("phi3", "longrope", {
        "original_max_position_embeddings": 64,
        "rope_scaling": {"type": "longrope", "short_factor": [1.0 + 0.1 * i for i in range(16)],
                         "long_factor": [1.0 + 0.7 * i for i in range(16)]}})
    yield _case("phi3", "partial-su", {
        "original_max_position_embeddings": 64, "partial_rotary_factor": 0.5,
        "rope_scaling": {"type": "su", "short_factor": [1.0] * 8,
                         "long_factor": [1.0 + 0.9 * i for i in range(8)]}})
    yield _case("phi3", "linear", {"rope_scaling": {"type": "linear", "factor": 2.0,
                                                    "long_factor": []}})


def _deepseek():
    yield _case("deepseek_v2", "no-q-rank", {"q_lora_rank": None})
    yield _case("deepseek_v2", "bias", {"attention_bias": True})
    yield _case("deepseek_v2", "no-q-rank-bias", {"q_lora_rank": None, "attention_bias": True})
    yield _case("deepseek_v2", "groups", {"topk_method": "group_limited_greedy", "n_group": 4,
                                          "topk_group": 2})
    yield _case("deepseek_v2", "hf", dtype="bf16", layout="hf")
    yield _case("deepseek_v2", "stacked", dtype="bf16", layout="stacked")
    yield _case("deepseek_v2", "hf-q4", dtype="bf16", layout="hf", quantization=_q(4, 32))
    yield _case("deepseek_v3", "no-q-rank", {"q_lora_rank": None, "rope_scaling": None})
    yield _case("deepseek_v3", "bias-one-group", {"attention_bias": True, "n_group": 1,
                                                  "topk_group": 1})
    yield _case("deepseek_v3", "no-norm-no-shared", {"norm_topk_prob": False,
                                                     "n_shared_experts": None})
    yield _case("deepseek_v3", "all-dense", {"n_routed_experts": None})
    yield _case("deepseek_v3", "hf", dtype="bf16", layout="hf", shards=3, leftovers={
        "model.layers.3.eh_proj.weight": (4, 8), "model.layers.3.mlp.gate.weight": (8, 4)})
    yield _case("deepseek_v3", "stacked", dtype="bf16", layout="stacked")
    for bits, group in ((4, 64), (8, 32), (3, 128)):
        yield _case("deepseek_v3", f"old-q{bits}g{group}", dtype="f32", layout="hf",
                    quantization=_q(bits, group))
    yield _case("deepseek_v3", "old-q4g32-bf16", dtype="bf16", layout="hf",
                quantization=_q(4, 32))
    yield _case("deepseek_v3", "fp8", {"hidden_size": 192, "moe_intermediate_size": 160,
                                       "intermediate_size": 320},
                dtype="bf16", layout="fp8", activations=("f32", "bf16"))


def _variant(family):
    yield _case(family, "f32")
    yield _case(family, "bf16", dtype="bf16", activations=("f32", "bf16"))
    yield _case(family, "q4g64", dtype="bf16", quantization=_q(4, 64),
                activations=("f32", "int8"))
    yield _case(family, "q8g32", dtype="f16", quantization=_q(8, 32))
    if "num_experts_per_tok" in VARIANTS[family] or "moe_k" in VARIANTS[family]:
        yield _case(family, "hf", dtype="bf16", layout="hf")
        yield _case(family, "hf-q4", dtype="bf16", layout="hf", quantization=_q(4, 32))


def _variants():
    for family in VARIANTS:
        yield from _variant(family)
    yield _case("glm4_moe", "plain", {"use_qk_norm": False, "attention_bias": False},
                layout="hf", leftovers={"model.layers.3.eh_proj.weight": (4, 8)})
    yield _case("seed_oss", "out-bias", {"attention_out_bias": True, "mlp_bias": True})
    yield _case("mimo", "hf", leftovers={"model.mtp_layers.0.input_proj.weight": (4, 8)})
    yield _case("qwen2_5_vl", "vision", leftovers={"visual.patch_embed.proj.weight": (4, 8)})
    mtp = {"mtp.fc.weight": (4, 8), "mtp.layers.0.input_layernorm.weight": (8,)}
    yield _case("qwen3_5_text", "hf", dtype="bf16", layout="hf", leftovers=mtp)
    yield _case("qwen3_5_text", "inside-another", {"tie_word_embeddings": True}, dtype="bf16",
                layout="hf", outer_type="qwen3_5",
                leftovers={"model.visual.patch_embed.proj.weight": (4, 8)})
    yield _case("qwen3_5_text", "tiles-and-taps", {
        "linear_num_key_heads": 1, "linear_num_value_heads": 3, "linear_value_head_dim": 40,
        "linear_key_head_dim": 24, "linear_conv_kernel_dim": 3, "attention_bias": True})
    yield _case("qwen3_5_moe_text", "stacked", dtype="bf16", layout="stacked", leftovers=mtp)
    yield _case("qwen3_5_moe_text", "router-8bit", dtype="bf16", quantization=_q(
        4, 64, **{r"mlp\.(gate|shared_expert_gate)$": {"bits": 8, "group_size": 64}}))
    yield _case("qwen3_next", "sparse-steps", {
        "decoder_sparse_step": 2, "norm_topk_prob": False}, dtype="bf16", layout="hf")
    yield _case("qwen3_vl_text", "inside-another", dtype="bf16", prefix="language_model.",
                outer_type="qwen3_vl", leftovers={})


def all_cases():
    for family in BASE:
        yield from _common(family)
    yield from _variants()
    yield from _llama()
    yield from _others()
    yield from _deepseek()
