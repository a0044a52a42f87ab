"""A memory cgroup of this test's own, of version 1 or 2. Linux; needs the right to make one."""

import os
import pathlib
import subprocess
import time

ROOT = pathlib.Path("/sys/fs/cgroup")


class Cgroup:
    """Processes that run() starts, and theirs, have `limit` bytes together and no swap."""

    def __init__(self, limit):
        v2 = (ROOT / "cgroup.controllers").exists()
        self.folder = (ROOT if v2 else ROOT / "memory") / f"tandem-test-{os.getpid()}"
        self.folder.mkdir(exist_ok=True)
        (self.folder / ("memory.max" if v2 else "memory.limit_in_bytes")).write_text(str(limit))
        swap = self.folder / ("memory.swap.max" if v2 else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if v2 else str(limit))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Local workers end a moment after their gateway."""
        end = time.monotonic() + 20
        while True:
            try:
                return self.folder.rmdir()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def wrap(self, command):
        """A command whose shell joins the group and becomes the program."""
        join = f"echo $$ > {self.folder}/cgroup.procs && exec \"$@\""
        return ["sh", "-c", join, "sh", *map(str, command)]

    def run(self, command, timeout):
        """The finished process."""
        return subprocess.run(self.wrap(command), capture_output=True, timeout=timeout)


def available():
    """Whether this process may make one."""
    try:
        with Cgroup(1 << 30):
            return True
    except OSError:
        return False
