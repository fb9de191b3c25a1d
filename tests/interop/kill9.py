"""Kills the broker without warning, again and again, while paho's clients publish and subscribe.

    kill9.py BROKER [ROUNDS]

Nothing that was acknowledged may be lost, nothing at QoS 2 may come twice, first deliveries come
in the order published, retained messages and subscriptions are there after each restart. Both
versions, QoS 1 and 2, a subscriber that is connected and one that mostly is not. Needs paho-mqtt;
the broker runs with a data directory of its own, which is removed in the end.
"""

import atexit
import collections
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import paho.mqtt.client as mqtt

PATIENCE = 60
WINDOW = 20
# PUBCOMP 0x92: it was released before the crash, and only the answer was lost.
RELEASED = 0x92


def wait_until(what, is_so):
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            sys.exit(f"kill9: in vain: {what}")
        time.sleep(0.005)


class Broker:
    def __init__(self, program, directory, port):
        self.program, self.port = program, port
        self.config = os.path.join(directory, "broker.yaml")
        self.log = open(os.path.join(directory, "broker.log"), "ab")
        with open(self.config, "w") as file:
            file.write(f"listeners: {{default: {{bind: '127.0.0.1:{port}'}}}}\n")
            file.write("auth: {plugins: [auth_anonymous]}\nsys_interval: 0\n")
            file.write(f"data-dir: {directory}/data\n")
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "--config", self.config], stderr=self.log, stdout=self.log)

    def kill(self):
        if self.process is None or self.process.poll() is not None:
            sys.exit("kill9: the broker ended by itself:\n" + open(self.log.name).read()[-2000:])
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def client(name, version, port):
    made = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=version,
        **({} if version == mqtt.MQTTv5 else {"clean_session": False}))
    made.max_inflight_messages_set(WINDOW)
    made.reconnect_delay_set(1, 1)
    if version == mqtt.MQTTv5:
        expiry = mqtt.Properties(mqtt.PacketTypes.CONNECT)
        expiry.SessionExpiryInterval = 3600
        made.connect_async("127.0.0.1", port, 30, clean_start=False, properties=expiry)
    else:
        made.connect_async("127.0.0.1", port, 30)
    return made


class Publisher:
    """Publishes numbers at one QoS, as fast as they are acknowledged."""

    def __init__(self, name, version, qos, port):
        self.topic, self.qos = f"kit/{name}", qos
        self.sent, self.acknowledged = 0, set()
        # By packet id. Paho's thread only adds to `answers`.
        self.numbers, self.answers = {}, collections.deque()
        self.client = client(name, version, port)
        # While it sends again what was not acknowledged, paho would let new messages overtake.
        self.is_caught_up = True
        self.client.on_publish = self.on_publish
        self.client.on_disconnect = self.on_disconnect
        self.client.loop_start()

    def on_publish(self, _client, _data, mid, reason, _properties):
        self.answers.append((mid, reason.is_failure and reason.value != RELEASED))
        self.is_caught_up = True

    def on_disconnect(self, *_):
        self.is_caught_up = False

    def collect(self):
        while self.answers and self.answers[0][0] in self.numbers:
            mid, is_failure = self.answers.popleft()
            number = self.numbers.pop(mid)
            if is_failure:
                sys.exit(f"kill9: {self.topic}: {number} was refused")
            self.acknowledged.add(number)

    def publish(self):
        self.collect()
        may_go = self.client.is_connected() and (self.is_caught_up or not self.numbers)
        if len(self.numbers) >= WINDOW or not may_go:
            return False
        info = self.client.publish(self.topic, str(self.sent), self.qos)
        self.numbers[info.mid] = self.sent
        self.sent += 1
        return True

    def is_done(self):
        self.collect()
        return not self.numbers


class Subscriber:
    """Takes everything, and remembers in which order it came first and how often."""

    def __init__(self, name, version, port):
        self.name, self.version, self.port = name, version, port
        self.first, self.times, self.present = {}, {}, []
        self.has_subscribed = threading.Event()
        self.make()

    def make(self):
        self.client = client(self.name, self.version, self.port)
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = lambda *_: self.has_subscribed.set()
        self.client.on_message = self.on_message
        self.client.loop_start()

    def on_connect(self, connected, _data, flags, _reason, _properties):
        self.present.append(flags.session_present)
        if not self.has_subscribed.is_set():
            connected.subscribe("kit/#", 2)

    def on_message(self, _client, _data, message):
        number = int(message.payload)
        if message.retain:
            return
        if number not in self.times.setdefault(message.topic, {}):
            self.first.setdefault(message.topic, []).append(number)
        self.times[message.topic][number] = self.times[message.topic].get(number, 0) + 1

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()

    def come_back(self):
        self.client.reconnect()
        self.client.loop_start()


def check(publisher, subscriber):
    got = subscriber.times.get(publisher.topic, {})
    order = subscriber.first.get(publisher.topic, [])
    lost = sorted(publisher.acknowledged - set(got))
    doubled = [number for number, times in got.items() if times > 1]
    who = f"{publisher.topic} (QoS {publisher.qos}) to {subscriber.name}"
    if lost:
        sys.exit(f"kill9: {who}: {len(lost)} acknowledged messages are lost: {lost[:10]}")
    if publisher.qos == 2 and doubled:
        sys.exit(f"kill9: {who}: QoS 2 came twice: {doubled[:10]}")
    for earlier, later in zip(order, order[1:]):
        if earlier > later:
            sys.exit(f"kill9: {who}: {earlier} came before {later}")
    return len(publisher.acknowledged), len(doubled)


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10
    dice = random.Random(7)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        broker = Broker(program, directory, port)
        atexit.register(lambda: broker.process.kill())
        broker.start()
        versions = {"3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}
        subscribers = [
            Subscriber(f"{kind}-{name}", version, port)
            for name, version in versions.items() for kind in ("online", "offline")]
        for subscriber in subscribers:
            wait_until("SUBACK", subscriber.has_subscribed.is_set)
        offline = [one for one in subscribers if one.name.startswith("offline")]
        for one in offline:
            one.leave()
        publishers = [
            Publisher(f"{name}-qos{qos}", version, qos, port)
            for name, version in versions.items() for qos in (1, 2)]
        keeper, kept = client("keeper", mqtt.MQTTv311, port), set()
        keeper.on_publish = lambda _client, _data, mid, *_: kept.add(mid)
        keeper.loop_start()
        for number in range(rounds):
            info = keeper.publish("retained", str(number), 1, retain=True)
            target = sum(len(one.acknowledged) for one in publishers) + dice.randrange(50, 1500)
            wait_until("the retained message is acknowledged", lambda: info.mid in kept)
            deadline = time.monotonic() + PATIENCE
            while sum(len(one.acknowledged) for one in publishers) < target:
                if not any([one.publish() for one in publishers]):
                    time.sleep(0.001)
                if time.monotonic() > deadline:
                    sys.exit("kill9: publishers make no progress")
            broker.kill()
            broker.start()
            if number % 3 == 2:
                for one in offline:
                    wait_until("the broker is back", lambda: try_to(one.come_back))
                time.sleep(dice.random())
                for one in offline:
                    one.leave()
        for one in offline:
            wait_until("the broker is back", lambda: try_to(one.come_back))
        for one in publishers:
            wait_until("everything is acknowledged", one.is_done)
        for publisher in publishers:
            for subscriber in subscribers:
                topic, number = publisher.topic, len(publisher.acknowledged)
                wait_until(f"{topic} reaches {subscriber.name}",
                           lambda: len(subscriber.times.get(topic, {})) >= number)
        report(publishers, subscribers, rounds, port)
        broker.process.terminate()
        if broker.process.wait(PATIENCE) != 0:
            sys.exit("kill9: the broker did not stop cleanly")


def try_to(act):
    try:
        act()
        return True
    except OSError:
        return False


def report(publishers, subscribers, rounds, port):
    total = repeated = 0
    for publisher in publishers:
        for subscriber in subscribers:
            count, doubled = check(publisher, subscriber)
            total, repeated = total + count, repeated + doubled
    for subscriber in subscribers:
        if not all(subscriber.present[1:]):
            sys.exit(f"kill9: {subscriber.name}: a session was gone: {subscriber.present}")
    seen = []
    reader = client("reader", mqtt.MQTTv311, port)
    reader.on_connect = lambda connected, *_: connected.subscribe("retained", 1)
    reader.on_message = lambda _c, _d, message: seen.append((message.payload, message.retain))
    reader.loop_start()
    wait_until("the retained message comes", lambda: seen)
    if seen[0] != (str(rounds - 1).encode(), True):
        sys.exit(f"kill9: retained: {seen}")
    print(f"kill9: {rounds} kills, {total} deliveries of acknowledged messages, none lost; "
          f"{repeated} repeated at QoS 1, none at QoS 2")


main()
