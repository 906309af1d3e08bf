"""The servers of the compose file, started for real with the very settings and commands that stand in it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from platformdirs import user_cache_path

from stream_reco.config import load
from tests.deploy.compose_values import SECRET, environment, filled
from tests.deploy.yaml_files import DEPLOY, ROOT, document
from tests.kafka_jars import kafka_jars
from tests.redis_server import RedisServer
from topologies.topics.report import topic_report

# What the image has beside its programs, as far as its start needs it.
_LOGGING = """\
Configuration:
  Appenders: {Console: {name: STDOUT, PatternLayout: {pattern: "%d %p %m (%c)%n"}}}
  Loggers: {Root: {level: INFO, AppenderRef: [{ref: STDOUT}]}}
"""


@pytest.fixture(scope="module")
def services() -> Any:
    return document(DEPLOY / "compose.yaml")["services"]


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
    return port


@contextmanager
def running(command: list[str], variables: Mapping[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with these variables and no others of ours; ended by its id."""
    with (folder / "said").open("ab") as said:
        given = {"PATH": os.environ["PATH"], **variables}
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, env=given)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_it_says(text: str, folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while text not in (folder / "said").read_text(errors="replace"):
        alive = process.poll() is None and time.monotonic() < deadline
        assert alive, (folder / "said").read_text()[-4000:]
        time.sleep(0.1)


# --- Kafka


@pytest.fixture
def kafka(services: Any, tmp_path: Path) -> Iterator[dict[str, int]]:
    """A broker as the image would make it of the variables; gives the ports that stand for those of the container."""
    ports = {number: free_port() for number in ("9092", "19092", "9093")}
    given = environment(services["kafka"]) | {"KAFKA_LOG_DIRS": str(tmp_path / "data")}
    for name, value in given.items():
        here = value.replace("0.0.0.0", "127.0.0.1").replace("kafka:9092", "127.0.0.1:9092")
        for number, port in ports.items():
            here = here.replace(f":{number}", f":{port}")
        given[name] = here
    folders = [tmp_path / name for name in ("defaults", "mounted", "final")]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "server.properties").touch()
    for name in ("log4j2.yaml", "tools-log4j2.yaml"):
        (folders[0] / name).write_text(_LOGGING)
    java = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-cp", f"{kafka_jars()}/*"]
    flags = ("--default-configs-dir", "--mounted-configs-dir", "--final-configs-dir")
    where = [part for flag, folder in zip(flags, folders, strict=True) for part in (flag, str(folder))]
    done = subprocess.run(
        [*java, "kafka.docker.KafkaDockerWrapper", "setup", *where],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], **given},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "said").touch()
    logging = f"-Dlog4j2.configurationFile={folders[0] / 'log4j2.yaml'}"
    command = ["java", logging, *java[1:], "kafka.Kafka", str(folders[2] / "server.properties")]
    with running(command, {}, tmp_path) as broker:
        until_it_says("Kafka Server started", tmp_path, broker)
        yield {"clients": ports["9092"], "local": ports["19092"]}
    shutil.rmtree(tmp_path / "data", ignore_errors=True)


def topics(services: Any, port: int, action: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """`stream-reco topics` as the service of that name runs it."""
    given = environment(services["topics"]) | {"STREAM_RECO_KAFKA_BOOTSTRAP": f"127.0.0.1:{port}"} | changed
    assert services["topics"]["command"] == ["topics", "create"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_RECO_")}
    return subprocess.run(
        [sys.executable, "-m", "stream_reco.cli", "topics", action],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=ROOT,
        env=inherited | given,
    )


@pytest.mark.kafka
@pytest.mark.timeout(240)
def test_kafka_lets_in_who_has_the_password(services: Any, kafka: dict[str, int]) -> None:
    refused = topics(services, kafka["clients"], "create", STREAM_RECO_KAFKA_SASL_PASSWORD="guessed-by-a-stranger")  # noqa: S106
    assert refused.returncode == 1, refused.stdout
    made = topics(services, kafka["clients"], "create")
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("created stream-reco.") >= 7
    # The health check of the service asks here, without a password, from inside the container alone.
    local = load(None, {"STREAM_RECO_KAFKA_BOOTSTRAP": f"127.0.0.1:{kafka['local']}"}).settings
    assert asyncio.run(topic_report(local, 10.0, create=False)).problems == []
    (check,) = services["kafka"]["healthcheck"]["test"][1:]
    assert "--bootstrap-server 127.0.0.1:19092" in check


@pytest.mark.kafka
@pytest.mark.redis
@pytest.mark.timeout(600)
def test_all_processes_become_healthy_together(
    services: Any, kafka: dict[str, int], start_redis: Callable[..., RedisServer], tmp_path: Path
) -> None:
    """One of each kind, with the variables, the command and the check that the file gives it."""
    server = start_redis("--requirepass", SECRET)
    made = topics(services, kafka["clients"], "create")
    assert made.returncode == 0, made.stderr
    with ExitStack() as left:
        checks = {}
        for name in ("labelling", "interests", "training", "scorer-1"):
            own, (folder, port) = services[name], (tmp_path / name, free_port())
            folder.mkdir()
            command = [part.replace("redis:6379", f"127.0.0.1:{server.port}") for part in own["command"]]
            # A minute between publications would be a minute of waiting.
            command += ["--sync-interval", "2"] if name == "training" else []
            given = environment(own) | moved_here(environment(own), kafka["clients"], server.port, port, folder)
            process = left.enter_context(running([sys.executable, "-m", "stream_reco.cli", *command], given, folder))
            _, python, flag, script = own["healthcheck"]["test"]
            assert python == "python"
            inside = "8080" if command[0] == "serve" else "9100"
            checks[name] = process, [sys.executable, flag, script.replace(inside, str(port))]
        deadline = time.monotonic() + 480
        for name, (process, check) in checks.items():
            while subprocess.run(check, capture_output=True, check=False).returncode:
                said = (tmp_path / name / "said").read_text()[-4000:]
                assert process.poll() is None, f"{name} ended: {said}"
                assert time.monotonic() < deadline, f"{name} does not become healthy: {said}"
                time.sleep(0.5)
    assert not Path("/nonexistent").exists(), "they write to their own folders alone"


def moved_here(given: Mapping[str, str], kafka: int, redis_port: int, port: int, folder: Path) -> dict[str, str]:
    """What differs outside of a container: addresses, ports and folders."""
    here = {
        "STREAM_RECO_KAFKA_BOOTSTRAP": f"127.0.0.1:{kafka}",
        "STREAM_RECO_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "STREAM_RECO_WORK_METRICS_HOST": "127.0.0.1",
        "STREAM_RECO_WORK_METRICS_PORT": str(port),
        "STREAM_RECO_SERVE_HOST": "127.0.0.1",
        "STREAM_RECO_SERVE_PORT": str(port),
        "STREAM_RECO_TRAINING_CHECKPOINT_DIR": str(folder / "checkpoints"),
    }
    # Numba keeps what it compiles where the tests have it, which spares minutes.
    kernels = {name: os.environ[name] for name in ("NUMBA_CACHE_DIR",) if name in os.environ}
    return (
        {name: value for name, value in here.items() if name in given}
        | kernels
        | {
            "HOME": "/nonexistent",
            "XDG_STATE_HOME": str(folder),
            "XDG_CACHE_HOME": str(user_cache_path().absolute()),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
        }
    )


# --- Redis


@pytest.mark.redis
def test_redis_lets_in_who_has_the_password(services: Any, tmp_path: Path) -> None:
    shell, flag, script = services["redis"]["command"]
    port = free_port()
    script = filled(script).replace("/run/redis", str(tmp_path)) + f" --port {port} --bind 127.0.0.1"
    with running([shell, flag, script], environment(services["redis"]), tmp_path) as process:
        until_it_says("Ready to accept connections", tmp_path, process)
        with pytest.raises(redis.AuthenticationError), redis.Redis("127.0.0.1", port) as stranger:
            stranger.ping()
        with redis.Redis("127.0.0.1", port, password=SECRET, decode_responses=True) as known:
            assert known.ping()
            settings: Any = known.config_get("maxmemory*")
            assert settings["maxmemory-policy"] == "volatile-ttl", "publications have no TTL and stay"
            memory = services["redis"]["deploy"]["resources"]["limits"]["memory"]
            assert int(settings["maxmemory"]) < int(memory.removesuffix("m")) << 20
        assert SECRET.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"redis-server" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), "signals reach the server itself"
        health = filled(services["redis"]["healthcheck"]["test"][1]).replace("redis-cli", f"redis-cli -p {port}")
        asked = {"PATH": os.environ["PATH"], **environment(services["redis"])}
        assert subprocess.run(["sh", "-c", health], env=asked, check=False).returncode == 0
        asked["REDISCLI_AUTH"] = "wrong"
        assert subprocess.run(["sh", "-c", health], env=asked, check=False, capture_output=True).returncode != 0


# --- Prometheus


class Scorer(BaseHTTPRequestHandler):
    """Writes down with which token it is asked."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"stream_reco_replica_version 1\n")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def scorer() -> Iterator[HTTPServer]:
    Scorer.asked = []
    with HTTPServer(("127.0.0.1", 0), Scorer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.prometheus
def test_prometheus_reads_scorers_with_their_token(services: Any, scorer: HTTPServer, tmp_path: Path) -> None:
    text = (DEPLOY / "prometheus.yml").read_text().replace("scorer-1:8080", f"127.0.0.1:{scorer.server_port}")
    text = text.replace("15s", "1s").replace("10s", "1s").replace("/run/prometheus", str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(DEPLOY / "alerts.yml", tmp_path)
    (script,) = services["prometheus"]["command"]
    moved = {
        "/bin/prometheus": "prometheus",
        "/etc/prometheus": str(tmp_path),
        "=/prometheus": f"={tmp_path}/data",
        "/run/prometheus": str(tmp_path),
    }
    script = filled(script)
    for there, here in moved.items():
        assert there in script
        script = script.replace(there, here)
    command = [*services["prometheus"]["entrypoint"], f"{script} --web.listen-address=127.0.0.1:{free_port()}"]
    with running(command, environment(services["prometheus"]), tmp_path):
        deadline = time.monotonic() + 60
        while not Scorer.asked:
            assert time.monotonic() < deadline, (tmp_path / "said").read_text()
            time.sleep(0.1)
    assert Scorer.asked[0] == ("/metrics", f"Bearer {SECRET}")
    assert (tmp_path / "serve-token").stat().st_mode & 0o077 == 0
