"""One connection after the rules of HTTP: many requests, pieces, 100-continue, 1.0, the end."""

import signal
import time

from http_peer import DEADLINE, ServerTest, main, request


class Protocol(ServerTest):
    options = {"body_bytes": 100000}

    def test_a_connection_serves_many_requests(self):
        peer = self.server.connect()
        for i in range(50):
            peer.send(request("POST", "/echo", body=b"%d" % i))
            answer = peer.answer()
            self.assertEqual((answer.status, answer.json()["body"]), (200, str(i)))
            self.assertIsNone(answer.header("connection"))
            peer.send(request("GET", "/stream?n=2"))
            self.assertEqual(peer.answer().body.count(b"data: "), 2)
        self.assertEqual(self.server.counters()["ever"], 2)

    def test_pipelined_requests_are_answered_in_order(self):
        targets = ["/stream?n=3&every=5", "/health", "/echo?i=1", "/stream?n=1", "/echo?i=2"] * 20
        peer = self.server.connect()
        peer.send(b"".join(request("GET", target) for target in targets))
        for target in targets:
            answer = peer.answer()
            if target.startswith("/echo"):
                self.assertEqual(answer.json()["query"], target.partition("?")[2])
            elif target.startswith("/stream"):
                self.assertIn(b"data: 0", answer.body)
            else:
                self.assertEqual(answer.body, b"ok")

    def test_pipelined_requests_beyond_the_read_ahead_wait_in_the_socket(self):
        peer = self.server.connect()
        count, body = 40, b"x" * 10000
        peer.send(request("GET", "/stream?n=10&every=20"))
        peer.socket.setblocking(True)
        for _ in range(count):
            peer.send(request("POST", "/echo", body=body))
        self.assertEqual(peer.answer().status, 200)
        for _ in range(count):
            self.assertEqual(len(peer.answer().json()["body"]), len(body))

    def test_a_client_that_only_stops_sending_gets_answers_that_are_made_at_once(self):
        peer = self.server.connect()
        peer.send(request("GET", "/echo?a") + request("GET", "/echo?b"))
        peer.socket.shutdown(1)
        self.assertEqual([peer.answer().json()["query"] for _ in "ab"], ["a", "b"])
        self.assertEqual(peer.rest(), b"")

    def test_head_has_the_length_and_no_body(self):
        peer = self.server.connect()
        for target in ("/big?bytes=1000", "/stream?n=2"):
            peer.send(request("HEAD", target))
            answer = peer.answer(body=False)
            self.assertEqual(answer.status, 200)
        peer.send(request("HEAD", "/big?bytes=1000"))
        self.assertEqual(peer.answer(body=False).header("content-length"), "1000")
        peer.send(request("GET", "/health"))
        self.assertEqual(peer.answer().body, b"ok")

    def test_pieces_arrive_when_they_are_written(self):
        peer = self.server.connect()
        peer.send(request("GET", "/stream?n=5&every=150"))
        peer.head()
        times = []
        while size := int(peer.until(b"\r\n"), 16):
            peer.exactly(size + 2)
            times.append(time.monotonic())
        self.assertEqual(len(times), 5)
        gaps = [later - earlier for earlier, later in zip(times, times[1:])]
        # All at once would be a gap of nearly nothing.
        self.assertGreater(sum(gaps), 0.3)

    def test_continue_is_sent_only_when_the_body_is_wanted(self):
        peer = self.server.connect()
        expect = ("Expect: 100-continue", "Content-Length: 5")
        peer.send(request("POST", "/echo", expect))
        self.assertEqual(peer.answer().status, 100)
        peer.send(b"hello")
        self.assertEqual(peer.answer().json()["body"], "hello")
        peer.send(request("POST", "/echo", expect) + b"hello")
        self.assertEqual(peer.answer().json()["body"], "hello")
        peer.send(request("POST", "/echo", ("Expect: 100-continue", "Content-Length: 100001")))
        self.assertEqual(peer.answer().status, 413)

    def test_a_compressed_body_is_refused_before_it_is_sent(self):
        answer = self.server.ask(request("POST", "/echo", (
            "Content-Encoding: gzip", "Content-Length: 20", "Expect: 100-continue")))
        self.assertEqual((answer.status, answer.header("accept-encoding")), (415, "identity"))
        self.assertIn("Content-Encoding", answer.json()["error"]["message"])
        plain = self.server.ask(request("POST", "/echo", ("Content-Encoding: identity",), b"hello"))
        self.assertEqual(plain.json()["body"], "hello")

    def test_a_refusal_arrives_although_the_body_is_still_being_sent(self):
        peer = self.server.connect()
        peer.send(request("POST", "/echo", ("Content-Length: 8000000",)))
        peer.send(b"x" * 8000000)
        self.assertEqual(peer.answer().status, 413)

    def test_old_clients_get_plain_bodies_until_close(self):
        peer = self.server.connect()
        peer.send(b"GET /stream?n=3 HTTP/1.0\r\n\r\n")
        answer = peer.answer()
        self.assertIsNone(answer.header("transfer-encoding"))
        self.assertEqual(answer.header("connection"), "close")
        self.assertEqual(answer.body.count(b"data: "), 3)

    def test_close_is_obeyed(self):
        peer = self.server.connect()
        peer.send(request("GET", "/health", ("Connection: keep-alive, Close",)))
        answer = peer.answer()
        self.assertEqual((answer.body, answer.header("connection")), (b"ok", "close"))
        self.assertEqual(peer.rest(), b"")

    def test_ids_are_random_and_not_the_clients(self):
        answers = [self.server.get("/echo", ("X-Request-Id: mine",)) for _ in range(20)]
        ids = {answer.header("x-request-id") for answer in answers}
        self.assertEqual(len(ids), 20)
        self.assertEqual(ids, {answer.json()["id"] for answer in answers})
        self.assertNotIn("mine", ids)

    def test_a_route_that_throws_answers_500_and_the_server_goes_on(self):
        peer = self.server.connect()
        peer.send(request("GET", "/throw"))
        self.assertEqual(peer.answer().status, 500)
        peer.send(request("GET", "/health"))
        self.assertEqual(peer.answer().status, 200)


class End(ServerTest):
    def test_drain_refuses_new_requests_and_lets_answers_end(self):
        stream, idle, later = (self.server.connect() for _ in range(3))
        stream.send(request("GET", "/stream?n=10&every=50"))
        stream.head()
        idle.send(request("GET", "/health"))
        self.assertEqual(idle.answer().status, 200)
        later.send(b"GET /he")
        self.server.wait(lambda now: now["connections"] >= 4, "three connections")
        self.assertEqual(self.server.get("/drain").status, 200)
        self.assertEqual(idle.rest(), b"")
        later.send(b"alth HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for answer in (later.answer(), self.server.get("/health")):
            self.assertEqual(answer.status, 503)
            self.assertEqual(answer.header("connection"), "close")
            self.assertIsNotNone(answer.header("retry-after"))
            self.assertEqual(answer.json()["error"]["code"], "service_unavailable")
        self.assertEqual(len(stream.chunks()), 10)
        self.assertEqual(stream.rest(), b"")

    def test_sigterm_lets_answers_end_and_exits_cleanly(self):
        peer = self.server.connect()
        peer.send(request("GET", "/stream?n=10&every=50"))
        peer.head()
        self.server.process.send_signal(signal.SIGTERM)
        self.assertEqual(len(peer.chunks()), 10)
        self.assertEqual(self.server.process.wait(DEADLINE), 0)


if __name__ == "__main__":
    main()
