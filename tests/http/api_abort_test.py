"""Clients of the whole server that go away in the middle of everything: their work stops, and no
memory, descriptor or KV of theirs stays.

    api_abort_test.py --tandem PROGRAM [--aborts 10000]
"""

import concurrent.futures
import json
import os
import random
import socket
import struct
import subprocess
import sys
import time

import api_server

aborts_wanted = 300
AT_ONCE = 40
GROWTH_MAX = 32 << 20  # bytes that the allocator may keep in one place or another
SEED = 5
CHAT = "/v1/chat/completions"
WORDS = [f"word{i}" for i in range(400)]


def resident(pid):
    return int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True,
                              check=True).stdout) << 10


def descriptors(pid):
    if os.path.isdir(f"/proc/{pid}/fd"):
        return len(os.listdir(f"/proc/{pid}/fd"))
    listed = subprocess.run(["lsof", "-a", "-p", str(pid), "-d", "0-65535"], capture_output=True,
                            text=True, check=True).stdout
    return len(listed.splitlines()) - 1


class Abort:
    """One client: sends its request, or a part of it, reads as much as it wants, and leaves."""

    def __init__(self, server, draw):
        words = draw.sample(WORDS, draw.choice([2, 2, 3, 5, 10, 10, 30, 200]))
        body = {"messages": [{"role": "user", "content": " ".join(words)}], "ignore_eos": True,
                "stream": draw.random() < 0.85, "n": draw.choice([1, 1, 1, 2]),
                "temperature": draw.choice([0, 1]), "seed": draw.randrange(1 << 30)}
        if draw.random() < 0.1:
            body["response_format"] = {"type": "json_object"}
        if draw.random() < 0.2:
            body.update(logprobs=True, top_logprobs=3)
        text = json.dumps(body).encode()
        head = (f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(text)}\r\n\r\n").encode()
        self.reads = draw.choice([0, 0, 1, 1, 400, 2000]) if body["stream"] else 0
        self.whole = draw.random() < 0.95
        self.polite = draw.random() < 0.5
        data = head + text
        self.socket = socket.create_connection((server.host, server.port), api_server.DEADLINE)
        self.socket.sendall(data if self.whole else data[:draw.randrange(1, len(data))])

    def leave(self):
        wanted = self.reads if self.whole else 0
        while wanted > 0:
            got = self.socket.recv(wanted)
            if not got:
                break
            wanted -= len(got)
        if not self.polite:
            reset = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        self.socket.close()


class Aborts(api_server.ServerTest):
    # Little KV is kept for later prompts, so that it soon has its full size.
    arguments = ("--max-sequences", "8", "--prompt-cache-bytes", "16M")

    def abort_many(self, count, draw):
        seeds = [draw.randrange(1 << 30) for _ in range(count)]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as people:
            for done in people.map(lambda seed: Abort(self.server, random.Random(seed)).leave(),
                                   seeds):
                self.assertIsNone(done)

    def metrics(self):
        _, _, text = self.server.request("GET", "/metrics")
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                for line in text.splitlines() if not line.startswith("#")}

    def settled(self):
        """The figures once nobody is left."""
        end = time.monotonic() + api_server.DEADLINE
        while time.monotonic() < end:
            now = self.metrics()
            quiet = all(now[name] == 0 for name in (
                "tandem_requests_running", "tandem_requests_waiting", "tandem_kv_tokens_used"))
            if quiet and now["tandem_http_connections"] == 1:
                pid = self.server.process.pid
                return now, resident(pid), descriptors(pid)
            time.sleep(0.05)
        raise AssertionError(f"never quiet: {now}")

    def test_nothing_of_clients_that_left_stays(self):
        draw = random.Random(SEED)
        print(f"seed {SEED}", file=sys.stderr)
        self.abort_many(max(200, aborts_wanted // 10), draw)
        before, memory, files = self.settled()
        start = time.monotonic()
        self.abort_many(aborts_wanted, draw)
        after, memory_after, files_after = self.settled()
        gone = "tandem_http_clients_gone_total"
        print(f"{aborts_wanted} aborts in {time.monotonic() - start:.1f} s: resident memory "
              f"{memory >> 20} MiB {(memory_after - memory) / 1024:+.0f} KiB, descriptors {files} "
              f"{files_after - files:+d}, KV tokens used {after['tandem_kv_tokens_used']:.0f}, "
              f"kept {after['tandem_kv_tokens_idle']:.0f}, noticed "
              f"{after[gone] - before[gone]:.0f}", file=sys.stderr)
        self.assertGreater(after[gone] - before[gone], aborts_wanted // 2)
        self.assertEqual(files_after, files)
        self.assertLess(memory_after - memory, GROWTH_MAX)
        answer = self.answer(CHAT, self.chat())
        self.assertTrue(answer["choices"][0]["message"]["content"])


if __name__ == "__main__":
    if "--aborts" in sys.argv:
        at = sys.argv.index("--aborts")
        aborts_wanted = int(sys.argv[at + 1])
        del sys.argv[at:at + 2]
    api_server.main()
