#!/usr/bin/env python3
"""Tells every story to a server of its own, and counts.

    CHASQUI_BIN=target/debug/chasqui tests/interop/run.py [word ...]     stories whose line contains a word; all without
    tests/interop/run.py --reference [word ...]                          the generic ones, to mosquitto

Needs what `scripts/setup.sh clients python node` installs; `make interop` does all of it.
"""

import argparse
import os
import subprocess
import sys
import traceback
from pathlib import Path

import access
import chat
import generic
import retry
import transports  # noqa: F401 (its stories register themselves)
import typed
from harness import PATIENCE, STORIES, V5, V311, Chasqui, Failure, Mosquitto, running

SHELL_STORIES = Path(__file__).with_name("mosquitto.sh")
NODE_STORIES = Path(__file__).with_name("mqttjs.mjs")
# Stories of mosquitto.sh that are told over TLS too.
OVER_TLS = ("quick_start", "ten_while_away", "generic_retained")


def shell_stories():
    """The stories of mosquitto.sh, in the form of the others."""
    listed = subprocess.run(["bash", SHELL_STORIES, "list"], check=True, capture_output=True, text=True).stdout.split()
    for name in listed:
        for version in (V311, V5):
            yield "mosquitto", name.replace("_", " "), version, name.startswith("generic_"), shell_story(name)
            if name in OVER_TLS:
                yield "mosquitto", f"{name.replace('_', ' ')}, over TLS", version, False, shell_story(name, tls=True)


def shell_story(name, tls=False):
    """One story of mosquitto.sh as a function."""

    def tell(broker, version):
        port = broker.ports["tls"] if tls else broker.port
        authority = {"CHASQUI_CAFILE": str(broker.authority)} if tls else {}
        run_program(["bash", SHELL_STORIES, broker.host, str(port)], version, name, authority)

    return tell


def node_stories():
    """The stories of mqttjs.mjs, over WebSocket without and with TLS."""
    listed = subprocess.run(["node", NODE_STORIES, "list"], check=True, capture_output=True, text=True).stdout.split()
    for name in listed:
        for over, scheme in (("websocket", "ws"), ("secure websocket", "wss")):
            for version in (V311, V5):
                yield "mqtt.js", f"{name.replace('_', ' ')}, over {over}", version, False, node_story(name, over, scheme)


def node_story(name, over, scheme):
    """One story of mqttjs.mjs as a function."""

    def tell(broker, version):
        url = f"{scheme}://{broker.host}:{broker.ports[over]}/mqtt"
        run_program(["node", NODE_STORIES, url], version, name, {"CHASQUI_CAFILE": str(broker.authority)})

    return tell


def run_program(command, version, name, variables):
    """Tells a story that another program tells; what it says when it fails is why."""
    command = [*command, "mqttv5" if version == V5 else "mqttv311", name]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=6 * PATIENCE, env=os.environ | variables
    )
    if done.returncode != 0:
        raise Failure(done.stderr.strip() or f"{command[1].name} ended with {done.returncode} and no word")


def explain(error):
    """A failed story in a few lines: the sentence, where in the story it was, and what the server said last."""
    frames = traceback.extract_tb(error.__traceback__)
    told = [frame for frame in frames if Path(frame.filename).parent == SHELL_STORIES.parent and frame.filename != __file__]
    sentence = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
    place = "".join(f"\nat {Path(frame.filename).name}:{frame.lineno}" for frame in told)
    return "\n".join([sentence + place, *getattr(error, "__notes__", [])]).replace("\n", "\n      ")


def main():
    """Runs the stories asked for. Ends with 0 when at least one passed and none failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", action="store_true", help="tell the generic stories to mosquitto")
    parser.add_argument("words", nargs="*", help="only stories whose line contains one of these")
    options = parser.parse_args()
    if options.reference:
        broker_class, binary = Mosquitto, os.environ.get("MOSQUITTO_BIN", "/usr/sbin/mosquitto")
    else:
        broker_class, binary = Chasqui, os.environ.get("CHASQUI_BIN")
        if not binary:
            parser.error("CHASQUI_BIN must name the server's binary; `make interop` builds it and sets this")

    passed = failed = 0
    for module, title, version, is_generic, tell in [*STORIES, *shell_stories(), *([] if options.reference else node_stories())]:
        line = f"{module:<10} {version:<6} {title}"
        if options.reference and not is_generic:
            continue
        if options.words and not any(word in line for word in options.words):
            continue
        try:
            with running(broker_class, binary) as broker:
                tell(broker, version)
        except Exception as error:  # one story's trouble is not the next one's
            failed += 1
            print(f"FAIL  {line}\n      {explain(error)}", flush=True)
        else:
            passed += 1
            print(f"ok    {line}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
