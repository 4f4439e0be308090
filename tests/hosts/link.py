#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""link.py NAMESPACE DEVICE NAMESPACE DEVICE DELAY_MS LOSS SEED: a cable between two network namespaces that delays
each packet and loses a part of them, in each direction; for kernels without netem. It makes both devices, and
writes a line when they are there. After SIGUSR1 it delays and loses nothing."""
import ctypes
import fcntl
import heapq
import os
import random
import select
import signal
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 2, 0x1000
CLONE_NEWNET = 0x40000000


def open_tap(namespace, name):
    """A new network device of this name in this namespace; its descriptor."""
    with open(f"/run/netns/{namespace}", "rb") as f:
        if ctypes.CDLL(None).setns(f.fileno(), CLONE_NEWNET):
            sys.exit(f"setns {namespace}")
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    return fd


def main(space_a, device_a, space_b, device_b, delay, loss, seed):
    a, b = open_tap(space_a, device_a), open_tap(space_b, device_b)
    delay, loss, rng = float(delay) / 1000, float(loss), random.Random(seed)
    other, waiting, n, good = {a: b, b: a}, [], 0, []
    signal.signal(signal.SIGUSR1, lambda *_: good.append(True))
    print("ready", flush=True)
    while True:
        until = max(0, waiting[0][0] - time.monotonic()) if waiting else None
        for fd in select.select([a, b], [], [], until)[0]:
            frame = os.read(fd, 65536)
            if good or rng.random() >= loss:
                n += 1
                heapq.heappush(waiting, (time.monotonic() + (0 if good else delay), n, other[fd], frame))
        while waiting and waiting[0][0] <= time.monotonic():
            _, _, fd, frame = heapq.heappop(waiting)
            try:
                os.write(fd, frame)
            except OSError:
                pass    # the device is down


if __name__ == "__main__":
    main(*sys.argv[1:])
