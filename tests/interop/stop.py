"""Stops the broker and watches what its clients are told: `stop.py PID PORT`."""

import os
import queue
import signal
import sys

import paho.mqtt.client as mqtt

PID, PORT = int(sys.argv[1]), int(sys.argv[2])


def connect(version, client_id):
    ends, connected = queue.Queue(), queue.Queue()
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False
    )
    client.on_connect = lambda *_: connected.put(None)
    client.on_disconnect = lambda c, u, flags, reason, p: ends.put((flags, reason))
    client.connect("127.0.0.1", PORT)
    client.loop_start()
    connected.get(timeout=10)
    return client, ends


def check(name, is_right, got):
    print(f"ok {name}" if is_right else f"FAILED {name}: {got}", flush=True)


_, ends_5 = connect(mqtt.MQTTv5, "new")
_, ends_3 = connect(mqtt.MQTTv311, "old")
os.kill(PID, signal.SIGTERM)
flags, reason = ends_5.get(timeout=10)
is_told = flags.is_disconnect_packet_from_server and reason.value == 0x8B
check("graceful stop: a client of 5.0 is told 0x8B", is_told, reason)
flags, reason = ends_3.get(timeout=10)
check("graceful stop: a client of 3.1.1 is closed", not flags.is_disconnect_packet_from_server, reason)
