"""What a loaded but idle tandem costs: CPU time of a waiting session and of a waiting worker.

    python3 bench/idle.py --tandem build/release/src/tandem [--model FOLDER] [--seconds 20]

Without --model the embedded one. A session has answered once before it is watched. Linux only
(/proc). Standard library only.
"""

import argparse
import os
import subprocess
import time
from pathlib import Path

SETTLE_SECONDS = 1.0
LISTEN = "127.0.0.1:48219"


def stat(pid):
    """Fields of /proc/PID/stat after the name, or None where the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return None


def family(pid):
    """The process and all below it."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := stat(entry.name)):
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_seconds(pid):
    fields = stat(pid)
    if fields is None:
        raise SystemExit(f"process {pid} ended while it was watched")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(name, process, seconds):
    time.sleep(SETTLE_SECONDS)
    pids = family(process.pid)
    before, begin = [cpu_seconds(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - begin
    shares = [100 * (cpu_seconds(pid) - b) / elapsed for pid, b in zip(pids, before)]
    print(f"| {name} | {len(pids)} | {max(shares):.2f} % | {sum(shares):.2f} % |", flush=True)


def session(tandem, model, seconds, name, *flags):
    """A conversation that waits for its next line."""
    command = [tandem, "chat", *model, "--max-tokens", "8", *flags]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    try:
        process.stdin.write(b"What is the package nginx?\n")
        process.stdin.flush()
        if not os.read(process.stdout.fileno(), 1):
            raise SystemExit(f"{' '.join(command)}: no answer")
        watch(name, process, seconds)
    finally:
        process.stdin.close()
        process.terminate()
        process.wait()


def worker(tandem, seconds):
    process = subprocess.Popen([tandem, "worker", "--listen", LISTEN], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        watch("a worker without a gateway", process, seconds)
    finally:
        process.terminate()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tandem", required=True)
    parser.add_argument("--model", help="a folder; none: the embedded model")
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    model = [args.model] if args.model else []
    print("| idle | processes | the busiest, of a core | together |\n| --- | --- | --- | --- |")
    session(args.tandem, model, args.seconds, "a session in one process, after an answer")
    session(args.tandem, model, args.seconds, "a session over two local ranks, after an answer",
            "--ranks", "2")
    worker(args.tandem, args.seconds)


if __name__ == "__main__":
    main()
