"""A server over two ranks: what it says of them, and that one that dies costs no request."""

import http.client
import json
import os
import pathlib
import signal
import sys
import threading
import time
import unittest

import cut_proxy
import harness
import tiny_model

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "http"))
import api_server  # noqa: E402

CHAT = "/v1/chat/completions"
STREAMS = 4
TOKENS = 600  # of each answer: about three seconds


class Stream(threading.Thread):
    """An answer that is read as it comes; `text` and `finish`, or `error`."""

    def __init__(self, server, number):
        super().__init__()
        self.server = server
        self.body = {"messages": [{"role": "user", "content": f"What is package number {number}?"}],
                     "seed": number, "temperature": 0.8, "max_tokens": TOKENS, "ignore_eos": True,
                     "stream": True}
        self.text, self.finish, self.error, self.timings = "", None, None, None
        self.pieces = 0
        self.start()

    def run(self):
        connection = http.client.HTTPConnection(self.server.host, self.server.port,
                                                timeout=api_server.DEADLINE)
        connection.request("POST", CHAT, json.dumps(self.body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            self.error = (answer.status, json.loads(answer.read()))
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            chunk = json.loads(line[6:])
            if "error" in chunk:
                self.error = chunk["error"]
                continue
            for choice in chunk["choices"]:
                self.text += choice["delta"].get("content") or ""
                self.finish = choice["finish_reason"] or self.finish
            self.timings = chunk.get("timings", self.timings)
            self.pieces += 1
        connection.close()


class ServeTest(harness.ClusterTest):
    def serve(self, *arguments):
        server = api_server.Server(*arguments)
        self.addCleanup(server.kill)
        return server

    def answers(self, server, strike=None):
        """The texts of STREAMS answers at once, after `strike()` in the middle of all of them."""
        streams = [Stream(server, number) for number in range(STREAMS)]
        if strike:
            harness.wait_until(
                lambda: all(stream.pieces > 20 or stream.finish for stream in streams),
                harness.DEADLINE, "all streams run")
            self.assertFalse([stream for stream in streams if stream.finish], "too fast to be hit")
            strike()
        for stream in streams:
            stream.join(api_server.DEADLINE)
            self.assertFalse(stream.is_alive(), "the answer ends")
            self.assertIsNone(stream.error)
            self.assertEqual(stream.finish, "length")
        return [stream.text for stream in streams]

    def ready(self, server):
        def healthy():
            return server.request("GET", "/health")[0] == 200
        harness.wait_until(healthy, harness.DEADLINE, "the server is well")
        return server.request("GET", "/cluster")[2]

    def two_hosts(self, *arguments):
        """Two workers and a server over them."""
        self.places = [f"127.0.0.1:{harness.free_port()}" for _ in range(2)]
        self.workers = [self.worker("--listen", place)[0] for place in self.places]
        return self.serve("--hosts", ",".join(self.places), "--ranks", 2, *arguments)


    def behind_links(self):
        """The same, and what can cut the connections on which frames travel."""
        ports = [harness.free_port() for _ in range(4)]
        self.workers = [self.worker("--listen", f"127.0.0.1:{ports[i]}", "--data-port",
                                    ports[i + 2])[0] for i in range(2)]
        control = cut_proxy.CutProxy("127.0.0.2", ports[:2])
        self.addCleanup(control.close)
        links = cut_proxy.CutProxy("127.0.0.2", ports[2:])
        self.addCleanup(links.close)
        hosts = ",".join(f"127.0.0.2:{port}" for port in ports[:2])
        return self.serve("--hosts", hosts, "--ranks", 2), links


class Figures(ServeTest):
    def busiest(self, server, streams):
        """/cluster when its ranks were fastest: figures lag behind short answers."""
        readings = []
        end = None
        while end is None or time.monotonic() < end:
            readings.append(server.request("GET", "/cluster")[2])
            if end is None and not any(stream.is_alive() for stream in streams):
                end = time.monotonic() + 2
            time.sleep(0.05)
        return max(readings, key=lambda cluster: min(rank["tps"] for rank in cluster["ranks"]))

    def test_every_rank_tells_load_speed_memory_and_links(self):
        server = self.serve("--ranks", 2)

        def timed():
            first, last = server.request("GET", "/cluster")[2]["ranks"]
            return ({"link_ms", "heartbeat_ms"} <= set(first)
                    and {"link_ms", "return_ms", "heartbeat_ms"} <= set(last))
        harness.wait_until(timed, harness.DEADLINE, "every link was timed")
        streams = [Stream(server, number) for number in range(STREAMS)]
        busy = self.busiest(server, streams)
        _, _, metrics = server.request("GET", "/metrics")
        speed = sum(stream.timings["predicted_per_second"] for stream in streams)
        self.assertEqual(len(busy["ranks"]), 2)
        for rank in busy["ranks"]:
            with self.subTest(rank=rank):
                self.assertLess(0, rank["load"])
                self.assertLessEqual(rank["load"], 1)
                self.assertLessEqual(0, rank["waiting"])
                self.assertLessEqual(rank["load"] + rank["waiting"], 1.01)
                self.assertLess(speed / 8, rank["tps"])
                self.assertLess(rank["tps"], speed * 8)
                self.assertLess(0, rank["sent_bytes_per_second"])
                self.assertLess(0, rank["kv_bytes"])
                self.assertLessEqual(rank["kv_bytes"], rank["kv_bytes_max"])
                self.assertLess(1 << 20, rank["memory_bytes"])
                self.assertLess(1 << 20, rank["memory_free_bytes"])
                self.assertRegex(rank["device"], r"^CPU \(\w+\), \d+ threads?$")
                self.assertLess(0, rank["link_ms"])
                self.assertLess(0, rank["heartbeat_ms"])
                label = f'{{rank="{rank["rank"]}",host="{rank["host"]}"}}'
                for name in ("load", "tokens_per_second", "link_seconds", "heartbeat_seconds",
                             "memory_bytes", "memory_free_bytes", "kv_bytes", "ticks_total",
                             "tokens_total", "busy_seconds_total", "waiting_seconds_total",
                             "sent_bytes_total"):
                    self.assertIn(f"tandem_rank_{name}{label} ", metrics)
        self.assertNotIn("return_ms", busy["ranks"][0])
        self.assertLess(0, busy["ranks"][1]["return_ms"])

        def rests():
            _, _, idle = server.request("GET", "/cluster")
            return all(rank["load"] == 0 and rank["tps"] == 0 for rank in idle["ranks"])
        harness.wait_until(rests, harness.DEADLINE, "an idle cluster has no load")

    def test_a_pipeline_in_one_process_tells_the_same_but_links(self):
        server = self.serve()
        stream = Stream(server, 1)
        [rank] = self.busiest(server, [stream])["ranks"]
        self.assertLess(0, rank["load"])
        self.assertLessEqual(rank["load"], 1)
        self.assertLess(stream.timings["predicted_per_second"] / 8, rank["tps"])
        self.assertLess(rank["tps"], stream.timings["predicted_per_second"] * 8)
        self.assertLess(0, rank["kv_bytes"])
        self.assertLess(0, rank["memory_free_bytes"])
        self.assertFalse({"link_ms", "return_ms", "heartbeat_ms"} & set(rank))


class Recovery(ServeTest):
    def strike(self, server, number, rank, supervisor):
        worker = harness.children(server.process.pid)[rank]
        os.kill(worker if supervisor else harness.children(worker)[0], number)

    def check(self, server, strike, going_on=STREAMS):
        """Every answer is the one of a run without a fault; `going_on` were saved by a restart."""
        expected = self.answers(server)
        self.assertEqual(len(set(expected)), STREAMS)
        self.assertEqual(self.answers(server, strike), expected)
        harness.wait_until(lambda: server.request("GET", "/cluster")[2]["restarts"] == 1,
                           harness.DEADLINE, "one restart")
        server.wait_for(rf"Z the model is loaded again; {going_on} requests go on$")
        self.ready(server)
        self.assertEqual(self.answers(server), expected)

    def check_loads(self, server, times):
        """How often each rank read layers from its folder."""
        for rank, expected in enumerate(times):
            lines = [line for line in server.log if line.startswith(f"rank {rank}: loaded ")]
            self.assertEqual(len(lines), expected, server.log)

    def test_killed_compute_process(self):
        server = self.serve("--ranks", 2)
        self.check(server, lambda: self.strike(server, signal.SIGKILL, 1, False))
        server.wait_for(r"Z rank 1 .* was killed by signal 9; the model is loaded again$")
        self.check_loads(server, [1, 2])

    def test_killed_compute_process_with_states_of_recurrent_layers(self):
        folder = tiny_model.write(self.folder / "recurrent", layers=12, recurrent=True)
        server = self.serve(folder, "--ranks", 2)
        self.check(server, lambda: self.strike(server, signal.SIGKILL, 1, False))

    def test_crashed_compute_process(self):
        """An input may have caused it: streams are computed again one after the other."""
        server = self.serve("--ranks", 2)
        self.check(server, lambda: self.strike(server, signal.SIGSEGV, 1, False))
        server.wait_for(r"Z rank 1 .* was killed by signal 11; the model is loaded again$")

    def test_killed_while_nothing_is_asked(self):
        server = self.serve("--ranks", 2)
        self.strike(server, signal.SIGKILL, 0, False)
        harness.wait_until(lambda: server.request("GET", "/cluster")[2]["restarts"] == 1,
                           harness.DEADLINE, "the rank is replaced")
        self.ready(server)
        self.check_loads(server, [2, 1])
        self.answers(server)

    def test_killed_worker(self):
        server = self.serve("--ranks", 2)
        self.check(server, lambda: self.strike(server, signal.SIGKILL, 0, True))

    def test_stopped_compute_process(self):
        server = self.serve("--ranks", 2)
        self.check(server, lambda: self.strike(server, signal.SIGSTOP, 0, False))

    def test_stopped_worker(self):
        server = self.serve("--ranks", 2)
        # Its compute process goes on, so answers may end before the worker is missed.
        self.check(server, lambda: self.strike(server, signal.SIGSTOP, 1, True), r"\d")

    def test_killed_compute_process_of_a_host(self):
        server = self.two_hosts()
        self.check(server, lambda: os.kill(harness.children(self.workers[1].pid)[0],
                                           signal.SIGKILL))
        self.check_loads(server, [1, 2])

    @unittest.skipUnless(sys.platform == "linux", "needs 127.0.0.2")
    def test_a_ring_that_breaks_makes_nobody_load(self):
        """Every rank lives and keeps its layers; only the connections between them end."""
        server, links = self.behind_links()
        pids = [harness.children(worker.pid) for worker in self.workers]
        self.check(server, links.cut)
        self.check_loads(server, [1, 1])
        self.assertEqual([harness.children(worker.pid) for worker in self.workers], pids)

    def test_a_worker_that_goes_away_and_comes_back(self):
        server = self.two_hosts()
        late = []

        def strike():
            self.workers[0].kill()
            harness.wait_until(lambda: server.request("GET", "/health")[0] == 503,
                               harness.DEADLINE, "the loss is noticed")
            status, _, health = server.request("GET", "/health")
            self.assertEqual((status, health["status"]), (503, "restarting"))
            self.assertIn("rank 0", health["error"]["message"])
            late.append(Stream(server, 99))  # waits
            _, _, cluster = server.request("GET", "/cluster")
            self.assertEqual(cluster["status"], "restarting")
            self.assertEqual(len(cluster["ranks"]), 2)
            self.workers[0] = self.worker("--listen", self.places[0])[0]

        self.check(server, strike, r"\d")
        late[0].join(api_server.DEADLINE)
        self.assertEqual((late[0].error, late[0].finish), (None, "length"))

    def test_a_host_that_dies_again_and_again_is_left_out(self):
        """Its layers go to the other one, and streams go on to the same tokens."""
        server = self.two_hosts()
        expected = self.answers(server)

        def strike():
            for times in range(1, 4):
                os.kill(harness.children(self.workers[1].pid)[0], signal.SIGKILL)
                harness.wait_until(
                    lambda: server.request("GET", "/cluster")[2]["restarts"] == times,
                    harness.DEADLINE, "the model is loaded again")
        self.assertEqual(self.answers(server, strike), expected)
        server.wait_for(rf"Z {self.places[1]} died too often within 30 s and gets no work for 30 s"
                        ": the model runs without it$")
        ranks = self.ready(server)["ranks"]
        self.assertEqual([rank["host"] for rank in ranks], [self.places[0]])

    def test_requests_wait_for_their_timeout_and_the_server_for_ever(self):
        server = self.two_hosts("--recovery-timeout", 1)
        self.workers[0].kill()
        waiting = Stream(server, 1)
        waiting.join(api_server.DEADLINE)
        self.assertIsNotNone(waiting.error)
        status, headers, refused = server.post(CHAT, {"messages": [
            {"role": "user", "content": "hi"}], "max_tokens": 1})
        self.assertEqual((status, headers["Retry-After"]), (503, "1"))
        self.assertIn("rank 0", refused["error"]["message"])
        self.workers[0] = self.worker("--listen", self.places[0])[0]
        self.ready(server)
        self.answers(server)

    def test_a_worker_that_is_not_up_yet(self):
        place = f"127.0.0.1:{harness.free_port()}"
        threading.Timer(2, lambda: self.worker("--listen", place)).start()
        server = self.serve("--hosts", place)
        self.assertTrue([line for line in server.log if "cannot be reached" in line])
        self.answers(server)

    def test_clients_that_leave_meanwhile_are_let_go(self):
        server = self.two_hosts()
        connection = http.client.HTTPConnection(server.host, server.port,
                                                timeout=api_server.DEADLINE)
        connection.request("POST", CHAT, json.dumps({
            "messages": [{"role": "user", "content": "hi"}], "ignore_eos": True, "stream": True}),
            {"Content-Type": "application/json"})
        self.assertTrue(connection.getresponse().read(1))
        self.workers[1].kill()
        harness.wait_until(lambda: server.request("GET", "/health")[0] == 503, harness.DEADLINE,
                           "the loss is noticed")
        connection.close()
        server.wait_for(r"finish=gone")
        self.worker("--listen", self.places[1])
        self.ready(server)
        server.wait_for(r"the model is loaded again; 0 requests go on")

    def test_a_drain_meanwhile_ends_it(self):
        server = self.two_hosts("--drain-timeout", 1)
        self.workers[1].kill()
        began = time.monotonic()
        stream = Stream(server, 1)
        harness.wait_until(lambda: server.request("GET", "/health")[0] == 503, harness.DEADLINE,
                           "the loss is noticed")
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(server.process.wait(api_server.DEADLINE), 0)
        stream.join(api_server.DEADLINE)
        self.assertFalse(stream.is_alive(), "an answer or an error, but an end")
        print(f"drained after {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    harness.main()
