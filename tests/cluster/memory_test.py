"""Under any memory limit a command answers or says in one line what is missing; the kernel kills
none. Needs the right to make cgroups: root, or a delegated one."""

import os
import pathlib
import shutil
import signal
import sys
import tempfile
import unittest

import cgroup
import harness

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "bench"))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "http"))
import api_server  # noqa: E402
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
                # 2: the prompt is longer than what KV there is room for.
                self.assertIn(done.returncode, (0, 1, 2), "not killed")
                if done.returncode == 0:
                    answered += 1
                    continue
                self.assertIn("memory", errors[-1].lower())
                self.assertNotIn("killed", errors[-1])
        return answered

    @unittest.skipUnless(cgroup.available(), "needs the right to make a memory cgroup")
    def test_every_command_answers_or_says_what_is_missing(self):
        for command in (("generate", "--prompt-ids", PROMPT, "-m", 4),
                        ("score", "--ids", self.folder / "ids.json", "--json"),
                        ("bench", "-p", 64, "-n", 4, "-r", 1),
                        ("generate", "--prompt-ids", PROMPT, "-m", 4, "--ranks", 2)):
            self.assertGreater(self.limited(*command), 0, "the largest limit is enough")

    @unittest.skipUnless(cgroup.available(), "needs the right to make a memory cgroup")
    def test_a_rank_has_room_for_the_layers_that_it_holds(self):
        """With memory for the model once, the pipeline opens again over what ranks hold."""
        for limit in range(200, 321, 8):
            with cgroup.Cgroup(limit * MB) as group:
                try:
                    server = api_server.Server(self.model, "--ranks", 2, "--device", "cpu",
                                               "--threads", 1, wrap=group.wrap)
                except AssertionError:
                    continue
                try:
                    worker = harness.children(server.process.pid)[1]
                    os.kill(harness.children(worker)[0], signal.SIGKILL)
                    harness.wait_until(
                        lambda: server.request("GET", "/cluster")[2]["restarts"] == 1
                        and server.request("GET", "/health")[0] == 200,
                        harness.DEADLINE, f"the model is loaded again in {limit} MiB")
                    status, _, answer = server.post("/v1/completions", {
                        "prompt": list(range(5, 105)), "max_tokens": 4, "ignore_eos": True})
                    self.assertEqual(status, 200, answer)
                    loads = [line for line in server.log if line.startswith("rank 0: loaded ")]
                    self.assertEqual(len(loads), 1, "nothing was read again")
                finally:
                    server.kill()
            return
        self.fail("the largest limit is enough")


if __name__ == "__main__":
    harness.main()
