"""Two people talk: the quick start, in JSON, with Paho."""

from harness import V5, V311, Device, expect, expect_equal, mark, said, seq_of, story, text


def receipt_from_bob(name, at_least):
    """Whether a message is the receipt of alice's chat with bob, with a watermark that far."""
    return lambda m: m.topic == "json/u/alice/receipts/u/bob" and mark(m, name) >= at_least


@story("bob gets what alice says, and alice is told that it is delivered")
def hello(broker, version):
    bob = Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/receipts/#")
    ack = alice.publish("json/u/bob/send", text("hello"))
    (got,) = bob.receive(lambda m: said(m) == "hello")
    message = got.json()["message"]
    expect_equal(got.topic, "json/u/bob/in", "topic")
    expect_equal(got.qos, 1, "QoS")
    expect(not got.retain, "a log entry came with RETAIN")
    expect_equal(seq_of(got), 1, "sequence number of the first message")
    expect_equal(message.get("conversation"), "u/alice", "conversation, as bob names it")
    expect_equal(message.get("sender", "alice"), "alice", "sender")
    if version == V5:
        expect_equal(ack.user.get("seq"), "1", "`seq` in the PUBACK")
    alice.receive(receipt_from_bob("delivered", 1), what="the receipt `delivered`")


@story("3.1.1 and 5.0 talk to each other, both ways")
def across_versions(broker, version):
    other = V311 if version == V5 else V5
    bob = Device(broker, "bob", "phone", other).connect().subscribe("json/u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/in")
    alice.publish("json/u/bob/send", text("how are you?"))
    bob.receive(lambda m: said(m) == "how are you?")
    bob.publish("json/u/alice/send", text("fine"))
    (answer,) = alice.receive(lambda m: said(m) == "fine")
    expect_equal(seq_of(answer), 2, "both directions count in one conversation: sequence number of the answer")


@story("delivered is said after bob's PUBACK, not before")
def delivered_is_the_puback(broker, version):
    bob = Device(broker, "bob", "phone", version, manual=True).connect().subscribe("json/u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/receipts/#", "json/u/alice/in")
    alice.publish("json/u/bob/send", text("one"))
    alice.publish("json/u/bob/send", text("two"))
    messages = bob.receive(said, count=2)
    # A message to alice goes the whole way after the two: had they been taken as delivered, she would know by then.
    carol = Device(broker, "carol", "phone", version).connect()
    carol.publish("json/u/alice/send", text("marker"))
    alice.receive(lambda m: said(m) == "marker")
    expect(not alice.matching(receipt_from_bob("delivered", 1)), "a receipt came before any PUBACK of bob's")
    bob.acknowledge(messages[0])
    (first, *_) = alice.receive(receipt_from_bob("delivered", 1), what="the receipt of the first message")
    expect_equal(mark(first, "delivered"), 1, "delivered after the first PUBACK")
    bob.acknowledge(messages[1])
    alice.receive(receipt_from_bob("delivered", 2), what="the receipt of the second message")


@story("ten messages wait for bob: all, in order, once")
def ten_while_away(broker, version):
    bob = Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in")
    bob.disconnect()
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/receipts/#")
    words = [f"message {n}" for n in range(1, 11)]
    for word in words:
        alice.publish("json/u/bob/send", text(word))
    expect(not alice.matching(receipt_from_bob("delivered", 1)), "delivered was said while bob was away")
    bob = Device(broker, "bob", "phone", version).connect()
    expect(bob.session_present, "bob's session was gone")
    bob.receive(said, count=10, what="what waited")
    alice.publish("json/u/bob/send", text("last"))
    bob.receive(lambda m: said(m) == "last")
    got = [(seq_of(m), said(m)) for m in bob.matching(said)]
    expect_equal(got, list(enumerate([*words, "last"], start=1)), "bob's messages")
    alice.receive(receipt_from_bob("delivered", 11), what="the receipt of the last message")


@story("what was acknowledged to alice reaches bob after SIGKILL")
def ten_over_a_crash(broker, version):
    Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in").disconnect()
    alice = Device(broker, "alice", "laptop", version).connect()
    words = [f"message {n}" for n in range(1, 11)]
    mids = [alice.start_publish("json/u/bob/send", text(word)) for word in words]
    for mid in mids:
        expect(alice.acked(mid) is not None, "alice was cut off")
    broker.kill()
    broker.start()
    bob = Device(broker, "bob", "phone", version).connect()
    expect(bob.session_present, "bob's session was gone")
    bob.receive(said, count=10, what="what waited")
    got = [(seq_of(m), said(m)) for m in bob.matching(said)]
    expect_equal(got, list(enumerate(words, start=1)), "bob's messages")
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/receipts/u/bob")
    alice.receive(receipt_from_bob("delivered", 10), what="the receipt of the last message")


@story("a repeated subscription goes on where it was, and an UNSUBSCRIBE loses nothing")
def resubscribe(broker, version):
    bob = Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect()
    alice.publish("json/u/bob/send", text("one"))
    bob.receive(lambda m: said(m) == "one")
    bob.disconnect()
    alice.publish("json/u/bob/send", text("two"))
    bob = Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in")
    bob.receive(lambda m: said(m) == "two")
    bob.subscribe("json/u/bob/#")
    alice.publish("json/u/bob/send", text("three"))
    bob.receive(lambda m: said(m) == "three")
    bob.unsubscribe("json/u/bob/#")
    bob.unsubscribe("json/u/bob/in")
    alice.publish("json/u/bob/send", text("four"))
    bob.subscribe("json/u/bob/in")
    alice.publish("json/u/bob/send", text("five"))
    bob.receive(lambda m: said(m) == "five")
    got = [said(m) for m in bob.matching(said)]
    expect_equal(got, ["two", "three", "four", "five"], "what the second connection got")


@story("alice's other device sees what she sends; the sending one gets no more than its number")
def own_devices(broker, version):
    laptop = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/in")
    tablet = Device(broker, "alice", "tablet", version).connect().subscribe("json/u/alice/in")
    Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in")
    laptop.publish("json/u/bob/send", text("from my laptop", b"id-1"))
    (copy,) = tablet.receive(lambda m: said(m) == "from my laptop")
    expect_equal(copy.json()["message"].get("conversation"), "u/bob", "conversation, as alice names it")
    # What bob's answer finds in the laptop's log comes after its own message.
    bob = Device(broker, "bob", "tablet", version).connect()
    bob.publish("json/u/alice/send", text("thanks"))
    laptop.receive(lambda m: said(m) == "thanks")
    own = [m for m in laptop.matching(lambda m: "message" in m.json()) if seq_of(m) == 1]
    if version == V5:
        expect_equal(own, [], "the sending device's own message on 5.0")
    else:
        expect_equal([(seq_of(m), said(m)) for m in own], [(1, None)], "*sent* on 3.1.1: number and no body")
        expect_equal(own[0].json()["message"].get("clientMsgId"), "aWQtMQ==", "its client message id")


@story("read is said by do/read, and reaches alice")
def read(broker, version):
    bob = Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/receipts/#")
    alice.publish("json/u/bob/send", text("hello"))
    bob.receive(said)
    bob.publish("json/do/read", {"conversation": "u/alice", "upToSeq": "1"})
    (receipt, *_) = alice.receive(receipt_from_bob("read", 1), what="the receipt `read`")
    expect(mark(receipt, "delivered") >= 1, "a read message counts as delivered")


@story("after an absence a receipt comes once, with its latest value")
def receipts_conflate(broker, version):
    bob = Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/receipts/#")
    alice.publish("json/u/bob/send", text("one"))
    alice.receive(receipt_from_bob("delivered", 1))
    alice.disconnect()
    tablet = Device(broker, "alice", "tablet", version).connect().subscribe("json/u/alice/receipts/#")
    for word in ("two", "three", "four"):
        tablet.publish("json/u/bob/send", text(word))
        bob.receive(lambda m, word=word: said(m) == word)
    tablet.receive(receipt_from_bob("delivered", 4))
    laptop = Device(broker, "alice", "laptop", version).connect()
    laptop.receive(receipt_from_bob("delivered", 4))
    expect_equal(len(laptop.inbox), 1, "receipts the laptop was sent")
    expect(not laptop.inbox[0].retain, "a resumed session got its receipt with RETAIN")
    newcomer = Device(broker, "alice", "watch", version).connect().subscribe("json/u/alice/receipts/#")
    (current, *_) = newcomer.receive(receipt_from_bob("delivered", 4))
    expect(current.retain, "a new subscription got the current value without RETAIN")
