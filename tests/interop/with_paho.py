"""paho-mqtt against the broker: `with_paho.py PORT` prints a line for each check.

`run.sh` counts the lines. Every wait has a deadline; a check that runs out of it has failed.
"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
WAIT = 10
NAMES = {mqtt.MQTTv311: "3.1.1", mqtt.MQTTv5: "5.0"}


class Client:
    """A connected client whose events wait in queues."""

    def __init__(self, version, client_id, clean=True, expiry=0, will=None):
        self.messages, self.subscribed = queue.Queue(), queue.Queue()
        self.ends, connected = queue.Queue(), queue.Queue()
        v5 = version == mqtt.MQTTv5
        old = {} if v5 else {"clean_session": clean}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id, protocol=version, reconnect_on_failure=False, **old
        )
        self.paho.on_connect = lambda c, u, flags, reason, p: connected.put((flags, reason))
        self.paho.on_message = lambda c, u, message: self.messages.put(message)
        self.paho.on_subscribe = lambda c, u, mid, reasons, p: self.subscribed.put(reasons)
        self.paho.on_disconnect = lambda c, u, flags, reason, p: self.ends.put((flags, reason))
        if will:
            self.paho.will_set(*will)
        new = {}
        if v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = expiry
            new = {"clean_start": clean, "properties": properties}
        self.paho.connect("127.0.0.1", PORT, keepalive=30, **new)
        self.paho.loop_start()
        flags, reason = connected.get(timeout=WAIT)
        assert not reason.is_failure, reason
        self.session_present = flags.session_present

    def subscribe(self, topic, qos):
        self.paho.subscribe(topic, qos)
        return self.subscribed.get(timeout=WAIT)

    def publish(self, topic, payload, qos=1, retain=False, properties=None):
        info = self.paho.publish(topic, payload, qos, retain, properties)
        info.wait_for_publish(WAIT)
        assert info.is_published(), "not acknowledged"

    def receive(self):
        return self.messages.get(timeout=WAIT)

    def leave(self):
        self.paho.disconnect()
        self.paho.loop_stop()

    def vanish(self):
        """Ends the connection without a DISCONNECT."""
        self.paho._sock.close()
        self.paho.loop_stop()


def every_qos_both_ways(version):
    subscriber, publisher = Client(version, "s"), Client(version, "p")
    for granted in (0, 1, 2):
        subscriber.subscribe(f"matrix/{granted}", granted)
        for qos in (0, 1, 2):
            publisher.publish(f"matrix/{granted}", f"{qos}", qos)
            message = subscriber.receive()
            got = (message.payload, message.qos)
            assert got == (b"%d" % qos, min(qos, granted)), got
    subscriber.leave()
    publisher.leave()


def a_session_is_resumed(version):
    first = Client(version, "sleeper", clean=True)
    first.leave()
    client = Client(version, "sleeper", clean=False, expiry=60)
    assert not client.session_present
    client.subscribe("dream", 2)
    client.leave()
    # Order is promised among messages of one QoS.
    publisher = Client(version, "p")
    for number in range(20):
        publisher.publish("dream", str(number), 1 + number % 2)
    publisher.leave()
    client = Client(version, "sleeper", clean=False, expiry=60)
    assert client.session_present
    got = [int(client.receive().payload) for _ in range(20)]
    for parity in (0, 1):
        wanted = list(range(parity, 20, 2))
        assert [number for number in got if number % 2 == parity] == wanted, got
    client.leave()
    again = Client(version, "sleeper", clean=True)
    assert not again.session_present
    again.leave()


def a_take_over_ends_the_old_connection(version):
    old = Client(version, "twin")
    new = Client(version, "twin")
    flags, reason = old.ends.get(timeout=WAIT)
    if version == mqtt.MQTTv5:
        assert reason.value == 0x8E and flags.is_disconnect_packet_from_server, reason
    new.subscribe("mine", 1)
    new.publish("mine", "still here")
    assert new.receive().payload == b"still here"
    new.leave()
    old.paho.loop_stop()


def a_retained_message_comes_once_and_is_removed(version):
    publisher = Client(version, "p")
    publisher.publish("keep", "it", 1, retain=True)
    for wanted in (True, False):
        subscriber = Client(version, "s")
        subscriber.subscribe("keep", 1)
        subscriber.publish("keep", "live")
        message = subscriber.receive()
        assert message.retain == wanted, message.payload
        subscriber.leave()
        publisher.publish("keep", "", 1, retain=True)
    publisher.leave()


def a_will_comes_unless_the_client_says_goodbye(version):
    watcher = Client(version, "w")
    watcher.subscribe("gone/#", 1)
    polite = Client(version, "polite", will=("gone/polite", "no", 1, False))
    polite.leave()
    rude = Client(version, "rude", will=("gone/rude", "yes", 1, False))
    rude.vanish()
    message = watcher.receive()
    assert (message.topic, message.payload) == ("gone/rude", b"yes"), message.topic
    watcher.leave()


def properties_survive(version):
    subscriber, publisher = Client(version, "s"), Client(version, "p")
    subscriber.subscribe("properties", 1)
    sent = Properties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.ContentType = "text/plain"
    sent.ResponseTopic = "answer/here"
    sent.CorrelationData = b"\x00\x01\xff"
    sent.UserProperty = [("a", "1"), ("a", "2"), ("b", "")]
    publisher.publish("properties", "x", properties=sent)
    got = subscriber.receive().properties
    for name in ("PayloadFormatIndicator", "ContentType", "ResponseTopic", "CorrelationData", "UserProperty"):
        assert getattr(got, name) == getattr(sent, name), name
    subscriber.leave()
    publisher.leave()


def an_expired_message_does_not_come(version):
    client = Client(version, "late", clean=True, expiry=60)
    client.subscribe("milk", 1)
    client.leave()
    publisher = Client(version, "p")
    short, long = Properties(PacketTypes.PUBLISH), Properties(PacketTypes.PUBLISH)
    short.MessageExpiryInterval = 1
    long.MessageExpiryInterval = 1000
    publisher.publish("milk", "sour", properties=short)
    publisher.publish("milk", "fresh", properties=long)
    # Nothing tells that a second has passed but time itself.
    queue_of_nothing = queue.Queue()
    try:
        queue_of_nothing.get(timeout=1.5)
    except queue.Empty:
        pass
    client = Client(version, "late", clean=False, expiry=0)
    message = client.receive()
    assert message.payload == b"fresh", message.payload
    assert 990 < message.properties.MessageExpiryInterval < 1000
    client.leave()
    publisher.leave()


def options_of_subscriptions_are_kept(version):
    client = Client(version, "options")
    client.paho.subscribe("own", options=SubscribeOptions(qos=1, noLocal=True))
    client.subscribed.get(timeout=WAIT)
    properties = Properties(PacketTypes.SUBSCRIBE)
    properties.SubscriptionIdentifier = 7
    options = SubscribeOptions(qos=1, retainAsPublished=True)
    client.paho.subscribe("other", options=options, properties=properties)
    client.subscribed.get(timeout=WAIT)
    client.publish("own", "not to me")
    client.publish("other", "to me", retain=True)
    message = client.receive()
    assert message.payload == b"to me" and message.retain
    assert message.properties.SubscriptionIdentifier == [7]
    client.publish("other", "", retain=True)
    client.leave()


BOTH = [
    every_qos_both_ways,
    a_session_is_resumed,
    a_take_over_ends_the_old_connection,
    a_retained_message_comes_once_and_is_removed,
    a_will_comes_unless_the_client_says_goodbye,
]
ONLY_5 = [properties_survive, an_expired_message_does_not_come, options_of_subscriptions_are_kept]


def main():
    for version, checks in ((mqtt.MQTTv311, BOTH), (mqtt.MQTTv5, BOTH + ONLY_5)):
        for check in checks:
            name = f"paho-mqtt {NAMES[version]}: {check.__name__.replace('_', ' ')}"
            try:
                check(version)
                print(f"ok {name}", flush=True)
            except Exception as error:  # whatever it is, the other checks still run
                print(f"FAILED {name}: {type(error).__name__} {error}", flush=True)


main()
