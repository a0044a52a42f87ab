"""The rows of the table, and what is wanted of tandem beside its peers."""

import dataclasses
from collections.abc import Callable

LLAMA_RPC = "llama.cpp over two RPC servers of 1 thread"

# (title, kind, tandem's line, the peer's line); a title names the peer.
SPEEDS = [
    ("decode, 1 thread; llama.cpp", "decode", "decode-1", "llama-decode-1"),
    ("decode, 2 threads; llama.cpp", "decode", "decode-2", "llama-decode-2"),
    ("prompt of 512, 1 thread; llama.cpp", "prompt", "prompt-1", "llama-prompt-1"),
    ("prompt of 512, 2 threads; llama.cpp", "prompt", "prompt-2", "llama-prompt-2"),
    ("decode of 8 sequences together, 2 threads; llama.cpp", "decode", "batch-8",
     "llama-batch-8"),
    ("decode after 1,024 tokens, 2 threads; llama.cpp", "decode", "context-1024",
     "llama-context-1024"),
    ("decode after 8,192 tokens, 2 threads", "decode", "context-8192", None),
    ("the same with --kv-bits 8", "decode", "context-8192-kv8", None),
    ("two ranks of 1 thread, grpc, one stream; " + LLAMA_RPC, "decode", "ranks-one",
     "llama-rpc-decode"),
    ("two ranks of 1 thread, grpc, two streams together", "decode", "ranks-two", None),
    ("prompt of 512, two ranks of 1 thread, grpc; " + LLAMA_RPC, "prompt", "ranks-prompt",
     "llama-rpc-prompt"),
    ("decode, 2 threads; mlx-lm, weights as stored (bf16)", "decode", "decode-2", "mlx-lm"),
    ("decode, 2 threads; mlx-lm, cast to float32", "decode", "decode-2", "mlx-lm-f32"),
    ("prompt, 2 threads; mlx-lm, weights as stored (bf16)", "prompt", "prompt-2", "mlx-lm"),
    ("prompt, 2 threads; mlx-lm, cast to float32", "prompt", "prompt-2", "mlx-lm-f32"),
    ("Qwen3-30B-A3B's layers, 8 of them: decode, 2 threads", "decode", "moe", None),
    ("DeepSeek-V3-like layers: decode, 2 threads", "decode", "latent", None),
]


@dataclasses.dataclass(frozen=True)
class Goal:
    title: str
    value: Callable  # of Results; None where something was not measured
    limit: float
    most: bool = False  # the limit is an upper one

    def reached(self, value):
        return value <= self.limit if self.most else value >= self.limit

    def limit_text(self):
        return f"{'at most' if self.most else 'at least'} {self.limit:g}"


def ratio(kind, line, *others):
    """Of the line to the best of the others."""

    def value(results):
        medians = [results.median(name, kind) for name in (line, *others)]
        return None if None in medians else medians[0] / max(medians[1:])

    return value


def share(line):
    return lambda results: results.bandwidth_share(line)


def cost(line):
    """Share of the decode speed that a longer context takes away."""
    return lambda results: results.cost(line)


GOALS = [
    Goal("decode, 1 thread, to llama.cpp", ratio("decode", "decode-1", "llama-decode-1"), 1.4),
    Goal("decode, 2 threads, to llama.cpp", ratio("decode", "decode-2", "llama-decode-2"), 1.15),
    Goal("decode, 2 threads: weights read, to a plain read", share("decode-2"), 0.85),
    Goal("prompt of 512, 2 threads, to llama.cpp", ratio("prompt", "prompt-2", "llama-prompt-2"),
         2),
    Goal("8 sequences together, to one", ratio("decode", "batch-8", "decode-2"), 4),
    Goal("cost of 1,024 tokens of context", cost("context-1024"), 0.10, most=True),
    Goal("cost of 8,192 tokens of context", cost("context-8192"), 0.45, most=True),
    Goal("two ranks, one stream, to one process with 1 thread",
         ratio("decode", "ranks-one", "decode-1"), 0.95),
    Goal("two ranks, two streams, to one process with 2 threads",
         ratio("decode", "ranks-two", "decode-2"), 0.95),
    Goal("Qwen3-MoE: active weights read, to a plain read", share("moe"), 0.7),
    Goal("DeepSeek-V3-like: active weights read, to a plain read", share("latent"), 0.7),
    Goal("decode, to the better of mlx-lm", ratio("decode", "decode-2", "mlx-lm", "mlx-lm-f32"),
         40),
    Goal("prompt, to the better of mlx-lm", ratio("prompt", "prompt-2", "mlx-lm", "mlx-lm-f32"),
         200),
]
