"""Fills a broker that has a data directory, kills it, and measures how it comes back.

    restart.py BROKER [COUNT]

COUNT messages of 64 bytes (default: 1,000,000) wait for ten sessions whose clients are away, and as
many are retained, each acknowledged at QoS 1. Then the broker is killed and started again: how long
until it listens, how much memory that takes, and whether everything is there, in order. Needs nothing
but Python.
"""

import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SESSIONS = 10
WINDOW = 1_000
PADDING = b"x" * 55


def remaining_length(length):
    out = b""
    while True:
        digit, length = length % 128, length // 128
        if not length:
            return out + bytes([digit])
        out += bytes([digit | 0x80])


def text(value):
    return struct.pack(">H", len(value)) + value.encode()


def packet(first, body):
    return bytes([first]) + remaining_length(len(body)) + body


class Client:
    """A client of 3.1.1 that does what this needs."""

    def __init__(self, port, client_id, is_clean):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        flags = bytes([4, 2 if is_clean else 0, 0, 0])
        self.socket.sendall(packet(0x10, text("MQTT") + flags + text(client_id)))
        answer = self.socket.recv(4)
        if answer[:1] != b"\x20" or answer[3] != 0:
            sys.exit(f"restart: CONNACK {answer}")

    def subscribe(self, topic_filter):
        self.socket.sendall(packet(0x82, b"\0\1" + text(topic_filter) + b"\1"))

    def publish(self, count, topic_of, is_retained):
        """Publishes so many, numbered, and waits until all are acknowledged."""
        sent = acknowledged = 0
        unread = 0
        first = 0x33 if is_retained else 0x32
        while acknowledged < count:
            until = min(count, acknowledged + WINDOW)
            self.socket.sendall(b"".join(
                packet(first, text(topic_of(number)) + struct.pack(">H", number % 65_535 + 1)
                       + b"%09d" % number + PADDING)
                for number in range(sent, until)))
            sent = until
            unread += len(self.socket.recv(65_536))
            acknowledged, unread = acknowledged + unread // 4, unread % 4

    def receive(self, count):
        """Receives so many messages and acknowledges them. Their numbers, as they come."""
        numbers, buffer = [], b""
        while len(numbers) < count:
            messages, buffer = taken(buffer + self.socket.recv(1 << 20))
            self.acknowledge(messages)
            numbers += [int(payload[:9]) for _, payload in messages]
        return numbers

    def acknowledge(self, messages):
        self.socket.sendall(b"".join(b"\x40\x02" + packet_id for packet_id, _ in messages))


def taken(buffer):
    """The messages at QoS 1 that are whole, each as packet id and payload; and the rest."""
    place, messages = 0, []
    while (end := end_of(buffer, place)) is not None:
        head, place = place, end[1]
        if buffer[head] >> 4 == 3:
            at = end[0] + 2 + struct.unpack_from(">H", buffer, end[0])[0]
            messages.append((buffer[at:at + 2], buffer[at + 2:end[1]]))
    return messages, buffer[place:]


def end_of(buffer, place):
    """Where the body of the packet at this place begins and ends; none: it is not whole."""
    length, shift, at = 0, 0, place + 1
    while at < len(buffer):
        length |= (buffer[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if buffer[at - 1] < 128:
            return (at, at + length) if at + length <= len(buffer) else None
    return None


def start(program, directory, port):
    """Starts the broker, and waits until it listens. Seconds."""
    config = os.path.join(directory, "broker.yaml")
    with open(config, "w") as file:
        file.write(f"listeners: {{default: {{bind: '127.0.0.1:{port}'}}}}\nsys_interval: 0\n")
        file.write(f"auth: {{plugins: [auth_anonymous]}}\ndata-dir: {directory}/data\n")
    began = time.monotonic()
    log = open(os.path.join(directory, "broker.log"), "ab")
    process = subprocess.Popen([program, "--config", config], stdout=log, stderr=log)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process, time.monotonic() - began
        except ConnectionRefusedError:
            if process.poll() is not None:
                sys.exit("restart: the broker ended:\n" + open(log.name).read()[-2000:])
            time.sleep(0.01)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def memory(process):
    with open(f"/proc/{process.pid}/status") as status:
        sizes = dict(line.split(":", 1) for line in status)
    return " and ".join(f"{sizes[name].strip()} {what}" for name, what in
                        (("VmRSS", "in memory"), ("VmHWM", "at most")))


def processor_seconds(process):
    with open(f"/proc/{process.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="stormpetrel-restart-") as directory:
        process, _ = start(program, directory, port)
        try:
            each = count // SESSIONS
            for session in range(SESSIONS):
                client = Client(port, f"s{session}", False)
                client.subscribe(f"s/{session}")
                client.socket.recv(5)
                client.socket.close()
            publisher = Client(port, "publisher", True)
            for session in range(SESSIONS):
                publisher.publish(each, lambda _, session=session: f"s/{session}", False)
            publisher.publish(each * SESSIONS, lambda number: f"r/{number % 1_000}/{number}", True)
            print(f"filled: {memory(process)}")
            process.send_signal(signal.SIGKILL)
            process.wait()
            process, seconds = start(program, directory, port)
            used = processor_seconds(process)
            print(f"listens after {seconds:.1f} s, {used:.1f} s of processor time: {memory(process)}")
            for session in range(SESSIONS):
                got = Client(port, f"s{session}", False).receive(each)
                if got != list(range(each)):
                    sys.exit(f"restart: session {session} is not as it was")
            reader = Client(port, "reader", True)
            reader.subscribe("r/#")
            if sorted(reader.receive(each * SESSIONS)) != list(range(each * SESSIONS)):
                sys.exit("restart: what was retained is not as it was")
            print(f"all {each * SESSIONS} that waited came in order, and all that were retained")
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
