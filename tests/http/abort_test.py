"""Clients that go away: their work stops, and nothing of them stays.

    abort_test.py --server echo_server [--aborts 10000]
"""

import socket
import struct
import sys
import time

from http_peer import ServerTest, main, request

aborts_wanted = 2000
ROUNDS = 4
GROWTH_MAX = 4 << 20  # bytes that the allocator may keep in one place or another

KINDS = [
    request("GET", "/stream?n=1000000&every=3&bytes=200"),
    request("GET", "/hang"),
    request("GET", "/stream?n=1000000&every=3") + request("GET", "/hang"),
    b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhello",
    b"GET /health HTTP/1.1\r\nHo",
    request("GET", "/big?bytes=3000000"),
    b"",
]


class Aborts(ServerTest):
    def abort_many(self, count):
        """`count` clients that leave in the middle, some politely and some not, 50 at a time."""
        for begin in range(0, count, 50):
            peers = []
            for i in range(begin, min(begin + 50, count)):
                peer = self.server.connect(kept=False)
                peer.send(KINDS[i % len(KINDS)])
                peers.append(peer)
            for i, peer in enumerate(peers):
                if i % 3 == 0 and (begin + i) % len(KINDS) == 0:
                    peer.more()
                if i % 2:
                    reset = struct.pack("ii", 1, 0)
                    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                peer.close()

    def settled(self):
        return self.server.wait(lambda now: now["connections"] == 1 and now["open"] == 0,
                                "everybody gone")

    def test_nothing_of_clients_that_left_stays(self):
        self.abort_many(max(200, aborts_wanted // 10))
        before = self.settled()
        # What the allocator keeps of a crowded moment comes once or twice; a leak comes every time.
        for _ in range(ROUNDS):
            start = time.monotonic()
            self.abort_many(aborts_wanted)
            after = self.settled()
            grown = after["resident"] - before["resident"]
            print(f"{aborts_wanted} aborts in {time.monotonic() - start:.1f} s: resident memory "
                  f"{grown / 1024:+.0f} KiB, descriptors "
                  f"{after['descriptors'] - before['descriptors']:+d}", file=sys.stderr)
            self.assertEqual(after["descriptors"], before["descriptors"])
            if grown < GROWTH_MAX:
                break
            before = after
        self.assertLess(grown, GROWTH_MAX)
        self.assertEqual(self.server.get("/health").status, 200)

    def test_a_client_that_leaves_is_noticed_while_nothing_is_written(self):
        for polite in (True, False):
            told = self.server.counters()["told"]
            peer = self.server.connect()
            peer.send(request("GET", "/hang"))
            self.server.wait(lambda now: now["open"] == 1, "the route at work")
            if not polite:
                reset = struct.pack("ii", 1, 0)
                peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            peer.close()
            now = self.server.wait(lambda now: now["open"] == 0, "the route told")
            self.assertEqual(now["told"], told + 1)

    def test_a_route_is_told_once(self):
        before = self.server.counters()
        for _ in range(20):
            peer = self.server.connect()
            peer.send(request("GET", "/stream?n=1000000&every=1"))
            peer.head()
            peer.close()
        now = self.server.wait(lambda now: now["open"] == 0 and now["connections"] == 1, "the end")
        self.assertEqual(now["told"] - before["told"], 20)
        self.assertEqual(now["gone"] - before["gone"], 20)


if __name__ == "__main__":
    if "--aborts" in sys.argv:
        at = sys.argv.index("--aborts")
        aborts_wanted = int(sys.argv[at + 1])
        del sys.argv[at:at + 2]
    main()
