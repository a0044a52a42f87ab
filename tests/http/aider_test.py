"""aider against `tandem serve`; more_clients.sh runs it, with aider's Python (690 MB)."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import api_server

ANSWERED = re.compile(r" POST /v1/chat/completions (\d+) ")


class Aider(api_server.ServerTest):
    def setUp(self):
        self.home = tempfile.TemporaryDirectory()
        self.addCleanup(self.home.cleanup)
        self.repository = pathlib.Path(self.home.name) / "repository"
        self.repository.mkdir()
        self.environment = {"PATH": os.environ["PATH"], "HOME": self.home.name,
                            "OPENAI_API_BASE": self.server.url + "/v1", "OPENAI_API_KEY": "none",
                            "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        self.git("init", "--quiet")
        self.git("config", "user.name", "Test")
        self.git("config", "user.email", "test@localhost")
        (self.repository / "add.py").write_text("def add(a, b):\n    return a - b\n")
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "Start")
        self.seen = len(self.server.log)

    def git(self, *arguments):
        return subprocess.run(["git", *arguments], cwd=self.repository, env=self.environment,
                              check=True, capture_output=True, text=True).stdout

    def aider(self, *arguments):
        """Its output, and the lines that the server logged meanwhile."""
        done = subprocess.run(
            [sys.executable, "-m", "aider", "--model", "openai/tandem-demo", "--no-check-update",
             "--no-analytics", "--no-show-model-warnings", "--no-show-release-notes",
             "--no-pretty", "--no-gitignore", "--yes-always", "--map-tokens", "0", *arguments],
            cwd=self.repository, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=api_server.DEADLINE)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        lines = [line for line in self.server.log[self.seen:] if ANSWERED.search(line)]
        self.assertTrue(lines, done.stdout)
        for line in lines:
            self.assertEqual(ANSWERED.search(line).group(1), "200", line)
        return done.stdout, lines

    def test_a_message_is_answered(self):
        texts = []
        for flag in ("--stream", "--no-stream"):
            printed, lines = self.aider(flag, "--message", "Fix add", "add.py")
            self.assertEqual(" stream " in lines[-1], flag == "--stream", lines)
            # The answer is what stands before the count of tokens.
            text, _, rest = printed.partition("Tokens: ")
            self.assertRegex(rest, r"^\S+ sent, \S+ received")
            texts.append(" ".join(text.split("\n\n", 1)[1].split()))
        self.assertTrue(texts[0])
        self.assertEqual(texts[0], texts[1])

    def test_the_model_writes_the_message_of_a_commit(self):
        (self.repository / "add.py").write_text("def add(a, b):\n    return a + b\n")
        self.aider("--commit")
        subject = self.git("log", "-1", "--format=%s").strip()
        self.assertNotIn(subject, ("", "Start"))
        self.assertIn("+    return a + b", self.git("show"))


if __name__ == "__main__":
    api_server.main()
