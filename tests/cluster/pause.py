"""How long streams stand still when a rank is lost: --tandem PROGRAM [--model FOLDER] [--rounds N].

`kill` is SIGKILL of rank 1's compute process, `crash` its SIGSEGV, which an input may have caused;
`cut` ends the connections between ranks that live.
Prints seconds from the fault until the pipeline is open again, and until the first and the last
stream have their next token, which takes the replay of prompts and answers; and the longest that a
stream which is back then waits for a token, until the last one is. A server for each round: after
faults in a row a rank gets no work for a while."""

import argparse
import http.client
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import threading
import time

import cut_proxy
import harness

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "http"))
import api_server  # noqa: E402


class Stream(threading.Thread):
    """Answers, one after the other, and the times of their pieces."""

    def __init__(self, server, number, prompt_tokens):
        super().__init__(daemon=True)
        self.server = server
        self.body = {"prompt": [5 + (number * 31 + i * 7) % 300 for i in range(prompt_tokens)],
                     "max_tokens": 300, "ignore_eos": True, "stream": True, "seed": number}
        self.times = []
        self.start()

    def run(self):
        try:
            while True:
                self.ask()
        except (OSError, http.client.HTTPException):
            pass  # the server was stopped

    def ask(self):
        connection = http.client.HTTPConnection(self.server.host, self.server.port)
        connection.request("POST", "/v1/completions", json.dumps(self.body),
                           {"Content-Type": "application/json"})
        for line in connection.getresponse():
            if line.startswith(b"data: {"):
                self.times.append(time.monotonic())
            if b'"error"' in line:
                raise SystemExit(f"stream {self.body['seed']}: {line}")

    def back(self, opened):
        """When its first token of the new pipeline came."""
        return next(when for when in self.times if when > opened)

    def longest_wait(self, begin, end):
        """Between two tokens of that time, or between one and its end."""
        times = [when for when in self.times if begin <= when <= end] + [end]
        return max(b - a for a, b in zip(times, times[1:])) if len(times) > 1 else 0


def start(options):
    """A server over two workers, their processes, and what cuts their links."""
    ports = [harness.free_port() for _ in range(4)]
    workers = []
    for i in range(2):
        workers.append(subprocess.Popen(
            [api_server.Options.tandem, "worker", "--no-probe", "--listen",
             f"127.0.0.1:{ports[i]}", "--data-port", str(ports[i + 2])], stderr=subprocess.PIPE))
        workers[-1].stderr.readline()
        threading.Thread(target=workers[-1].stderr.read, daemon=True).start()
    cut_proxy.CutProxy("127.0.0.2", ports[:2])
    links = cut_proxy.CutProxy("127.0.0.2", ports[2:])
    hosts = ",".join(f"127.0.0.2:{port}" for port in ports[:2])
    model = [options.model] if options.model else []
    server = api_server.Server(*model, "--hosts", hosts, "--ranks", 2, "--threads", 1, "--device",
                               "cpu", "--max-context", 4096)
    return server, workers, links


def strike(options, fault):
    """Seconds from one fault: until the pipeline is open again, the first and the last stream are
    back; and the longest wait of one that is."""
    server, workers, links = start(options)
    try:
        streams = [Stream(server, i, options.prompt) for i in range(options.streams)]
        harness.wait_until(lambda: all(len(stream.times) > 20 for stream in streams), 120, "run")
        lines = len(server.log)
        now = time.monotonic()
        if fault == "cut":
            links.cut()
        else:
            number = signal.SIGKILL if fault == "kill" else signal.SIGSEGV
            os.kill(harness.children(workers[1].pid)[0], number)
        server.wait_for("Z the model is loaded again; ", lines)
        opened = time.monotonic() - now
        after = [len(stream.times) for stream in streams]
        harness.wait_until(lambda: all(len(stream.times) > count + 5
                                       for stream, count in zip(streams, after)), 120, "again")
        back = [stream.back(now + opened) for stream in streams]
        wait = max(stream.longest_wait(when, max(back)) for stream, when in zip(streams, back))
        return opened, min(back) - now, max(back) - now, wait
    finally:
        server.kill()
        for worker in workers:
            worker.kill()
            worker.wait()


def measure(options, fault):
    rounds = [strike(options, fault) for _ in range(options.rounds)]
    for what, values in zip(("open", "first back", "last back", "wait between"), zip(*rounds)):
        print(f"{fault}: {what}: least {min(values):.2f}, median {statistics.median(values):.2f}, "
              f"most {max(values):.2f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tandem", required=True)
    parser.add_argument("--model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=100, help="tokens")
    parser.add_argument("--fault", choices=("kill", "crash", "cut"), action="append")
    options = parser.parse_args()
    api_server.Options.tandem = str(pathlib.Path(options.tandem).resolve())
    for fault in options.fault or ("kill", "crash", "cut"):
        measure(options, fault)


if __name__ == "__main__":
    main()
