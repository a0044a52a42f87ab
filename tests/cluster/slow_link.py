"""Two network namespaces joined by a slow, long link. Linux; needs the right to make them.

The kernel's own netem is not built everywhere, so a thread carries frames between two TAP devices.
"""

import collections
import fcntl
import functools
import os
import select
import struct
import subprocess
import threading
import time

SET_INTERFACE = 0x400454CA  # TUNSETIFF
TAP_WITHOUT_HEADER = 0x0002 | 0x1000


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class SlowLink:
    """`near` and `far` are namespaces with the addresses 10.99.0.1 and 10.99.0.2."""

    def __init__(self, rate=1e9, delay=0.0):
        """`rate`: bytes a second; `delay`: seconds one way."""
        self.rate, self.delay = rate, delay
        self.near, self.far = (f"tandem{os.getpid()}{side}" for side in "ab")
        self.taps = []
        self.ending = False
        self.thread = threading.Thread(target=self.carry)
        try:
            self.join_namespaces()
        except BaseException:
            self.close()
            raise
        self.thread.start()

    def join_namespaces(self):
        for number, space in enumerate((self.near, self.far)):
            name = f"tap{os.getpid()}{'ab'[number]}"
            ip("netns", "add", space)
            tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            self.taps.append(tap)
            fcntl.ioctl(tap, SET_INTERFACE, struct.pack("16sH22x", name.encode(),
                                                        TAP_WITHOUT_HEADER))
            ip("link", "set", name, "netns", space)
            ip("-n", space, "addr", "add", f"10.99.0.{number + 1}/24", "dev", name)
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", name, "up")

    def carry(self):
        queues = {tap: collections.deque() for tap in self.taps}  # (when it arrives, frame)
        free = dict.fromkeys(self.taps, 0.0)
        while not self.ending:
            now = time.monotonic()
            for out, queue in queues.items():
                while queue and queue[0][0] <= now:
                    try:
                        os.write(out, queue.popleft()[1])
                    except OSError:
                        pass  # the device is full or down: a lost packet
            first = min((queue[0][0] for queue in queues.values() if queue), default=now + 0.1)
            for tap in select.select(self.taps, [], [], max(0.0, min(first - now, 0.1)))[0]:
                frame = os.read(tap, 65536)
                other = self.taps[1 - self.taps.index(tap)]
                now = time.monotonic()
                free[tap] = max(free[tap], now) + len(frame) / self.rate
                queues[other].append((free[tap] + self.delay, frame))

    def close(self):
        self.ending = True
        if self.thread.is_alive():
            self.thread.join()
        for tap in self.taps:
            os.close(tap)
        for space in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL)


def inside(space, *command):
    """The command as it runs in a namespace."""
    return ["ip", "netns", "exec", space, *map(str, command)]


@functools.cache
def refusal():
    """Why there can be none here: namespaces or the TUN device are missing or not permitted."""
    try:
        SlowLink().close()
        return None
    except OSError as error:
        return str(error)
