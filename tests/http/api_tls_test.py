"""`tandem serve` over TLS, with a throwaway CA, as the `openai` package sees it."""

import http.client
import json
import pathlib
import socket
import ssl
import subprocess
import tempfile
import time

import openai

import api_server

KEY = "sk-test-0123456789abcdef"
QUESTION = [{"role": "user", "content": "What is the package nginx?"}]
HANDSHAKE_MAX = 10  # seconds; head_time of src/server/http/options.h


def make_certificate(folder, name, *options):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-out", folder / f"{name}.pem", "-keyout", folder / f"{name}.key",
         *options], check=True, capture_output=True)


class Tls(api_server.ServerTest):
    @classmethod
    def setUpClass(cls):
        cls.keep = tempfile.TemporaryDirectory(prefix="tandem-tls-")
        cls.folder = folder = pathlib.Path(cls.keep.name)
        for ca in ("ca", "other-ca"):
            make_certificate(folder, ca, "-subj", f"/CN={ca}", "-addext",
                             "keyUsage=critical,keyCertSign")
        make_certificate(folder, "server", "-subj", "/CN=localhost", "-addext",
                         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext",
                         "basicConstraints=critical,CA:FALSE", "-CA", folder / "ca.pem", "-CAkey",
                         folder / "ca.key")
        cls.arguments = ("--tls-cert", folder / "server.pem", "--tls-key", folder / "server.key",
                         "--api-key", KEY)
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.keep.cleanup()

    def context(self, ca="ca"):
        return ssl.create_default_context(cafile=self.folder / f"{ca}.pem")

    def client(self, verify, host="localhost"):
        client = openai.OpenAI(
            api_key=KEY, base_url=f"https://{host}:{self.server.port}/v1", max_retries=0,
            timeout=api_server.DEADLINE, http_client=openai.DefaultHttpxClient(verify=verify))
        self.addCleanup(client.close)
        return client

    def ask(self, client, **fields):
        return client.chat.completions.create(model="tandem-demo", messages=QUESTION, max_tokens=8,
                                              temperature=0, **fields)

    def health(self):
        connection = http.client.HTTPSConnection("localhost", self.server.port,
                                                 context=self.context(),
                                                 timeout=api_server.DEADLINE)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status
        finally:
            connection.close()

    def test_it_says_https(self):
        self.assertTrue(self.server.url.startswith("https://127.0.0.1:"))
        line = self.server.wait_for(r"^try: curl ")
        self.assertIn("https://127.0.0.1:", line)

    def test_answers_and_streams_for_who_knows_the_ca(self):
        for host in ("localhost", "127.0.0.1"):
            client = self.client(self.context(), host)
            whole = self.ask(client).choices[0].message.content
            chunks = self.ask(client, stream=True)
            self.assertEqual("".join(chunk.choices[0].delta.content or "" for chunk in chunks),
                             whole)

    def test_a_client_that_trusts_another_ca_refuses(self):
        for verify in (self.context("other-ca"), True):
            with self.assertRaises(openai.APIConnectionError) as caught:
                self.ask(self.client(verify))
            self.assertIn("CERTIFICATE_VERIFY_FAILED", repr(caught.exception.__cause__))
        self.assertEqual(self.health(), 200)

    def test_keys_are_checked_as_without_tls(self):
        client = self.client(self.context()).with_options(api_key="wrong")
        with self.assertRaises(openai.AuthenticationError):
            self.ask(client)

    def test_plain_http_gets_an_answer_that_it_can_read(self):
        plain = http.client.HTTPConnection("127.0.0.1", self.server.port,
                                           timeout=api_server.DEADLINE)
        self.addCleanup(plain.close)
        plain.request("POST", "/v1/chat/completions", b"{}", {"Authorization": f"Bearer {KEY}"})
        answer = plain.getresponse()
        self.assertEqual(answer.status, 400)
        self.assertIn("https://", json.loads(answer.read())["error"]["message"])

    def test_handshakes_that_stall_are_cut_and_harm_nobody(self):
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 40
        stalled = []
        for i in range(60):
            one = socket.create_connection(("127.0.0.1", self.server.port), api_server.DEADLINE)
            self.addCleanup(one.close)
            one.sendall(hello[:i])
            stalled.append(one)
        begin = time.monotonic()
        self.assertEqual(self.health(), 200)
        self.assertTrue(self.ask(self.client(self.context())).choices[0].message.content)
        self.assertLess(time.monotonic() - begin, HANDSHAKE_MAX, "it did not wait for the stalled")
        for one in stalled:
            try:
                while one.recv(1000):
                    pass
            except ConnectionResetError:
                pass
        self.assertGreater(time.monotonic() - begin, HANDSHAKE_MAX / 2, "a slow one has its time")
        self.assertEqual(self.health(), 200)


if __name__ == "__main__":
    api_server.main()
