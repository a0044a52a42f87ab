"""A real `tandem serve` for the tests of the API. Standard library only."""

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from tested import Options, main  # noqa: E402, F401

DEADLINE = 120  # seconds that anything may take on a busy machine
URL = re.compile(r"https?://\S+:\d+")


class Server:
    """A running server on a free port; `log` holds what it wrote on standard error. `wrap` may put
    other words before the command."""

    def __init__(self, *arguments, wrap=lambda command: command):
        self.log = []
        self.seen = threading.Condition()
        self.process = subprocess.Popen(
            wrap([Options.tandem, "serve", "--port", "0", *map(str, arguments)]),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
            env={"PATH": os.environ["PATH"], "HOME": tempfile.gettempdir()})
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        try:
            self.url = URL.search(self.wait_for(r"^tandem serve: .* at ")).group()
            self.wait_for(r"^try: curl ")
        except AssertionError:
            self.kill()
            raise
        self.host, port = self.url.split("//")[1].split(":")
        self.port = int(port)

    def read(self):
        for line in self.process.stderr:
            with self.seen:
                self.log.append(line.rstrip("\n"))
                self.seen.notify_all()
        with self.seen:
            self.log.append("(end)")
            self.seen.notify_all()

    def wait_for(self, pattern, after=0):
        """The first line of the log from `after` on that matches."""
        def found():
            return next((line for line in self.log[after:] if re.search(pattern, line)), None)
        with self.seen:
            done = self.seen.wait_for(lambda: found() or "(end)" in self.log, DEADLINE)
            line = found()
        if not done or line is None:
            raise AssertionError(f"no line {pattern!r} in {self.log}")
        return line

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body) of one request; JSON bodies are encoded and decoded."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE)
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        kind = answer.getheader("Content-Type", "")
        if kind.startswith("application/json") and text:
            return answer.status, answer.headers, json.loads(text)
        return answer.status, answer.headers, text.decode()

    def post(self, path, body, **headers):
        return self.request("POST", path, body, headers)

    def stream(self, path, body):
        """The events of a stream: parsed chunks, "[DONE]", and comments as they stand."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE)
        try:
            connection.request("POST", path, json.dumps({**body, "stream": True}),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200, (answer.status, answer.read())
            assert answer.getheader("Content-Type") == "text/event-stream", answer.headers
            for event in answer.read().decode().split("\n\n"):
                if event.startswith("data: {"):
                    yield json.loads(event[6:])
                elif event:
                    yield event.removeprefix("data: ")
        finally:
            connection.close()

    def terminate(self):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        self.reader.join(DEADLINE)
        self.process.stderr.close()


class ServerTest(unittest.TestCase):
    """One server for all tests of a class: the embedded model, unless `arguments` say otherwise."""

    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.arguments)

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()

    def chat(self, text="What is the package nginx?", **fields):
        return {"messages": [{"role": "user", "content": text}], "max_tokens": 12,
                "temperature": 0, **fields}

    def answer(self, path, body):
        status, _, answer = self.server.post(path, body)
        self.assertEqual(status, 200, answer)
        return answer

    def refused(self, path, body, status=400, **headers):
        """The error object of a request that must be refused."""
        got, _, answer = self.server.post(path, body, **headers)
        self.assertEqual(got, status, answer)
        self.assertEqual(set(answer["error"]), {"message", "type", "param", "code"}, answer)
        return answer["error"]
