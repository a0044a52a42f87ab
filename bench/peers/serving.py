"""Serving side by side: `tandem bench serve` against tandem, llama-server and mlx_lm.server.

    python3 bench/peers/serving.py FOLDER --tandem build/release/src/tandem --rounds 3
    python3 bench/peers/serving.py FOLDER --table      # what FOLDER/serving.jsonl holds, again

Each server runs alone, the client on the same machine beside it. See README.md beside this file.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path

import servers

BENCH_SECONDS_MAX = 900
COLUMNS = (("requests_per_second", None, "req/s", 2), ("output_tps", None, "output tok/s", 1),
           ("total_tps", None, "total tok/s", 1), ("ttft_ms", "p50", "TTFT p50, ms", 0),
           ("ttft_ms", "p99", "TTFT p99, ms", 0), ("itl_ms", "p50", "ITL p50, ms", 1),
           ("itl_ms", "p99", "ITL p99, ms", 1), ("latency_ms", "p50", "latency p50, ms", 0))


def measure(name, setting, args, log):
    """The levels of one server, one process of it."""
    with servers.running(name, setting, log) as url:
        command = [args.tandem, "bench", "serve", url, "--json", "-p", args.prompt_tokens, "-n",
                   args.max_tokens, "--concurrency", args.levels, "--requests", args.requests,
                   *servers.SERVERS[name].flags]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True,
                              check=False, timeout=BENCH_SECONDS_MAX)
    if done.returncode != 0:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    return json.loads(done.stdout)["levels"]


def rows(records):
    """(server, streams) -> its levels."""
    found = {}
    for record in records:
        for level in record["levels"]:
            found.setdefault((level["concurrency"], record["server"]), []).append(level)
    return found


def cell(levels, name, part, digits):
    """The median of the rounds; the least and the most with more than one."""
    values = [level[name] if part is None else level[name][part] for level in levels]
    text = f"{statistics.median(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ({min(values):.{digits}f} to " \
                                         f"{max(values):.{digits}f})"


def table(records):
    """Lines of Markdown."""
    yield "| streams | server | rounds | " + " | ".join(c[2] for c in COLUMNS) + " |"
    yield "| --- " * (3 + len(COLUMNS)) + "|"
    found = rows(records)
    order = list(servers.SERVERS)
    for streams, server in sorted(found, key=lambda key: (key[0], order.index(key[1]))):
        levels = found[streams, server]
        cells = (cell(levels, name, part, digits) for name, part, _, digits in COLUMNS)
        failed = sum(level["failed"] for level in levels)
        note = f" ({failed} requests failed)" if failed else ""
        yield f"| {streams} | {server}{note} | {len(levels)} | " + " | ".join(cells) + " |"
    yield from ratios(found)


def ratios(found):
    for streams in sorted({streams for streams, _ in found}):
        own, peer = found.get((streams, "tandem")), found.get((streams, "llama-server"))
        if own and peer:
            total, tail = (statistics.median(pick(level) for level in own) /
                           statistics.median(pick(level) for level in peer)
                           for pick in (lambda level: level["total_tps"],
                                        lambda level: level["itl_ms"]["p99"]))
            yield (f"\n{streams} streams, tandem to llama-server: total tok/s {total:.2f} x, "
                   f"p99 ITL {tail:.2f} x")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of prepare.py")
    parser.add_argument("--tandem", help="the binary")
    parser.add_argument("--model", type=Path, help="instead of FOLDER/llama-1b")
    parser.add_argument("--servers", default="tandem,llama-server", metavar="NAME,NAME",
                        help="some of " + ", ".join(servers.SERVERS))
    parser.add_argument("--levels", default="1,4,16,64", help="streams at once")
    parser.add_argument("--requests", type=int, default=0, help="of each level; 0: 4 a stream")
    parser.add_argument("-p", "--prompt-tokens", type=int, default=128)
    parser.add_argument("-n", "--max-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prefix", default="", help="start servers under this: chrt -f 10")
    parser.add_argument("--out", type=Path, help="instead of FOLDER/serving.jsonl; appended to")
    parser.add_argument("--table", action="store_true", help="print what was measured before")
    args = parser.parse_args()
    args.names = args.servers.split(",")
    if unknown := [name for name in args.names if name not in servers.SERVERS]:
        parser.error(f"--servers: there is no {unknown[0]}")
    if not args.table and args.tandem is None:
        parser.error("--tandem: is needed to measure")
    return args


def main():
    args = arguments()
    out = args.out or args.folder / "serving.jsonl"
    if not args.table:
        most = max(int(count) for count in args.levels.split(","))
        # A prompt's length is met on average: some are longer.
        tokens = 2 * args.prompt_tokens + args.max_tokens
        setting = servers.Setting(args.folder, args.tandem, args.model or args.folder / "llama-1b",
                                  args.threads, most, tokens, tuple(args.prefix.split()))
        with open(out, "a", encoding="utf-8") as file, \
                open(out.with_suffix(".log"), "a", encoding="utf-8") as log:
            for _ in range(args.rounds):
                for name in args.names:
                    levels = measure(name, setting, args, log)
                    record = {"server": name, "time": round(time.time()), "threads": args.threads,
                              "prompt_tokens": args.prompt_tokens, "max_tokens": args.max_tokens,
                              "levels": levels}
                    file.write(json.dumps(record) + "\n")
                    file.flush()
    with open(out, encoding="utf-8") as file:
        print("\n".join(table([json.loads(line) for line in file])))


if __name__ == "__main__":
    main()
