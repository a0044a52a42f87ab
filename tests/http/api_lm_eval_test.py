"""lm-eval's local-completions against mlx-lm's own lm-eval model, on the same tasks and folder.

The tasks in lm_eval/ are a multiple choice (16 questions, 64 scored answers) and a rolling
perplexity (8 texts). mlx-lm computes in float32; its bfloat16 differs from that as much as int8
activations do.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import api_server

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parent.parent / "models/tandem-demo"
TASKS = HERE / "lm_eval"
CHOICES, TEXTS = "tandem_packages", "tandem_texts"
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def evaluate(server, folder, *arguments):
    """Results and samples of lm-eval's command line, as a user runs it."""
    model = (f"model=tandem-demo,base_url={server.url}/v1/completions,tokenizer={MODEL},"
             "tokenizer_backend=huggingface,num_concurrent=4")
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions", "--model_args",
         model, "--tasks", f"{CHOICES},{TEXTS}", "--include_path", ".", "--output_path", folder,
         "--log_samples", *arguments],
        cwd=TASKS, capture_output=True, text=True, timeout=api_server.DEADLINE,
        env={"PATH": os.environ["PATH"], "HOME": folder, **OFFLINE})
    assert done.returncode == 0, done.stderr[-3000:]
    [results] = pathlib.Path(folder).rglob("results_*.json")
    samples = {}
    for task in (CHOICES, TEXTS):
        [file] = pathlib.Path(folder).rglob(f"samples_{task}_*.jsonl")
        samples[task] = [json.loads(line) for line in file.read_text().splitlines()]
    return json.loads(results.read_text())["results"], samples


def reference():
    """The same from mlx-lm."""
    import lm_eval
    import mlx.core as mx
    from lm_eval.tasks import TaskManager
    from mlx_lm.evaluate import MLXLM
    from mlx_lm.utils import dequantize_model

    class Reference(MLXLM):
        def __init__(self, folder):
            super().__init__(folder, use_chat_template=True)
            self._model.set_dtype(mx.float32)
            self._model = dequantize_model(self._model)  # the same values, faster on a CPU

        def loglikelihood_rolling(self, requests):
            # mlx-lm leaves a text's first token out; lm-eval scores it behind the begin token.
            self._tokenize = lambda texts: [
                (self.tokenizer.bos_token_id, *ids) for ids in MLXLM._tokenize(self, texts)]
            return super().loglikelihood_rolling(requests)

    with contextlib.chdir(TASKS):
        found = lm_eval.simple_evaluate(
            model=Reference(str(MODEL)), tasks=[CHOICES, TEXTS],
            task_manager=TaskManager(include_path="."), bootstrap_iters=0, log_samples=True)
    return found["results"], found["samples"]


def scores(samples):
    """Log-likelihoods, in the order of the documents."""
    ordered = sorted(samples, key=lambda sample: sample["doc_id"])
    return [float(answer[0] if isinstance(answer, (list, tuple)) else answer)
            for sample in ordered for answer in sample["filtered_resps"]]


class LmEval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.environ.update(OFFLINE)
        cls.home = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.home.cleanup)
        os.environ["HF_HOME"] = cls.home.name
        cls.results, cls.samples = reference()

    def compare(self, activations, each, bits):
        """`each`: largest difference of a log-likelihood; `bits`: relative, of bits per byte."""
        server = api_server.Server("--activations", activations)
        self.addCleanup(server.kill)
        with tempfile.TemporaryDirectory() as folder:
            results, samples = evaluate(server, folder)
        largest = 0
        for task, count in ((CHOICES, 64), (TEXTS, 8)):
            got, wanted = scores(samples[task]), scores(self.samples[task])
            self.assertEqual((len(got), len(wanted)), (count, count))
            largest = max(largest, *(abs(a - b) for a, b in zip(got, wanted)))
        got, wanted = (r[TEXTS]["bits_per_byte,none"] for r in (results, self.results))
        print(f"{activations}: log-likelihoods differ by up to {largest:.4f}; "
              f"{got:.6f} bits a byte, mlx-lm {wanted:.6f}")
        self.assertLess(largest, each)
        self.assertLess(abs(got / wanted - 1), bits)
        return results

    def test_f32_gives_the_numbers_of_mlx_lm(self):
        results = self.compare("f32", each=0.005, bits=1e-4)
        for name in ("acc,none", "acc_norm,none"):
            self.assertEqual(results[CHOICES][name], self.results[CHOICES][name])

    def test_int8_is_near(self):
        results = self.compare("int8", each=8, bits=0.01)  # sums of up to 60 tokens
        for name in ("acc,none", "acc_norm,none"):
            self.assertLessEqual(abs(results[CHOICES][name] - self.results[CHOICES][name]), 1 / 16)


if __name__ == "__main__":
    api_server.main()
