"""Who may come in: keys, web pages, addresses, TLS."""

import socket
import ssl
import subprocess
import time

from http_peer import DEADLINE, ServerTest, main, request, temporary_folder

ORIGIN = "https://app.example"


class Keys(ServerTest):
    options = {"key": ["first-key", "second-key"], "origin": ORIGIN}

    def test_a_key_opens_every_path_and_says_which_it_was(self):
        for header, key in (("Authorization: Bearer first-key", 0), ("x-api-key: second-key", 1),
                            ("authorization: bEARER   second-key", 1)):
            self.assertEqual(self.server.get("/echo", (header,)).json()["key"], key)

    def test_without_a_right_key_only_health_answers(self):
        self.assertEqual(self.server.get("/health").status, 200)
        wrong = ("", "Authorization: Bearer first-kex", "Authorization: Bearer first-key2",
                 "Authorization: Bearer", "Authorization: Basic first-key", "x-api-key: ",
                 "Authorization: first-key", "x-api-key: FIRST-KEY")
        for header in wrong:
            for target in ("/echo", "/health/", "/healthx", "/%68ealth/..", "/nothing"):
                with self.subTest(header, target=target):
                    answer = self.server.get(target, (header,) if header else ())
                    self.assertEqual(answer.status, 401)
                    self.assertEqual(answer.json()["error"]["code"], "invalid_api_key")
                    self.assertEqual(answer.header("www-authenticate"), "Bearer")

    def test_the_key_is_checked_before_the_body_is_read(self):
        peer = self.server.connect()
        peer.send(request("POST", "/echo", ("Content-Length: 99999999999",)))
        answer = peer.answer()
        self.assertEqual((answer.status, answer.header("connection")), (401, "close"))
        expecting = ("Content-Length: 5", "Expect: 100-continue")
        self.assertEqual(self.server.ask(request("POST", "/echo", expecting)).status, 401)

    def test_pages_of_an_allowed_origin_can_ask_first_and_read_answers(self):
        peer = self.server.connect()
        peer.send(request("OPTIONS", "/echo", (
            f"Origin: {ORIGIN}", "Access-Control-Request-Method: POST",
            "Access-Control-Request-Headers: authorization,x-stainless-os")))
        answer = peer.answer()
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.header("access-control-allow-origin"), ORIGIN)
        self.assertIn("POST", answer.header("access-control-allow-methods"))
        self.assertEqual(answer.header("access-control-allow-headers"),
                         "authorization,x-stainless-os")
        peer.send(request("POST", "/echo", (f"Origin: {ORIGIN}", "x-api-key: first-key")))
        answer = peer.answer()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.header("access-control-allow-origin"), ORIGIN)
        denied = self.server.get("/echo", (f"Origin: {ORIGIN}",))
        self.assertEqual((denied.status, denied.header("access-control-allow-origin")),
                         (401, ORIGIN))

    def test_other_pages_cannot(self):
        asking = ("Origin: https://evil.example", "Access-Control-Request-Method: POST")
        answer = self.server.ask(request("OPTIONS", "/echo", asking))
        self.assertEqual(answer.status, 403)
        self.assertIsNone(answer.header("access-control-allow-origin"))
        answer = self.server.get("/echo", (asking[0], "x-api-key: first-key"))
        self.assertEqual(answer.status, 200)
        self.assertIsNone(answer.header("access-control-allow-origin"))


class Pages(ServerTest):
    """A server on loopback without keys must not be driven by web pages."""

    options = {"host_name": "my-alias", "origin": "http://localhost:3000"}

    def host(self, host, *headers):
        lines = "".join(f"{header}\r\n" for header in (f"Host: {host}", *headers))
        return self.server.ask(f"GET /echo HTTP/1.1\r\n{lines}\r\n".encode()).status

    def test_only_hosts_that_are_this_machine(self):
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8080", "[::1]:8080",
                     "192.168.1.5", "my-alias", "my-alias:80"):
            self.assertEqual(self.host(host), 200, host)
        for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "",
                     "1.2.3.4.5", "a127.0.0.1", "my-alias.example"):
            self.assertEqual(self.host(host), 403, host)

    def test_only_pages_of_its_own_or_an_allowed_origin(self):
        for origin in ("http://localhost:80", "http://localhost:3000", "HTTP://LOCALHOST:80"):
            self.assertEqual(self.host("localhost:80", f"Origin: {origin}"), 200, origin)
        for origin in ("null", "https://evil.example", "http://localhost", "http://localhost:81",
                       "file://", "http://localhost:80.evil.example"):
            self.assertEqual(self.host("localhost:80", f"Origin: {origin}"), 403, origin)

    def test_a_preflight_of_another_page_is_refused(self):
        headers = ("Origin: null", "Access-Control-Request-Method: POST")
        self.assertEqual(self.server.ask(request("OPTIONS", "/echo", headers)).status, 403)

    def test_options_for_the_whole_server(self):
        answer = self.server.ask(request("OPTIONS", "*"))
        self.assertEqual(answer.status, 204)
        self.assertIn("POST", answer.header("allow"))


class Listening(ServerTest):
    def test_beyond_loopback_needs_a_key_or_a_word(self):
        error = self.refused_start(host="0.0.0.0")
        self.assertIn("0.0.0.0", error)
        self.assertIn("API key", error)
        self.assertEqual(self.start(host="0.0.0.0", key="k").get("/health").status, 200)
        open_to_all = self.start(host="0.0.0.0", insecure=1)
        answer = open_to_all.ask(b"GET /echo HTTP/1.1\r\nHost: any.name\r\n\r\n")
        self.assertEqual(answer.status, 200)

    def test_a_port_in_use_is_named(self):
        port = self.server.address[1]
        self.assertIn(f"127.0.0.1:{port}", self.refused_start(port=port))

    def test_a_host_that_is_not_of_this_machine_is_named(self):
        self.assertIn("192.0.2.1", self.refused_start(host="192.0.2.1", insecure=1))
        self.assertIn("no.such.invalid", self.refused_start(host="no.such.invalid"))

    def test_bad_options_are_named(self):
        self.assertIn("origin", self.refused_start(origin="*"))
        self.assertIn("origin", self.refused_start(origin="example.org"))
        self.assertIn("key", self.refused_start(key="two words"))
        self.assertIn("limit", self.refused_start(body_bytes=0))

    def test_ipv6(self):
        if not socket.has_ipv6:
            self.fail("this test needs IPv6 on the loopback interface")
        for host in ("::1", "[::1]"):
            server = self.start(host=host)
            self.assertTrue(server.url.startswith("http://[::1]:"))
            self.assertEqual(server.get("/health").status, 200)

    def test_localhost_is_every_address_of_the_name(self):
        server = self.start(host="localhost")
        infos = socket.getaddrinfo("localhost", server.address[1], type=socket.SOCK_STREAM)
        for family, *_, address in infos:
            server.family, server.address = family, address
            self.assertEqual(server.get("/health").status, 200)


class Tls(ServerTest):
    def setUp(self):
        self.folder = temporary_folder(self)
        self.pair = {name: self.make(name) for name in ("one", "two")}
        self.options = dict(cert=self.folder / "one.pem", private_key=self.folder / "one.key")
        super().setUp()
        self.context = ssl.create_default_context(cafile=self.folder / "one.pem")

    def make(self, name):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", self.folder / f"{name}.pem",
             "-keyout", self.folder / f"{name}.key"], check=True, capture_output=True)

    def wrap(self, raw):
        return self.context.wrap_socket(raw, server_hostname="localhost",
                                        suppress_ragged_eofs=False)

    def test_requests_streams_and_the_goodbye(self):
        self.assertTrue(self.server.url.startswith("https://127.0.0.1:"))
        peer = self.server.connect(self.wrap)
        self.assertIn(peer.socket.version(), ("TLSv1.2", "TLSv1.3"))
        for _ in range(3):
            peer.send(request("POST", "/echo", body=b"x" * 200000))
            self.assertEqual(len(peer.answer().json()["body"]), 200000)
            peer.send(request("GET", "/stream?n=20&every=2&bytes=30000"))
            self.assertEqual(len(peer.answer().body), 20 * 30002)
        peer.send(b"GET /stream?n=3 HTTP/1.0\r\n\r\n")
        # A missing close_notify would raise here.
        self.assertEqual(peer.answer().body.count(b"data: "), 3)

    def test_a_client_that_leaves_is_noticed(self):
        peer = self.server.connect(self.wrap)
        peer.send(request("GET", "/stream?n=100000&every=5"))
        peer.head()
        peer.close()
        self.wait_for(lambda now: now["told"] == 1 and now["open"] == 0)

    def wait_for(self, condition):
        finish = time.monotonic() + DEADLINE
        while not condition(self.server.get("/counters", wrap=self.wrap).json()):
            self.assertLess(time.monotonic(), finish)
            time.sleep(0.02)

    def test_plain_http_gets_an_answer_that_it_can_read(self):
        answer = self.server.get("/health")
        self.assertEqual(answer.status, 400)
        self.assertIn("https://", answer.json()["error"]["message"])

    def test_old_versions_are_refused(self):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            self.server.connect(old.wrap_socket)

    def test_a_handshake_that_does_not_go_on_harms_nobody(self):
        for data in (b"", b"\x16", b"\x16\x03\x01\x00\x05hello"):
            self.server.connect().send(data)
        self.assertEqual(self.server.get("/health", wrap=self.wrap).status, 200)

    def test_a_bad_file_is_named(self):
        one, other = self.folder / "one.pem", self.folder / "two.key"
        self.assertIn("two.key", self.refused_start(cert=one, private_key=other))
        self.assertIn("none.pem", self.refused_start(cert=self.folder / "none.pem",
                                                     private_key=other))
        empty = self.folder / "empty.pem"
        empty.touch()
        self.assertIn("empty.pem", self.refused_start(cert=empty, private_key=other))
        self.assertIn("empty.pem", self.refused_start(cert=one, private_key=empty))
        self.assertIn("no such file", self.refused_start(cert=one))


if __name__ == "__main__":
    main()
