"""Our tokenizer and chat templates against `tokenizers` and transformers, byte for byte.

usage: text_oracle.py TEXT_PROBE
"""

import datetime
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

os.environ["TZ"] = "Europe/Zurich"
time.tzset()

from transformers import PreTrainedTokenizerFast  # noqa: E402
from transformers.utils import chat_template_utils  # noqa: E402

import conversations  # noqa: E402
import tiny_tokenizers  # noqa: E402

HERE = pathlib.Path(__file__).parent
NOW = 1712345678
SNIPPET_DATA = {
    "list": [1, 2, 3], "nested": {"a": 1, "b": [1, 2], "c": None}, "float": 1e22, "tiny": 1.5e-7,
    "huge": 1.7976931348623157e308, "int": 42, "negative": -5, "zero": 0, "items": {"x": 1},
    "with_items": {"items": 3}, "odd": ["\u200b é", "\x1b"],
    "people": [{"name": "Ann", "age": 40, "admin": True}, {"name": "Bob", "age": 20}],
    "tree": [{"n": 1, "c": [{"n": 2, "c": []}, {"n": 3, "c": []}]}],
}


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.datetime.fromtimestamp(NOW, tz)


class Probe:
    """A running text_probe on one folder."""

    def __init__(self, binary, folder):
        self.process = subprocess.Popen([binary, str(folder)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"text_probe ended on {request}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=60)


class Tally:
    def __init__(self):
        self.passed = 0
        self.failed = []

    def check(self, what, ours, theirs):
        if ours == theirs:
            self.passed += 1
            return
        self.failed.append(what)
        if len(self.failed) <= 20:
            print(f"DIFFERS: {what}\n  ours   {ours!r:.1500}\n  theirs {theirs!r:.1500}")


def random_text(rng):
    ranges = [(0x20, 0x7e), (0x20, 0x7e), (0x09, 0x0d), (0xa0, 0x24f), (0x300, 0x36f),
              (0x400, 0x4ff), (0x590, 0x6ff), (0x900, 0x97f), (0x200b, 0x2030), (0x3040, 0x30ff),
              (0x4e00, 0x9fff), (0xac00, 0xd7a3), (0x1f300, 0x1faff), (0x10000, 0x10ffff)]
    pieces = []
    for _ in range(rng.randrange(1, 12)):
        low, high = rng.choice(ranges)
        pieces += [chr(rng.randint(low, high)) for _ in range(rng.randrange(1, 9))]
        pieces.append(rng.choice(["", "", " ", "  ", "\n", " the ", "'ll", "123"]))
    return "".join(pieces)


def texts(rng, special):
    fixed = ["", " ", "  leading", "trailing  ", "a  b   c", "\n\n\n", "\t x", "don't I'LL we'Ve",
             "123456789 3.14", "é e\u0301 ﬁ Å", "😀👩‍👩‍👧‍👦", "<0x41> <0xZZ> ▁ ▁▁x", "x" * 5000,
             " " * 3000 + "y", "\u200b\ufeff", "\ufffd", "a\ufffd\ufffdb", "</think><tool_call>"]
    fixed += tiny_tokenizers.CORPUS
    fixed += [f"{a}Hello{b} world {a}" for a in special for b in special]
    return fixed + [random_text(rng) for _ in range(200)]


def check_tokenizer(name, binary, folder, tally, rng):
    reference = PreTrainedTokenizerFast.from_pretrained(folder)
    plain = reference.backend_tokenizer
    special = [str(t) for t in reference.special_tokens_map.values()]
    size = max(plain.get_vocab(True).values()) + 1
    with Probe(binary, folder) as probe:
        tally.check(f"{name}: size", probe.ask(op="info")["size"], size)
        for text in texts(rng, special):
            for add in (False, True):
                theirs = plain.encode(text, add_special_tokens=add).ids
                ours = probe.ask(op="encode", text=text, special=add).get("ids")
                tally.check(f"{name}: encode {text!r:.80} special={add}", ours, theirs)
            check_decoding(name, probe, plain, theirs, tally)
        for _ in range(200):
            ids = [rng.randrange(size + 3) for _ in range(rng.randrange(1, 40))]
            check_decoding(name, probe, plain, ids, tally, streams=False)


def check_decoding(name, probe, plain, ids, tally, streams=True):
    for skip in (False, True):
        theirs = plain.decode(ids, skip_special_tokens=skip)
        ours = probe.ask(op="decode", ids=ids, skip=skip).get("text")
        tally.check(f"{name}: decode {ids!r:.200} skip={skip}", ours, theirs)
        pieces = probe.ask(op="stream", ids=ids, skip=skip).get("pieces")
        if streams:
            tally.check(f"{name}: stream {ids!r:.200} skip={skip}", "".join(pieces), theirs)
        # A character of two tokens or more never shows as a replacement in between.
        if "\ufffd" not in theirs:
            tally.check(f"{name}: halves {ids!r:.200}", [p for p in pieces if "\ufffd" in p], [])


def reference_render(reference, messages, options):
    try:
        return reference.apply_chat_template(messages, tokenize=False, **options), None
    except Exception as error:  # what a template raises, or a Python error
        return None, error


def ours_request(messages, options):
    known = {"tools", "documents", "add_generation_prompt", "continue_final_message"}
    request = {"op": "render", "messages": messages, "now": NOW}
    request.update({k: v for k, v in options.items() if k in known})
    request["kwargs"] = {k: v for k, v in options.items() if k not in known}
    return request


def check_template(path, binary, folder, tally):
    shutil.copy(path, folder / "chat_template.jinja")
    reference = PreTrainedTokenizerFast.from_pretrained(folder)
    rendered = 0
    with Probe(binary, folder) as probe:
        for name, messages, options in conversations.ALL:
            theirs, error = reference_render(reference, messages, options)
            ours = probe.ask(**ours_request(messages, options))
            what = f"{path.name}: {name}"
            if error is None:
                rendered += 1
                tally.check(what, ours.get("text", ours), theirs)
            elif type(error).__name__ == "TemplateError":
                tally.check(what, ours.get("error"), f"chat template: {error}")
            else:
                tally.check(f"{what} fails", "error" in ours, True)
    if rendered < 8:
        tally.failed.append(f"{path.name}: only {rendered} conversations render")


def snippets():
    """(name, template) for every snippet: a line each, but whole where lines belong together."""
    source = (HERE / "snippets.jinja").read_bytes().decode()
    for part in source.split("\n### ")[1:]:
        name, body = part.split("\n", 1)
        if name in ("whitespace", "escapes", "line ends"):
            for ending in ("\n", "\r\n", "\r"):
                yield name, body.replace("\n", ending)
        else:
            yield from ((name, line) for line in body.split("\n") if line)


def check_snippets(binary, folder, tally):
    messages = [{"role": "user", "content": "x"}]
    for name, source in snippets():
        (folder / "chat_template.jinja").write_bytes(source.encode())
        template = chat_template_utils._compile_jinja_template(source)
        theirs = template.render(messages=messages, tools=None, documents=None,
                                 add_generation_prompt=False, data=SNIPPET_DATA)
        with Probe(binary, folder) as probe:
            ours = probe.ask(op="render", messages=messages, now=NOW,
                             kwargs={"data": SNIPPET_DATA})
        tally.check(f"snippet {name}: {source!r:.300}", ours.get("text", ours), theirs)


def main():
    binary = sys.argv[1]
    seed = int(os.environ.get("TANDEM_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed} (TANDEM_TEST_SEED)")
    rng = random.Random(seed)
    chat_template_utils.datetime = FixedTime
    tally = Tally()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        for name in tiny_tokenizers.ALL:
            folder = tiny_tokenizers.write(name, work / name)
            check_tokenizer(name, binary, folder, tally, rng)
            print(f"{name}: {tally.passed} checks passed so far")
        for path in sorted((HERE / "templates").glob("*.jinja")):
            check_template(path, binary, work / "llama2", tally)
        check_snippets(binary, work / "llama2", tally)
    print(f"{tally.passed} checks passed, {len(tally.failed)} failed")
    sys.exit(1 if tally.failed or tally.passed < 1000 else 0)


main()
