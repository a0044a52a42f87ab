"""bench/ works: one short round of what needs no peer, and the arithmetic of the table.

No figure is compared with a limit here."""

import json
import stat
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
sys.path[:0] = [str(BENCH), str(BENCH / "peers"), str(ROOT / "tests" / "support")]

import lines  # noqa: E402
import random_model  # noqa: E402
import table  # noqa: E402
from tested import Options, main  # noqa: E402
import wanted  # noqa: E402

DEMO = ROOT / "models" / "tandem-demo"
SMALL = {
    "llama-1b": {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4,
                 "num_key_value_heads": 2, "head_dim": 32},
    "llama-8b": {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4,
                 "num_key_value_heads": 2, "head_dim": 32},
    "qwen3-8b": {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4,
                 "num_key_value_heads": 2, "head_dim": 32},
    "qwen3-moe": {"hidden_size": 128, "intermediate_size": 256, "moe_intermediate_size": 64,
                  "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32},
    "deepseek-v3": {"hidden_size": 128, "intermediate_size": 256, "moe_intermediate_size": 64,
                    "num_attention_heads": 2, "q_lora_rank": 64, "kv_lora_rank": 64,
                    "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64},
}


def python(*command):
    return subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True,
                          check=False, timeout=200)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Shapes(Folder):
    def test_tandem_runs_every_shape(self):
        self.assertEqual(SMALL.keys(), random_model.SHAPES.keys())
        for name, sizes in SMALL.items():
            shape = random_model.SHAPES[name] | sizes | {"vocab_size": 512, "num_hidden_layers": 2}
            random_model.write_folder(self.folder / name, shape)
            tools = lines.Tools(self.folder, Options.tandem, self.folder / name, short=True)
            self.assertGreater(lines.tandem(8, 8)(tools)["decode_tps"], 0, name)


class Run(Folder):
    def run_lines(self, *names, code=0):
        done = python(BENCH / "peers" / "run.py", self.folder, "--tandem", Options.tandem,
                      "--model", DEMO, "--rounds", 2, "--short", "--lines", ",".join(names))
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_results_become_a_table(self):
        names = ("decode-1", "decode-2", "prompt-2", "batch-8", "ranks-two", "context-8192-kv8")
        self.run_lines(*names)
        records = [json.loads(text) for text in
                   (self.folder / "results.jsonl").read_text().splitlines()]
        self.assertEqual([got["line"] for got in records], [*names, *names])
        for got in records:
            self.assertLess(got.get("cost", 0), 1)
            self.assertEqual("prompt_tps" in got, "cost" not in got)
            self.assertEqual("decode_tps" in got, got["line"] != "prompt-2")
        done = python(BENCH / "peers" / "table.py", self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"decode, 1 thread; llama.cpp \| [\d.]+ tok/s "
                                      r"\([\d.]+ to [\d.]+\), 2 runs \| not measured \|")
        self.assertRegex(done.stdout, r"8 sequences together, to one \| [\d.]+(, missed)? \| "
                                      r"at least 4 \|")
        self.assertNotIn("1,024", done.stdout)

    def test_an_unknown_line_is_named(self):
        self.assertIn("there is no decode-9", self.run_lines("decode-9", code=2).stderr)

    def test_a_failing_tool_ends_the_run_with_its_words(self):
        done = python(BENCH / "peers" / "run.py", self.folder, "--tandem", Options.tandem,
                      "--model", self.folder / "absent", "--rounds", 1, "--lines", "decode-1")
        self.assertEqual(done.returncode, 1)
        self.assertIn("absent", done.stderr)


class Peers(Folder):
    """The peers' own output, as their programs print it."""

    def program(self, name, text):
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def test_llama_bench(self):
        tools = lines.Tools(self.folder, Options.tandem, DEMO)
        got = {"build_commit": "b1", "n_prompt": 0, "n_gen": 64, "avg_ts": 30.5, "stddev_ts": 0.0}
        self.program("llama-bench", json.dumps([got]))
        self.assertEqual(lines.LINES["llama-decode-1"](tools), {"decode_tps": 30.5, "build": "b1"})
        self.program("llama-bench", json.dumps([got | {"n_prompt": 512, "n_gen": 0}]))
        self.assertEqual(lines.LINES["llama-prompt-2"](tools), {"prompt_tps": 30.5, "build": "b1"})

    def test_llama_batched_bench(self):
        self.program("llama-batched-bench",
                     'log line\n{"pp": 16, "pl": 8, "speed_pp": 200.0, "speed_tg": 90.0}')
        tools = lines.Tools(self.folder, Options.tandem, DEMO)
        self.assertEqual(lines.LINES["llama-batch-8"](tools),
                         {"prompt_tps": 200.0, "decode_tps": 90.0})

    def test_an_rpc_server_that_ends_is_noticed(self):
        self.program("ggml-rpc-server", "no")
        with self.assertRaisesRegex(SystemExit, "RPC server ended at once"):
            lines.LINES["llama-rpc-decode"](lines.Tools(self.folder, Options.tandem, DEMO))


class MlxLm(unittest.TestCase):
    def test_speeds(self):
        oracle = ROOT / ".deps" / "oracle" / "bin" / "python"
        done = subprocess.run([oracle, BENCH / "peers" / "mlx_lm_speed.py", DEMO, "--dtype", "f32",
                               "-p", "3", "-n", "2"], capture_output=True, text=True, check=False,
                              timeout=200)
        self.assertEqual(done.returncode, 0, done.stderr)
        got = json.loads(done.stdout)
        self.assertGreater(got["prompt_tps"], 0)
        self.assertGreater(got["decode_tps"], 0)
        self.assertIn("mlx-lm", got["version"])


class Arithmetic(Folder):
    def results(self, *records, since=0.0):
        path = self.folder / "results.jsonl"
        path.write_text("".join(json.dumps({"time": 10} | got) + "\n" for got in records))
        return table.Results(path, since)

    def test_medians_and_ratios(self):
        results = self.results(
            *({"line": "decode-2", "decode_tps": value, "weight_bytes": 5,
               "read_bytes_per_second": 100.0} for value in (12.0, 18.0, 16.0)),
            *({"line": "llama-decode-2", "decode_tps": value} for value in (8.0, 16.0, 7.0)),
            {"line": "mlx-lm", "decode_tps": 0.25, "prompt_tps": 1.0},
            {"line": "mlx-lm-f32", "decode_tps": 0.5, "prompt_tps": 2.0},
            {"line": "context-1024", "decode_tps": 14.0, "cost": 0.125})
        self.assertEqual(results.spread("decode-2", "decode"), table.Spread(16.0, 12.0, 18.0, 3))
        values = {goal.title: goal.value(results) for goal in wanted.GOALS}
        self.assertEqual(values["decode, 2 threads, to llama.cpp"], 2.0)
        self.assertEqual(values["decode, 2 threads: weights read, to a plain read"], 0.8)
        self.assertEqual(values["decode, to the better of mlx-lm"], 32.0)
        self.assertAlmostEqual(values["cost of 1,024 tokens of context"], 0.125)
        self.assertIsNone(values["decode, 1 thread, to llama.cpp"])
        text = "\n".join([*table.speeds(results), *table.ratios(results)])
        self.assertIn("| decode, 2 threads; llama.cpp | 16.0 tok/s (12.0 to 18.0), 3 runs | "
                      "8.00 tok/s (7.00 to 16.00), 3 runs |", text)
        self.assertIn("| decode, 2 threads, to llama.cpp | 2.00 | at least 1.15 |", text)
        self.assertIn("| cost of 1,024 tokens of context | 0.12, missed | at most 0.1 |", text)

    def test_older_results_are_left_out(self):
        records = [{"line": "decode-1", "decode_tps": 1.0},
                   {"line": "decode-1", "decode_tps": 3.0, "time": 20}]
        self.assertEqual(self.results(*records, since=15).median("decode-1", "decode"), 3.0)

    def test_every_row_is_measured_by_a_line(self):
        for _, kind, *names in wanted.SPEEDS:
            self.assertIn(kind, ("prompt", "decode"))
            for name in filter(None, names):
                self.assertIn(name, lines.LINES)
        every = self.results(*({"line": name, "decode_tps": 1.0, "prompt_tps": 1.0, "cost": 0.0,
                                "weight_bytes": 1, "read_bytes_per_second": 1.0}
                               for name in lines.LINES))
        for goal in wanted.GOALS:
            self.assertIsNotNone(goal.value(every), goal.title)


class Idle(unittest.TestCase):
    @unittest.skipUnless(sys.platform == "linux", "reads /proc")
    def test_every_process_is_watched(self):
        done = python(BENCH / "idle.py", "--tandem", Options.tandem, "--seconds", 1)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"in one process, after an answer \| 1 \| [\d.]+ % \|")
        self.assertRegex(done.stdout, r"two local ranks, after an answer \| 5 \| [\d.]+ % \|")
        self.assertRegex(done.stdout, r"without a gateway \| 2 \| [\d.]+ % \|")


if __name__ == "__main__":
    main()
