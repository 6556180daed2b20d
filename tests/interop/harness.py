"""What the stories stand on: a broker under test, and devices that are ordinary Paho clients.

Nothing here waits for a fixed time. Every wait is for something that must happen, and gives up after PATIENCE seconds
with a sentence that says what did not. That something does *not* happen is shown by waiting for what comes after it.
"""

import atexit
import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

V311, V5 = "3.1.1", "5.0"
# How long anything may take, in seconds. Only a story that fails ever waits this long.
PATIENCE = float(os.environ.get("CHASQUI_PATIENCE", "20"))
ROOT = Path(__file__).resolve().parents[2]


class Failure(AssertionError):
    """A story that did not go as told."""


def expect(condition, sentence):
    """Fails the story with a sentence unless the condition holds."""
    if not condition:
        raise Failure(sentence)


def expect_equal(got, wanted, what):
    """Fails the story unless two values are equal, and shows both."""
    expect(got == wanted, f"{what}: wanted {wanted!r}, got {got!r}")


# --- stories ----------------------------------------------------------------------------------------------------------

STORIES = []


def story(title, generic=False, versions=(V311, V5)):
    """Registers a function `(broker, version)` as a story, told once for each MQTT version on a fresh broker. A generic
    one holds on any broker, and is told to mosquitto as well by `run.py --reference`."""

    def register(function):
        for version in versions:
            STORIES.append((function.__module__, title, version, generic, function))
        return function

    return register


# --- certificates -----------------------------------------------------------------------------------------------------


@cache
def certificate():
    """A certificate for this machine that is its own authority, and its key: made once, gone with the process."""
    folder = Path(tempfile.mkdtemp(prefix="chasqui-interop-tls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    pem, key = folder / "server.pem", folder / "server.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", pem],
        check=True, capture_output=True,
    )
    return pem, key


# --- brokers ----------------------------------------------------------------------------------------------------------


class Chasqui:
    """`chasqui serve --dev` on a free port of the loopback interface, with a data folder of its own."""

    # On 5.0: whether it says in a DISCONNECT why it ends a connection.
    says_why = True

    # "listening on 127.0.0.1:1883", in prose or as a field of a structured log line, colours taken out.
    LISTENING = re.compile(r"listening on\W+(?:\w+\W+)??(?:mqtt://|tcp://)?(127\.0\.0\.1|\[::1\]):(\d+)", re.IGNORECASE)
    COLOUR = re.compile(r"\x1b\[[0-9;]*m")

    # How the lines begin that say where it listens over something else.
    ALSO = {
        "tls": re.compile(r"listening with TLS on 127\.0\.0\.1:(\d+)"),
        "websocket": re.compile(r"listening with WebSocket on ws://127\.0\.0\.1:(\d+)/mqtt"),
        "secure websocket": re.compile(r"listening with WebSocket and TLS on wss://127\.0\.0\.1:(\d+)/mqtt"),
    }

    def __init__(self, binary, folder):
        self.binary = binary
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.process = None
        self.host, self.port = None, None
        # The ports of ALSO, and the certificate to trust there.
        self.ports, self.authority = {}, None

    def start(self):
        """Starts the server, or starts it again on the same data, and waits until it says where it listens."""
        begin = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--dev", "--data", str(self.data), "--listen", "127.0.0.1:0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self._listeners(),
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            said = self.COLOUR.sub("", self.log.read_bytes()[begin:].decode(errors="replace"))
            if found := self.LISTENING.search(said):
                self.host, self.port = found[1].strip("[]"), int(found[2])
                # Said before.
                for name, pattern in self.ALSO.items():
                    found = pattern.search(said)
                    expect(found, f"the server does not say where it listens with {name}")
                    self.ports[name] = int(found[1])
                return
            expect(self.process.poll() is None, f"the server ended with {self.process.returncode} while starting")
            expect(time.monotonic() < deadline, "the server does not say where it listens")
            time.sleep(0.02)

    def _listeners(self):
        """The variables for TLS and WebSocket, on free ports."""
        self.authority, key = certificate()
        anywhere = "127.0.0.1:0"
        return {
            "CHASQUI_LISTEN_TLS": anywhere,
            "CHASQUI_LISTEN_WEBSOCKET": anywhere,
            "CHASQUI_LISTEN_SECURE_WEBSOCKET": anywhere,
            "CHASQUI_TLS_CERTIFICATE": str(self.authority),
            "CHASQUI_TLS_KEY": str(key),
        }

    def stop(self):
        """Ends the server as an operator would; it must drain and end well."""
        code = self._end(signal.SIGTERM)
        expect(code in (None, 0), f"after SIGTERM the server ended with {code}")

    def kill(self):
        """Ends the server as a power cut would, as far as a process can tell."""
        self._end(signal.SIGKILL)

    def _end(self, how):
        process, self.process = self.process, None
        if process is None:
            return None
        early = process.poll()
        expect(early is None, f"the server had ended by itself with {early}")
        process.send_signal(how)
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Failure(f"the server did not end within {PATIENCE:.0f} s of {how.name}") from None


class Mosquitto(Chasqui):
    """The reference: generic stories must hold there too, or the story is wrong."""

    # 2.0.11 closes the connection that is taken over without a word.
    says_why = False

    def start(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.host, self.port = probe.getsockname()
        config = self.log.with_name("mosquitto.conf")
        config.write_text(f"listener {self.port} {self.host}\nallow_anonymous true\n")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "-c", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return
            except OSError:
                expect(self.process.poll() is None, f"mosquitto ended with {self.process.returncode} while starting")
                expect(time.monotonic() < deadline, "mosquitto does not listen")
                time.sleep(0.02)


@contextmanager
def running(broker_class, binary):
    """A fresh broker for one story. Its process and folder are gone afterwards, however the story ends."""
    folder = Path(tempfile.mkdtemp(prefix="chasqui-interop-"))
    broker = broker_class(binary, folder)
    try:
        broker.start()
        yield broker
        broker.stop()
    except BaseException as error:
        if broker.log.exists():
            lines = broker.log.read_text(errors="replace").splitlines()[-20:]
            error.add_note("the server's last lines:\n" + "\n".join("    " + line for line in lines))
        raise
    finally:
        if broker.process is not None and broker.process.poll() is None:
            broker.process.kill()
            broker.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


# --- devices ----------------------------------------------------------------------------------------------------------


class Ack:
    """What a PUBACK said. On 3.1.1 it says nothing but that it came."""

    def __init__(self, code, properties):
        self.code = code
        self.user = dict(getattr(properties, "UserProperty", None) or [])
        self.reason = getattr(properties, "ReasonString", None)


class Received:
    """One PUBLISH, as it came."""

    def __init__(self, message):
        self.topic = message.topic
        self.payload = message.payload
        self.qos = message.qos
        self.retain = bool(message.retain)
        self.mid = message.mid

    def json(self):
        """The payload as proto3 JSON."""
        return json.loads(self.payload)

    def __repr__(self):
        return f"{self.topic} {self.payload[:120]!r}"


class Device:
    """One MQTT session of one user, and everything it was sent, in order.

    `persistent` is Clean Session 0, or Clean Start 0 with an hour of session expiry. With `manual` the device
    acknowledges only when told to, with :meth:`acknowledge`. `over` is one of `Chasqui.ALSO`; without it, TCP.
    """

    def __init__(self, broker, user, device, version, *, persistent=True, clean_start=False, manual=False, will=None,
                 password=None, over=None):
        self.version = version
        self.name = f"{user or 'anonymous'}/{device}"
        self.inbox = []
        self.ended = None
        self._persistent, self._clean_start = persistent, clean_start
        self._changed = threading.Condition()
        self._connack = None
        self._subacks, self._unsubacks, self._pubacks = {}, set(), {}
        self._client = client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=device,
            clean_session=None if version == V5 else not persistent,
            protocol=paho.MQTTv5 if version == V5 else paho.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
            transport="websockets" if over is not None and over.endswith("websocket") else "tcp",
        )
        if over is not None and over.endswith("websocket"):
            client.ws_set_options(path="/mqtt")
        if over in ("tls", "secure websocket"):
            client.tls_set(ca_certs=str(broker.authority))
        if user is not None:
            client.username_pw_set(user, user if password is None else password)
        if will is not None:
            client.will_set(*will)
        client.on_connect = lambda _c, _u, flags, code, properties: self._note(
            lambda: setattr(self, "_connack", (code.value, flags.session_present, properties)))
        client.on_disconnect = lambda _c, _u, _flags, code, _p: self._note(lambda: setattr(self, "ended", code.value))
        client.on_subscribe = lambda _c, _u, mid, codes, properties: self._note(
            lambda: self._subacks.__setitem__(mid, ([code.value for code in codes], properties)))
        client.on_unsubscribe = lambda _c, _u, mid, _codes, _p: self._note(lambda: self._unsubacks.add(mid))
        client.on_publish = lambda _c, _u, mid, code, properties: self._note(
            lambda: self._pubacks.__setitem__(mid, Ack(code.value, properties)))
        client.on_message = lambda _c, _u, message: self._take(message, manual)
        self._address = (broker.host, broker.port if over is None else broker.ports[over])

    def _note(self, change):
        with self._changed:
            change()
            self._changed.notify_all()

    def _take(self, message, manual):
        # Acknowledged before anyone hears of it: a story that then disconnects does so after the PUBACK.
        if not manual:
            self._client.ack(message.mid, message.qos)
        self._note(lambda: self.inbox.append(Received(message)))

    def wait(self, ready, what):
        """Waits until `ready()` is true, or fails saying what did not come."""
        with self._changed:
            if not self._changed.wait_for(ready, PATIENCE):
                raise Failure(f"{self.name} on {self.version} waited in vain for {what}; it has {self.inbox[-5:]}")
        return ready()

    def try_connect(self, keepalive=60):
        """Connects and returns (reason code, session present)."""
        properties = None
        if self.version == V5 and self._persistent:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
        clean = (self._clean_start or not self._persistent) if self.version == V5 else paho.MQTT_CLEAN_START_FIRST_ONLY
        self._client.connect(*self._address, keepalive=keepalive, clean_start=clean, properties=properties)
        self._client.loop_start()
        self.wait(lambda: self._connack is not None or self.ended is not None, "CONNACK")
        expect(self._connack is not None, f"{self.name} was cut off without a CONNACK")
        return self._connack[:2]

    def connect(self, keepalive=60):
        """Connects; it must be let in. Returns the device."""
        code, _present = self.try_connect(keepalive)
        expect(code == 0, f"{self.name} was refused with 0x{code:02x}")
        return self

    @property
    def session_present(self):
        """Whether the broker still had the session."""
        return self._connack[1]

    @property
    def announced(self):
        """The properties of CONNACK: what the broker can do. None on 3.1.1."""
        return self._connack[2]

    def try_subscribe(self, topic_filter, qos=1):
        """Subscribes to one filter and returns (SUBACK code, reason string)."""
        _rc, mid = self._client.subscribe(topic_filter, qos)
        codes, properties = self.wait(lambda: self._subacks.get(mid), f"SUBACK of {topic_filter}")
        return codes[0], getattr(properties, "ReasonString", None)

    def subscribe(self, *filters, qos=1):
        """Subscribes; each filter must be granted the QoS asked for. Returns the device."""
        for topic_filter in filters:
            code, _reason = self.try_subscribe(topic_filter, qos)
            expect_equal(code, qos, f"QoS granted to {self.name} for {topic_filter}")
        return self

    def unsubscribe(self, topic_filter):
        """Gives a filter up, and waits until the broker has done so."""
        _rc, mid = self._client.unsubscribe(topic_filter)
        self.wait(lambda: mid in self._unsubacks, f"UNSUBACK of {topic_filter}")

    def start_publish(self, topic, payload, qos=1, retain=False, properties=None):
        """Publishes without waiting, and returns what names the publish to :meth:`acked`."""
        if isinstance(payload, dict):
            payload = json.dumps(payload)
        return self._client.publish(topic, payload, qos, retain, properties).mid

    def acked(self, mid):
        """Waits for the PUBACK of a publish. None where the connection ended instead."""
        self.wait(lambda: mid in self._pubacks or self.ended is not None, f"PUBACK {mid}")
        return self._pubacks.pop(mid, None)

    def try_publish(self, topic, payload, qos=1, retain=False):
        """Publishes and returns the Ack, or None where the broker ended the connection instead."""
        return self.acked(self.start_publish(topic, payload, qos, retain))

    def publish(self, topic, payload, qos=1, retain=False):
        """Publishes; it must be accepted. Returns the Ack."""
        ack = self.try_publish(topic, payload, qos, retain)
        expect(ack is not None, f"{self.name} was cut off for publishing to {topic}")
        expect(ack.code in (0x00, 0x10), f"{topic} was refused with 0x{ack.code:02x}: {ack.reason}")
        return ack

    def expect_refused(self, topic, payload, codes=None):
        """Publishes what must be refused: with a code and a sentence on 5.0; on 3.1.1, which knows no refusal, with a
        `Rejected` entry or the end of the connection."""
        before = len(self.inbox)
        ack = self.try_publish(topic, payload)
        if self.version == V5:
            expect(ack is not None, f"{self.name} was cut off for publishing to {topic}, where 5.0 has a code")
            expect(ack.code >= 0x80, f"{topic} was not refused: 0x{ack.code:02x}")
            expect(codes is None or ack.code in codes, f"{topic} was refused with 0x{ack.code:02x}")
            expect(ack.reason, f"the refusal of {topic} has no reason string")
        elif ack is not None:
            self.wait(lambda: self.ended is not None or any(
                message.topic.endswith("/in") and "rejected" in message.json() for message in self.inbox[before:]
            ), f"`Rejected`, or the end of the connection, after publishing to {topic}")

    def matching(self, where):
        """What has come so far and satisfies `where`."""
        with self._changed:
            return [message for message in self.inbox if where(message)]

    def receive(self, where=lambda _message: True, count=1, what="a message"):
        """Waits until `count` messages satisfy `where`, and returns all that do."""
        self.wait(lambda: len([m for m in self.inbox if where(m)]) >= count, f"{what} (×{count})")
        return self.matching(where)

    def acknowledge(self, message):
        """Sends the PUBACK of a message, for a device that acknowledges by hand."""
        self._client.ack(message.mid, message.qos)

    def disconnect(self):
        """Says goodbye, so that no will fires."""
        self._client.disconnect()
        self.wait(lambda: self.ended is not None, "the end of the connection")
        self._client.loop_stop()

    def drop(self):
        """Cuts the connection without a word."""
        if connection := self._client.socket():
            connection.shutdown(socket.SHUT_RDWR)
        self.wait(lambda: self.ended is not None, "the end of the connection")
        self._client.loop_stop()


# --- payloads ---------------------------------------------------------------------------------------------------------


def text(words, client_msg_id=None):
    """A `Send` in JSON."""
    send = {"body": {"text": words}}
    if client_msg_id is not None:
        send["clientMsgId"] = base64.b64encode(client_msg_id).decode()
    return send


def said(message):
    """The text of a message event in JSON, or None for anything else."""
    if not message.topic.endswith("/in"):
        return None
    return message.json().get("message", {}).get("body", {}).get("text")


def seq_of(message):
    """The sequence number in a message event: proto3 JSON writes 64-bit numbers as strings."""
    return int(message.json()["message"]["seq"])


def mark(message, name):
    """A watermark of a receipt in JSON: 0 where it is left out."""
    return int(message.json().get(name, 0))


def schemas():
    """Compiles the repository's schemas for Python and returns them as one namespace."""
    import importlib
    import sys
    from types import SimpleNamespace

    from grpc_tools import protoc

    if not hasattr(schemas, "loaded"):
        out = tempfile.mkdtemp(prefix="chasqui-schemas-")
        files = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto/chasqui/v1").glob("*.proto"))
        expect(files, "proto/chasqui/v1 has no schemas")
        here = os.getcwd()
        os.chdir(ROOT / "proto")
        try:
            expect(protoc.main(["protoc", "-I.", f"--python_out={out}", *files]) == 0, "protoc refused the schemas")
        finally:
            os.chdir(here)
        sys.path.insert(0, out)
        loaded = {}
        for file in files:
            module = importlib.import_module(file.removesuffix(".proto").replace("/", ".") + "_pb2")
            loaded |= {name: getattr(module, name) for name in module.DESCRIPTOR.message_types_by_name}
        sys.path.remove(out)
        shutil.rmtree(out)
        schemas.loaded = SimpleNamespace(**loaded)
    return schemas.loaded
