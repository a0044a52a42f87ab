"""What is one request and what is not: RFC 9112 read strictly, over raw sockets."""

import unittest

from http_peer import ServerTest, main, request

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
# A second request that a proxy may have taken for a body, or the other way round.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

REFUSED = [
    ("two lengths and codings",
     POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("coding, then length",
     POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    ("two lengths that differ", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
    ("two lengths that agree", POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("a list of lengths", POST + b"Content-Length: 5, 5\r\n\r\nhello", 400),
    ("a signed length", POST + b"Content-Length: +5\r\n\r\nhello", 400),
    ("a negative length", POST + b"Content-Length: -1\r\n\r\n", 400),
    ("a hexadecimal length", POST + b"Content-Length: 0x5\r\n\r\nhello", 400),
    ("a length with underscores", POST + b"Content-Length: 1_0\r\n\r\n0123456789", 400),
    ("an empty length", POST + b"Content-Length:\r\n\r\n", 400),
    ("a length in two parts", POST + b"Content-Length: 5 6\r\n\r\nhello", 400),
    ("a length beyond the limit", POST + b"Content-Length: 99999999999\r\n\r\n", 413),
    ("a length beyond 64 bits", POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 413),
    ("no Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two Hosts", GET + b"Host: localhost\r\n\r\n", 400),
    ("a Host with a path", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("a Host with a user", b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    ("a Host with a wrong port", b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    ("two keys", GET + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400),
    ("an absolute target without a host", b"GET http:/// HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("an absolute target with a user",
     b"GET http://a@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("an authority target", b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("a star for GET", b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("an empty target", b"GET  HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("two spaces", b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("a tab in the request line", b"GET\t/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("a space in the target", b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("a space after the version", b"GET / HTTP/1.1 \r\nHost: localhost\r\n\r\n", 400),
    ("a fragment", b"GET /#a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("a raw byte in the target", b"GET /\xc3\xa4 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("a wrong escape", b"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("a cut escape", b"GET /%4 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("an escaped NUL", b"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("an escaped line end", b"GET /%0d%0a HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("HTTP/0.9", b"GET /\r\n\r\n", 400),
    ("a lower-case version", b"GET / http/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("a long version", b"GET / HTTP/1.10\r\nHost: localhost\r\n\r\n", 400),
    ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("HTTP/1.2", b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n", 505),
    ("an unknown method", b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    ("a method in small letters", b"get / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    ("TRACE", b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    ("a forbidden byte in the method", b"G(T / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("bare LFs", b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
    ("a bare LF in a header", GET + b"A: b\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("a bare CR in a header", GET + b"A: b\rTransfer-Encoding: chunked\r\n\r\n", 400),
    ("a bare CR before the end", GET + b"A: b\r\r\n\r\n", 400),
    ("NUL in a value", GET + b"A: b\0c\r\n\r\n", 400),
    ("NUL in a name", GET + b"A\0: b\r\n\r\n", 400),
    ("an escape character", GET + b"A: \x1b[31m\r\n\r\n", 400),
    ("a folded header", GET + b"A: b\r\n c\r\n\r\n", 400),
    ("a header folded with a tab", GET + b"A: b\r\n\tc\r\n\r\n", 400),
    ("a space before the first header", b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400),
    ("a space before the colon", POST + b"Content-Length : 5\r\n\r\nhello", 400),
    ("a tab before the colon", POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n", 400),
    ("no colon", GET + b"A b\r\n\r\n", 400),
    ("no name", GET + b": b\r\n\r\n", 400),
    ("a byte beyond ASCII in a name", GET + b"A\xa0: b\r\n\r\n", 400),
    ("another coding", POST + b"Transfer-Encoding: gzip\r\n\r\n", 400),
    ("a coding before chunked", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("chunked twice", POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    ("two codings headers",
     POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n", 400),
    ("xchunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    ("quoted chunked", POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n', 400),
    ("a comma before chunked", POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", 400),
    ("chunked with a parameter", POST + b"Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n", 400),
    ("identity", POST + b"Transfer-Encoding: identity\r\n\r\n", 400),
    ("a vertical tab before chunked",
     POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    ("chunks in HTTP/1.0",
     b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("no length in HTTP/1.0", b"POST /echo HTTP/1.0\r\n\r\nhello", 411),
    ("another expectation", POST + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", 417),
    ("chunk size 0x", CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", 400),
    ("chunk size with underscore", CHUNKED + b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n", 400),
    ("chunk size with plus", CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n", 400),
    ("a negative chunk size", CHUNKED + b"-1\r\nhello\r\n0\r\n\r\n", 400),
    ("no chunk size", CHUNKED + b"\r\nhello\r\n0\r\n\r\n", 400),
    ("a space before a chunk size", CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n", 400),
    ("a space after a chunk size", CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n", 400),
    ("a chunk size beyond 64 bits", CHUNKED + b"FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", 400),
    ("a chunk size that wraps", CHUNKED + b"10000000000000005\r\nhello\r\n0\r\n\r\n", 400),
    ("a chunk beyond the limit", CHUNKED + b"7fffffff\r\nhello", 413),
    ("a chunk that is too short", CHUNKED + b"3\r\nhello\r\n0\r\n\r\n", 400),
    ("a chunk that is too long", CHUNKED + b"6\r\nhello\r\n0\r\n\r\n", 400),
    ("a chunk that ends with LF", CHUNKED + b"5\r\nhello\n0\r\n\r\n", 400),
    ("a size line that ends with LF", CHUNKED + b"5\nhello\r\n0\r\n\r\n", 400),
    ("an extension that ends with LF", CHUNKED + b"5;a\nhello\r\n0\r\n\r\n", 400),
    ("NUL in an extension", CHUNKED + b"5;a=\0\r\nhello\r\n0\r\n\r\n", 400),
    ("endless extensions", CHUNKED + b"5;" + b"a" * 20000 + b"\r\nhello\r\n0\r\n\r\n", 400),
    ("endless trailers", CHUNKED + b"0\r\n" + b"a: b\r\n" * 5000 + b"\r\n", 400),
    ("a trailer without a colon", CHUNKED + b"0\r\na\r\n\r\n", 400),
    ("a trailer with a space before the colon", CHUNKED + b"0\r\na : b\r\n\r\n", 400),
    ("a folded trailer", CHUNKED + b"0\r\na: b\r\n c\r\n\r\n", 400),
    ("a request instead of a trailer", CHUNKED + b"0\r\n" + SMUGGLED, 400),
    ("a request line beyond the limit",
     b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("a head beyond the limit", GET + b"A: " + b"a" * 17000 + b"\r\n\r\n", 431),
    ("too many headers", GET + b"A: b\r\n" * 101 + b"\r\n", 431),
    ("another protocol", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
]

ACCEPTED = [
    ("chunks", CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!"),
    ("chunk sizes in any case, with zeros",
     CHUNKED + b"00a\r\n0123456789\r\nA\r\n0123456789\r\n0000\r\n\r\n", "0123456789" * 2),
    ("extensions", CHUNKED + b'5;a=b;c="d e"\r\nhello\r\n0;x\r\n\r\n', "hello"),
    ("trailers", CHUNKED + b"5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\nA: b\r\n\r\n", "hello"),
    ("coding in any case", POST + b"tRANSFER-eNCODING: \tChunked \r\n\r\n0\r\n\r\n", ""),
    ("an empty line before the request",
     b"\r\n" + POST + b"Content-Length: 5\r\n\r\nhello", "hello"),
    ("a length with zeros", POST + b"Content-Length: 005\r\n\r\nhello", "hello"),
    ("no space after the colon", POST + b"Content-Length:5\r\n\r\nhello", "hello"),
    ("no body", POST + b"\r\n", ""),
    ("an empty header", POST + b"A:\r\nContent-Length: 5\r\n\r\nhello", "hello"),
    ("HTTP/1.0 without Host", b"POST /echo HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", "hello"),
]


class Framing(ServerTest):
    def check_refused(self, name, data, status):
        with self.subTest(name):
            before = self.server.counters()["requests"]
            peer = self.server.connect()
            peer.send(data)
            answer = peer.answer()
            self.assertEqual(answer.status, status)
            self.assertEqual(answer.header("connection"), "close")
            error = answer.json()["error"]
            self.assertEqual(set(error), {"message", "type", "param", "code"})
            self.assertEqual(peer.rest(), b"", "nothing may follow a refusal")
            self.assertEqual(self.server.counters()["requests"], before + 1, "reached the routes")

    def test_what_proxies_may_read_differently_is_refused_and_the_connection_closed(self):
        for name, data, status in REFUSED:
            self.check_refused(name, data + SMUGGLED, status)

    def test_valid_requests_are_read_whole_however_they_are_cut(self):
        for name, data, body in ACCEPTED:
            for step in (len(data), 1, 7):
                with self.subTest(name, step=step):
                    peer = self.server.connect()
                    for begin in range(0, len(data), step):
                        peer.send(data[begin:begin + step])
                    answer = peer.answer().json()
                    self.assertEqual(answer["body"], body)
                    names = [header for header, _ in answer["headers"]]
                    self.assertNotIn("Authorization", names, "a trailer became a header")

    def test_a_request_that_ends_early_is_answered(self):
        for data in (b"GET / HT", POST + b"Content-Length: 5\r\n\r\nhel", CHUNKED + b"5\r\nhe"):
            peer = self.server.connect()
            peer.send(data)
            peer.socket.shutdown(1)
            self.assertEqual(peer.answer().status, 400)
            self.assertEqual(peer.rest(), b"")

    def test_targets_are_decoded_once(self):
        peer = self.server.connect()
        peer.send(request("GET", "/%65cho?a=%20b&c"))
        answer = peer.answer().json()
        self.assertEqual((answer["path"], answer["query"]), ("/echo", "a=%20b&c"))
        self.assertEqual(self.server.get("/ech%256f").status, 404)


if __name__ == "__main__":
    main()
