"""Runs echo_server and speaks to it in raw bytes. Standard library only."""

import argparse
import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

DEADLINE = 60  # seconds that anything may take on a busy machine


class Options:
    server = ""


class Answer:
    """One HTTP answer as it came."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name]
        return values[0] if values else None


class Peer:
    """A raw connection."""

    def __init__(self, address, family=socket.AF_INET, wrap=None):
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(address)
        if wrap:
            self.socket = wrap(self.socket)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        """True unless the other end has closed."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(f"closed after {self.buffer!r}")
        found, self.buffer = self.buffer.split(mark, 1)
        return found

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.more():
                raise EOFError(f"closed after {len(self.buffer)} of {count} bytes")
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def head(self):
        lines = self.until(b"\r\n\r\n").decode().split("\r\n")
        status = int(re.fullmatch(r"HTTP/1\.1 (\d{3}) [ -~]*", lines[0])[1])
        return status, [tuple(line.split(": ", 1)) for line in lines[1:]]

    def chunks(self):
        pieces = []
        while size := int(self.until(b"\r\n"), 16):
            pieces.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n"
        assert self.exactly(2) == b"\r\n"
        return pieces

    def answer(self, body=True):
        """The next answer; body=False: of a HEAD request."""
        status, headers = self.head()
        found = Answer(status, headers, b"")
        if not body or status == 204 or 100 <= status < 200:
            return found
        if found.header("content-length") is not None:
            found.body = self.exactly(int(found.header("content-length")))
        elif found.header("transfer-encoding") == "chunked":
            found.body = b"".join(self.chunks())
        else:
            found.body = self.rest()
        return found

    def rest(self):
        while self.more():
            pass
        found, self.buffer = self.buffer, b""
        return found

    def close(self):
        self.socket.close()


class ServerTest(unittest.TestCase):
    """Each test starts the servers it wants; the first is self.server."""

    options = {}

    def setUp(self):
        self.server = self.start(**self.options)

    def start(self, descriptors=None, **options):
        words = [f"{name}={value}" for name, values in options.items()
                 for value in (values if isinstance(values, list) else [values])]
        before = limit_descriptors(descriptors) if descriptors else None
        # What was freed shall count as free, also under the address sanitizer.
        environment = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=0"}
        process = subprocess.Popen([Options.server, *words], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True, preexec_fn=before,
                                   env=environment)
        self.addCleanup(end, process)
        url = process.stdout.readline().strip()
        self.assertRegex(url, r"https?://\S+:\d+")
        return Server(process, url, self)

    def refused_start(self, **options):
        words = [f"{name}={value}" for name, value in options.items()]
        done = subprocess.run([Options.server, *words], input="", capture_output=True, text=True,
                              timeout=DEADLINE)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertEqual(len(done.stderr.splitlines()), 1)
        return done.stderr


class Server:
    def __init__(self, process, url, test):
        self.process, self.url = process, url
        host, port = re.fullmatch(r"https?://\[?(\S+?)\]?:(\d+)", url).groups()
        self.address = (host, int(port))
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.test = test

    def connect(self, wrap=None, kept=True):
        """kept: closed at the test's end."""
        peer = Peer(self.address, self.family, wrap)
        if kept:
            self.test.addCleanup(peer.close)
        return peer

    def ask(self, data, wrap=None):
        """The one answer to these bytes."""
        peer = self.connect(wrap, kept=False)
        try:
            peer.send(data)
            return peer.answer(body=not data.startswith(b"HEAD "))
        finally:
            peer.close()

    def get(self, target, headers=(), wrap=None):
        return self.ask(request("GET", target, headers), wrap)

    def counters(self):
        return self.get("/counters").json()

    def wait(self, condition, what):
        finish = time.monotonic() + DEADLINE
        while not condition(now := self.counters()):
            if time.monotonic() > finish:
                self.test.fail(f"never: {what}: {now}")
            time.sleep(0.02)
        return now


def request(method, target, headers=(), body=b""):
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def limit_descriptors(count):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def raise_descriptors(count):
    """For this process and the servers it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()


def temporary_folder(test):
    folder = tempfile.TemporaryDirectory(prefix="tandem-http-")
    test.addCleanup(folder.cleanup)
    return pathlib.Path(folder.name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    known, rest = parser.parse_known_args()
    Options.server = os.path.abspath(known.server)
    unittest.main(module="__main__", argv=[sys.argv[0], *rest], verbosity=2)
