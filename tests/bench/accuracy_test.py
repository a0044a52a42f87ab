"""tools/demo_model/accuracy.py works on a few invented packages, and its divergence is one.

No figure is compared with a limit here."""

import json
import lzma
import math
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools" / "demo_model"
sys.path[:0] = [str(TOOLS), str(ROOT / "tests" / "support")]

import accuracy  # noqa: E402
from tested import Options, main  # noqa: E402



class Divergence(unittest.TestCase):
    def logs(self, *probabilities):
        return {token: math.log(p) for token, p in enumerate(probabilities)}

    def test_of_whole_distributions(self):
        got = accuracy.divergence(self.logs(0.5, 0.5), self.logs(0.25, 0.75))
        self.assertAlmostEqual(got, 0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75))
        self.assertEqual(accuracy.divergence(self.logs(0.5, 0.5), self.logs(0.5, 0.5)), 0)

    def test_what_only_one_side_lists_is_one_rest(self):
        reference = {1: math.log(0.5), 2: math.log(0.25)}
        other = {1: math.log(0.4), 3: math.log(0.3)}
        self.assertAlmostEqual(accuracy.divergence(reference, other),
                               0.5 * math.log(0.5 / 0.4) + 0.5 * math.log(0.5 / 0.6))


class Script(unittest.TestCase):
    def test_every_figure_is_there(self):
        packages = [{"name": f"tool{i}", "synopsis": f"does thing {i}", "section": "utils",
                     "description": f"This tool does thing {i} well."} for i in range(100)]
        with tempfile.NamedTemporaryFile(suffix=".json.xz") as file:
            file.write(lzma.compress(json.dumps(packages).encode()))
            file.flush()
            done = subprocess.run(
                [sys.executable, TOOLS / "accuracy.py", "--tandem", Options.tandem, "--packages",
                 file.name, "--count", "2", "--activations", "f32,f32,int8,int8+kv8"],
                capture_output=True, text=True, check=False, timeout=250)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(re.findall(r"tokens: perplexity [\d.]+ with f32", done.stdout)), 2)
        self.assertEqual(len(re.findall(r"f32: [\d.]+, \+0.000 % \(standard error 0.000\), "
                                        r"KL 0.000000, same likeliest token 100.00 %",
                                        done.stdout)), 2)
        self.assertEqual(len(re.findall(r"int8: [\d.]+, [+-][\d.]+ %", done.stdout)), 2)
        self.assertEqual(len(re.findall(r"int8\+kv8: [\d.]+, [+-][\d.]+ %", done.stdout)), 2)
        self.assertIn("greedy answers, f32: 4 of 4 the same as with f32, 100.00 %", done.stdout)


if __name__ == "__main__":
    main()
