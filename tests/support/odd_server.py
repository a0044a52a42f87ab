"""An HTTP server whose answers a test chooses, for clients under test. Standard library only."""

import http.server
import json
import threading
import time


class OddServer(http.server.ThreadingHTTPServer):
    """A server whose answers a test chooses, by the number of the request."""

    daemon_threads = True

    def __init__(self, answer, version="HTTP/1.1"):
        super().__init__(("127.0.0.1", 0), OddHandler)
        self.answer, self.version = answer, version
        self.lock = threading.Lock()
        self.bodies, self.connections, self.running, self.most = [], set(), 0, 0
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that leaves is no news."""


class OddHandler(http.server.BaseHTTPRequestHandler):
    disable_nagle_algorithm = True

    def setup(self):
        self.protocol_version = self.server.version
        super().setup()

    def log_message(self, *words):
        """Nobody reads it."""

    def do_GET(self):
        self.reply(200, {"data": [{"id": "odd"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            number = len(server.bodies)
            server.bodies.append(body)
            server.connections.add(self.client_address)
            server.running += 1
            server.most = max(server.most, server.running)
        try:
            server.answer(self, number)
        finally:
            with server.lock:
                server.running -= 1

    def reply(self, status, body, kind="application/json"):
        text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def stream(self, *events, end=True, wait=0.0):
        """In chunks; with HTTP/1.0 until the connection closes."""
        chunked = self.server.version == "HTTP/1.1"
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in (": hello", *events, *(["[DONE]"] if end else [])):
            text = event if isinstance(event, str) else json.dumps(event)
            data = (text if text.startswith(":") else "data: " + text).encode() + b"\n\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
            time.sleep(wait)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
