"""Prints what run.py measured as one table: medians, the least and the most, and what was wanted.

    python3 bench/peers/table.py FOLDER [--since 2026-11-24T11:00]
"""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import statistics
from pathlib import Path

import wanted


@dataclasses.dataclass(frozen=True)
class Spread:
    median: float
    least: float
    most: float
    count: int

    def __str__(self):
        digits = 1 if self.median >= 10 else 2
        return (f"{self.median:.{digits}f} tok/s ({self.least:.{digits}f} to "
                f"{self.most:.{digits}f}), {self.count} run{'s' if self.count != 1 else ''}")


class Results:
    """What was measured, by line and kind."""

    def __init__(self, path, since=0.0):
        self.values = {}
        self.bandwidth = {}
        self.costs = {}
        with open(path, encoding="utf-8") as file:
            for text in file:
                got = json.loads(text)
                if got["time"] < since:
                    continue
                for kind in ("prompt", "decode"):
                    if kind + "_tps" in got:
                        self.values.setdefault((got["line"], kind), []).append(got[kind + "_tps"])
                if "cost" in got:
                    self.costs.setdefault(got["line"], []).append(got["cost"])
                if got.get("read_bytes_per_second") and "decode_tps" in got:
                    used = got["decode_tps"] * got["weight_bytes"] / got["read_bytes_per_second"]
                    self.bandwidth.setdefault(got["line"], []).append(used)

    def spread(self, line, kind):
        """None where nothing was measured."""
        values = self.values.get((line, kind))
        if not values:
            return None
        return Spread(statistics.median(values), min(values), max(values), len(values))

    def median(self, line, kind):
        found = self.spread(line, kind)
        return None if found is None else found.median

    def cost(self, line):
        """Of a context; None where nothing was measured."""
        values = self.costs.get(line)
        return statistics.median(values) if values else None

    def bandwidth_share(self, line):
        """Weights read a second, of what a plain read of the same run reached."""
        values = self.bandwidth.get(line)
        return statistics.median(values) if values else None


def speeds(results):
    yield "| tok/s | tandem | peer |"
    yield "| --- | --- | --- |"
    for title, kind, own, peer in wanted.SPEEDS:
        cells = [results.spread(line, kind) if line else "" for line in (own, peer)]
        if any(isinstance(cell, Spread) for cell in cells):
            own_cell, peer_cell = ("not measured" if cell is None else str(cell) for cell in cells)
            yield f"| {title} | {own_cell} | {peer_cell} |"


def ratios(results):
    yield "| ratio of medians | measured | wanted |"
    yield "| --- | --- | --- |"
    for goal in wanted.GOALS:
        value = goal.value(results)
        if value is not None:
            # Two digits where they show which side of the limit it is on.
            digits = 2 if goal.reached(round(value, 2)) == goal.reached(value) else 3
            verdict = "" if goal.reached(value) else ", missed"
            yield f"| {goal.title} | {value:.{digits}f}{verdict} | {goal.limit_text()} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of prepare.py, or a file of results")
    parser.add_argument("--since", type=datetime.datetime.fromisoformat,
                        help="leave out what was measured before (local time)")
    args = parser.parse_args()
    path = args.folder / "results.jsonl" if args.folder.is_dir() else args.folder
    results = Results(path, args.since.timestamp() if args.since else 0.0)
    print(f"{platform.machine()}, {os.cpu_count()} processors\n")
    for line in (*speeds(results), "", *ratios(results)):
        print(line)


if __name__ == "__main__":
    main()
