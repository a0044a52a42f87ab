#!/usr/bin/env python3
"""What the planner predicts beside what is measured, over workers on this machine.

    python3 bench/planner_check.py --tandem build/release/src/tandem --models FOLDER [--rounds 3]

FOLDER gets random models (bench/random_model.py). A set-up is its workers, started anew each round
so that they measure themselves, `tandem plan --hosts --layers`, and `tandem bench` with the same
layers. Medians over the rounds are printed as a table. All ranks are on one machine, which the
planner knows: one stream finds each rank with the whole machine in its turn; several streams find
it shared. Shaped links need the right to make network namespaces. Standard library only.
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "cluster"))
from slow_link import SlowLink, inside  # noqa: E402

PROMPT, TOKENS = 192, 48
LAN = {"rate": 125e6, "delay": 0.0005}
WIFI = {"rate": 25e6, "delay": 0.005}
FAR = {"rate": 12.5e6, "delay": 0.02}


@dataclass
class SetUp:
    shape: str
    layers: str
    threads: tuple = ()   # of each worker; empty: all cores
    link: dict | None = None
    far: tuple = ()       # workers behind the link
    streams: int = 1

    def words(self):
        parts = [self.shape, self.layers]
        if self.threads:
            parts.append("threads " + ",".join(map(str, self.threads)))
        if self.link:
            where = ",".join(map(str, self.far))
            parts.append(f"rank {where} behind {1e3 * self.link['delay']:g} ms, "
                         f"{self.link['rate'] * 8 / 1e6:g} Mbit/s")
        if self.streams > 1:
            parts.append(f"{self.streams} streams")
        return "; ".join(parts)


SET_UPS = [
    SetUp("llama-1b", "0-15"),
    SetUp("llama-1b", "0-15", threads=(1,)),
    SetUp("llama-1b", "0-7,8-15"),
    SetUp("llama-1b", "0-2,3-15"),
    SetUp("llama-1b", "0-4,5-9,10-15"),
    SetUp("llama-1b", "0-1,2-9,10-11,12-15"),
    SetUp("llama-1b", "0-7,8-15", threads=(1, 2)),
    SetUp("llama-1b", "0-11,12-15", threads=(2, 1)),
    SetUp("llama-1b", "0-7,8-15", link=LAN, far=(1,)),
    SetUp("llama-1b", "0-7,8-15", link=WIFI, far=(1,)),
    SetUp("llama-1b", "0-5,6-10,11-15", link=FAR, far=(1,)),
    SetUp("qwen3-moe", "0-7"),
    SetUp("qwen3-moe", "0-5,6-7"),
    SetUp("qwen3-moe", "0-3,4-7", threads=(1, 2)),
    SetUp("qwen3-moe", "0-3,4-7", link=WIFI, far=(1,)),
    SetUp("deepseek-v3", "0-5"),
    SetUp("deepseek-v3", "0-1,2-5"),
    SetUp("deepseek-v3", "0-2,3-5", threads=(2, 1)),
    SetUp("llama-1b", "0-7,8-15", streams=4),
    SetUp("qwen3-moe", "0-3,4-7", streams=4),
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return json.loads(done.stdout)


def start_worker(tandem, stack, wrap, address, threads):
    command = [tandem, "worker", "--listen", address, "--insecure"]
    if threads:
        command += ["--threads", threads]
    process = subprocess.Popen(wrap(*command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    stack.callback(process.wait)
    stack.callback(process.kill)
    for line in process.stderr:
        if b"waiting for a gateway at " in line:
            return address
    raise SystemExit("a worker ended")


def measure(tandem, model, setup):
    """(predicted tok/s, measured tok/s, predicted bytes, measured bytes) of one round."""
    with ExitStack() as stack:
        here = far = lambda *command: list(map(str, command))
        address = ("127.0.0.1", "127.0.0.1")
        if setup.link:
            link = SlowLink(**setup.link)
            stack.callback(link.close)
            here = lambda *command: inside(link.near, *command)  # noqa: E731
            far = lambda *command: inside(link.far, *command)  # noqa: E731
            address = ("10.99.0.1", "10.99.0.2")
        hosts = []
        for rank in range(len(setup.layers.split(","))):
            away = rank in setup.far
            threads = setup.threads[rank] if setup.threads else 0
            hosts.append(start_worker(tandem, stack, far if away else here,
                                      f"{address[away]}:{free_port()}", threads))
        common = ["--hosts", ",".join(hosts), "--layers", setup.layers, "--insecure", "--json"]
        several = setup.streams > 1
        plan = run(here(tandem, "plan", model, "--context", PROMPT + TOKENS, "--concurrency",
                        setup.streams, "--objective", "throughput" if several else "latency",
                        *common))
        got = run(here(tandem, "bench", model, "-p", PROMPT, "-n", TOKENS, "-r", 1,
                       "--concurrency", setup.streams, *common))
        return (plan["concurrent_tps" if several else "decode_tps"], got["decode_tps"]["median"],
                sum(stage["memory_bytes"] for stage in plan["stages"]), got["memory_bytes"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tandem", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="set-ups whose words contain this")
    options = parser.parse_args()
    tandem = options.tandem.resolve()
    set_ups = [each for each in SET_UPS if (options.only or "") in each.words()]
    for shape in {each.shape for each in set_ups}:
        if not (options.models / shape / "config.json").exists():
            subprocess.run([sys.executable, ROOT / "bench" / "random_model.py", shape,
                            options.models / shape], check=True)
    results = [[] for _ in set_ups]
    for number in range(options.rounds):
        for setup, rounds in zip(set_ups, results):
            rounds.append(measure(tandem, options.models / setup.shape, setup))
            print(f"round {number}: {setup.words()}: {rounds[-1]}", file=sys.stderr)
    print(f"{os.cpu_count()} cores, medians of {options.rounds} rounds")
    print("| model; layers | predicted tok/s | measured | | predicted GB | resident | |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for setup, rounds in zip(set_ups, results):
        speed, real, memory, resident = (statistics.median(column) for column in zip(*rounds))
        print(f"| {setup.words()} | {speed:.2f} | {real:.2f} | {100 * (speed / real - 1):+.0f} % "
              f"| {memory / 1e9:.3f} | {resident / 1e9:.3f} "
              f"| {100 * (memory / resident - 1):+.1f} % |")


if __name__ == "__main__":
    main()
