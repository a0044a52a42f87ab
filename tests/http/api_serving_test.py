"""What operators rely on: limits, logs, draining, health."""

import http.client
import json
import pathlib
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import api_server

CHAT = "/v1/chat/completions"
LONG = {"messages": [{"role": "user", "content": "hi"}], "ignore_eos": True, "temperature": 0}


class Running:
    """A stream that is read on another thread."""

    def __init__(self, server, **fields):
        self.events = []
        self.first = threading.Event()
        self.thread = threading.Thread(target=self.read, args=(server, {**LONG, **fields}))
        self.thread.start()

    def read(self, server, body):
        connection = http.client.HTTPConnection(server.host, server.port,
                                                timeout=api_server.DEADLINE)
        connection.request("POST", CHAT, json.dumps({**body, "stream": True}),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        self.status = answer.status
        try:
            for line in answer:
                if line.startswith(b"data: "):
                    self.events.append(line[6:].decode().strip())
                    self.first.set()
        except http.client.HTTPException:
            self.events.append("cut off")
        self.first.set()
        connection.close()

    def join(self):
        self.thread.join(api_server.DEADLINE)
        return self.events


class ServingTest(unittest.TestCase):
    def serve(self, *arguments):
        server = api_server.Server(*arguments)
        self.addCleanup(server.kill)
        return server

    def test_a_drain_finishes_what_runs_and_refuses_what_comes(self):
        server = self.serve()
        running = Running(server, max_tokens=300)
        self.assertTrue(running.first.wait(api_server.DEADLINE))
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        try:
            status, _, answer = server.post(CHAT, LONG)
            self.assertEqual(status, 503, answer)
        except (ConnectionError, OSError):
            self.assertIsNotNone(server.process.wait(api_server.DEADLINE))
        events = running.join()
        self.assertEqual(events[-1], "[DONE]")
        self.assertEqual(json.loads(events[-2])["choices"][0]["finish_reason"], "length")
        self.assertEqual(server.process.wait(api_server.DEADLINE), 0)

    def test_a_drain_that_takes_too_long_is_cut(self):
        server = self.serve("--drain-timeout", 0)
        running = Running(server)
        self.assertTrue(running.first.wait(api_server.DEADLINE))
        self.assertEqual(server.terminate(), 0)
        events = running.join()
        self.assertNotEqual(events[-1], "[DONE]")

    def test_the_time_in_the_queue_is_told_apart(self):
        server = self.serve("--max-sequences", 1)
        running = Running(server, max_tokens=500)
        self.assertTrue(running.first.wait(api_server.DEADLINE))
        _, _, answer = server.post(CHAT, {**LONG, "max_tokens": 2})
        running.join()
        timings = answer["timings"]
        self.assertGreater(timings["queue_ms"], timings["prompt_ms"], "behind 500 tokens")
        self.assertGreater(timings["prompt_ms"], 0)
        line = server.wait_for(r" completion=2 ")
        self.assertIn(" queue_ms=", line)
        _, _, metrics = server.request("GET", "/metrics")
        self.assertIn("tandem_queue_seconds_count 2\n", metrics)

    def test_a_long_prompt_tells_how_far_it_is(self):
        server = self.serve("--prefill-step-size", 16)
        words = " ".join(f"word{i}" for i in range(300))
        events = list(server.stream(CHAT, {
            "messages": [{"role": "user", "content": words}], "max_tokens": 2}))
        alive = [event for event in events if isinstance(event, str)
                 and event.startswith(": keepalive ")]
        self.assertTrue(alive, events)
        done, total = map(int, alive[0].removeprefix(": keepalive ").split("/"))
        self.assertLess(0, done)
        self.assertLess(done, total)
        self.assertEqual(events[-1], "[DONE]")

    def test_a_client_that_goes_away_frees_everything(self):
        server = self.serve()
        _, _, before = server.request("GET", "/cluster")
        for _ in range(20):
            with socket.create_connection((server.host, server.port)) as plain:
                body = json.dumps({**LONG, "stream": True}).encode()
                plain.sendall(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: localhost\r\n"
                              b"Content-Type: application/json\r\nContent-Length: "
                              + str(len(body)).encode() + b"\r\n\r\n" + body)
                self.assertTrue(plain.recv(64).startswith(b"HTTP/1.1 200"))
        end = time.monotonic() + api_server.DEADLINE
        gone = []
        while time.monotonic() < end and len(gone) < 20:
            time.sleep(0.05)
            gone = [line for line in server.log if "finish=gone" in line]
        self.assertEqual(len(gone), 20)
        _, _, after = server.request("GET", "/cluster")
        self.assertEqual(after["requests"], before["requests"])

    def test_requests_of_a_key_are_limited(self):
        server = self.serve("--api-key", "k" * 20, "--max-per-key", 1)
        # A client that has its answer whole finds its place free.
        for turn in range(40):
            status, _, text = server.post(
                CHAT, {**LONG, "max_tokens": 1, "stream": turn % 2 == 1},
                Authorization="Bearer " + "k" * 20)
            self.assertEqual(status, 200, text)
        seen = []

        def ask():
            seen.append(server.post(CHAT, {**LONG, "max_tokens": 400},
                                    Authorization="Bearer " + "k" * 20)[0])
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertIn(200, seen)
        self.assertIn(429, seen)

    def test_limits_are_flags(self):
        server = self.serve("--max-prompt", 20, "--max-n", 2, "--max-stop", 1, "--max-body", 1,
                            "--max-context", 64, "--max-tokens", 3, "--model-name", "nemo")
        def error(**fields):
            status, _, answer = server.post(CHAT, {**LONG, **fields})
            self.assertEqual(status, 400, answer)
            return answer["error"]
        self.assertEqual(error(messages=[{"role": "user", "content": "word " * 30}])["code"],
                         "context_length_exceeded")
        self.assertEqual(error(n=3)["param"], "n")
        self.assertEqual(error(stop=["a", "b"])["param"], "stop")
        self.assertEqual(server.post(CHAT, {**LONG, "user": "x" * (2 << 20)})[0], 413)
        _, _, answer = server.post(CHAT, {**LONG, "model": "nemo"})
        self.assertEqual(answer["usage"]["completion_tokens"], 3)
        self.assertEqual(answer["model"], "nemo")
        _, _, models = server.request("GET", "/v1/models")
        self.assertEqual(models["data"][0]["meta"]["n_ctx"], 64)

    def test_one_line_a_request_and_no_prompts(self):
        server = self.serve()
        server.post(CHAT, {"messages": [{"role": "user", "content": "a secret word"}],
                           "max_tokens": 2, "ignore_eos": True})
        line = server.wait_for(r" POST /v1/chat/completions 200 ")
        for part in ("completion=2", "finish=length", "first_ms=", "id="):
            self.assertIn(part, line)
        server.request("GET", "/health")
        server.request("GET", "/nothing%22%20here")
        self.assertIn('"/nothing\\" here"', server.wait_for(r" 404 "))
        self.assertFalse([line for line in server.log if "secret" in line])
        self.assertFalse([line for line in server.log if " /health " in line])

    def test_logs_as_json_with_prompts(self):
        server = self.serve("--log-json", "--log-prompts")
        server.post(CHAT, {"messages": [{"role": "user", "content": "a secret\nword"}],
                           "max_tokens": 2, "ignore_eos": True})
        record = json.loads(server.wait_for(r'^\{.*"status":200'))
        self.assertEqual(record["completion_tokens"], 2)
        self.assertIn("a secret\nword", record["prompt"])

    def test_keys_come_from_a_file_too(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "keys"
            file.write_text("first-key-0123456789\r\n\nsecond-key-0123456789\n")
            server = self.serve("--api-key-file", file)
        self.assertEqual(server.request("GET", "/v1/models")[0], 401)
        self.assertEqual(server.request("GET", "/health")[0], 200)
        for key in ("first-key-0123456789", "second-key-0123456789"):
            self.assertEqual(server.request("GET", "/v1/models", headers={
                "Authorization": "Bearer " + key})[0], 200)

    def test_the_users_mistakes_end_it_at_once(self):
        for flags in (["--port", "70000"], ["--host", "0.0.0.0"], ["--tls-cert", "x"],
                      ["--api-key-file", "/no/such"], ["--max-per-key", "1"],
                      ["--cluster-insecure"], ["/no/such/model"]):
            done = subprocess.run([api_server.Options.tandem, "serve", *flags],
                                  capture_output=True, text=True, timeout=api_server.DEADLINE)
            self.assertEqual(done.returncode, 2, (flags, done.stderr))
            self.assertIn("tandem: error: ", done.stderr)


if __name__ == "__main__":
    api_server.main()
