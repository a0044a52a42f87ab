"""Trains tandem-demo on one H100/H200-class GPU and writes the quantized model folder, and beside
its files a folder `unquantized` with the same weights in bfloat16.

    python3 train.py --packages packages.json.xz --out DIR --minutes 17

Needs torch, tokenizers, numpy and safetensors. See README.md for the figures of the committed run.
"""

import argparse
import json
import lzma
import random
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import corpus
import evaluate
import export
from model import Config, Model

SEED = 20261124


def build_part(arguments):
    packages, more, tokenizer_file, rounds, seed = arguments
    tokenizer = corpus.Tokenizer.from_file(tokenizer_file)
    talks = corpus.Maker(packages, more, seed).conversations(rounds)
    return corpus.encode(tokenizer, talks, seed)


def build_pool(packages, more, tokenizer_file, rounds, workers):
    jobs = [(packages, more, tokenizer_file, rounds // workers, SEED + i) for i in range(workers)]
    with ProcessPoolExecutor(workers) as pool:
        parts = list(pool.map(build_part, jobs))
    ids = np.concatenate([p[0] for p in parts])
    mask = np.concatenate([p[1] for p in parts])
    offsets = np.cumsum([0] + [len(p[0]) for p in parts[:-1]])
    ends = np.concatenate([p[2] + o for p, o in zip(parts, offsets)])
    return ids, mask, ends


class Batches:
    """Shuffles whole conversations into one stream on the GPU and cuts it into rows."""

    def __init__(self, ids, mask, ends, rows, length, device):
        self.ids = torch.from_numpy(ids.astype(np.int32)).to(device)
        self.mask = torch.from_numpy(mask).to(device)
        ends = torch.from_numpy(ends).to(device)
        self.starts = torch.cat((ends.new_zeros(1), ends[:-1]))
        self.lengths = ends - self.starts
        self.rows, self.length, self.device = rows, length, device
        self.generator = torch.Generator(device).manual_seed(SEED)
        self.queue = iter(())

    def shuffled(self):
        order = torch.randperm(len(self.lengths), device=self.device, generator=self.generator)
        lengths = self.lengths[order]
        first = torch.repeat_interleave(self.starts[order] - (lengths.cumsum(0) - lengths), lengths)
        index = torch.arange(len(first), device=self.device) + first
        step = self.rows * self.length
        for begin in range(0, len(index) - step, step):
            part = index[begin : begin + step + 1]
            ids, mask = self.ids[part].long(), self.mask[part]
            yield (ids[:-1].view(self.rows, -1), ids[1:].view(self.rows, -1),
                   mask[1:].view(self.rows, -1))

    def next(self):
        batch = next(self.queue, None)
        if batch is None:
            self.queue = self.shuffled()
            batch = next(self.queue)
        return batch


def loss_of(model, ids, targets, mask, amount):
    """Cross-entropy over the answers, and a tenth of it over the questions."""
    hidden, loads = model(ids, amount)
    losses = F.cross_entropy(model.logits(hidden, amount).flatten(0, 1), targets.flatten(),
                             reduction="none")
    weight = torch.where(mask.flatten(), 1.0, 0.05)
    return (losses * weight).sum() / weight.sum(), loads


def schedule(done, peak, warmup):
    """Learning rate after a share `done` of the training: warm-up, flat, linear to zero."""
    if done < warmup:
        return peak * done / warmup
    return peak * min(1.0, (1.0 - done) / 0.55 + 1e-3)


def train(model, batches, args, device):
    bias_step = 1e-3
    moe = [layer.mlp for layer in model.layers if not layer.dense]
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.02},
                                   {"params": others, "weight_decay": 0.0}],
                                  lr=args.lr, betas=(0.9, 0.95), fused=device.type == "cuda")
    amount = torch.zeros((), device=device)
    step_loss = torch.compile(loss_of) if args.compile else loss_of
    begin, step, steps, logged = time.time(), 0, args.steps, []
    while steps == 0 or step < steps:
        if step == 60 and steps == 0:  # a step's time is known: how many fit
            torch.cuda.synchronize()
            seconds = (time.time() - logged[0]) / 40
            steps = step + int((args.minutes * 60 - (time.time() - begin)) / seconds)
            print(f"{seconds * 1e3:.1f} ms a step, {steps} steps", flush=True)
        if step == 20:
            if device.type == "cuda":
                torch.cuda.synchronize()
            logged.append(time.time())
        total = steps or 20000
        done = step / total
        for group in optimizer.param_groups:
            group["lr"] = schedule(done, args.lr, min(0.02, 300 / total))
        amount.fill_(min(1.0, max(0.0, (done - 0.5) / 0.1)))
        ids, targets, mask = batches.next()
        loss, loads = step_loss(model, ids, targets, mask, amount)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            target = model.c.num_experts_per_tok / model.c.n_routed_experts
            scale = 1.0 if done < 0.8 else 0.0  # the choice of experts is frozen at the end
            for layer, load in zip(moe, loads):
                layer.e_score_correction_bias += scale * bias_step * torch.sign(target - load)
        if step % 200 == 0:
            spread = loads.max().item() / target
            print(f"step {step} loss {loss.item():.4f} busiest expert x{spread:.2f} "
                  f"{time.time() - begin:.0f} s", flush=True)
        step += 1
    return step


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=17)
    parser.add_argument("--steps", type=int, default=0, help="0: what fits into --minutes")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--rounds", type=int, default=32)
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--limit", type=int, default=0, help="packages; 0: all")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--tiny", action="store_true", help="a network for trying the script out")
    args = parser.parse_args()
    begin = time.time()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(SEED)
    torch.set_float32_matmul_precision("high")
    packages = json.loads(lzma.decompress(args.packages.read_bytes()))
    random.Random(SEED).shuffle(packages)
    packages = packages[: args.limit or None]
    described = [p for p in packages if p["description"]]
    held_out, more = described[: len(described) // 50], described[len(described) // 50 :]
    args.out.mkdir(parents=True, exist_ok=True)
    config = Config()
    if args.tiny:
        config = Config(vocab_size=1024, hidden_size=128, intermediate_size=256,
                        moe_intermediate_size=64, num_hidden_layers=3, q_lora_rank=64,
                        kv_lora_rank=64)
    tokenizer = corpus.train_tokenizer(packages, config.vocab_size)
    tokenizer.save(str(args.out / "tokenizer.json"))
    pool = build_pool(packages, more, str(args.out / "tokenizer.json"), args.rounds, args.workers)
    print(f"{len(packages)} packages, {len(pool[0]) / 1e6:.1f} M tokens in "
          f"{len(pool[2]) / 1e6:.2f} M conversations, {time.time() - begin:.0f} s", flush=True)
    model = Model(config).to(device)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters", flush=True)
    batches = Batches(*pool, args.rows, args.length, device)
    steps = train(model, batches, args, device)
    export.write_folder(model, tokenizer, args.out)
    export.write_folder(model, tokenizer, args.out / "unquantized", quantized=False)
    print(f"exported, {time.time() - begin:.0f} s", flush=True)
    figures = evaluate.figures(model, tokenizer, packages, held_out, args.out, SEED)
    figures |= {"steps": steps, "tokens": steps * args.rows * args.length,
                "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    (args.out / "figures.json").write_text(json.dumps(figures, indent=1))
    print(json.dumps(figures, indent=1), f"{time.time() - begin:.0f} s in all", flush=True)


if __name__ == "__main__":
    main()
