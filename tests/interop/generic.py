"""Plain MQTT: what any broker does. These stories are told to mosquitto too, so that they are known to be right."""

import socket
import struct

from harness import PATIENCE, V5, Device, expect, expect_equal, story


@story("a retained message greets new subscribers, and an empty one removes it", generic=True)
def retained(broker, version):
    live = Device(broker, "carol", "live", version, persistent=False).connect().subscribe("garden/#")
    publisher = Device(broker, "carol", "publisher", version, persistent=False).connect()
    publisher.publish("garden/light", "on", retain=True)
    publisher.publish("garden/gate", "shut", retain=True)
    live.receive(count=2)
    expect(not any(m.retain for m in live.inbox), "a live message came with RETAIN")
    late = Device(broker, "carol", "late", version, persistent=False).connect().subscribe("garden/+")
    late.receive(count=2)
    expect_equal(sorted((m.topic, m.payload, m.retain) for m in late.inbox),
                 [("garden/gate", b"shut", True), ("garden/light", b"on", True)], "retained messages")
    publisher.publish("garden/gate", "", retain=True)
    last = Device(broker, "carol", "last", version, persistent=False).connect().subscribe("garden/+")
    publisher.publish("garden/end", "of story")
    last.receive(lambda m: m.topic == "garden/end")
    expect_equal([m.topic for m in last.inbox], ["garden/light", "garden/end"], "what is left")


@story("wildcards match levels, and not what begins with $", generic=True)
def wildcards(broker, version):
    one = Device(broker, "carol", "one", version, persistent=False).connect().subscribe("house/+/temperature")
    tree = Device(broker, "carol", "tree", version, persistent=False).connect().subscribe("house/#")
    everything = Device(broker, "carol", "everything", version, persistent=False).connect().subscribe("#")
    topics = ["house", "house/kitchen", "house/kitchen/temperature", "house//temperature", "house/a/b/temperature",
              "Tür/ñandú", "/", "end"]
    publisher = Device(broker, "carol", "publisher", version, persistent=False).connect()
    for topic in topics:
        publisher.publish(topic, "x")
    for topic in ("house/end/temperature", "house/end/temperature/end"):
        publisher.publish(topic, "x")
    one.receive(lambda m: m.topic == "house/end/temperature")
    tree.receive(lambda m: m.topic == "house/end/temperature/end")
    everything.receive(lambda m: m.topic == "house/end/temperature/end")
    expect_equal([m.topic for m in one.inbox],
                 ["house/kitchen/temperature", "house//temperature", "house/end/temperature"], "house/+/temperature")
    expect_equal([m.topic for m in tree.inbox],
                 [*topics[:5], "house/end/temperature", "house/end/temperature/end"], "house/#")
    expect_equal([m.topic for m in everything.inbox],
                 [*topics, "house/end/temperature", "house/end/temperature/end"], "#")


@story("a subscription's QoS limits what comes", generic=True)
def quality(broker, version):
    zero = Device(broker, "carol", "zero", version, persistent=False).connect().subscribe("q/#", qos=0)
    one = Device(broker, "carol", "one", version, persistent=False).connect().subscribe("q/#", qos=1)
    publisher = Device(broker, "carol", "publisher", version, persistent=False).connect()
    publisher.publish("q/0", "x", qos=0)
    publisher.publish("q/1", "x", qos=1)
    expect_equal([m.qos for m in zero.receive(count=2)], [0, 0], "QoS on a subscription with 0")
    expect_equal([m.qos for m in one.receive(count=2)], [0, 1], "QoS on a subscription with 1")


@story("what is sent with QoS 2 arrives with it, in order and once", generic=True)
def exactly_once(broker, version):
    reader = Device(broker, "carol", "reader", version).connect()
    expect_equal(reader.try_subscribe("bank/#", qos=2)[0], 2, "QoS granted")
    publisher = Device(broker, "carol", "publisher", version).connect()
    for n in range(20):
        publisher.publish("bank/transfer", str(n), qos=2)
    got = reader.receive(count=20)
    expect_equal([(int(m.payload), m.qos) for m in got], [(n, 2) for n in range(20)], "transfers")


@story("a will is sent when the connection breaks, and not after a goodbye", generic=True)
def will(broker, version):
    watcher = Device(broker, "carol", "watcher", version, persistent=False).connect().subscribe("wills/#")
    polite = Device(broker, "carol", "polite", version, persistent=False, will=("wills/polite", "gone", 1, False))
    polite.connect().disconnect()
    broken = Device(broker, "carol", "broken", version, persistent=False, will=("wills/broken", "gone", 1, False))
    broken.connect().drop()
    watcher.receive(lambda m: m.topic == "wills/broken", what="the will")
    expect_equal([m.topic for m in watcher.inbox], ["wills/broken"], "wills that came")


def connect_packet(version, client_id, keepalive, will_topic):
    """A CONNECT by hand: clean, with a will of QoS 1, as user carol."""

    def field(value):
        return struct.pack(">H", len(value)) + value

    level, properties = (5, b"\0") if version == V5 else (4, b"")
    flags = 0x02 | 0x04 | 0x08 | 0x40 | 0x80
    body = field(b"MQTT") + struct.pack(">BBH", level, flags, keepalive) + properties
    body += field(client_id) + properties + field(will_topic) + field(b"silent") + field(b"carol") + field(b"carol")
    expect(len(body) < 128, "the packet needs a longer length than written here")
    return bytes([0x10, len(body)]) + body


def read_to_end(connection):
    """Reads until the other side ends the connection, and returns what came."""
    connection.settimeout(PATIENCE)
    came = b""
    try:
        while piece := connection.recv(4096):
            came += piece
    except ConnectionResetError:
        pass
    except TimeoutError:
        expect(False, "the broker does not end the connection")
    return came


@story("a client that falls silent is cut off after its keep-alive, and its will is sent", generic=True)
def keep_alive(broker, version):
    watcher = Device(broker, "carol", "watcher", version, persistent=False).connect().subscribe("wills/#")
    with socket.create_connection((broker.host, broker.port)) as connection:
        connection.sendall(connect_packet(version, b"silent", 1, b"wills/silent"))
        came = read_to_end(connection)
    expect_equal(came[:1], b"\x20", "first byte of the answer to CONNECT")
    watcher.receive(lambda m: m.topic == "wills/silent", what="the will of the silent client")


@story("what is not MQTT ends its own connection and nobody else's", generic=True)
def garbage(broker, version):
    bystander = Device(broker, "carol", "bystander", version, persistent=False).connect().subscribe("garden/#")
    connect = connect_packet(version, b"garbage", 60, b"wills/garbage")
    for name, packets in (
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ("PUBLISH before CONNECT", b"\x30\x05\x00\x01ahi"),
        ("a second CONNECT", connect + connect),
        ("SUBSCRIBE with wrong flags", connect + b"\x80\x06\x00\x01\x00\x01a\x01"),
        ("a length without end", connect + b"\x30\xff\xff\xff\xff\xff"),
    ):
        with socket.create_connection((broker.host, broker.port)) as connection:
            connection.sendall(packets)
            try:
                read_to_end(connection)
            except AssertionError:
                raise AssertionError(f"the broker takes {name} for MQTT") from None
    bystander.publish("garden/light", "on")
    bystander.receive(lambda m: m.topic == "garden/light")


@story("a second connection with the same client id takes the session over", generic=True)
def take_over(broker, version):
    first = Device(broker, "carol", "phone", version).connect().subscribe("garden/#")
    second = Device(broker, "carol", "phone", version).connect()
    expect(second.session_present, "the session was not taken over")
    first.wait(lambda: first.ended is not None, "the end of the first connection")
    if version == V5 and broker.says_why:
        expect_equal(first.ended, 0x8E, "reason code of the first connection's DISCONNECT")
    Device(broker, "carol", "publisher", version).connect().publish("garden/light", "on")
    second.receive(lambda m: m.topic == "garden/light")


@story("a persistent session is sent what it missed, in order", generic=True)
def missed(broker, version):
    Device(broker, "carol", "phone", version).connect().subscribe("garden/#").disconnect()
    publisher = Device(broker, "carol", "publisher", version).connect()
    for n in range(50):
        publisher.publish("garden/count", str(n))
    phone = Device(broker, "carol", "phone", version).connect()
    expect(phone.session_present, "the session was gone")
    got = phone.receive(count=50)
    expect_equal([int(m.payload) for m in got], list(range(50)), "what came")


@story("a clean start forgets what was", generic=True)
def clean_start(broker, version):
    Device(broker, "carol", "phone", version).connect().subscribe("garden/#").disconnect()
    publisher = Device(broker, "carol", "publisher", version).connect()
    publisher.publish("garden/before", "x")
    fresh = Device(broker, "carol", "phone", version, persistent=version == V5, clean_start=True).connect()
    expect(not fresh.session_present, "a clean start found its old session")
    fresh.subscribe("garden/#")
    publisher.publish("garden/after", "x")
    fresh.receive(lambda m: m.topic == "garden/after")
    expect_equal([m.topic for m in fresh.inbox], ["garden/after"], "what came")


@story("acknowledged messages and retained ones survive SIGKILL")
def survives(broker, version):
    Device(broker, "carol", "phone", version).connect().subscribe("garden/#").disconnect()
    publisher = Device(broker, "carol", "publisher", version).connect()
    mids = [publisher.start_publish("garden/count", str(n)) for n in range(50)]
    mids.append(publisher.start_publish("kept/light", "on", retain=True))
    for mid in mids:
        expect(publisher.acked(mid) is not None, "the publisher was cut off")
    broker.kill()
    broker.start()
    phone = Device(broker, "carol", "phone", version).connect()
    expect(phone.session_present, "the session was gone")
    got = phone.receive(count=50)
    expect_equal([int(m.payload) for m in got], list(range(50)), "what came")
    late = Device(broker, "carol", "late", version).connect().subscribe("kept/#")
    (kept,) = late.receive(lambda m: m.topic == "kept/light", what="the retained message")
    expect(kept.retain, "the retained message came without RETAIN")
