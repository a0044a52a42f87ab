"""bench/peers/serving.py works, its arithmetic and the tokenizer of its models.

No figure is compared with a limit here."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "bench"
sys.path[:0] = [str(BENCH), str(BENCH / "peers"), str(ROOT / "tests" / "support")]

import random_model  # noqa: E402
import random_tokenizer  # noqa: E402
import servers  # noqa: E402
import serving  # noqa: E402
from tested import Options, main  # noqa: E402

SMALL = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4,
         "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 4096, "num_hidden_layers": 2}


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Serving(Folder):
    def run_script(self, *flags, code=0):
        done = subprocess.run([sys.executable, BENCH / "peers" / "serving.py", self.folder, *flags],
                              capture_output=True, text=True, check=False, timeout=250)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_tandem_is_measured_and_shown(self):
        random_model.write_folder(self.folder / "llama-1b", random_model.LLAMA_1B | SMALL)
        done = self.run_script("--tandem", Options.tandem, "--servers", "tandem", "--rounds", "2",
                               "--levels", "1,2", "--requests", "3", "-p", "20", "-n", "6")
        records = [json.loads(line) for line in
                   (self.folder / "serving.jsonl").read_text().splitlines()]
        self.assertEqual([record["server"] for record in records], ["tandem", "tandem"])
        for record in records:
            for level, streams in zip(record["levels"], (1, 2), strict=True):
                self.assertEqual((level["concurrency"], level["completed"], level["failed"]),
                                 (streams, 3, 0))
                # Every token of these models is text, and comes as a piece of its own.
                self.assertEqual(level["output_tokens"], 18)
                self.assertGreater(level["itl_ms"]["mean"], 0)
        for streams in (1, 2):
            self.assertRegex(done.stdout, rf"\| {streams} \| tandem \| 2 \| [\d.]+ \(")
        self.assertEqual(self.run_script("--table").stdout, done.stdout)

    def test_mistakes(self):
        self.assertIn("--tandem", self.run_script(code=2).stderr)
        self.assertIn("there is no x", self.run_script("--tandem", "t", "--servers", "x",
                                                       code=2).stderr)

    def test_a_server_that_ends_is_named(self):
        done = self.run_script("--tandem", Options.tandem, "--model", self.folder / "absent",
                               "--servers", "tandem", code=1)
        self.assertIn("tandem ended at once", done.stderr)
        self.assertIn("absent", (self.folder / "serving.log").read_text())


class Table(unittest.TestCase):
    def record(self, server, total, tail, failed=0):
        times = {"p50": 1.0, "p99": tail}
        return {"server": server, "levels": [
            {"concurrency": 16, "failed": failed, "requests_per_second": 1.0, "output_tps": 2.0,
             "total_tps": total, "ttft_ms": times, "itl_ms": times, "latency_ms": times}]}

    def test_medians_and_ratios(self):
        text = "\n".join(serving.table([
            self.record("llama-server", 50.0, 40.0), self.record("tandem", 90.0, 10.0),
            self.record("tandem", 70.0, 20.0, failed=1), self.record("tandem", 60.0, 30.0)]))
        self.assertIn("| 16 | tandem (1 requests failed) | 3 | 1.00 (1.00 to 1.00) | "
                      "2.0 (2.0 to 2.0) | 70.0 (60.0 to 90.0) |", text)
        self.assertIn("| 16 | llama-server | 1 | 1.00 | 2.0 | 50.0 |", text)
        self.assertIn("16 streams, tandem to llama-server: total tok/s 1.40 x, p99 ITL 0.50 x",
                      text)
        self.assertLess(text.index("tandem"), text.index("llama-server"))


class Commands(unittest.TestCase):
    def test_threads_and_streams_are_the_same_for_all(self):
        setting = servers.Setting(Path("/f"), "t", Path("/f/m"), 2, 64, 200, ("nice",))
        own = servers.tandem(setting, 7)
        self.assertEqual(own[own.index("--threads") + 1], 2)
        self.assertEqual(own[own.index("--max-sequences") + 1], 64)
        peer = servers.llama_server(setting, 7)
        self.assertEqual((peer[peer.index("-t") + 1], peer[peer.index("-np") + 1],
                          peer[peer.index("-c") + 1]), (2, 64, 12800))
        for kind in servers.SERVERS.values():
            command = kind.command(setting, 7)
            self.assertEqual(command[command.index("--port") + 1], 7)


class Tokenizer(unittest.TestCase):
    def test_every_entry_is_one_and_every_merge_makes_one(self):
        for size in (258, 300, 4096, random_model.LLAMA_1B["vocab_size"]):
            tokens, merges = random_tokenizer.entries(size)
            self.assertEqual((len(tokens), len(set(tokens))), (size, size))
            known = set(tokens)
            self.assertEqual(len(merges), size - 258)
            for left, right in merges:
                self.assertIn(left, known)
                self.assertIn(right, known)
                self.assertIn(left + right, known)


if __name__ == "__main__":
    main()
