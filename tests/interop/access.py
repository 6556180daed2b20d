"""Who may do what: identity comes from the connection, and what is not one's own is out of reach."""

from harness import V5, Device, expect, expect_equal, said, story, text


@story("another user's log cannot be subscribed, and a stranger looks like nobody")
def other_logs(broker, version):
    Device(broker, "bob", "phone", version).connect().subscribe("u/bob/in").disconnect()
    alice = Device(broker, "alice", "laptop", version).connect()
    answers = []
    for user in ("bob", "nobody-has-this-name"):
        for topic_filter in (f"u/{user}/in", f"json/u/{user}/in", f"u/{user}/#", f"u/{user}/receipts/u/alice"):
            code, reason = alice.try_subscribe(topic_filter)
            expect(code >= 0x80, f"{topic_filter} was granted with {code}")
            if version == V5:
                expect(reason, f"the refusal of {topic_filter} has no reason string")
            answers.append((code, (reason or "").replace(user, "USER")))
    half = len(answers) // 2
    expect_equal(answers[:half], answers[half:], "answers for a known and for an unknown user")


@story("a wildcard at the first level reaches generic topics only")
def wildcard_root(broker, version):
    alice = Device(broker, "alice", "laptop", version, persistent=False).connect().subscribe("#", "+/alice/in")
    bob = Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/in")
    bob.publish("json/u/alice/send", text("private"))
    bob.publish("json/u/carol/send", text("private too"))
    bob.publish("garden/light", "on")
    alice.receive(lambda m: m.topic == "garden/light")
    expect_equal({m.topic for m in alice.inbox}, {"garden/light"}, "topics that came")


@story("users cannot be enumerated with a wildcard")
def wildcard_user(broker, version):
    alice = Device(broker, "alice", "laptop", version).connect()
    for topic_filter in ("u/+/in", "u/#", "json/u/+/in"):
        code, _reason = alice.try_subscribe(topic_filter)
        expect(code >= 0x80, f"{topic_filter} was granted with {code}")


@story("no shared subscription on a user's topics")
def shared(broker, version):
    alice = Device(broker, "alice", "laptop", version).connect()
    for topic_filter in ("$share/x/u/alice/in", "$share/x/json/u/alice/in"):
        code, _reason = alice.try_subscribe(topic_filter)
        expect(code >= 0x80, f"{topic_filter} was granted with {code}")


@story("what the server writes, no device can")
def forged(broker, version):
    bob = Device(broker, "bob", "phone", version).connect().subscribe("json/u/bob/#")
    for topic in ("u/bob/in", "json/u/bob/in", "u/alice/in", "u/alice/receipts/u/bob", "$SYS/chasqui/forged"):
        alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/in")
        alice.expect_refused(topic, text("forged"))
        alice.disconnect() if alice.ended is None else alice.drop()
    alice = Device(broker, "alice", "laptop", version).connect()
    alice.publish("json/u/bob/send", text("honest"))
    bob.receive(lambda m: said(m) == "honest")
    expect_equal([said(m) for m in bob.inbox], ["honest"], "what bob got")


@story("topics under our roots that mean nothing are refused, and say so")
def unknown_topics(broker, version):
    for topic in ("u/bob", "u/bob/sned", "do/no-such-verb", "u/bad name/send"):
        alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/in")
        alice.expect_refused(topic, text("hello"))
        alice.disconnect() if alice.ended is None else alice.drop()


@story("a wrong password is refused")
def wrong_password(broker, version):
    code, _present = Device(broker, "alice", "laptop", version, password="not alice").try_connect()
    expect(code in (0x86, 0x87), f"CONNACK said 0x{code:02x}")


@story("an anonymous client has generic topics and nobody's log")
def anonymous(broker, version):
    nobody = Device(broker, None, "sensor", version, persistent=False).connect().subscribe("garden/#")
    nobody.publish("garden/light", "on")
    nobody.receive(lambda m: m.topic == "garden/light")
    for topic_filter in ("u/alice/in", "u/sensor/in", "u//in"):
        code, _reason = nobody.try_subscribe(topic_filter)
        expect(code >= 0x80, f"{topic_filter} was granted with {code}")
    ack = nobody.try_publish("json/u/alice/send", text("from nobody"))
    if version == V5:
        expect(ack is not None and ack.code >= 0x80, "an anonymous client could send")
        expect(ack.reason, "the refusal has no reason string")
    else:
        nobody.wait(lambda: nobody.ended is not None, "the end of the connection")
