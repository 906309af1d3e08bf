"""A real Kafka of one node on loopback, which tests start, stop, kill and freeze."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_START_SECONDS = 90.0
_STOP_SECONDS = 30.0
_STARTED = "Kafka Server started"
# No broker here lives long enough to earn back what the second compiler costs.
_JAVA = [
    "java",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dlog4j2.configurationFile=log4j2.properties",
]

# What one node and short tests need; everything else is as Kafka has it.
_PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # A topic that was forgotten is an error, as in production.
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "5",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # After kill -9 the controller waits so long before it takes the broker back; 9 s as Kafka has it.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "log.cleaner.backoff.ms": "200",
}
_LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p [%t] %m (%c{1})%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


class KafkaServer:
    """One broker that is its own controller, in `folder`; `jars` is the folder of `kafka_jars()`.

    `start` after `stop` or `kill` goes on with the same messages on the same port. `properties` are added to the
    broker's own, and `listeners`, such as `SECURE://127.0.0.1:9093`, to those that it has.
    """

    def __init__(
        self, folder: Path, jars: Path, properties: Mapping[str, str] | None = None, listeners: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.log = folder / "broker.log"
        broker, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{broker}"
        self._java = [*_JAVA, "-cp", f"{jars}/*"]
        self._process: subprocess.Popen[bytes] | None = None
        public = [f"PLAINTEXT://{self.bootstrap}", *listeners]
        self._properties = {
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "listeners": ",".join([*public, f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(public),
            "log.dirs": str(folder / "data"),
            **_PROPERTIES,
            **(properties or {}),
        }

    @property
    def pid(self) -> int | None:
        """The broker's process; None while it is stopped."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start and wait until clients are answered. Raises RuntimeError with the end of the log if it does not."""
        assert self._process is None, "it is running"
        if not (self.folder / "data").exists():
            self._format()
        with self.log.open("ab") as log:
            begin = log.tell()
            command = [*self._java, "kafka.Kafka", "server.properties"]
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + _START_SECONDS
        while _STARTED not in self.said(begin):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Kafka did not start; {self.log} ends with:\n{self.said(begin)[-4000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it as an operator would; nothing happens if it is not running."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        """End it as a power failure of the process would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop and start on the same folder."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process: connections stay open and nothing answers."""
        assert self._process is not None, "it is not running"
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        assert self._process is not None, "it is not running"
        self._process.send_signal(signal.SIGCONT)

    def said(self, begin: int = 0) -> str:
        """The broker's log from that byte on; nothing before its first start."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(begin)
            return log.read().decode(errors="replace")

    def complaints(self, begin: int = 0) -> str:
        """The last lines of the log that are warnings or worse."""
        lines = [line for line in self.said(begin).splitlines() if " WARN " in line or " ERROR " in line]
        return "\n".join(lines[-40:])

    def clean(self) -> None:
        """Stop and give the disk space back; the log stays for whoever wonders what happened."""
        self.stop()
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def _format(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [f"{name}={value}" for name, value in self._properties.items()]
        (self.folder / "server.properties").write_text("\n".join(lines) + "\n")
        (self.folder / "log4j2.properties").write_text(_LOGGING)
        identity = os.urandom(16).hex()
        self.tool("kafka.tools.StorageTool", "format", "-t", identity, "-c", "server.properties", "--standalone")

    def tool(self, *command: str) -> str:
        """Run one of Kafka's own tools, by its Java class; returns what it prints."""
        done = subprocess.run(
            [*self._java, *command], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago; all differ."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
