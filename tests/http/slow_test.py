"""Clients that are slow on purpose: they get their answer or their end, and harm nobody.

    slow_test.py --server echo_server [--clients 4000]
"""

import select
import socket
import statistics
import subprocess
import sys
import time

import http_peer
from http_peer import DEADLINE, ServerTest, main, request

clients_wanted = 4000
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\nA: "
BODY = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"


class Slow:
    """One slow connection: what it sends first, and whether it drips, or reads."""

    def __init__(self, address, kind):
        self.kind, self.received, self.open = kind, b"", True
        self.socket = socket.socket()
        if kind == "reader":
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(address)
        self.socket.setblocking(False)
        first = {"head": HEAD, "body": BODY, "reader": request("GET", "/big?bytes=4000000"),
                 "silent": b""}[kind]
        self.socket.send(first)

    def drip(self):
        if self.kind in ("head", "body"):
            self.attempt(lambda: self.socket.send(b"a"))

    def read(self):
        data = self.attempt(lambda: self.socket.recv(65536))
        if data == b"":
            self.open = False
        self.received += data or b""

    def attempt(self, action):
        try:
            return action()
        except BlockingIOError:
            return None
        except OSError:
            self.open = False
            return None


class SlowClients(ServerTest):
    # Many large answers are held on purpose, so their sum must not be what ends them.
    options = {"head_time": 3000, "body_time": 3000, "stall_time": 3000, "outs_bytes": 1 << 33}

    def slow_clients(self, count):
        clients = []
        for i in range(count):
            kind = ("head", "body", "reader", "silent")[i % 4]
            clients.append(Slow(self.server.address, kind))
            self.addCleanup(clients[-1].socket.close)
        return clients

    def test_thousands_of_slow_clients_leave_others_unharmed(self):
        idle = statistics.quantiles([self.health() for _ in range(100)], n=100)[98]
        clients = self.slow_clients(clients_wanted)
        times = []
        finish = time.monotonic() + DEADLINE
        while any(client.open for client in clients):
            self.assertLess(time.monotonic(), finish, "slow clients stay for ever")
            for start in range(0, len(clients), 100):
                self.tend(clients[start:start + 100])
                times.append(self.health())
        worst = statistics.quantiles(times, n=100)[98]
        print(f"{len(clients)} slow clients: /health p99 {worst * 1e3:.1f} ms "
              f"(alone {idle * 1e3:.1f} ms)", file=sys.stderr)
        for client in clients:
            answered = client.received.startswith(b"HTTP/1.1 408 ")
            self.assertEqual(answered, client.kind in ("head", "body"), client.kind)
        slow = self.server.counters()["slow"]
        self.assertEqual(slow, sum(client.kind == "reader" for client in clients))

    def tend(self, clients):
        for client in clients:
            if client.open:
                client.drip()
            # The readers only look whether they have been cut off.
            if client.open and client.kind != "reader":
                client.read()
            elif client.open:
                poll = select.poll()
                poll.register(client.socket, 0)
                client.open = not poll.poll(0)

    def health(self):
        start = time.monotonic()
        self.assertEqual(self.server.get("/health").body, b"ok")
        return time.monotonic() - start

    def test_a_waiting_connection_costs_little(self):
        server = self.start()
        before = server.counters()["resident"]
        for i in range(1000):
            server.connect().send(HEAD if i % 2 else request("GET", "/health"))
        now = server.wait(lambda now: now["connections"] == 1001, "all connected")
        cost = (now["resident"] - before) / 1000
        print(f"{cost / 1024:.1f} KiB a connection", file=sys.stderr)
        self.assertLess(cost, 128 << 10)  # sanitizers triple it

    def test_large_answers_that_nobody_takes_are_bounded_together(self):
        server = self.start(outs_bytes=10_000_000)
        for _ in range(3):
            server.connect().send(request("GET", "/big?bytes=9000000"))
        server.wait(lambda now: now["requests"] >= 3, "three answers")
        self.assertEqual(server.get("/big?bytes=9000000").status, 503)
        self.assertEqual(server.get("/health").status, 200)

    def test_a_body_may_take_longer_the_more_of_it_has_come(self):
        peer = self.server.connect()
        peer.send(request("POST", "/echo", ("Content-Length: 60000",)))
        for _ in range(20):
            peer.send(b"x" * 3000)
            time.sleep(0.2)
        self.assertEqual(len(peer.answer().json()["body"]), 60000)

    def test_idle_connections_end_without_a_word(self):
        server = self.start(idle_time=300)
        peer = server.connect()
        peer.send(request("GET", "/health"))
        self.assertEqual(peer.answer().status, 200)
        self.assertEqual(peer.rest(), b"")

    def test_a_slow_reader_of_a_stream_is_dropped_and_its_route_told(self):
        server = self.start(out_bytes=100000)
        peer = server.connect()
        peer.send(request("GET", "/stream?n=1000000&bytes=10000"))
        now = server.wait(lambda now: now["slow"] == 1 and now["open"] == 0, "the slow one's end")
        self.assertEqual(now["told"], 1)
        peer.rest()

    def test_slow_readers_together_hold_a_bounded_number_of_bytes(self):
        server = self.start(out_bytes=10_000_000, outs_bytes=1_000_000)
        for _ in range(5):
            server.connect().send(request("GET", "/stream?n=1000000&bytes=10000"))
        server.wait(lambda now: now["slow"] == 5 and now["open"] == 0, "the slow ones' end")

    def test_bodies_together_hold_a_bounded_number_of_bytes(self):
        server = self.start(bodies_bytes=100_000)
        first, second = server.connect(), server.connect()
        first.send(request("POST", "/echo", ("Content-Length: 80001",)) + b"x" * 80000)
        server.wait(lambda now: now["bytes_in"] > 80000, "the first body")
        second.send(request("POST", "/echo", body=b"x" * 80000))
        answer = second.answer()
        self.assertEqual((answer.status, answer.header("retry-after")), (503, "1"))
        first.send(b"x")
        self.assertEqual(first.answer().status, 200)


class Full(ServerTest):
    def test_waiting_connections_make_room_for_new_ones(self):
        server = self.start(connections=50)
        waiting = [server.connect() for _ in range(50)]
        for peer in waiting:
            peer.send(b"GET /hea")
        time.sleep(0.7)  # whoever has just come is left alone
        for _ in range(20):
            self.assertEqual(server.get("/health").status, 200)
        self.assertGreaterEqual(server.counters()["evicted"], 1)

    def test_without_room_the_answer_is_503(self):
        server = self.start(connections=20)
        busy = [server.connect() for _ in range(20)]
        for peer in busy:
            peer.send(request("GET", "/stream?n=100000&every=20"))
            peer.head()
        answer = server.get("/health")
        self.assertEqual((answer.status, answer.header("retry-after")), (503, "1"))
        busy[0].close()
        finish = time.monotonic() + DEADLINE
        while server.get("/health").status != 200:
            self.assertLess(time.monotonic(), finish)

    def test_a_process_out_of_descriptors_waits_for_one_without_spinning(self):
        server = self.start(descriptors=256, files=100)
        busy = [server.connect() for _ in range(160)]
        for peer in busy:
            peer.send(request("GET", "/hang"))
        before = processor_seconds(server.process.pid)
        time.sleep(3)
        self.assertLess(processor_seconds(server.process.pid) - before, 1.5)
        for peer in busy[:30]:
            peer.close()
        self.assertEqual(server.get("/health").status, 200)


def processor_seconds(pid):
    out = subprocess.run(["ps", "-o", "time=", "-p", str(pid)], capture_output=True, text=True,
                         check=True).stdout.strip().replace("-", ":")
    total = 0.0
    for part in out.split(":"):
        total = total * 60 + float(part)
    return total


if __name__ == "__main__":
    if "--clients" in sys.argv:
        at = sys.argv.index("--clients")
        clients_wanted = int(sys.argv[at + 1])
        del sys.argv[at:at + 2]
    http_peer.raise_descriptors(clients_wanted + 200)
    main()
