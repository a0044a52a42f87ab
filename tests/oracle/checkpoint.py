"""Tiny checkpoints made with mlx-lm's own model classes, and what mlx-lm computes with them."""

import copy
import importlib
import re

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_unflatten

import tensors

# mlx-lm's name of a module where it is not the model_type.
_MODULES = {"mistral": "llama", "iquestcoder": "llama", "kimi_k2": "deepseek_v3",
            "qwen3_5_text": "qwen3_5", "qwen3_5_moe_text": "qwen3_5_moe",
            "qwen2_5_vl": "qwen2", "qwen3_vl_text": "qwen3", "qwen3_vl_moe_text": "qwen3_moe"}
_HYBRIDS = ("qwen3_5", "qwen3_next")
_LATENT = ("deepseek_v3", "kimi_k2", "glm4_moe_lite")
_MLX_TYPES = {"f32": mx.float32, "bf16": mx.bfloat16, "f16": mx.float16}
_CONFIG_TYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def _numpy(array):
    if array.dtype == mx.bfloat16:
        return np.array(array.view(mx.uint16))
    return np.array(array)


def _build(config):
    kind = config["model_type"]
    module = importlib.import_module(f"mlx_lm.models.{_MODULES.get(kind, kind)}")
    return module.Model(module.ModelArgs.from_dict(copy.deepcopy(config)))


def _fill(model, config, seed, dtype):
    """Seeded weights in the checkpoint's type."""
    gemma = "gemma" in config["model_type"]
    weights = {}
    for name, old in tree_flatten(model.parameters()):
        values = tensors.draw(name, old.shape, seed)
        if gemma and "norm" in name:
            values = values - 1.0
        kept = mx.float32 if name.endswith(("e_score_correction_bias", "A_log")) else dtype
        weights[name] = mx.array(values).astype(kept)
    model.update(tree_unflatten(list(weights.items())))
    if hasattr(model, "tie_word_embeddings") and config.get("tie_word_embeddings"):
        model.sanitize({})


def _quantize(model, quantization, keep_dense):
    """Quantizes what the group divides; `overrides` gives single modules their own parameters."""
    chosen = {}

    def predicate(path, module):
        if not hasattr(module, "to_quantized") or any(part in path for part in keep_dense):
            return False
        for pattern, own in quantization.get("overrides", {}).items():
            if re.search(pattern, path):
                chosen[path] = own
                return own
        return module.weight.shape[-1] % quantization["group_size"] == 0

    nn.quantize(
        model, quantization["group_size"], quantization["bits"], class_predicate=predicate
    )
    return chosen


def _split_experts(weights):
    """One module an expert, as Hugging Face writes them."""
    out = {}
    names = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    for name, array in weights.items():
        match = re.match(r"(.*)\.(?:switch_mlp|experts)\.(\w+)\.(\w+)$", name)
        if not match:
            out[name] = array
            continue
        prefix, module, kind = match.groups()
        module = names[module] if "block_sparse_moe" in prefix else module
        for i in range(array.shape[0]):
            out[f"{prefix}.experts.{i}.{module}.{kind}"] = array[i]
    return out


def _merge_experts(weights):
    """experts.gate_up_proj and experts.down_proj, as transformers 5 holds them."""
    out = dict(weights)
    for name in weights:
        if not name.endswith(".switch_mlp.gate_proj.weight"):
            continue
        prefix = name[: -len("switch_mlp.gate_proj.weight")]
        gate, up, down = (
            out.pop(f"{prefix}switch_mlp.{m}.weight") for m in ("gate_proj", "up_proj", "down_proj")
        )
        out[f"{prefix}experts.gate_up_proj"] = np.concatenate([gate, up], axis=1)
        out[f"{prefix}experts.down_proj"] = down
    return {n.replace("block_sparse_moe", "mlp"): a for n, a in out.items()}


def _hugging_face_hybrid(model, weights, dtype):
    """Names, convolutions and norms less one as Hugging Face stores them; the reference gets the
    norms that these stand for."""
    shifted = (".input_layernorm.weight", ".post_attention_layernorm.weight", "model.norm.weight",
               ".q_norm.weight", ".k_norm.weight")
    parameters, out, exact = dict(tree_flatten(model.parameters())), {}, []
    for name, array in weights.items():
        if name.endswith("conv1d.weight"):
            array = np.moveaxis(array, 1, 2)
        if name.endswith(shifted):
            less = (parameters[name].astype(mx.float32) - 1).astype(dtype)
            exact.append((name, less.astype(mx.float32) + 1))
            array = _numpy(less)
        name = name.replace("language_model.model.", "model.language_model.")
        out[name.replace("language_model.lm_head.", "lm_head.")] = array
    model.update(tree_unflatten(exact))
    return out


def _whole_kv_b(model, config, weights, seed, dtype, quantization):
    """Replaces embed_q and unembed_out by kv_b_proj; the reference gets the same values."""
    heads, nope = config["num_attention_heads"], config["qk_nope_head_dim"]
    value, rank = config["v_head_dim"], config["kv_lora_rank"]
    for i, layer in enumerate(model.model.layers):
        prefix = f"model.layers.{i}.self_attn."
        name = prefix + "kv_b_proj.weight"
        whole = mx.array(tensors.draw(name, (heads * (nope + value), rank), seed)).astype(dtype)
        if quantization:
            size, bits = quantization["group_size"], quantization["bits"]
            parts = mx.quantize(whole, size, bits)
            for kind, part in zip(("weight", "scales", "biases"), parts):
                weights[prefix + "kv_b_proj." + kind] = _numpy(part)
            packed, scales, biases = parts
            whole = mx.dequantize(
                packed, scales.astype(mx.float32), biases.astype(mx.float32), size, bits
            )
        else:
            weights[name] = _numpy(whole)
        split = whole.reshape(heads, nope + value, rank)
        layer.self_attn.embed_q.weight = mx.contiguous(split[:, :nope].swapaxes(1, 2))
        layer.self_attn.unembed_out.weight = mx.contiguous(split[:, nope:])
        for old in ("embed_q", "unembed_out"):
            weights.pop(f"{prefix}{old}.weight", None)
    return weights


def _fp8(model, weights):
    """fp8 blocks for every projection; the reference gets what they decode to."""
    out, decoded = {}, {}
    for name, array in weights.items():
        if not tensors.is_projection(name):
            out[name] = array
            continue
        codes, scale = tensors.fp8_blocks(tensors.from_bf16(array))
        out[name], out[name + "_scale_inv"] = codes, scale
        decoded[name] = tensors.from_fp8_blocks(codes, scale)
    merged = {}
    for name, values in decoded.items():
        match = re.match(r"(.*)\.experts\.(\d+)\.(\w+)\.weight$", name)
        if match:
            prefix, expert, module = match.groups()
            merged.setdefault(f"{prefix}.switch_mlp.{module}.weight", {})[int(expert)] = values
        elif "kv_b_proj" not in name:
            merged[name] = values
    arrays = [
        (n, mx.array(np.stack([v[i] for i in range(len(v))]) if isinstance(v, dict) else v))
        for n, v in merged.items()
    ]
    model.update(tree_unflatten(arrays))
    return out, decoded


def make(folder, case):
    """Writes the case's folder; returns mlx-lm's model with the same weights in float32."""
    config = dict(case.config)
    dtype = _MLX_TYPES[case.dtype]
    model = _build(config)
    _fill(model, config, case.seed, dtype)
    latent_whole = case.layout in ("hf", "fp8") and config["model_type"] in _LATENT
    if case.quantization:
        overrides = _quantize(
            model, case.quantization, ("embed_q", "unembed_out") if latent_whole else ()
        )
        config["quantization"] = {
            "group_size": case.quantization["group_size"],
            "bits": case.quantization["bits"],
            **overrides,
        }
    weights = {n: _numpy(a) for n, a in tree_flatten(model.parameters())}
    if latent_whole:
        weights = _whole_kv_b(model, config, weights, case.seed, dtype, case.quantization)
    if case.layout in ("hf", "stacked") and config["model_type"].startswith(_HYBRIDS):
        weights = _hugging_face_hybrid(model, weights, dtype)
    if case.layout in ("hf", "fp8"):
        weights = _split_experts(weights)
    if case.layout == "stacked":
        weights = _merge_experts(weights)
    if case.layout == "fp8":
        weights, decoded = _fp8(model, weights)
        _decoded_kv_b(model, config, decoded)
        config["quantization_config"] = {
            "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    for name, shape in case.leftovers.items():
        weights[name] = np.zeros(shape, np.float32)
    config["torch_dtype"] = _CONFIG_TYPES[case.dtype]
    if case.outer_type:
        weights = {case.prefix + n: a for n, a in weights.items()}
        config = {"model_type": case.outer_type, "text_config": config,
                  "vocab_size": config["vocab_size"], "torch_dtype": config["torch_dtype"],
                  **{k: config.pop(k) for k in ("quantization",) if k in config}}
    tensors.write_folder(folder, config, weights, case.shards)
    model.set_dtype(mx.float32)
    model.eval()
    return model


def _decoded_kv_b(model, config, decoded):
    heads, nope = config["num_attention_heads"], config["qk_nope_head_dim"]
    value, rank = config["v_head_dim"], config["kv_lora_rank"]
    for i, layer in enumerate(model.model.layers):
        whole = decoded[f"model.layers.{i}.self_attn.kv_b_proj.weight"]
        split = mx.array(whole).reshape(heads, nope + value, rank)
        layer.self_attn.embed_q.weight = mx.contiguous(split[:, :nope].swapaxes(1, 2))
        layer.self_attn.unembed_out.weight = mx.contiguous(split[:, nope:])


class _Recorder:
    """Stands in for a layer's expert block and keeps how close each choice of experts was."""

    def __init__(self, block, config):
        self.block, self.config, self.margins = block, config, None

    def __call__(self, x):
        gate, config = self.block.gate, self.config
        linear = isinstance(gate, (nn.Linear, nn.QuantizedLinear))
        scores = np.array(gate(x) if linear else x @ gate.weight.T)
        groups, kept = config.get("n_group") or 1, config.get("topk_group") or 1
        by_group = (*scores.shape[:-1], groups, scores.shape[-1] // groups)
        if "e_score_correction_bias" in gate:
            scores = 1 / (1 + np.exp(-scores)) + np.array(gate.e_score_correction_bias)
            best = np.sort(scores.reshape(by_group), -1)[..., -2:].sum(-1)
        else:
            best = scores.reshape(by_group).max(-1)
        margin, spread = np.full(scores.shape[:-1], np.inf), scores.std(-1)
        if config.get("topk_method") != "greedy" and groups > 1:
            order = np.sort(best, -1)
            margin = order[..., groups - kept] - order[..., groups - kept - 1]
            out = np.repeat(best < order[..., groups - kept, None], by_group[-1], -1)
            scores = np.where(out, -np.inf, scores)
        order = np.sort(scores, -1)[..., ::-1]
        k = config.get("num_experts_per_tok") or config["moe_k"]
        if k < order.shape[-1]:
            margin = np.minimum(margin, order[..., k - 1] - order[..., k])
        self.margins = margin / spread
        return self.block(x)


def routing_margins(model, config, rows):
    """[rows, tokens]: the smallest distance, over layers, between an expert (or group) that a token
    chose and one that it did not, in deviations of its scores; infinite without experts."""
    recorders, smallest = [], np.full((len(rows), len(rows[0])), np.inf)
    for layer in getattr(model, "language_model", model).model.layers:
        for name in ("mlp", "block_sparse_moe"):
            block = getattr(layer, name, None)
            if block is not None and "gate" in block:
                recorders.append((layer, name, _Recorder(block, config)))
                layer[name] = recorders[-1][2]
    if not recorders:
        return smallest
    mx.eval(model(mx.array(rows)))
    for layer, name, recorder in recorders:
        layer[name] = recorder.block
        smallest = np.minimum(smallest, recorder.margins)
    return smallest


def logits(model, ids):
    """float32 [tokens, vocabulary]."""
    out = model(mx.array([ids]))[0].astype(mx.float32)
    mx.eval(out)
    return np.array(out)
