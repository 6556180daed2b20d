#!/usr/bin/env python3
"""Measures Chasqui and its peers with the same load, one after the other, and writes the table.

    bench/peers/run.py --chasqui BINARY --bench BINARY [--only NAME,...] [--seconds N] [--out FILE]

Each broker runs with the settings beside this file, in a folder of its own, on loopback. A peer that is not installed is named and left
out; `scripts/setup.sh peers` installs what can be had. Figures are those of one run, on one machine, with the load tool beside the broker:
compare them with each other, and with nothing else.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "chasqui-tools" / "bin"
PATIENCE_S = 60
SETTLED_S = 2

OFFLINE = ["offline", "--devices", "100", "--backlog", "200"]
# Name, what is run, which figure counts, and its unit.
SCENARIOS = [
    ("pair", ["pair"], "delivered_per_s", "deliveries/s"),
    ("pair", ["pair"], "cpu_us", "CPU µs each"),
    ("pair, persistent sessions", ["pair", "--persistent"], "delivered_per_s", "deliveries/s"),
    ("pair, persistent sessions", ["pair", "--persistent"], "cpu_us", "CPU µs each"),
    ("fanout 256", ["fanout"], "delivered_per_s", "deliveries/s"),
    ("fanout 256", ["fanout"], "cpu_us", "CPU µs each"),
    ("rate 5,000/s, 500 clients", ["rate"], "cpu_us", "CPU µs each"),
    ("rate 5,000/s, 500 clients", ["rate"], "delivery.p50_us", "µs, median"),
    ("rate 5,000/s, 500 clients", ["rate"], "delivery.p99_us", "µs, p99"),
    ("offline, 100 × 200 messages", OFFLINE, "backlog.acked_per_s", "acknowledged/s while away"),
    ("offline, 100 × 200 messages", OFFLINE, "delivered_per_s", "deliveries/s on return"),
    ("churn, stored sessions", ["churn"], "cycles_per_s", "cycles/s"),
    ("churn, clean sessions", ["churn", "--clean"], "cycles_per_s", "cycles/s"),
    ("idle, 8,000 clients", ["idle"], "memory_per_client", "KiB each"),
]
# What a message between people is: sequenced, flushed, in an inbox, delivered, and its sender told. No peer has that; beside it stands
# the nearest that it has, at whatever durability its settings give: what is run there, or nothing.
PACED = ["chat-pair", "--rate", "5000", "--clients", "500"]
OVERLOAD = ["overload", "--chat", "--mqtt", "5.0"]
CHAT = [
    ("chat-pair", ["chat-pair"], "acked_per_s", "acknowledged/s", "pair, persistent sessions"),
    ("chat-pair", ["chat-pair"], "delivered_per_s", "deliveries/s", "pair"),
    ("chat-pair", ["chat-pair"], "cpu_us", "CPU µs each", "pair, persistent sessions"),
    ("chat-pair 5,000/s", PACED, "ack.p99_us", "µs, p99 of PUBACK", None),
    ("chat-pair 5,000/s", PACED, "ack.p999_us", "µs, p99.9 of PUBACK", None),
    ("chat-pair 5,000/s", PACED, "delivery.p99_us", "µs, p99 of delivery", None),
    ("chat-group, 256 members", ["chat-group"], "delivered_per_s", "deliveries/s", "fanout 256"),
    ("chat-group, 256 members", ["chat-group"], "cpu_us", "CPU µs each", "fanout 256"),
    ("sync, 5,000 conversations", ["sync"], "look.p50_us", "µs, median of the first page", None),
    ("sync, 5,000 conversations", ["sync"], "look.p99_us", "µs, p99 of the first page", None),
    ("presence, users coming and going", ["presence"], "delivery.p99_us", "µs, p99 until it is shown", None),
    ("catch-up, 1,000 × 1,000 messages", ["catch-up"], "delivered_per_s", "deliveries/s on return", "offline, 100 × 200 messages"),
    ("overload, twice what it carries", OVERLOAD, "overload.normal_after_s", "s until back to normal", None),
    ("overload, twice what it carries", OVERLOAD, "overload.peak_memory", "MiB at its highest", None),
]


@dataclasses.dataclass
class Broker:
    """How a broker is found, started and asked for its version."""

    name: str
    program: str | None
    settings: str | None
    command: list[str]
    version: list[str]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def found(name: str, *places: str) -> str | None:
    for place in [*places, str(TOOLS / name)]:
        if pathlib.Path(place).is_file():
            return place
    return shutil.which(name)


def brokers(chasqui: str) -> list[Broker]:
    mosquitto = found("mosquitto", "/usr/sbin/mosquitto")
    rumqttd = found("rumqttd")
    nats = found("nats-server")
    rabbit = found("rabbitmq-server", "/usr/lib/rabbitmq/bin/rabbitmq-server")
    return [
        Broker("chasqui", chasqui, None, [chasqui, "serve", "--dev", "--data", "@FOLDER@", "--listen", "127.0.0.1:@PORT@"], [chasqui, "--version"]),
        Broker("mosquitto", mosquitto, "mosquitto.conf", [str(mosquitto), "-c", "@SETTINGS@"], [str(mosquitto), "-h"]),
        Broker("rumqttd", rumqttd, "rumqttd.toml", [str(rumqttd), "-q", "-c", "@SETTINGS@"], [str(rumqttd), "--version"]),
        Broker("nats-server", nats, "nats.conf", [str(nats), "-c", "@SETTINGS@"], [str(nats), "--version"]),
        Broker(
            "RabbitMQ",
            rabbit,
            "rabbitmq.conf",
            [str(rabbit)],
            ["dpkg-query", "-W", "-f", "${Version}", "rabbitmq-server"],
            {
                "RABBITMQ_NODENAME": "chasqui-bench@localhost",
                "RABBITMQ_CONFIG_FILE": "@SETTINGS@",
                "RABBITMQ_MNESIA_BASE": "@FOLDER@/mnesia",
                "RABBITMQ_LOG_BASE": "@FOLDER@/log",
                "RABBITMQ_ENABLED_PLUGINS_FILE": "@FOLDER@/plugins",
                "RABBITMQ_DIST_PORT": "@PORT3@",
                "ERL_EPMD_PORT": "@PORT4@",
                "HOME": "@FOLDER@",
            },
        ),
    ]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def version(broker: Broker) -> str:
    if not broker.version:
        return ""
    said = subprocess.run(broker.version, capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).strip().splitlines()
    return lines[0].split(" is ")[0].replace("version ", "").strip() if lines else ""


class Running:
    """A broker while it runs, in a folder of its own."""

    def __init__(self, broker: Broker):
        self.folder = tempfile.TemporaryDirectory(prefix="chasqui-peers-")
        self.port = free_port()
        places = {
            "@PORT@": str(self.port),
            "@PORT2@": str(free_port()),
            "@PORT3@": str(free_port()),
            "@PORT4@": str(free_port()),
            "@FOLDER@": self.folder.name,
        }

        def filled(text: str) -> str:
            for place, value in places.items():
                text = text.replace(place, value)
            return text

        if broker.settings:
            settings = pathlib.Path(self.folder.name) / broker.settings
            settings.write_text(filled((HERE / broker.settings).read_text()))
            places["@SETTINGS@"] = str(settings)
        (pathlib.Path(self.folder.name) / "plugins").write_text("[rabbitmq_mqtt].\n")
        self.log = open(pathlib.Path(self.folder.name) / "output.log", "wb")
        self.environment = os.environ | {name: filled(value) for name, value in broker.environment.items()}
        command = [filled(word) for word in broker.command]
        self.process = subprocess.Popen(
            command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True
        )

    def wait(self) -> bool:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                # What it does once after its start is not to be found in what its clients cost.
                time.sleep(SETTLED_S)
                return True
            except OSError:
                time.sleep(0.1)
        return False

    def said(self) -> str:
        text = pathlib.Path(self.log.name).read_text(errors="replace").strip().splitlines()
        return text[-1] if text else "it said nothing"

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if "ERL_EPMD_PORT" in self.environment and (epmd := shutil.which("epmd")):
            # Erlang's registry of names, which the broker starts and leaves behind.
            subprocess.run([epmd, "-kill"], env=self.environment, capture_output=True, check=False)
        self.log.close()
        self.folder.cleanup()


def measure(bench: str, broker: Broker, arguments: list[str], seconds: int) -> tuple[dict | None, str | None]:
    """The figures of one scenario, and what has to be said about them."""
    running = Running(broker)
    try:
        if not running.wait():
            return None, f"did not start: {running.said()}"
        with tempfile.NamedTemporaryFile(suffix=".json") as figures:
            common = ["--broker", f"127.0.0.1:{running.port}", "--json", figures.name, "--quiet"]
            timing = ["--seconds", str(seconds)]
            ran = subprocess.run([bench, *arguments, *common, *timing], capture_output=True, text=True, check=False)
            sys.stdout.write(f"{broker.name}: {ran.stdout}{ran.stderr}")
            sys.stdout.flush()
            if ran.returncode not in (0, 1):
                return None, (ran.stderr.strip().splitlines() or ["no figures"])[-1]
            report = json.load(open(figures.name))
            if ran.returncode == 1:
                return report, f"{report['lost']} lost, {report['refused']} refused, {report['dead']} connections ended"
            return report, None
    finally:
        running.stop()


def figure(report: dict | None, name: str) -> float | None:
    value = report
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is not None:
        value /= {"memory_per_client": 1024, "overload.peak_memory": 1024 * 1024}.get(name, 1)
    return value


def shown(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def table(rows: list[tuple[str, str, str, str | None]], names: list[str], results: dict, ours: str) -> list[str]:
    """A line for each row: its title, which figure counts, its unit, and what stands beside it for a peer."""
    lines = ["| work | figure | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for title, key, unit, nearest in rows:
        cells = []
        mine = figure(results.get((ours, title)), key)
        for name in names:
            value = figure(results.get((name, title if name == ours else nearest)), key)
            ratio = f" ({mine / value:.2f}×)" if name != ours and value and mine is not None else ""
            cells.append(shown(value) + ratio)
        lines.append(f"| {title} | {unit} | " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chasqui", required=True)
    parser.add_argument("--bench", required=True)
    parser.add_argument("--only", default="", help="names of brokers, with commas between them")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    results, notes, names, versions = {}, [], [], {}
    for broker in brokers(options.chasqui):
        if only and broker.name not in only:
            continue
        if broker.program is None:
            notes.append(f"{broker.name} is not installed.")
            continue
        names.append(broker.name)
        versions[broker.name] = version(broker)
        wanted = SCENARIOS + (CHAT if broker.name == "chasqui" else [])
        for title, arguments in dict((row[0], row[1]) for row in wanted).items():
            report, note = measure(options.bench, broker, arguments, options.seconds)
            results[broker.name, title] = report
            if note:
                notes.append(f"{broker.name}, {title}: {note}.")
    commit = subprocess.run(["git", "-C", str(HERE), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    lines = [
        "# Results",
        "",
        "Written by `make peers`. Load tool and broker share the machine, one broker after the other; behind a peer's figure stands what Chasqui's is",
        "of it. Compare ratios of one run, nothing else.",
        "",
        f"{datetime.date.today().isoformat()}, commit {commit.stdout.strip() or 'unknown'}, {len(cpu)} × {cpu[0] if cpu else platform.machine()},"
        f" {options.seconds} s each. " + ", ".join(f"{name} ({versions[name]})" if versions[name] else name for name in names) + ".",
        "",
        *table([(row[0], row[2], row[3], row[0]) for row in SCENARIOS], names, results, "chasqui"),
        "",
    ]
    if "chasqui" in names:
        lines += [
            "What a message between people is. No peer has that: beside it stands the nearest that it has, `pair` or `offline` from above.",
            "",
            *table([(row[0], row[2], row[3], row[4]) for row in CHAT], names, results, "chasqui"),
            "",
        ]
    if notes:
        lines += ["Not as it should be:", ""] + [f"- {note}" for note in notes] + [""]
    text = "\n".join(lines)
    print(text)
    if options.out:
        options.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
