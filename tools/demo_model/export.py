"""Writes a folder as mlx-community's are: sharded safetensors in MLX's affine format, or, before
quantization, in bfloat16."""

import json

import torch
from safetensors.torch import save_file

from corpus import ASSISTANT, BOS, EOS, SYSTEM, USER
from model import Weight, affine

SHARD_BYTES = 14 << 20

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}" + SYSTEM + "{{ message['content'] | trim }}"
    "{% elif message['role'] == 'user' %}" + USER + "{{ message['content'] | trim }}"
    "{% elif message['role'] == 'assistant' %}" + ASSISTANT + "{{ message['content'] | trim }}"
    + EOS + "{% else %}{{ raise_exception('tandem-demo knows the roles system, user and assistant')"
    " }}{% endif %}{% endfor %}{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}")


def pack(q, bits):
    """Unsigned integers [..., n] -> little-endian uint32 words [..., n * bits / 32]."""
    q = q.to(torch.int64).flatten(-2)
    spread = (q.unsqueeze(-1) >> torch.arange(bits, device=q.device)) & 1
    words = spread.flatten(-2).unflatten(-1, (-1, 32))
    packed = (words << torch.arange(32, device=q.device)).sum(-1)
    return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32).view(torch.uint32)


def target_name(name):
    """The network's parameter name -> mlx-lm's."""
    if name.startswith("lm_head"):
        return name
    name = "model." + name
    if ".mlp.shared." in name:
        return name.replace(".mlp.shared.", ".mlp.shared_experts.")
    return name


def tensors(model, quantized):
    """Everything of the folder by name, and the per-module quantization overrides."""
    out, overrides = {}, {}
    for name, module in model.named_modules():
        if isinstance(module, Weight):
            stem = target_name(name)
            if module.weight.ndim == 3 and ".mlp." in stem:
                stem = stem.replace(".mlp.", ".mlp.switch_mlp.")
            if not quantized:
                out[stem + ".weight"] = module.weight.detach().bfloat16()
                continue
            q, scale, bias = affine(module.weight.detach(), module.bits, module.group)
            out[stem + ".weight"] = pack(q, module.bits)
            out[stem + ".scales"] = scale.squeeze(-1).bfloat16()
            out[stem + ".biases"] = bias.squeeze(-1).bfloat16()
            if module.bits != 4:
                overrides[stem] = {"group_size": module.group, "bits": module.bits}
    for name, value in model.state_dict().items():
        stem = target_name(name)
        if name.endswith("e_score_correction_bias"):
            stem = stem.replace(".mlp.", ".mlp.gate.")
            out[stem] = value.float()
        elif name.endswith(".mlp.gate"):
            out[stem + ".weight"] = value.bfloat16()
        elif "norm" in name:
            out[stem] = value.bfloat16()
    return {k: v.contiguous().cpu() for k, v in out.items()}, overrides


def write_shards(weights, folder):
    shards, size = [{}], 0
    for name in sorted(weights):
        nbytes = weights[name].numel() * weights[name].element_size()
        if shards[-1] and size + nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = weights[name]
        size += nbytes
    index = {"metadata": {"total_size": sum(v.numel() * v.element_size()
                                            for v in weights.values())}, "weight_map": {}}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, str(folder / file), metadata={"format": "mlx"})
        index["weight_map"] |= {name: file for name in shard}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def write_folder(model, tokenizer, folder, quantized=True):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    c = model.c
    weights, overrides = tensors(model, quantized)
    write_shards(weights, folder)
    quantization = {"group_size": 64, "bits": 4, "mode": "affine"} | overrides
    ids = {t: tokenizer.token_to_id(t) for t in (BOS, EOS)}
    config = {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
        "torch_dtype": "bfloat16", **{k: getattr(c, k) for k in c.__dataclass_fields__},
        "num_key_value_heads": c.num_attention_heads, "hidden_act": "silu",
        "moe_layer_freq": 1, "topk_method": "noaux_tc", "scoring_func": "sigmoid",
        "norm_topk_prob": True, "attention_bias": False, "rope_scaling": None,
        "tie_word_embeddings": False, "bos_token_id": ids[BOS], "eos_token_id": ids[EOS]}
    if quantized:
        config |= {"quantization": quantization, "quantization_config": quantization}
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "generation_config.json").write_text(json.dumps(
        {"bos_token_id": ids[BOS], "eos_token_id": ids[EOS], "do_sample": False}, indent=1))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": EOS,
         "add_bos_token": False, "clean_up_tokenization_spaces": False,
         "model_max_length": c.max_position_embeddings, "chat_template": CHAT_TEMPLATE}, indent=1))
