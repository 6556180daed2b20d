"""The same conversations in protobuf, with types compiled from the repository's schemas."""

from harness import V5, Device, expect, expect_equal, schemas, story

# Field 1000, a varint: nothing the schemas know.
UNKNOWN_FIELD = bytes([0xC0, 0x3E, 0x2A])


def event(message):
    """Decodes an entry of a log."""
    return schemas().Event.FromString(message.payload)


def send(words, client_msg_id=b""):
    """An encoded `Send`."""
    types = schemas()
    return types.Send(client_msg_id=client_msg_id, body=types.Body(text=words)).SerializeToString()


@story("send, receive, delivered and read in protobuf")
def conversation(broker, version):
    types = schemas()
    bob = Device(broker, "bob", "phone", version).connect().subscribe("u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("u/alice/#")
    ack = alice.publish("u/bob/send", send("hello", b"first"))
    (got,) = bob.receive(lambda m: event(m).message.body.text == "hello")
    entry = event(got)
    expect_equal(got.topic, "u/bob/in", "topic")
    expect_equal(entry.message.seq, 1, "sequence number")
    expect_equal(entry.message.conversation, "u/alice", "conversation, as bob names it")
    expect(entry.message.time_ms > 1_600_000_000_000, "the message has no time of this century")
    expect(entry.position > 0, "the entry has no position")
    if version == V5:
        expect_equal(ack.user.get("seq"), "1", "`seq` in the PUBACK")

    def receipt(name):
        return lambda m: (
            m.topic == "u/alice/receipts/u/bob" and getattr(types.Receipt.FromString(m.payload), name) == 1
        )

    alice.receive(receipt("delivered"), what="the receipt `delivered`")
    bob.publish("do/read", types.Read(conversation="u/alice", up_to_seq=1).SerializeToString())
    alice.receive(receipt("read"), what="the receipt `read`")


@story("a field this server does not know reaches the reader")
def unknown_fields(broker, version):
    types = schemas()
    bob = Device(broker, "bob", "phone", version).connect().subscribe("u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect()
    body = types.Body(text="from the future").SerializeToString() + UNKNOWN_FIELD
    # Field 2, length-delimited: Send.body.
    alice.publish("u/bob/send", bytes([0x12, len(body)]) + body)
    (got,) = bob.receive(lambda m: event(m).message.body.text == "from the future")
    expect(UNKNOWN_FIELD in got.payload, "the unknown field was lost")


@story("protobuf in, JSON out")
def across_encodings(broker, version):
    bob = Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect()
    alice.publish("u/bob/send", send("hello"))
    (got,) = bob.receive()
    expect_equal(got.json()["message"]["body"], {"text": "hello"}, "body in JSON")
    expect_equal(int(got.json()["message"]["seq"]), 1, "sequence number in JSON")


@story("what does not decode, or says nothing, is refused")
def invalid_payloads(broker, version):
    Device(broker, "bob", "phone", version).connect().subscribe("u/bob/in").disconnect()
    for topic, payload in (
        ("u/bob/send", b"\xff\xff\xff"),
        ("u/bob/send", b""),
        ("json/u/bob/send", b"{"),
        ("json/u/bob/send", b'{"body":{}}'),
    ):
        alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/in")
        alice.expect_refused(topic, payload, codes=(0x83, 0x99))
        alice.disconnect() if alice.ended is None else alice.drop()
    # Nothing of that was sequenced.
    alice = Device(broker, "alice", "laptop", version).connect()
    alice.publish("u/bob/send", send("proper"))
    bob = Device(broker, "bob", "phone", version).connect()
    (got, *_) = bob.receive()
    expect_equal((event(got).message.seq, event(got).message.body.text), (1, "proper"), "bob's first message")
