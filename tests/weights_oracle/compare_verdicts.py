"""Compares our safetensors verdicts with the reference library's.

usage: compare_verdicts.py PROBE_BINARY

Hand-made probe files first, then every one-byte change of a good file's length and header. What the
reference refuses we must refuse, without exception. What it accepts we accept, but for the rules in
STRICTER, each of which must be the reason we state.
"""

import json
import struct
import subprocess
import sys

import safetensors

# Our rules that go beyond the reference; the format's description asks for the first two.
STRICTER = {
    "does not begin with '{'": "the format says that the header begins with {",
    "appears twice": "the format says that duplicate keys are disallowed",
    "has the unknown dtype": "element types that no supported model uses",
    "must be an object": "the reference also takes a tensor written as an array",
    "which is not an integer in [0, 2^63)": "sizes are signed in every array library",
    "is nested deeper than": "fields that the reference skips may be nested here",
    "a zero byte": "text ends where the header ends",
}


def pack(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(begin, end, shape, dtype="F32", **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


def probes():
    """Name -> bytes."""
    one = tensor(0, 8, [2])
    good = {"a": one}
    text = json.dumps(good).encode()
    big = 1 << 63
    return {
        "good": pack(good, bytes(8)),
        "good, two tensors": pack({"b": tensor(8, 12, [1]), "a": one}, bytes(12)),
        "good, scalar": pack({"a": tensor(0, 4, [])}, bytes(4)),
        "good, empty tensor": pack({"a": tensor(0, 0, [0, 3]), "b": tensor(0, 4, [1])}, bytes(4)),
        "good, no tensors": pack({}),
        "good, metadata": pack({"__metadata__": {"format": "pt"}, "a": one}, bytes(8)),
        "good, spaces after": pack(text + b"    ", bytes(8)),
        "good, odd length": pack(text + b" ", bytes(8)),
        "good, unknown field": pack({"a": tensor(0, 8, [2], x={"y": [1.5]})}, bytes(8)),
        "good, every type": pack(
            {t: tensor(8 * i, 8 * i + 8, [8 // s], t) for i, (t, s) in enumerate([
                ("BOOL", 1), ("U8", 1), ("I8", 1), ("F8_E4M3", 1), ("F8_E5M2", 1), ("U16", 2),
                ("I16", 2), ("F16", 2), ("BF16", 2), ("U32", 4), ("I32", 4), ("F32", 4),
                ("U64", 8), ("I64", 8), ("F64", 8)])}, bytes(120)),
        "empty file": b"",
        "seven bytes": bytes(7),
        "length only": struct.pack("<Q", 0),
        "length beyond the file": pack(good, bytes(8), length=1000),
        "length over the limit": pack(good, bytes(8), length=100_000_001),
        "length wraps": pack(good, bytes(8), length=(1 << 64) - 1),
        "no JSON": pack(b"hello world", bytes(8)),
        "an array": pack(b"[]"),
        "spaces before": pack(b"  " + text, bytes(8)),
        "zero byte after": pack(text + b"\0", bytes(8)),
        "text after": pack(text + b"x", bytes(8)),
        "invalid UTF-8": pack(text.replace(b"a", b"\xff"), bytes(8)),
        "half a surrogate": pack(text.replace(b"a", b"\\ud800"), bytes(8)),
        "hole at the start": pack({"a": tensor(4, 12, [2])}, bytes(12)),
        "hole between": pack({"a": one, "b": tensor(12, 16, [1])}, bytes(16)),
        "overlap": pack({"a": one, "b": tensor(4, 12, [2])}, bytes(12)),
        "the same bytes twice": pack({"a": one, "b": one}, bytes(8)),
        "bytes left over": pack(good, bytes(9)),
        "truncated": pack(good, bytes(7)),
        "end before begin": pack({"a": tensor(8, 0, [2])}, bytes(8)),
        "size does not fit": pack({"a": tensor(0, 8, [3])}, bytes(8)),
        "type does not fit": pack({"a": tensor(0, 8, [2], "F16")}, bytes(8)),
        "unknown type": pack({"a": tensor(0, 8, [2], "F31")}, bytes(8)),
        "lower-case type": pack({"a": tensor(0, 8, [2], "f32")}, bytes(8)),
        "type of the reference only": pack({"a": tensor(0, 2, [2], "F8_E8M0")}, bytes(2)),
        "shape overflows": pack({"a": tensor(0, 8, [big, 4])}, bytes(8)),
        "shape overflows to the size": pack({"a": tensor(0, 8, [(1 << 62) + 2])}, bytes(8)),
        "overflow times zero": pack({"a": tensor(0, 0, [1 << 40, 1 << 40, 0])}),
        "zero times anything": pack({"a": tensor(0, 0, [0, 1 << 40, 1 << 40])}),
        "huge side of an empty tensor": pack({"a": tensor(0, 0, [0, big])}),
        "negative side": pack({"a": tensor(0, 8, [-2])}, bytes(8)),
        "minus zero": pack(text.replace(b"[0, 8]", b"[-0, 8]"), bytes(8)),
        "fractional side": pack({"a": tensor(0, 8, [2.0])}, bytes(8)),
        "offset of 65 bits": pack({"a": tensor(0, 1 << 64, [2])}, bytes(8)),
        "offset is text": pack({"a": tensor(0, "8", [2])}, bytes(8)),
        "three offsets": pack({"a": {**one, "data_offsets": [0, 4, 8]}}, bytes(8)),
        "one offset": pack({"a": {**one, "data_offsets": [8]}}, bytes(8)),
        "no shape": pack({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8)),
        "no type": pack({"a": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
        "no offsets": pack({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
        "tensor is null": pack({"a": None}),
        "tensor as an array": pack({"a": ["F32", [2], [0, 8]]}, bytes(8)),
        "tensor name twice": pack(text[:-1] + b"," + text[1:], bytes(8)),
        "field twice": pack(text.replace(b'"shape"', b'"shape": [2], "shape"'), bytes(8)),
        "metadata twice": pack(b'{"__metadata__":{},"__metadata__":{}}'),
        "metadata key twice": pack(b'{"__metadata__":{"a":"b","a":"c"}}'),
        "metadata is no map": pack({"__metadata__": [1]}),
        "metadata of a number": pack({"__metadata__": {"a": 1}}),
        "metadata is null": pack({"__metadata__": None, "a": one}, bytes(8)),
        "nested deeply": pack(b'{"a":' + b"[" * 200 + b"]" * 200 + b"}"),
        "never closed": pack(b"{" * 50000),
    }


def mutations():
    """Every one-byte change of the length and the header of a good file."""
    header = {"__metadata__": {"k": "v"}, "a.b": tensor(0, 8, [2]),
              "c": tensor(8, 12, [1, 2], "BF16")}
    good = pack(header, bytes(12))
    for position in range(len(good) - 12):
        for value in range(256):
            if value != good[position]:
                changed = good[:position] + bytes([value]) + good[position + 1:]
                yield f"byte {position} = {value}", changed


def reference_accepts(data):
    try:
        safetensors.deserialize(data)
        return True
    except safetensors.SafetensorError:
        return False


def main():
    cases = list(probes().items())
    hand_made = len(cases)
    cases += mutations()
    stream = b"".join(struct.pack("<Q", len(data)) + data for _, data in cases)
    done = subprocess.run([sys.argv[1]], input=stream, capture_output=True, timeout=250)
    if done.returncode != 0:
        sys.exit(f"the probe ended with {done.returncode}: {done.stderr.decode()}")
    verdicts = done.stdout.decode(errors="replace").splitlines()
    if len(verdicts) != len(cases):
        sys.exit(f"{len(cases)} files, {len(verdicts)} verdicts")

    failures, accepted, stricter = [], 0, 0
    for (name, data), ours in zip(cases, verdicts):
        accepts, reference = ours.startswith("ok "), reference_accepts(data)
        accepted += accepts
        if accepts == reference:
            continue
        if reference and any(rule in ours for rule in STRICTER):
            stricter += 1
            continue
        failures.append(f"{name}: reference {'accepts' if reference else 'refuses'}, ours: {ours}")
    print(f"{hand_made} probe files and {len(cases) - hand_made} mutations with safetensors "
          f"{safetensors.__version__}: {accepted} accepted, {stricter} stricter by rule, "
          f"{len(failures)} disagree")
    if accepted == 0 or accepted == len(cases):
        sys.exit("every verdict is the same; nothing was compared")
    if failures:
        sys.exit("\n".join(failures[:40]))


if __name__ == "__main__":
    main()
