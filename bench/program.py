"""The program's figures next to what they should be: links, pipeline, loading, the embedded model.

    python3 bench/program.py --tandem build/release/src/tandem --model FOLDER [--rounds 5]

FOLDER comes from bench/random_model.py llama-1b. Runs are interleaved and medians are printed, so
that a busy machine spoils all of them alike. Standard library only.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time


def run(command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stderr}")
    return done.stdout


def links(tandem):
    for flags, limit in (((), 80), (("--tls",), 120)):
        got = json.loads(run([tandem, "bench", "link", "--payloads", 14464, "--json", *flags]))
        frame, = got["payloads"]
        name = "grpc with TLS" if flags else "grpc"
        print(f"| one way, decode frame of 14464 bytes, {name} | {frame['one_way_us']:.1f} us "
              f"| at most {limit} us |")


def decode(tandem, model, ranks, concurrency, tokens):
    got = json.loads(run([tandem, "bench", model, "-p", 16, "-n", tokens, "-r", 1, "--ranks", ranks,
                          "--threads", 1, "--concurrency", concurrency, "--json"]))
    return got["decode_tps"]["median"]


def pipeline(tandem, model, rounds, tokens):
    kinds = {"one": (1, 1), "two": (2, 1), "streams": (2, 2)}
    speeds = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, (ranks, concurrency) in kinds.items():
            speeds[name].append(decode(tandem, model, ranks, concurrency, tokens))
    median = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"| one process, one thread, one stream | {median['one']:.2f} tok/s | |")
    for name, words, least in (("two", "two ranks, one stream", 0.95),
                               ("streams", "two ranks, two streams", 1.85)):
        ratio = median[name] / median["one"]
        print(f"| {words} | {median[name]:.2f} tok/s, {ratio:.2f} x | at least {least} x |")


def loading(tandem, model, rounds):
    """Wall time of a whole run that draws one token from one prompt token, file cache warm."""
    times = []
    for _ in range(rounds + 1):
        begin = time.monotonic()
        run([tandem, "generate", model, "--prompt-ids", "1", "-m", 1, "--json"])
        times.append(time.monotonic() - begin)
    print(f"| start, map the warm model, first token | {statistics.median(times[1:]):.2f} s "
          "| under 1 s |")


def embedded(tandem, rounds):
    speeds = []
    for _ in range(rounds):
        got = json.loads(run([tandem, "generate", "-p", "What is the package nginx?", "--ranks", 2,
                              "--json"]))
        speeds.append(got["decode_tps"])
    print(f"| embedded model over two ranks | {statistics.median(speeds):.0f} tok/s "
          "| at least 40 tok/s |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tandem", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=32)
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, "
          f"{time.strftime('%Y-%m-%d')}, medians of {options.rounds}\n")
    print("| what | measured | wanted |\n| --- | --- | --- |")
    links(options.tandem)
    pipeline(options.tandem, options.model, options.rounds, options.tokens)
    loading(options.tandem, options.model, options.rounds)
    embedded(options.tandem, options.rounds)


if __name__ == "__main__":
    main()
