"""Under any memory limit a command answers or says in one line what is missing; the kernel kills
none. Needs the right to make cgroups (root, or a delegated one), else only the flags are tested."""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import cgroup
import harness

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "bench"))
import random_model  # noqa: E402

SHAPE = {**random_model.LLAMA_1B, "vocab_size": 16000, "hidden_size": 1024,
         "intermediate_size": 4096, "num_hidden_layers": 6, "num_attention_heads": 16,
         "num_key_value_heads": 8, "max_position_embeddings": 4096}
MB = 1 << 20
LIMITS = (60, 90, 120, 160, 220, 320)
PROMPT = ",".join(str(i * 7 % 16000) for i in range(600))


class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="tandem-memory-"))
        cls.model = cls.folder / "model"
        random_model.write_folder(cls.model, SHAPE)
        (cls.folder / "ids.json").write_text(f"[{PROMPT}]")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def limited(self, *command):
        """Runs the command under each limit; how many answered. Each other one said why."""
        answered = 0
        for limit in LIMITS:
            with self.subTest(command=command[0], limit=limit), cgroup.Cgroup(limit * MB) as group:
                done = group.run([harness.Options.tandem, command[0], self.model, *command[1:],
                                  "--device", "cpu", "--threads", 1], harness.DEADLINE)
                errors = done.stderr.decode().splitlines()
                print(f"{command[0]} in {limit} MiB: {done.returncode} {errors[-1:]}", flush=True)
                self.assertIn(done.returncode, (0, 1), "not killed")
                if done.returncode == 0:
                    answered += 1
                    continue
                self.assertIn("memory", errors[-1].lower())
                self.assertRegex(errors[-1], r"[0-9] [kMG]?B ")
                self.assertNotIn("killed", errors[-1])
        return answered

    @unittest.skipUnless(cgroup.available(), "needs the right to make a memory cgroup")
    def test_every_command_answers_or_says_what_is_missing(self):
        for command in (("generate", "--prompt-ids", PROMPT, "-m", 4),
                        ("score", "--ids", self.folder / "ids.json", "--json"),
                        ("bench", "-p", 64, "-n", 4, "-r", 1),
                        ("generate", "--prompt-ids", PROMPT, "-m", 4, "--ranks", 2)):
            self.assertGreater(self.limited(*command), 0, "the largest limit is enough")

    def generate(self, *flags):
        return subprocess.run(
            [harness.Options.tandem, "generate", str(self.model), "--prompt-ids", "1,2,3", "-m",
             "2", "--json", "--device", "cpu", *flags], capture_output=True,
            timeout=harness.DEADLINE, check=False)

    def test_kv_memory_bounds_every_rank(self):
        for ranks in ("1", "2"):
            done = self.generate("--kv-memory", "20M", "--ranks", ranks)
            self.assertEqual(done.returncode, 0, done.stderr)
            json.loads(done.stdout)
        none = self.generate("--kv-memory", "1k")
        self.assertEqual(none.returncode, 1)
        self.assertIn("--kv-memory", none.stderr.decode())

    def test_layers_are_those_that_were_asked_for(self):
        done = self.generate("--layers", "0-3,4-5")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual([rank["layers"] for rank in report["ranks"]], [[0, 4], [4, 6]])
        self.assertEqual(report["ids"], json.loads(self.generate().stdout)["ids"])
        for flags in (("--layers", "0-3,4"), ("--layers", "0-3"), ("--layers", "0-3,4-6"),
                      ("--layers", "0-3,4-5", "--ranks", "3")):
            refused = self.generate(*flags)
            self.assertEqual(refused.returncode, 2, flags)
            self.assertIn("--layers", refused.stderr.decode())


if __name__ == "__main__":
    harness.main()
