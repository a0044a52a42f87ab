"""Slow and long links between ranks cost time, never a rank."""

import subprocess
import unittest

import harness
import slow_link
import tiny_model
from slow_link import SlowLink, inside
from tested import Options

PATIENCE = 240  # seconds that a generation may take
ROWS = 60       # of a prompt: 120 kB of hidden states


@unittest.skipIf(slow_link.refusal(), f"no slow links here: {slow_link.refusal()}")
class Links(harness.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write(cls.folder / "wide", layers=2, hidden=512)

    def generate_over(self, rows, **link):
        """The tokens of a generation whose second rank is behind such a link."""
        slow = SlowLink(**link)
        self.addCleanup(slow.close)
        workers = []
        for space, address in ((slow.near, "10.99.0.1"), (slow.far, "10.99.0.2")):
            worker = subprocess.Popen(
                inside(space, Options.tandem, "worker", "--no-probe", "--listen", f"{address}:4000",
                       "--insecure"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.started.append(worker)
            self.assertIn("waiting for a gateway at ", worker.stderr.readline().decode())
            workers.append(f"{address}:4000")
        prompt = ",".join(str(1 + i % 200) for i in range(rows))
        arguments = ["generate", self.model, "--prompt-ids", prompt, "--max-tokens", 3]
        done = subprocess.run(
            inside(slow.near, Options.tandem, *arguments, "--hosts", ",".join(workers),
                   "--ranks", 2, "--insecure"), capture_output=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        alone = subprocess.run([Options.tandem, *map(str, arguments)], capture_output=True,
                               timeout=PATIENCE)
        self.assertEqual(done.stdout, alone.stdout)

    def test_30_kilobytes_a_second(self):
        self.generate_over(ROWS, rate=30e3)

    def test_120_kilobytes_a_second(self):
        self.generate_over(ROWS, rate=120e3)

    def test_a_quarter_of_a_second_one_way(self):
        self.generate_over(20, delay=0.25)

    def test_slow_and_long(self):
        self.generate_over(ROWS, rate=60e3, delay=0.25)


if __name__ == "__main__":
    harness.main()
