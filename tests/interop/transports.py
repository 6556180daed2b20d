"""Paho and mosquitto over TLS, and Paho over WebSocket."""

from harness import Device, expect, expect_equal, said, story, text


def talk(broker, version, over):
    """Alice on plain TCP and bob on something else exchange messages, across a reconnect."""
    bob = Device(broker, "bob", "phone", version, over=over).connect().subscribe("json/u/bob/in")
    alice = Device(broker, "alice", "laptop", version).connect().subscribe("json/u/alice/in")
    alice.publish("json/u/bob/send", text("to you"))
    bob.receive(lambda m: said(m) == "to you")
    bob.publish("json/u/alice/send", text("and back"))
    alice.receive(lambda m: said(m) == "and back")
    bob.disconnect()
    alice.publish("json/u/bob/send", text("while away"))
    bob = Device(broker, "bob", "phone", version, over=over).connect()
    expect(bob.session_present, "bob's session is gone")
    bob.receive(lambda m: said(m) == "while away")
    large = "x" * 60_000
    alice.publish("json/u/bob/send", text(large))
    bob.receive(lambda m: said(m) == large, what="60,000 letters")
    expect_equal([said(m) for m in bob.matching(said)][-1], large, "what came last")


@story("Paho talks over TLS")
def tls(broker, version):
    talk(broker, version, "tls")


@story("Paho talks over WebSocket")
def websocket(broker, version):
    talk(broker, version, "websocket")


@story("Paho talks over WebSocket and TLS")
def secure_websocket(broker, version):
    talk(broker, version, "secure websocket")
