"""tandem-demo's network: the DeepSeek-V3 architecture (arXiv 2412.19437), made for training.

Experts are computed densely and masked by their routing weights: at this size one large matrix
product beats sixteen small ones. Every quantized matrix passes through `fake_quantize`, blended in
by `State.quantize`, so that the weights settle where MLX's affine format can hold them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab_size: int = 8192
    hidden_size: int = 512
    intermediate_size: int = 1536
    moe_intermediate_size: int = 192
    num_hidden_layers: int = 10
    first_k_dense_replace: int = 1
    num_attention_heads: int = 8
    q_lora_rank: int = 256
    kv_lora_rank: int = 128
    qk_nope_head_dim: int = 64
    qk_rope_head_dim: int = 32
    v_head_dim: int = 64
    n_routed_experts: int = 16
    n_shared_experts: int = 1
    num_experts_per_tok: int = 4
    n_group: int = 4
    topk_group: int = 2
    routed_scaling_factor: float = 1.5
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    max_position_embeddings: int = 2048


def affine(weight, bits, group):
    """MLX's affine format over the last axis: (integers, scales, biases), scales in bfloat16."""
    rows = weight.float().reshape(*weight.shape[:-1], -1, group)
    low, high = rows.amin(-1, keepdim=True), rows.amax(-1, keepdim=True)
    scale = ((high - low).clamp_min(1e-8) / (2**bits - 1)).bfloat16().float()
    bias = low.bfloat16().float()
    q = ((rows - bias) / scale).round().clamp(0, 2**bits - 1)
    return q, scale, bias


def fake_quantize(weight, bits, group, amount):
    """The weight as the quantized file will give it back, blended in by `amount` (0 to 1); the
    gradient passes straight through."""
    with torch.no_grad():
        q, scale, bias = affine(weight, bits, group)
        delta = (q * scale + bias).reshape(weight.shape) - weight
    return weight + amount * delta


class Weight(nn.Module):
    """A matrix that ends up quantized; `group` divides its last axis."""

    def __init__(self, *shape, bits=4, group=64, std=0.02):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(*shape) * std)
        self.bits, self.group = bits, group

    def forward(self, amount):
        if amount is None:
            return self.weight.bfloat16()
        return fake_quantize(self.weight, self.bits, self.group, amount).bfloat16()


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x):
        x = x.float()
        return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
                * self.weight).bfloat16()


def rotate(x, cos, sin):
    """Interleaved rotary embedding of [B, T, heads, dim]."""
    even, odd = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2).bfloat16()


class Attention(nn.Module):
    def __init__(self, c: Config, bits):
        super().__init__()
        self.c = c
        heads, nope, rope = c.num_attention_heads, c.qk_nope_head_dim, c.qk_rope_head_dim
        residual_std = 0.02 / (2 * c.num_hidden_layers) ** 0.5
        self.q_a_proj = Weight(c.q_lora_rank, c.hidden_size, bits=bits)
        self.q_a_layernorm = Norm(c.q_lora_rank, 1e-6)
        self.q_b_proj = Weight(heads * (nope + rope), c.q_lora_rank, bits=bits)
        self.kv_a_proj_with_mqa = Weight(c.kv_lora_rank + rope, c.hidden_size, bits=bits)
        self.kv_a_layernorm = Norm(c.kv_lora_rank, 1e-6)
        self.embed_q = Weight(heads, c.kv_lora_rank, nope, bits=bits)
        self.unembed_out = Weight(heads, c.v_head_dim, c.kv_lora_rank, bits=bits)
        self.o_proj = Weight(c.hidden_size, heads * c.v_head_dim, bits=bits, std=residual_std)

    def forward(self, x, cos, sin, amount):
        c = self.c
        b, t, _ = x.shape
        heads, nope, rope = c.num_attention_heads, c.qk_nope_head_dim, c.qk_rope_head_dim
        q = self.q_a_layernorm(x @ self.q_a_proj(amount).T) @ self.q_b_proj(amount).T
        q_nope, q_pe = q.view(b, t, heads, nope + rope).split([nope, rope], -1)
        latent, k_pe = (x @ self.kv_a_proj_with_mqa(amount).T).split([c.kv_lora_rank, rope], -1)
        latent = self.kv_a_layernorm(latent)
        k_nope = torch.einsum("btr,hrn->bthn", latent, self.embed_q(amount))
        v = torch.einsum("btr,hvr->bthv", latent, self.unembed_out(amount))
        k_pe = rotate(k_pe.unsqueeze(2), cos, sin).expand(b, t, heads, rope)
        q = torch.cat((q_nope, rotate(q_pe, cos, sin)), -1)
        k = torch.cat((k_nope, k_pe), -1)
        v = F.pad(v, (0, nope + rope - c.v_head_dim))
        out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2),
                                             v.transpose(1, 2), is_causal=True)
        out = out[..., : c.v_head_dim].transpose(1, 2).reshape(b, t, -1)
        return out @ self.o_proj(amount).T


class Mlp(nn.Module):
    def __init__(self, hidden, inner, residual_std, bits):
        super().__init__()
        self.gate_proj = Weight(inner, hidden, bits=bits)
        self.up_proj = Weight(inner, hidden, bits=bits)
        self.down_proj = Weight(hidden, inner, bits=bits, std=residual_std)

    def forward(self, x, amount):
        gate, up = x @ self.gate_proj(amount).T, x @ self.up_proj(amount).T
        return (F.silu(gate) * up) @ self.down_proj(amount).T


class Moe(nn.Module):
    def __init__(self, c: Config, residual_std, bits):
        super().__init__()
        self.c = c
        experts, inner, hidden = c.n_routed_experts, c.moe_intermediate_size, c.hidden_size
        self.gate = nn.Parameter(torch.randn(experts, hidden) * 0.02)
        self.register_buffer("e_score_correction_bias", torch.zeros(experts))
        self.gate_proj = Weight(experts, inner, hidden, bits=bits)
        self.up_proj = Weight(experts, inner, hidden, bits=bits)
        self.down_proj = Weight(experts, hidden, inner, bits=bits, std=residual_std)
        self.shared = Mlp(hidden, inner * c.n_shared_experts, residual_std, bits)

    def route(self, x):
        """Routing weights [..., experts], zero where not chosen, and the choice as 0/1."""
        c = self.c
        scores = torch.sigmoid(x.float() @ self.gate.bfloat16().float().T)
        with torch.no_grad():
            biased = scores + self.e_score_correction_bias
            groups = biased.unflatten(-1, (c.n_group, -1))
            best = groups.topk(2, -1).values.sum(-1)
            keep = torch.zeros_like(best).scatter(-1, best.topk(c.topk_group, -1).indices, 1.0)
            biased = (groups * keep.unsqueeze(-1)).flatten(-2)
            chosen = torch.zeros_like(biased).scatter(
                -1, biased.topk(c.num_experts_per_tok, -1).indices, 1.0)
        weights = scores * chosen
        return c.routed_scaling_factor * weights / weights.sum(-1, keepdim=True), chosen

    def forward(self, x, amount):
        c = self.c
        weights, chosen = self.route(x)
        load = chosen.flatten(0, -2).mean(0)
        gate = x @ self.gate_proj(amount).flatten(0, 1).T
        up = x @ self.up_proj(amount).flatten(0, 1).T
        inner = (F.silu(gate) * up).unflatten(-1, (c.n_routed_experts, -1))
        inner = (inner * weights.unsqueeze(-1).bfloat16()).flatten(-2)
        down = self.down_proj(amount).transpose(0, 1).flatten(1)
        return inner @ down.T + self.shared(x, amount), load


class Layer(nn.Module):
    def __init__(self, c: Config, index, bits):
        super().__init__()
        residual_std = 0.02 / (2 * c.num_hidden_layers) ** 0.5
        self.input_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.self_attn = Attention(c, bits)
        self.post_attention_layernorm = Norm(c.hidden_size, c.rms_norm_eps)
        self.dense = index < c.first_k_dense_replace
        self.mlp = (Mlp(c.hidden_size, c.intermediate_size, residual_std, bits) if self.dense
                    else Moe(c, residual_std, bits))

    def forward(self, x, cos, sin, amount):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, amount)
        normed = self.post_attention_layernorm(x)
        if self.dense:
            return x + self.mlp(normed, amount), None
        out, load = self.mlp(normed, amount)
        return x + out, load


class Model(nn.Module):
    def __init__(self, c: Config, bits=4, edge_bits=6):
        super().__init__()
        self.c = c
        self.embed_tokens = Weight(c.vocab_size, c.hidden_size, bits=edge_bits)
        self.layers = nn.ModuleList(Layer(c, i, bits) for i in range(c.num_hidden_layers))
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)
        self.lm_head = Weight(c.vocab_size, c.hidden_size, bits=edge_bits)
        frequencies = c.rope_theta ** (-torch.arange(0, c.qk_rope_head_dim, 2).float()
                                       / c.qk_rope_head_dim)
        angles = torch.arange(c.max_position_embeddings).float()[:, None] * frequencies
        self.register_buffer("cos", angles.cos()[:, None, :], persistent=False)
        self.register_buffer("sin", angles.sin()[:, None, :], persistent=False)

    def forward(self, ids, amount):
        """ids [B, T] -> float32-ready hidden states [B, T, H] and each MoE layer's expert load."""
        t = ids.shape[1]
        x = F.embedding(ids, self.embed_tokens(amount))
        loads = []
        for layer in self.layers:
            x, load = layer(x, self.cos[:t], self.sin[:t], amount)
            if load is not None:
                loads.append(load)
        return self.norm(x), torch.stack(loads)

    def logits(self, hidden, amount):
        return (hidden @ self.lm_head(amount).T).float()
