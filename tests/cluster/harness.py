"""Runs the tandem binary for the cluster tests. Standard library only."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
import tested  # noqa: E402
import tiny_model  # noqa: E402
from tested import Options  # noqa: E402

DEADLINE = 60  # seconds that anything may take on a busy machine
PROMPT = "5,17,200,33,8"


def processes():
    """pid -> (parent, state) of every process; a zombie's state begins with Z."""
    table = {}
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True,
                             check=True)
    for line in listing.stdout.splitlines():
        pid, parent, state = line.split()
        table[int(pid)] = (int(parent), state)
    return table


def children(pid):
    return sorted(child for child, (parent, state) in processes().items()
                  if parent == pid and not state.startswith("Z"))


def alive(pids):
    table = processes()
    return [pid for pid in pids if pid in table and not table[pid][1].startswith("Z")]


def wait_until(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ClusterTest(unittest.TestCase):
    """A tiny model, and the processes of a test, which end with it."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="tandem-cluster-"))
        cls.model = tiny_model.write(cls.folder / "model")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def setUp(self):
        self.started = []

    def tearDown(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def start(self, *arguments, **options):
        process = subprocess.Popen([Options.tandem, *map(str, arguments)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, **options)
        self.started.append(process)
        return process

    def worker(self, *arguments):
        """A `tandem worker` that listens, unmeasured; returns (process, address)."""
        process = self.start("worker", "--no-probe",
                             *(arguments or ("--listen", f"127.0.0.1:{free_port()}")))
        line = process.stderr.readline().decode()
        self.assertIn("waiting for a gateway at ", line)
        return process, line.split(" at ")[1].strip()

    def generate(self, *arguments, tokens=24, prompt=PROMPT):
        """The JSON of a generation that must succeed."""
        done = subprocess.run(
            [Options.tandem, "generate", str(self.model), "--prompt-ids", prompt, "--max-tokens",
             str(tokens), "--json", *map(str, arguments)], capture_output=True, timeout=DEADLINE)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return json.loads(done.stdout)

    def refused(self, *arguments, code, command="generate"):
        """The error line of a command that must fail with `code`."""
        model = [str(self.model), "--prompt-ids", PROMPT] if command == "generate" else []
        done = subprocess.run([Options.tandem, command, *model, *map(str, arguments)],
                              capture_output=True, timeout=DEADLINE)
        lines = done.stderr.decode().splitlines()
        self.assertEqual(done.returncode, code, lines)
        errors = [line for line in lines if line.startswith("tandem: error: ")]
        self.assertEqual(len(errors), 1, lines)
        return errors[0]

    def endless(self, *arguments):
        """A generation that goes on for minutes, after its first bytes came."""
        gateway = self.start("generate", self.model, "--prompt-ids", PROMPT, "--max-tokens", 60000,
                             *arguments)
        self.assertTrue(os.read(gateway.stdout.fileno(), 1))
        return gateway

    def ends(self, gateway, seconds=DEADLINE):
        """Waits for the gateway's failure: (seconds, its error line)."""
        begin = time.monotonic()
        _, errors = gateway.communicate(timeout=seconds)
        took = time.monotonic() - begin
        self.assertEqual(gateway.returncode, 1, errors)
        return took, errors.decode().splitlines()[-1]


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    tested.main()
