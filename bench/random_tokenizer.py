"""A byte-level BPE tokenizer of any size, for models with random weights. Standard library only.

It works as Llama 3's and GPT-2's do, and lower-case text costs a token for about three letters, so
that servers spend on text what they spend on real models: entries are two markers, the 256 bytes,
then strings of letters with and without a space before them, each made by one merge.
"""

import itertools
import json
import string

MARKERS = ["<s>", "</s>"]
SPACE = "\u0120"  # how byte-level tokenizers write one


def byte_letters():
    """The printable stand-ins of the 256 bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(others)) for byte in range(256)]


def merges():
    """Pairs in the order of their ranks: strings of letters, then a space before them."""
    letters = string.ascii_lowercase
    pairs = ["".join(pair) for pair in itertools.product(letters, repeat=2)]
    triples = ["".join(triple) for triple in itertools.product(letters, repeat=3)]
    yield from ((pair[0], pair[1]) for pair in pairs)
    yield from ((triple[:2], triple[2]) for triple in triples)
    for words in (letters, pairs, triples):
        yield from ((SPACE, word) for word in words)
    yield from ((triple, letter) for triple in triples for letter in letters)


def entries(size):
    """(tokens, merges) of a vocabulary of `size` entries, which has room for the bytes."""
    tokens = [*MARKERS, *byte_letters()]
    made = list(itertools.islice(merges(), size - len(tokens)))
    return tokens + [left + right for left, right in made], made


def tokenizer_json(size):
    """As tokenizer.json of a model folder has it."""
    tokens, made = entries(size)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                  "use_regex": True}
    markers = [{"id": index, "content": text, "special": True, "single_word": False,
                "lstrip": False, "rstrip": False, "normalized": False}
               for index, text in enumerate(MARKERS)]
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": markers,
        "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": {token: index for index, token in enumerate(tokens)},
                  "merges": [" ".join(pair) for pair in made]}})
