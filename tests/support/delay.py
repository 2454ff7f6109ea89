"""A line with a delay: two TUN devices, and what goes into one comes out of the other so many milliseconds later.

For kernels without netem. usage: delay.py DEVICE DEVICE MILLISECONDS; says `ready` when both are there, and ends with its stdin.
"""

import collections
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000


def device(name):
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


ends, delay = [device(name) for name in sys.argv[1:3]], float(sys.argv[3]) / 1000
print("ready", flush=True)
under_way = collections.deque()
while True:
    wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
    ready, _, _ = select.select([0, *ends], [], [], wait)
    if 0 in ready:
        break
    for end in set(ready) & set(ends):
        try:
            packet = os.read(end, 65536)
        except OSError:
            continue  # the device is down, or another read was quicker
        under_way.append((time.monotonic() + delay, ends[1 - ends.index(end)], packet))
    while under_way and under_way[0][0] <= time.monotonic():
        _, end, packet = under_way.popleft()
        try:
            os.write(end, packet)
        except OSError:
            pass  # as on any line that is down
