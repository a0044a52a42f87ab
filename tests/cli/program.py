"""Runs the tandem binary for the command-line tests. Standard library only."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "cluster"))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
import tiny_model  # noqa: E402
from tested import Options, main  # noqa: E402, F401

DEADLINE = 60  # seconds that anything may take on a busy machine
VOCABULARY = 258
CONTEXT = 65536


class ProgramTest(unittest.TestCase):
    """A tiny model, and an environment without anybody's caches."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="tandem-cli-"))
        cls.model = tiny_model.write(cls.folder / "model", layers=3)
        cls.environment = {"PATH": os.environ["PATH"], "HOME": str(cls.folder / "home")}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def run_tandem(self, *arguments, stdin=b"", env=None, **options):
        return subprocess.run([Options.tandem, *map(as_argument, arguments)], input=stdin,
                              capture_output=True, timeout=DEADLINE,
                              env={**self.environment, **(env or {})}, **options)

    def output(self, *arguments, **options):
        """Standard output of a run that must succeed."""
        done = self.run_tandem(*arguments, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout

    def json(self, *arguments, **options):
        return json.loads(self.output(*arguments, "--json", **options))

    def refused(self, *arguments, code=2, **options):
        """The one error line of a run that must fail with `code`."""
        done = self.run_tandem(*arguments, **options)
        return self.error_line(done, code)

    def error_line(self, done, code):
        lines = done.stderr.decode().splitlines()
        self.assertEqual(done.returncode, code, lines)
        errors = [line for line in lines if "error" in line]
        self.assertEqual(len(errors), 1, lines)
        self.assertTrue(errors[0].startswith("tandem: error: "), errors)
        self.assertEqual(errors[0], lines[-1])
        return errors[0]

    def start(self, *arguments, **options):
        """A running process; the test's end is its end."""
        process = subprocess.Popen([Options.tandem, *map(as_argument, arguments)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=self.environment, **options)
        self.addCleanup(end, process)
        return process

    def variant(self, name, **files):
        """A copy of the model with some files replaced (None: removed)."""
        copy = self.folder / name
        shutil.copytree(self.model, copy)
        for file, text in files.items():
            path = copy / file.replace("__", ".")
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
        return copy


def as_argument(value):
    return value if isinstance(value, bytes) else str(value)


def end(process):
    if process.poll() is None:
        process.kill()
    process.communicate()
