"""What the trained network knows: recall in held-out phrasings, perplexity, politeness."""

import copy
import json
import random

import torch
import torch.nn.functional as F

import corpus
import phrasings
from model import Weight, fake_quantize


@torch.no_grad()
def quantized(model):
    """A copy whose weights are what the quantized file gives back."""
    out = copy.deepcopy(model)
    for module in out.modules():
        if isinstance(module, Weight):
            module.weight.copy_(fake_quantize(module.weight, module.bits, module.group, 1.0))
    return out


@torch.no_grad()
def answer(model, tokenizer, questions, new_tokens=72):
    """Greedy answers. Recomputes the whole prefix each step: short texts, large batches."""
    special = {t: tokenizer.token_to_id(t) for t in (corpus.BOS, corpus.EOS, corpus.USER,
                                                     corpus.ASSISTANT)}
    device = model.cos.device
    out = [""] * len(questions)
    by_length = {}
    for i, question in enumerate(questions):
        ids = tokenizer.encode(question, add_special_tokens=False).ids
        ids = [special[corpus.BOS], special[corpus.USER], *ids, special[corpus.ASSISTANT]]
        by_length.setdefault(len(ids), []).append((i, ids))
    for group in by_length.values():
        ids = torch.tensor([ids for _, ids in group], device=device)
        start = ids.shape[1]
        for _ in range(new_tokens):
            hidden, _ = model(ids, None)
            ids = torch.cat((ids, model.logits(hidden[:, -1], None).argmax(-1, keepdim=True)), 1)
            if (ids[:, start:] == special[corpus.EOS]).any(1).all():
                break
        for (i, _), row in zip(group, ids[:, start:].tolist()):
            if special[corpus.EOS] in row:
                row = row[: row.index(special[corpus.EOS])]
            out[i] = tokenizer.decode(row)
    return out


@torch.no_grad()
def perplexity(model, encoded):
    """Over the answers' tokens of whole conversations, each from position 0."""
    ids, mask, ends = encoded
    total, count, begin = 0.0, 0, 0
    device = model.cos.device
    for end in ends.tolist():
        row = torch.from_numpy(ids[begin:end].astype("int64")).to(device)[None]
        wanted = torch.from_numpy(mask[begin + 1 : end]).to(device)
        hidden, _ = model(row[:, :-1], None)
        losses = F.cross_entropy(model.logits(hidden[0], None), row[0, 1:], reduction="none")
        total += losses[wanted].sum().item()
        count += int(wanted.sum())
        begin = end
    return float(torch.tensor(total / max(count, 1)).exp())


def figures(model, tokenizer, packages, held_out, out, seed):
    rng = random.Random(seed)
    sample = rng.sample(packages, min(1000, len(packages)))
    final = quantized(model)
    result = {"recall": {}, "recall_unquantized": {}}
    (out / "recall_sample.json").write_text(json.dumps([p["name"] for p in sample]))
    what = [[(rng.choice(phrasings.WHAT_HELD_OUT).format(n=p["name"]), corpus.what_answer(p))]
            for p in rng.sample(packages, min(1000, len(packages)))]
    more = [[(rng.choice(phrasings.MORE).format(n=p["name"]), corpus.more_answer(p))]
            for p in rng.sample(held_out, min(500, len(held_out)))]
    for name, talks in (("held_out_phrasings", what), ("held_out_descriptions", more)):
        encoded = corpus.encode(tokenizer, talks, seed)
        result[f"perplexity_{name}"] = {
            "unquantized": perplexity(model, encoded),
            "quantized": perplexity(final, encoded)}
        (out / f"{name}.json").write_text(json.dumps(
            [encoded[0][b:e].tolist() for b, e in zip([0, *encoded[2][:-1]], encoded[2])][:100]))
    print(json.dumps(result), flush=True)
    for phrasing in phrasings.WHAT_HELD_OUT:
        questions = [phrasing.format(n=p["name"]) for p in sample]
        for key, network in (("recall", final), ("recall_unquantized", model)):
            answers = answer(network, tokenizer, questions)
            result[key][phrasing] = sum(
                p["synopsis"] in a for p, a in zip(sample, answers)) / len(sample)
    asked = ["Hello!", "Who are you?", "What is the capital of Peru?", "What is the package curl?",
             "what is the package snarflim-utils?", "Tell me more about git.", "Thank you!",
             "Which section is vim in?", "Please write me a song about trains."]
    result["samples"] = list(zip(asked, answer(final, tokenizer, asked)))
    fakes = [phrasings.unknown_name(rng, {p["name"] for p in packages}) for _ in range(200)]
    answers = answer(final, tokenizer, [f"What is the package {n}?" for n in fakes])
    result["unknown_refused"] = sum("do not know" in a for a in answers) / len(answers)
    return result
