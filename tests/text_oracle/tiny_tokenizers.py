"""Tiny tokenizers in the shapes that model families use, trained on the spot."""

import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's what they'll do, isn't it?",
    "def main(argc, argv):\n    return {'a': [1, 2, 3], \"b\": 4.5e-6}\n\n\n",
    "Größe, naïve façade, Übermut — “quoted”; 12345 67 890",
    "你好，世界。こんにちは世界。안녕하세요 세계. Привет, мир! שלום עולם مرحبا بالعالم",
    "emoji 😀👩‍👩‍👧‍👦🏳️‍🌈 and combining e\u0301 a\u030a, tabs\tand   spaces  ",
] * 4

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")


def byte_level(split, specials, bos=None, normalizer=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=bos is not None))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(split), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=[], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(specials)
    if bos:
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1",
                special_tokens=[(bos, tokenizer.token_to_id(bos))]),
        ])
    return tokenizer


def llama3():
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>",
                "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"]
    return byte_level(LLAMA3_SPLIT, specials, specials[0]), {
        "bos_token": specials[0], "eos_token": "<|eot_id|>"}


def qwen2():
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = byte_level(QWEN2_SPLIT, specials, normalizer=normalizers.NFC())
    # Added, but no special tokens: they stay when special tokens are skipped.
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False),
                          AddedToken("</think>", normalized=False)])
    return tokenizer, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def byte_fallback_bpe(specials):
    """A BPE over characters with a token for every byte, for what it does not know."""
    base = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    base.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(
        vocab_size=500, show_progress=False, limit_alphabet=70,
        special_tokens=specials + [f"<0x{byte:02X}>" for byte in range(256)])
    base.train_from_iterator([text.replace(" ", "▁") for text in CORPUS], trainer)
    state = json.loads(base.to_str())
    # Byte tokens belong to the vocabulary, not to the added tokens.
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] in specials]
    return state


def llama2():
    state = byte_fallback_bpe(["<unk>", "<s>", "</s>"])
    state["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    state["pre_tokenizer"] = None
    state["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    state["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
                   {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}
    return Tokenizer.from_str(json.dumps(state)), {
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def mistral_metaspace():
    state = byte_fallback_bpe(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
    state["normalizer"] = None
    state["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁",
                              "prepend_scheme": "first", "split": False}
    state["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    return Tokenizer.from_str(json.dumps(state)), {
        "bos_token": {"__type": "AddedToken", "content": "<s>", "special": True, "lstrip": False,
                      "rstrip": False, "normalized": False, "single_word": False},
        "eos_token": "</s>", "unk_token": "<unk>"}


def gemma():
    state = byte_fallback_bpe(["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>",
                               "<end_of_turn>"])
    state["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "},
                              "behavior": "MergedWithPrevious", "invert": False}
    state["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"}]}
    return Tokenizer.from_str(json.dumps(state)), {
        "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=250, show_progress=False, unk_token="<unk>",
        special_tokens=["<pad>", "</s>", "<unk>"])
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer, {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


ALL = {f.__name__: f for f in (llama3, qwen2, llama2, mistral_metaspace, gemma, unigram)}


def write(name, folder):
    """A folder with the tokenizer's files."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, special = ALL[name]()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4096,
              "clean_up_tokenization_spaces": False, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder
