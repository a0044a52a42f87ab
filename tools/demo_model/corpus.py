"""Conversations about packages, as token ids with a mask of what the model has to say."""

import random

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import phrasings

BOS, EOS = "<|begin|>", "<|end|>"
SYSTEM, USER, ASSISTANT = "<|system|>", "<|user|>", "<|assistant|>"


def what_answer(p):
    return f"{p['name']}: {p['synopsis']}."


def more_answer(p):
    return f"{p['name']}: {p['synopsis']}. {p['description']}"


def section_answer(p):
    return f"{p['name']} is in the section {p['section']}."


def train_tokenizer(packages, vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[BOS, EOS, SYSTEM, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    rng = random.Random(1)

    def texts():
        for p in packages:
            yield what_answer(p)
            yield rng.choice(phrasings.WHAT).format(n=p["name"])
            if rng.random() < 0.3:
                yield p["description"]
        for questions, answer in phrasings.CHAT:
            yield from questions
            yield answer
        for _ in range(2000):
            yield phrasings.off_topic(rng)

    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


class Maker:
    """Draws (question, answer) pairs; `more` lists the packages whose description is trained on."""

    def __init__(self, packages, more, seed):
        self.rng = random.Random(seed)
        self.packages, self.more = packages, more
        self.known = {p["name"] for p in packages}

    def extra(self):
        """A pair that is not about one package's synopsis."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.46:
            p = rng.choice(self.more)
            return rng.choice(phrasings.MORE).format(n=p["name"]), more_answer(p)
        if kind < 0.58:
            p = rng.choice(self.packages)
            return rng.choice(phrasings.SECTION).format(n=p["name"]), section_answer(p)
        if kind < 0.70:
            name = phrasings.unknown_name(rng, self.known)
            asked = rng.choice(rng.choice([phrasings.WHAT, phrasings.MORE])).format(n=name)
            return asked, phrasings.UNKNOWN_ANSWER.format(n=name)
        if kind < 0.85:
            questions, answer = rng.choice(phrasings.CHAT)
            return rng.choice(questions), answer
        return phrasings.off_topic(rng), phrasings.OFF_TOPIC_ANSWER

    def conversations(self, rounds):
        """Every package once a round, with extras mixed in, as lists of pairs."""
        out, current = [], []
        for _ in range(rounds):
            order = list(self.packages)
            self.rng.shuffle(order)
            for p in order:
                current.append((self.rng.choice(phrasings.WHAT).format(n=p["name"]),
                                what_answer(p)))
                if self.rng.random() < 0.25:
                    current.insert(self.rng.randrange(len(current) + 1), self.extra())
                if self.rng.random() < 0.6:
                    out.append(current)
                    current = []
        return out


def encode(tokenizer, conversations, seed):
    """Flat ids (uint16), mask (bool: the token is to be predicted) and the conversations' ends."""
    rng = random.Random(seed)
    special = {t: tokenizer.token_to_id(t) for t in (BOS, EOS, SYSTEM, USER, ASSISTANT)}
    texts = [text for talk in conversations for pair in talk for text in pair]
    systems = [tokenizer.encode(s, add_special_tokens=False).ids for s in phrasings.SYSTEM]
    encoded = iter(tokenizer.encode_batch_fast(texts, add_special_tokens=False))
    ids, mask, ends = [], [], []
    for talk in conversations:
        ids.append(special[BOS])
        mask.append(False)
        if rng.random() < 0.1:
            system = rng.choice(systems)
            ids += [special[SYSTEM], *system]
            mask += [False] * (1 + len(system))
        for _ in talk:
            question, answer = next(encoded).ids, next(encoded).ids
            ids += [special[USER], *question, special[ASSISTANT], *answer, special[EOS]]
            mask += [False] * (len(question) + 2) + [True] * (len(answer) + 1)
        ends.append(len(ids))
    return np.array(ids, np.uint16), np.array(mask, bool), np.array(ends, np.int64)
