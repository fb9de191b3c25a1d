"""Keeps a broker that has a data directory busy, and looks how large the directory gets.

    churn.py BROKER [SECONDS] [LIVING]

LIVING retained messages of 1 KiB (default: 20,000) stay. For SECONDS (default: 30) other retained
messages are replaced again and again, and messages go through a session that acknowledges them: all of
that is dead a moment later. The log may be three times as large as what lives, and 64 MiB more, and
what comes while it is written anew. Needs nothing but Python.
"""

import os
import sys
import tempfile
import threading
import time

from restart import Client, free_port, packet, start, taken, text

BATCH = 500
MIB = 1 << 20
# What a retained message of 1 KiB takes at most, in the broker's own account.
LIVING_BYTES = 1_500
# What comes while all is written anew, and files that are not full.
SLACK = 64 * MIB


def batch(topic, payload, first):
    """So many messages at QoS 1."""
    return b"".join(packet(first, text(topic(number)) + number.to_bytes(2, "big") + payload)
                    for number in range(1, BATCH + 1))


def send(client, data):
    client.socket.sendall(data)
    left = 4 * BATCH
    while left:
        got = len(client.socket.recv(left))
        if not got:
            sys.exit("churn: the broker closed the connection")
        left -= got


def take(client):
    """Acknowledges all that comes, until the broker is gone."""
    buffer = b""
    try:
        while more := client.socket.recv(1 << 18):
            messages, buffer = taken(buffer + more)
            client.acknowledge(messages)
    except ConnectionError:
        pass


def size(directory):
    total = 0
    for entry in os.scandir(directory):
        try:
            total += entry.stat().st_blocks * 512
        except FileNotFoundError:
            pass
    return total


def main():
    program = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 30
    living = int(sys.argv[3]) if len(sys.argv) > 3 else 20_000
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="stormpetrel-churn-") as directory:
        process, _ = start(program, directory, port)
        try:
            largest, last, count = churn(port, f"{directory}/data", seconds, living)
        finally:
            process.kill()
            process.wait()
    allowed = 3 * living * LIVING_BYTES + 64 * MIB + SLACK
    print(f"{count:,} messages of 200 bytes in {seconds:.0f} s beside {living:,} that live: the log had "
          f"{largest // MIB} MiB at most, {last // MIB} in the end; {allowed // MIB} are allowed")
    if largest > allowed:
        sys.exit("churn: the log is too large")


def churn(port, data, seconds, living):
    """How large the log was at most and in the end, and how many messages went through it."""
    publisher = Client(port, "publisher", True)
    for first in range(0, living, BATCH):
        send(publisher, batch(lambda number: f"living/{first + number}", b"x" * 1_024, 0x33))
    taker = Client(port, "taker", False)
    taker.subscribe("through/#")
    taker.socket.recv(5)
    threading.Thread(target=take, args=[taker], daemon=True).start()
    retained = batch(lambda number: f"retained/{number}", b"y" * 200, 0x33)
    through = batch(lambda number: f"through/{number}", b"z" * 200, 0x32)
    largest, count, end = 0, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        send(publisher, retained)
        send(publisher, through)
        count += 2 * BATCH
        largest = max(largest, size(data))
    return largest, size(data), count


if __name__ == "__main__":
    main()
