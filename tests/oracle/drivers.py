"""Runs tandem on a folder."""

import json
import pathlib
import subprocess

import numpy as np

from compare import log_softmax


class Failure(Exception):
    """tandem ended with an error; the text is its stderr."""


def _run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise Failure(f"exit code {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


class Cli:
    """The `tandem` binary, as a user runs it."""

    def __init__(self, binary):
        self.binary = binary

    def log_probabilities(self, folder, ids, activations, vocabulary):
        """[tokens, vocabulary] log-softmax of all positions."""
        # Candidates are listed for the token they compete with, so one more token shows the last.
        file = pathlib.Path(folder) / "ids.json"
        file.write_text(json.dumps(list(ids) + [0]))
        printed = json.loads(_run([self.binary, "score", folder, "--ids", file, "--top-logprobs",
                                   vocabulary, "--json", "--activations", activations]))
        rows = np.full((len(ids), vocabulary), np.nan)
        for row, token in zip(rows, printed["tokens"][1:]):
            for candidate in token["top"]:
                row[candidate["id"]] = candidate["logprob"]
            if abs(row[token["id"]] - token["logprob"]) > 1e-6:
                raise Failure("a token's logprob differs from its own among the candidates")
        return rows

    def greedy(self, folder, ids, count):
        printed = json.loads(_run([
            self.binary, "generate", folder, "--prompt-ids", ",".join(map(str, ids)),
            "--max-tokens", count, "--temp", 0, "--json", "--activations", "f32"]))
        return printed["ids"]


class Probe:
    """decoder_probe: the decoder without pipeline, scheduler and sampler."""

    def __init__(self, binary, flags=()):
        self.binary, self.flags = binary, list(flags)

    def _probe(self, folder, ids, activations, greedy):
        folder = pathlib.Path(folder)
        (folder / "ids.json").write_text(json.dumps(list(ids)))
        out = folder / "logits.f32"
        printed = _run([self.binary, folder, folder / "ids.json", out, "--activations",
                        activations, "--greedy", greedy, *self.flags])
        return np.fromfile(out, np.float32), json.loads(printed)

    def log_probabilities(self, folder, ids, activations, vocabulary):
        logits, _ = self._probe(folder, ids, activations, 0)
        return log_softmax(logits.reshape(len(ids), vocabulary))

    def greedy(self, folder, ids, count):
        return self._probe(folder, ids, "f32", count)[1]
