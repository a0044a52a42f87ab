"""`tandem bench serve`: against the real server, and against servers that misbehave."""

import collections
import pathlib
import signal
import socket
import subprocess
import sys
import time

import program

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "http"))
import api_server  # noqa: E402
from odd_server import OddServer  # noqa: E402

PIECE = {"choices": [{"index": 0, "text": "word", "finish_reason": None}]}
USAGE = {"choices": [], "usage": {"prompt_tokens": 40, "completion_tokens": 4,
                                  "prompt_tokens_details": {"cached_tokens": 1}}}


class BenchServeTest(program.ProgramTest):
    def bench(self, url, *flags, **options):
        return self.json("bench", "serve", url, "-n", 4, *flags, **options)

    def one_level(self, url, *flags):
        level, = self.bench(url, "--concurrency", 1, "--requests", 3, *flags)["levels"]
        return level

    def bench_refused(self, words, url, *flags, code):
        line = self.refused("bench", "serve", url, "-n", 4, *flags, code=code)
        for word in words:
            self.assertIn(word, line)


class RealServer(BenchServeTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = api_server.Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        super().tearDownClass()

    def check_level(self, level, streams, requests):
        self.assertEqual((level["concurrency"], level["completed"], level["failed"]),
                         (streams, requests, 0))
        self.assertIsNone(level["first_error"])
        self.assertEqual(level["output_tokens"], 4 * requests)
        for name in ("requests_per_second", "output_tps", "total_tps"):
            self.assertGreater(level[name], 0)
        self.assertAlmostEqual(level["output_tps"] * level["seconds"], level["output_tokens"], 3)
        self.assertAlmostEqual(level["total_tps"] * level["seconds"],
                               level["output_tokens"] + level["prompt_tokens"], 3)
        for name in ("ttft_ms", "itl_ms", "tpot_ms", "latency_ms"):
            times = level[name]
            self.assertEqual(list(times), ["mean", "p50", "p90", "p95", "p99", "max"])
            ascending = [times[key] for key in ("p50", "p90", "p95", "p99", "max")]
            self.assertEqual(ascending, sorted(ascending))
            self.assertGreater(times["mean"], 0)
        self.assertLessEqual(level["ttft_ms"]["max"], level["latency_ms"]["max"])

    def test_levels_of_streams(self):
        got = self.bench(self.server.url, "--concurrency", "1,3", "--requests", 6, "-p", 48)
        self.assertEqual((got["url"], got["model"]), (self.server.url + "/v1", "tandem-demo"))
        self.assertEqual(got["tokens_counted_by"], "server")
        for level, streams in zip(got["levels"], (1, 3), strict=True):
            self.check_level(level, streams, 6)
            # Words became as many tokens as were asked, and no prompt was known before.
            self.assertAlmostEqual(level["prompt_tokens"] / 6, 48, delta=12)
            self.assertLess(level["cached_tokens"], level["prompt_tokens"] / 4)

    def test_ids_are_exact(self):
        level = self.one_level(self.server.url + "/v1/", "--prompts", "ids", "-p", 33)
        self.assertEqual(level["prompt_tokens"], 3 * 33)
        self.check_level(level, 1, 3)

    def test_chat(self):
        got = self.bench(self.server.url, "--endpoint", "chat", "--concurrency", 2, "--seconds", 1)
        level, = got["levels"]
        self.check_level(level, 2, level["completed"])
        self.assertGreaterEqual(level["completed"], 2)  # a slow machine answers each stream once
        self.assertGreaterEqual(level["seconds"], 1)

    def test_people_get_a_table(self):
        text = self.output("bench", "serve", self.server.url, "-n", 4, "--concurrency",
                           "1,2").decode()
        lines = text.splitlines()
        self.assertRegex(lines[0], r"/v1, model tandem-demo: random words of 512 tokens, "
                                   r"answers of 4$")
        self.assertRegex(lines[1], r"streams +requests +failed .* TTFT ms +ITL ms")
        self.assertRegex(lines[3], r"^ +1 +4 +0( +[\d.]+){9}$")
        self.assertRegex(lines[4], r"^ +2 +8 +0( +[\d.]+){9}$")

    def test_what_the_server_refuses_is_the_users_mistake(self):
        self.bench_refused(["/v1/completions", "404", "absent"], self.server.url, "--model",
                           "absent", code=2)
        self.bench_refused(["/nowhere/models", "404"], self.server.url + "/nowhere", code=2)
        self.bench_refused(["400", "context"], self.server.url, "-p", 100000, code=2)


class KeysAndTls(BenchServeTest):
    def test_keys_over_tls(self):
        certificate, key = self.folder / "cert.pem", self.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", certificate,
                        "-days", "2", "-subj", "/CN=tandem", "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        keys = self.folder / "keys"
        keys.write_text("sesame\nother\n")
        server = api_server.Server("--tls-cert", certificate, "--tls-key", key, "--api-key-file",
                                   keys)
        self.addCleanup(server.kill)
        ca = ("--tls-ca", certificate)
        self.assertEqual(
            self.one_level(server.url, *ca, "--api-key-file", keys)["completed"], 3)
        self.assertEqual(self.one_level(server.url, *ca, "--api-key", "other")["completed"], 3)
        self.bench_refused(["401", "/models"], server.url, *ca, code=2)
        self.bench_refused(["401"], server.url, *ca, "--api-key", "wrong", code=2)
        self.bench_refused(["certificate verify failed"], server.url, "--api-key", "other", code=1)
        self.bench_refused(["certificate verify failed"],
                           server.url.replace("127.0.0.1", "localhost"), *ca, code=1)
        plain = server.url.replace("https", "http")
        self.bench_refused([plain, "use https"], plain, "--api-key", "other", code=2)


def good(handler, _number):
    handler.stream(PIECE, PIECE, PIECE, USAGE)


def cut(handler, _number):
    """An answer that is promised and does not come."""
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Content-Length", "99")
    handler.end_headers()
    handler.close_connection = True


class OddServers(BenchServeTest):
    def odd(self, answer=good, **options):
        server = OddServer(answer, **options)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return server

    def test_so_many_streams_at_once_and_so_many_requests(self):
        server = self.odd(lambda handler, _: handler.stream(PIECE, PIECE, USAGE, wait=0.02))
        level, = self.bench(server.url, "--concurrency", 5, "--requests", 20)["levels"]
        self.assertEqual((server.most, len(server.bodies)), (5, 21))  # one to warm up
        self.assertEqual((level["completed"], level["output_tokens"]), (20, 80))
        self.assertEqual((level["prompt_tokens"], level["cached_tokens"]), (800, 20))
        self.assertGreaterEqual(level["itl_ms"]["p50"], 15)
        # One connection a stream, kept; the warm-up had its own.
        self.assertLessEqual(len(server.connections), 6)

    def test_prompts_begin_differently_and_come_from_the_seed(self):
        prompts = []
        for seed in (("--seed", 7), ("--seed", 7), ()):
            server = self.odd()
            self.one_level(server.url, "-p", 40, *seed)
            prompts.append([body["prompt"] for body in server.bodies])
        self.assertEqual(prompts[0], prompts[1])
        beginnings = collections.Counter(text[:12] for text in prompts[0] + prompts[2])
        self.assertEqual(len(beginnings), 8)
        # The warm-up's 40 words are 40 tokens here, so that all have 40.
        self.assertEqual({len(text.split()) for text in prompts[0]}, {40})

    def test_what_is_asked(self):
        server = self.odd()
        self.one_level(server.url, "--model", "m", "--temp", "0.5", "--stop-at-eos")
        body = server.bodies[0]
        self.assertEqual((body["model"], body["max_tokens"], body["temperature"], body["stream"],
                          body["stream_options"]), ("m", 4, 0.5, True, {"include_usage": True}))
        self.assertNotIn("ignore_eos", body)
        server = self.odd()
        self.one_level(server.url, "--prompts", "ids", "--vocabulary", 9, "-p", 300)
        self.assertIs(server.bodies[0]["ignore_eos"], True)
        self.assertEqual(set(server.bodies[0]["prompt"]), set(range(9)))
        self.assertEqual(len(server.bodies[0]["prompt"]), 300)

    def test_a_vocabulary_that_nobody_knows(self):
        self.bench_refused(["--vocabulary"], self.odd().url, "--prompts", "ids", code=2)

    def test_without_usage_pieces_and_words_count(self):
        for version in ("HTTP/1.0", "HTTP/1.1"):
            server = self.odd(lambda handler, _: handler.stream(PIECE, PIECE), version=version)
            got = self.bench(server.url, "--concurrency", 2, "--requests", 4, "-p", 10)
            level, = got["levels"]
            self.assertEqual(got["tokens_counted_by"], "client")
            self.assertEqual((level["prompt_tokens"], level["output_tokens"]), (40, 8))

    def test_failures_are_counted(self):
        def half(handler, number):
            if number % 2 == 1:
                handler.reply(503, {"error": {"message": "too busy"}})
            else:
                good(handler, number)

        level, = self.bench(self.odd(half).url, "--concurrency", 1, "--requests", 6)["levels"]
        self.assertEqual((level["completed"], level["failed"]), (3, 3))
        self.assertIn("too busy", level["first_error"])
        text = self.output("bench", "serve", self.odd(half).url, "-n", 4, "--concurrency", 1,
                           "--requests", 6).decode()
        self.assertRegex(text, r"failed: status 503: too busy\n$")

    def test_answers_that_are_none(self):
        cases = {
            "before [DONE]": lambda handler, _: handler.stream(PIECE, USAGE, end=False),
            "no text": lambda handler, _: handler.stream(USAGE),
            "more pieces": lambda handler, _: handler.stream(*[PIECE] * 50),
            "out of memory": lambda handler, _: handler.stream(
                PIECE, {"error": {"message": "out of memory"}}),
            "no event stream but text/html": lambda handler, _: handler.reply(
                200, "<html>", "text/html"),
            "an event": lambda handler, _: handler.stream("[1]"),
            "status 500: <b>": lambda handler, _: handler.reply(500, "<b>", "text/html"),
            "closed the connection": cut,
            "status 302": lambda handler, _: handler.reply(302, ""),
        }
        for words, answer in cases.items():
            with self.subTest(words):
                self.bench_refused([words], self.odd(answer).url, code=1)

    def test_after_a_good_warm_up_a_level_of_failures_is_an_error(self):
        def once(handler, number):
            good(handler, 0) if number == 0 else handler.reply(500, {"error": "gone"})

        self.bench_refused(["all requests of 2 streams failed", "gone"], self.odd(once).url,
                           "--concurrency", 2, code=1)

    def test_a_connection_closed_while_idle_is_opened_again(self):
        def hang_up(handler, number):
            good(handler, number)
            handler.close_connection = True

        level = self.one_level(self.odd(hang_up).url)
        self.assertEqual((level["completed"], level["failed"]), (3, 0))

    def test_a_server_that_says_nothing(self):
        begin = time.monotonic()
        self.bench_refused(["does not answer in time"],
                           self.odd(lambda *_: time.sleep(5)).url, "--timeout", 1, code=1)
        self.assertLess(time.monotonic() - begin, 4)

    def test_nobody_there(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            self.bench_refused([url, "/models"], url, code=1)
        self.bench_refused(["no such host"], "http://nowhere.invalid", code=1)

    def test_ctrl_c_ends_it(self):
        server = self.odd(lambda *_: time.sleep(30))
        process = self.start("bench", "serve", server.url)
        while not server.bodies:
            time.sleep(0.01)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(program.DEADLINE), 130)
        self.assertLess(time.monotonic() - begin, 5)


class Flags(BenchServeTest):
    def test_mistakes(self):
        url = "http://127.0.0.1:1"
        for words, *flags in (
                (["url"],), (["URL", "scheme"], "127.0.0.1:8080"), (["URL"], "http://a:0"),
                (["--concurrency", "[1, 4096]"], url, "--concurrency", "0"),
                (["--concurrency"], url, "--concurrency", "1,,2"),
                (["--concurrency"], url, "--concurrency", "5000"),
                (["--concurrency", "at most 32"], url, "--concurrency", ",".join("1" * 33)),
                (["--prompts"], url, "--prompts", "text"),
                (["--prompts ids", "--endpoint chat"], url, "--prompts", "ids", "--endpoint",
                 "chat"),
                (["--vocabulary", "has no meaning"], url, "--vocabulary", "7"),
                (["--tls-ca", "without https"], url, "--tls-ca", "x"),
                (["x.pem"], "https://127.0.0.1:1", "--tls-ca", "x.pem"),
                (["--api-key-file"], url, "--api-key", "a", "--api-key-file", "b"),
                (["absent-keys"], url, "--api-key-file", "absent-keys"),
                (["--temp"], url, "--temp", "3"), (["--seed"], url, "--seed", "x"),
                (["--model"], url, "--model", b"\xff")):
            with self.subTest(flags):
                line = self.refused("bench", "serve", *flags)
                for word in words:
                    self.assertIn(word, line)
        self.assertIn("--ranks", self.refused("bench", "--ranks", 2, "serve", url))


if __name__ == "__main__":
    program.main()
