"""The compose file, held to the code and to what makes it safe to run. No Docker engine is needed."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stream_reco.config import ConfigError
from tests.deploy.compose_values import VARIABLE, environment, filled
from tests.deploy.the_code import (
    PREFIX,
    command_problems,
    environment_problems,
    folders,
    probe_problems,
    settings_of,
)
from tests.deploy.yaml_files import DEPLOY, ROOT, document
from tests.pages import bare, page

DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
OURS = "stream-reco:"
NEEDED = {"kafka", "redis", "prometheus", "grafana", "topics", "labelling", "interests", "training"}
WRITES_BESIDE_ITS_PROGRAMS = {"kafka"}
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|JAAS|AUTH$")
_PROBE = re.compile(r"http://127\.0\.0\.1:(\d+)(/[\w/-]*)")


@pytest.fixture(scope="module")
def compose() -> Any:
    return document(DEPLOY / "compose.yaml")


def is_ours(service: Mapping[str, Any]) -> bool:
    return bool(service["image"].startswith(OURS))


def is_once(service: Mapping[str, Any]) -> bool:
    return str(service.get("restart", "")).startswith("on-failure")


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """Named volumes and paths beside the file, by where they are in the container."""
    return {volume.split(":")[1]: volume.split(":")[0] for volume in service.get("volumes", ())}


# --- rules: each takes the whole file and complains


def unsafe(compose: Any) -> Iterator[str]:
    """Whoever breaks out of a service must find as little as possible."""
    for name, service in compose["services"].items():
        user = str(service.get("user", "root")).partition(":")[0]
        if not user.isdecimal() or int(user) == 0:
            yield f"{name} runs as {user}"
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add") or service.get("privileged"):
            yield f"{name} keeps capabilities"
        if "no-new-privileges:true" not in service.get("security_opt", ()):
            yield f"{name} may gain privileges"
        if service.get("read_only") is not True and name not in WRITES_BESIDE_ITS_PROGRAMS:
            yield f"{name} may write to its own programs"
        for port in service.get("ports", ()):
            if not port.startswith("127.0.0.1:"):
                yield f"{name} publishes {port} beyond loopback"


def untended(compose: Any) -> Iterator[str]:
    """A service that hangs, dies or grows must not go unnoticed or take the others along."""
    for name, service in compose["services"].items():
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        yield from (f"{name} has no limit of {what}" for what in ("cpus", "memory") if not limits.get(what))
        if is_once(service):
            continue
        if not service.get("healthcheck", {}).get("test"):
            yield f"{name} has no health check"
        if service.get("restart") != "unless-stopped":
            yield f"{name} does not start again"
        if "max-size" not in service.get("logging", {}).get("options", {}):
            yield f"the log of {name} grows for ever"


def unpinned(compose: Any) -> Iterator[str]:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for name, service in compose["services"].items():
        tag = service["image"].rpartition(":")[2]
        if not re.match(r"v?\d+\.\d+\.\d+", tag):
            yield f"{name} takes {service['image']}, which is not one version"
        if is_ours(service) and tag != version:
            yield f"{name} is version {tag}, the project {version}"


def leaking(compose: Any) -> Iterator[str]:
    """Secrets come from outside, and nothing starts without them."""
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            secrets = [found for found in VARIABLE.finditer(str(value)) if _SECRET.search(found[1])]
            if _SECRET.search(variable) and not secrets:
                yield f"{name} has {variable} written out"
            if any(found[2] != ":?" for found in secrets):
                yield f"{name} starts without {variable}"
            if secrets and not _SECRET.search(variable):
                yield f"{name} has a secret in {variable}"
        for text in (str(service.get(part, "")) for part in ("command", "healthcheck", "build", "labels")):
            yield from (
                f"{name} has {found[1]} where all can read it"
                for found in VARIABLE.finditer(text)
                if _SECRET.search(found[1])
            )


def unknown_to_the_code(compose: Any) -> Iterator[str]:
    """Commands, flags, variables and ports."""
    for name, service in compose["services"].items():
        given = environment(service)
        if not is_ours(service):
            continue
        command = [filled(part) for part in service["command"]]
        complaints = [*command_problems(command), *environment_problems(given, command)]
        yield from (f"{name}: {complaint}" for complaint in complaints)
        try:
            settings = settings_of(given)
        except ConfigError:
            continue
        for port, path in _PROBE.findall(str(service.get("healthcheck", ""))):
            yield from (f"{name}: {one}" for one in probe_problems(int(port), path, command, settings))
        for port in service.get("ports", ()):
            if int(port.rpartition(":")[2]) != settings.serve.port:
                yield f"{name} publishes {port}, the API is on {settings.serve.port}"


def homeless(compose: Any) -> Iterator[str]:
    """What a process writes must have a place, what it keeps a lasting one."""
    for name, service in compose["services"].items():
        declared = {where: what for where, what in mounts(service).items() if not what.startswith(".")}
        yield from (
            f"{name} mounts {what}, which is not declared"
            for what in declared.values()
            if what not in compose["volumes"]
        )
        yield from (
            f"{name} mounts {what}, which is not there"
            for what in mounts(service).values()
            if what.startswith(".") and not (DEPLOY / what).exists()
        )
        if not is_ours(service):
            continue
        command = [filled(part) for part in service["command"]]
        try:
            written = folders(DOCKERFILE, environment(service), command)
        except ConfigError:
            continue
        for what, folder in written.items():
            if not any(folder.is_relative_to(where) for where in declared):
                yield f"{name} keeps its {what} in {folder}, where no volume is mounted"
        yield from (
            f"{name} mounts {where}, where it writes nothing"
            for where in declared
            if not any(folder.is_relative_to(where) for folder in written.values())
        )
        yield from (
            f"{name} may not write to {where}: the image does not make it its own"
            for where in declared
            if not re.search(rf"chown [^\n]*{re.escape(where)}\b", DOCKERFILE)
        )


def disconnected(compose: Any) -> Iterator[str]:
    """Addresses name services that listen there, in a network that both are in."""
    services = compose["services"]
    for name, service in services.items():
        yield from (f"{name} waits for {other}" for other in service.get("depends_on", {}) if other not in services)
        unknown = set(service["networks"]) - set(compose["networks"])
        yield from (f"{name} is in the network {network}, which is not declared" for network in sorted(unknown))
        for variable in ("STREAM_RECO_KAFKA_BOOTSTRAP", "STREAM_RECO_REDIS_URL"):
            address = environment(service).get(variable, "").rpartition("//")[2].partition("/")[0]
            host, _, port = address.partition(":")
            if not address:
                continue
            listening = "0.0.0.0:9092" if host == "kafka" else ":6379"
            if host not in services or not listening.endswith(f":{port}"):
                yield f"{name} looks for {variable} at {address}, where nobody listens"


RULES = [unsafe, untended, unpinned, leaking, unknown_to_the_code, homeless, disconnected]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_compose_file_keeps_the_rules(compose: Any, rule: Any) -> None:
    assert list(rule(compose)) == []


# What is wrong must be found: a place in the file, what is written there instead (None: nothing), and the complaint.
WRONG: list[tuple[Any, str, Any, str]] = [
    (unsafe, "labelling.user", "0:0", "labelling runs as 0"),
    (unsafe, "redis.user", None, "redis runs as root"),
    (unsafe, "grafana.user", "root", "grafana runs as root"),
    (unsafe, "scorer-1.cap_drop", None, "capabilities"),
    (unsafe, "scorer-1.cap_add", ["NET_ADMIN"], "capabilities"),
    (unsafe, "training.security_opt", None, "privileges"),
    (unsafe, "interests.read_only", False, "may write"),
    (unsafe, "prometheus.ports", ["9090:9090"], "beyond loopback"),
    (untended, "topics.deploy.resources.limits.memory", None, "topics has no limit of memory"),
    (untended, "kafka.deploy.resources.limits.cpus", None, "kafka has no limit of cpus"),
    (untended, "training.healthcheck", None, "training has no health check"),
    (untended, "redis.restart", None, "redis does not start again"),
    (untended, "redis.logging", None, "grows for ever"),
    (unpinned, "grafana.image", "grafana/grafana:latest", "not one version"),
    (unpinned, "redis.image", "redis", "not one version"),
    (unpinned, "labelling.image", "stream-reco:9.9.9", "9.9.9"),
    (leaking, "redis.environment.REDISCLI_AUTH", "secret", "written out"),
    (leaking, "scorer-2.environment.STREAM_RECO_SERVE_TOKEN", "${STREAM_RECO_SERVE_TOKEN:-}", "starts without"),
    (leaking, "scorer-2.environment.NAME", "${STREAM_RECO_SERVE_TOKEN:?}", "a secret in NAME"),
    (leaking, "redis.command", ["redis-server", "--requirepass", "${REDIS_PASSWORD:?}"], "where all can read it"),
    (unknown_to_the_code, "labelling.command", ["work", "labeling"], "labeling"),
    (unknown_to_the_code, "labelling.command", ["label"], "no command 'label'"),
    (unknown_to_the_code, "topics.command", ["topics", "create", "--all"], "--all"),
    (unknown_to_the_code, "topics.command", ["topics"], "topics"),
    (unknown_to_the_code, "labelling.environment.STREAM_RECO_KAFKA_BOOTSTRAPS", "kafka:9092", "bootstraps"),
    (unknown_to_the_code, "labelling.environment.STREAM_RECO_KAFKA_BOOTSTRAP", "kafka", "no address of a broker"),
    (unknown_to_the_code, "labelling.environment.STREAM_RECO_KAFKA_SASL_MECHANISM", "GUESS", "sasl_mechanism"),
    (unknown_to_the_code, "labelling.environment.STREAM_RECO_KAFKA_BOOTSTRAP", None, "kafka.bootstrap is not set"),
    (unknown_to_the_code, "training.environment.STREAM_RECO_REDIS_URL", None, "redis.url is not set"),
    (unknown_to_the_code, "interests.environment.STREAM_RECO_WORK_METRICS_PORT", 9101, "on port 9101, not on 9100"),
    (unknown_to_the_code, "scorer-1.environment.STREAM_RECO_SERVE_TOKEN", None, "without a token"),
    (unknown_to_the_code, "scorer-1.ports", ["127.0.0.1:8080:80"], "the API is on 8080"),
    (unknown_to_the_code, "scorer-1.healthcheck.test", ["CMD", "http://127.0.0.1:8080/health"], "no /health"),
    (unknown_to_the_code, "labelling.healthcheck.test", ["CMD", "http://127.0.0.1:9100/health"], "no /health"),
    (homeless, "labelling.volumes", ["kernels:/var/cache/stream-reco"], "its state"),
    (homeless, "labelling.volumes", ["state:/state", "kernels:/var/cache/stream-reco"], "its empty folder"),
    (homeless, "labelling.environment.STREAM_RECO_STATE_DIR", "/state", "its state in /state"),
    (homeless, "training.environment.STREAM_RECO_TRAINING_CHECKPOINT_DIR", "/data", "its checkpoints in /data"),
    (unknown_to_the_code, "training.environment.STREAM_RECO_TRAINING_CHECKPOINT_DIR", None, "_dir is not set"),
    (homeless, "scorer-1.volumes", [], "compiled kernels"),
    (homeless, "topics.volumes", ["kernels:/var/cache/stream-reco", "state:/var/lib/state"], "writes nothing"),
    (homeless, "topics.volumes", ["other:/var/cache/stream-reco"], "not declared"),
    (homeless, "prometheus.volumes", ["./nowhere.yml:/etc/prometheus/prometheus.yml:ro"], "not there"),
    (disconnected, "topics.depends_on", {"zookeeper": {}}, "waits for zookeeper"),
    (disconnected, "topics.networks", ["elsewhere"], "elsewhere"),
    (disconnected, "labelling.environment.STREAM_RECO_KAFKA_BOOTSTRAP", "broker:9092", "nobody listens"),
    (disconnected, "labelling.environment.STREAM_RECO_KAFKA_BOOTSTRAP", "kafka:9093", "nobody listens"),
    (disconnected, "interests.environment.STREAM_RECO_REDIS_URL", "redis://cache:6379/0", "nobody listens"),
]


@pytest.mark.parametrize(("rule", "place", "value", "complaint"), WRONG)
def test_what_is_wrong_is_found(compose: Any, rule: Any, place: str, value: Any, complaint: str) -> None:
    changed = copy.deepcopy(compose)
    at, (*way, last) = changed["services"], place.split(".")
    for step in way:
        at = at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    assert any(complaint in found for found in rule(changed)), list(rule(changed))


# --- what is in it


def test_the_page_lists_every_service(compose: Any) -> None:
    rows = page("docs/deployment.md").table("service")
    assert [bare(row[0]) for row in rows] == list(compose["services"])
    for row in rows:
        (name, command, *_) = map(bare, row)
        service = compose["services"][name]
        if is_ours(service):
            shown = command.removeprefix("stream-reco ").split()
            assert service["command"][: len(shown)] == shown, f"{name} is {service['command']}, not {command}"


def test_the_page_names_the_published_ports(compose: Any) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    (said,) = re.findall(r"^Scorers answer at ports .*$", page("docs/deployment.md").text, re.MULTILINE)
    assert re.findall(r"\d{4}", said) == [port.split(":")[1] for port in ports]


def test_everything_is_in_it(compose: Any) -> None:
    services = compose["services"]
    assert set(services) >= NEEDED
    assert sum(service["command"][0] == "serve" for service in services.values() if is_ours(service)) >= 2
    assert services["training"]["deploy"]["replicas"] == 2, "a leader and one that takes over"
    assert services["kafka"]["image"] == "apache/kafka:4.1.1", "the release that the tests run against"
    assert [name for name, service in services.items() if "build" in service] == ["topics"]


def test_only_what_answers_people_has_a_way_out(compose: Any) -> None:
    assert compose["networks"]["inside"]["internal"] is True
    outside = {name for name, service in compose["services"].items() if "outside" in service["networks"]}
    assert outside == {name for name, service in compose["services"].items() if service.get("ports")}


def test_the_example_has_every_variable_that_is_asked_for(compose: Any) -> None:
    asked = {found[1] for found in VARIABLE.finditer(str(compose))}
    lines = (DEPLOY / "environment.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(given) == asked
    assert not any(given.values()), "it holds no secrets"
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_ours_are_told_the_same_of_kafka_and_redis(compose: Any) -> None:
    seen: dict[str, set[str]] = {}
    for service in compose["services"].values():
        for name, value in environment(service).items() if is_ours(service) else ():
            if name.startswith((f"{PREFIX}KAFKA", f"{PREFIX}REDIS")):
                seen.setdefault(name, set()).add(value)
    assert all(len(values) == 1 for values in seen.values()), seen


def test_mounted_files_are_where_their_readers_look(compose: Any) -> None:
    services = compose["services"]
    provisioning = document(DEPLOY / "grafana/provisioning/dashboards/stream-reco.yaml")
    assert provisioning["providers"][0]["options"]["path"] in mounts(services["grafana"])
    where = {Path(path).name: Path(path).parent for path in mounts(services["prometheus"])}
    assert where["alerts.yml"] == where["prometheus.yml"], "rule_files are looked for beside the configuration"
    assert f"--config.file={where['prometheus.yml']}/prometheus.yml" in str(services["prometheus"]["command"])
