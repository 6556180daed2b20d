"""A retry with the same client message id gets the first answer again."""

from harness import V5, Device, expect, expect_equal, said, seq_of, story, text

ID = b"retry-me"
ID_IN_JSON = "cmV0cnktbWU="


def retry(broker, version, how_it_ends):
    """Alice connects, sends the same again, must hear the same number, and leaves in some way."""
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/in")
    ack = alice.publish("json/u/bob/send", text("once", ID))
    if version == V5:
        expect_equal(ack.user.get("seq"), "1", "`seq` in the PUBACK of a retry")
    # 3.1.1: the echo says the number; it may have been taken by an earlier connection, but never says another.
    expect({seq_of(m) for m in alice.matching(is_echo)} <= {1}, "an echo says another number")
    how_it_ends(alice)


def is_echo(message):
    """Whether a message tells a device on 3.1.1 the number of what it sent."""
    return message.json().get("message", {}).get("clientMsgId") == ID_IN_JSON and said(message) is None


@story("retries at once, after a reconnect and after SIGKILL change nothing")
def same_answer(broker, version):
    Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in").disconnect()
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/in")
    first = alice.publish("json/u/bob/send", text("once", ID))
    if version == V5:
        expect_equal(first.user.get("seq"), "1", "`seq` in the first PUBACK")
        expect_equal(alice.publish("json/u/bob/send", text("once", ID)).user.get("seq"), "1", "`seq` in the second")
    else:
        (echo, *_) = alice.receive(is_echo, what="the echo that says the number")
        expect_equal(seq_of(echo), 1, "sequence number in the echo")
        alice.publish("json/u/bob/send", text("once", ID))
    alice.drop()
    retry(broker, version, lambda device: device.drop())
    retry(broker, version, lambda _device: broker.kill())
    broker.start()
    retry(broker, version, lambda device: device.disconnect())
    alice = Device(broker, "alice", "laptop", version).connect()
    alice.publish("json/u/bob/send", text("after"))
    bob = Device(broker, "bob", "phone", version).connect()
    bob.receive(lambda m: said(m) == "after")
    got = [(seq_of(m), said(m)) for m in bob.matching(said)]
    expect_equal(got, [(1, "once"), (2, "after")], "what bob got")


@story("the id belongs to the device and the conversation; without one every send counts")
def scope(broker, version):
    Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in").disconnect()
    laptop = Device(broker, "alice", "laptop", version).connect()
    tablet = Device(broker, "alice", "tablet", version).connect()
    laptop.publish("json/u/bob/send", text("laptop", ID))
    tablet.publish("json/u/bob/send", text("tablet", ID))
    laptop.publish("json/u/carol/send", text("to carol", ID))
    laptop.publish("json/u/bob/send", text("no id"))
    laptop.publish("json/u/bob/send", text("no id"))
    bob = Device(broker, "bob", "phone", version).connect()
    bob.receive(lambda m: said(m) == "no id", count=2)
    got = [(seq_of(m), said(m)) for m in bob.matching(said)]
    expect_equal(got, [(1, "laptop"), (2, "tablet"), (3, "no id"), (4, "no id")], "what bob got")
