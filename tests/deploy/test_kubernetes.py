"""The manifests for Kubernetes, held to the code and to what makes them safe to run. No cluster is needed."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from stream_reco.config import ConfigError
from stream_reco.config.servers import KafkaSettings
from tests.deploy.the_code import (
    command_problems,
    environment_problems,
    folders,
    probe_problems,
    settings_of,
)
from tests.deploy.yaml_files import DEPLOY, ROOT, document, documents
from topologies.process.metrics_server import LIVE, METRICS
from topologies.topics.declaration import declared_topics

FOLDER = DEPLOY / "kubernetes"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
SECRETS = {"STREAM_RECO_KAFKA_SASL_PASSWORD", "STREAM_RECO_REDIS_PASSWORD", "STREAM_RECO_SERVE_TOKEN"}
KEDA_NAMES = {"PLAIN": "plaintext", "SCRAM-SHA-256": "scram_sha256", "SCRAM-SHA-512": "scram_sha512"}
PART_OF = {"app.kubernetes.io/part-of": "stream-reco"}


@dataclass
class Manifests:
    """All objects, by kind and name."""

    objects: dict[str, dict[str, Any]]

    def of(self, kind: str) -> dict[str, Any]:
        return self.objects.get(kind, {})

    @property
    def pods(self) -> dict[str, Any]:
        """The pods that are started, by the name of what starts them."""
        return {
            name: one["spec"]["template"]
            for kind in ("Deployment", "StatefulSet", "Job")
            for name, one in self.of(kind).items()
        }

    @property
    def shared(self) -> dict[str, str]:
        return dict(self.of("ConfigMap")["stream-reco"]["data"])

    def environment(self, name: str) -> dict[str, str]:
        """What the process of a pod is given, with letters for every secret."""
        (container,) = self.pods[name]["spec"]["containers"]
        given: dict[str, str] = {}
        for source in container.get("envFrom", ()):
            given |= self.of("ConfigMap")[source["configMapRef"]["name"]]["data"]
        for one in container.get("env", ()):
            given[one["name"]] = one.get("value", "x" * 24)
        return given

    def command(self, name: str) -> list[str]:
        (container,) = self.pods[name]["spec"]["containers"]
        given = self.environment(name)
        return [given.get(part[2:-1], part) if part.startswith("$(") else part for part in container["args"]]


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    found: dict[str, dict[str, Any]] = {}
    for name in document(FOLDER / "kustomization.yaml")["resources"]:
        for one in documents(FOLDER / name):
            objects = found.setdefault(one["kind"], {})
            assert one["metadata"]["name"] not in objects, f"{one['kind']} {one['metadata']['name']} is there twice"
            objects[one["metadata"]["name"]] = one
    return Manifests(found)


# --- rules


def unsafe(manifests: Manifests) -> Iterator[str]:
    for name, pod in manifests.pods.items():
        (container,) = pod["spec"]["containers"]
        whole, own = pod["spec"].get("securityContext", {}), container.get("securityContext", {})
        if whole.get("runAsNonRoot") is not True or not whole.get("runAsUser"):
            yield f"{name} may run as root"
        if f"USER {whole.get('runAsUser')}:{whole.get('runAsGroup')}" not in DOCKERFILE:
            yield f"{name} runs as another user than the image is made for"
        if whole.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name} may make every system call"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{name} may write to its own programs"
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield f"{name} may gain privileges"
        if own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name} keeps capabilities"
        if pod["spec"].get("automountServiceAccountToken") is not False:
            yield f"{name} is given a key to the cluster"
        if pod["spec"].get("serviceAccountName") not in manifests.of("ServiceAccount"):
            yield f"{name} has no account of its own"


def untended(manifests: Manifests) -> Iterator[str]:
    for name, pod in manifests.pods.items():
        (container,) = pod["spec"]["containers"]
        for part in ("requests", "limits"):
            given = container.get("resources", {}).get(part, {})
            yield from (f"{name} has no {part} of {what}" for what in ("cpu", "memory") if not given.get(what))
        if name in manifests.of("Job"):
            continue
        yield from (f"{name} has no {probe}" for probe in PROBES if not container.get(probe))
        if (container.get("livenessProbe") or {}).get("httpGet", {}).get("path") != LIVE:
            yield f"{name} would be taken for alive when it hangs"
        # A worker, a scorer and a trainer end within 30 s of being asked.
        if pod["spec"].get("terminationGracePeriodSeconds", 30) <= 30:
            yield f"{name} is killed before it can end"
        budgets = [
            budget
            for budget in manifests.of("PodDisruptionBudget").values()
            if budget["spec"]["selector"] == {"matchLabels": pod["metadata"]["labels"]}
        ]
        if len(budgets) != 1:
            yield f"{name} has no disruption budget"


def leaking(manifests: Manifests) -> Iterator[str]:
    if manifests.of("Secret"):
        yield "a secret is written out"
    for name, value in manifests.shared.items():
        if name in SECRETS or "@" in value:
            yield f"{name} is written out"
    for name, pod in manifests.pods.items():
        (container,) = pod["spec"]["containers"]
        for one in container.get("env", ()):
            source = one.get("valueFrom", {}).get("secretKeyRef")
            if one["name"] in SECRETS and source != {"name": "stream-reco", "key": one["name"]}:
                yield f"{name} does not take {one['name']} from the secret"
            if source and one["name"] not in SECRETS:
                yield f"{name} takes {one['name']} from a secret"
            if one["name"] == "STREAM_RECO_SERVE_TOKEN" and container["args"][0] != "serve":
                yield f"{name} is given the token, and needs none"


def unknown_to_the_code(manifests: Manifests) -> Iterator[str]:
    for name, pod in manifests.pods.items():
        (container,) = pod["spec"]["containers"]
        given, command = manifests.environment(name), manifests.command(name)
        yield from (f"{name}: {one}" for one in (*command_problems(command), *environment_problems(given, command)))
        try:
            settings = settings_of(given)
        except ConfigError:
            continue
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        for probe in filter(container.get, PROBES):
            asked = container[probe]["httpGet"]
            port = ports.get(asked["port"], asked["port"])
            if not isinstance(port, int):
                yield f"{name}: there is no port {port}"
            else:
                yield from (f"{name}: {one}" for one in probe_problems(port, asked["path"], command, settings))


def homeless(manifests: Manifests) -> Iterator[str]:
    for name, pod in manifests.pods.items():
        (container,) = pod["spec"]["containers"]
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        mounted = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", ())}
        yield from (
            f"{name} mounts {volume}, which is not declared" for volume in mounted.values() if volume not in volumes
        )
        try:
            written = folders(DOCKERFILE, manifests.environment(name), manifests.command(name))
        except ConfigError:
            continue
        for what, folder in written.items():
            where = [volume for path, volume in mounted.items() if folder.is_relative_to(path)]
            if not where:
                yield f"{name} keeps its {what} in {folder}, where no volume is mounted"
            elif what == "checkpoints":
                claim = volumes[where[0]].get("persistentVolumeClaim", {}).get("claimName")
                modes = manifests.of("PersistentVolumeClaim").get(claim, {}).get("spec", {}).get("accessModes")
                if modes != ["ReadWriteMany"]:
                    yield f"{name} does not share its checkpoints"


def unscaled(manifests: Manifests) -> Iterator[str]:
    """One alone decides how many there are."""
    scaled = {
        one["spec"]["scaleTargetRef"]["name"]
        for kind in ("HorizontalPodAutoscaler", "ScaledObject")
        for one in manifests.of(kind).values()
    }
    for name, deployment in manifests.of("Deployment").items():
        if (name in scaled) == bool(deployment["spec"].get("replicas")):
            yield f"{name} is told how many by {'two' if name in scaled else 'nobody'}"
    yield from (f"{name} is scaled and not there" for name in scaled if name not in manifests.of("Deployment"))


def blind(manifests: Manifests) -> Iterator[str]:
    """Workers grow by what Kafka knows of them."""
    for name, one in manifests.of("ScaledObject").items():
        target, (trigger,) = one["spec"]["scaleTargetRef"]["name"], one["spec"]["triggers"]
        kafka = settings_of(manifests.environment(target)).kafka
        events, asked = declared_topics(kafka).events, trigger["metadata"]
        if asked["consumerGroup"] != f"{kafka.prefix}.{target}":
            yield f"{name} looks at the group {asked['consumerGroup']}, not {kafka.prefix}.{target}"
        if asked["topic"] != events.name:
            yield f"{name} looks at the topic {asked['topic']}, not {events.name}"
        if one["spec"]["maxReplicaCount"] != events.partitions:
            yield f"{name} grows to {one['spec']['maxReplicaCount']}, partitions are {events.partitions}"
        if asked["bootstrapServersFromEnv"] not in manifests.environment(target):
            yield f"{name} does not find Kafka"
        if trigger["authenticationRef"]["name"] not in manifests.of("TriggerAuthentication"):
            yield f"{name} does not get into Kafka"
        if asked["sasl"] != KEDA_NAMES[kafka.sasl_mechanism]:
            yield f"{name} proves its password by {asked['sasl']}"


RULES = [unsafe, untended, leaking, unknown_to_the_code, homeless, unscaled, blind]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_manifests_keep_the_rules(manifests: Manifests, rule: Callable[[Manifests], Iterator[str]]) -> None:
    assert list(rule(manifests)) == []


POD = "spec.template.spec"
ONE = f"{POD}.containers.0"
TRIGGER = "spec.triggers.0"
# Kind, name, a place in it, what is written there instead (None: nothing), and the complaint.
WRONG: list[tuple[Any, str, str, str, Any, str]] = [
    (unsafe, "Deployment", "labelling", f"{POD}.securityContext.runAsNonRoot", None, "may run as root"),
    (unsafe, "Deployment", "scorer", f"{POD}.securityContext.runAsUser", 1000, "another user"),
    (unsafe, "Job", "topics", f"{POD}.securityContext.seccompProfile", None, "system call"),
    (unsafe, "Deployment", "scorer", f"{ONE}.securityContext.readOnlyRootFilesystem", False, "its own programs"),
    (unsafe, "Deployment", "scorer", f"{ONE}.securityContext.allowPrivilegeEscalation", None, "gain privileges"),
    (unsafe, "Deployment", "scorer", f"{ONE}.securityContext.capabilities", {"drop": ["KILL"]}, "capabilities"),
    (unsafe, "Deployment", "training", f"{POD}.automountServiceAccountToken", None, "key to the cluster"),
    (unsafe, "Deployment", "training", f"{POD}.serviceAccountName", "default", "no account"),
    (untended, "Deployment", "training", f"{ONE}.resources.limits.memory", None, "no limits of memory"),
    (untended, "Job", "topics", f"{ONE}.resources.requests", None, "no requests of cpu"),
    (untended, "Deployment", "interests", f"{ONE}.startupProbe", None, "no startupProbe"),
    (untended, "Deployment", "interests", f"{POD}.terminationGracePeriodSeconds", 20, "killed before"),
    (untended, "PodDisruptionBudget", "scorer", "spec.selector.matchLabels", {"a": "b"}, "no disruption budget"),
    (leaking, "ConfigMap", "stream-reco", "data.STREAM_RECO_SERVE_TOKEN", "x" * 24, "TOKEN is written out"),
    (leaking, "ConfigMap", "stream-reco", "data.STREAM_RECO_REDIS_URL", "redis://:a@redis", "URL is written out"),
    (leaking, "Deployment", "scorer", f"{ONE}.env.0", {"name": "STREAM_RECO_SERVE_TOKEN", "value": "a"}, "from the"),
    (leaking, "Deployment", "labelling", f"{ONE}.env.0.name", "STREAM_RECO_SERVE_TOKEN", "needs none"),
    (unknown_to_the_code, "Deployment", "labelling", f"{ONE}.args", ["work", "labeling"], "labeling"),
    (unknown_to_the_code, "Job", "topics", f"{ONE}.args", ["topics", "crete"], "crete"),
    (unknown_to_the_code, "ConfigMap", "stream-reco", "data.STREAM_RECO_KAFKA_PORT", "1", "kafka.port"),
    (unknown_to_the_code, "ConfigMap", "stream-reco", "data.STREAM_RECO_KAFKA_PARTITIONS", "many", "partitions"),
    (unknown_to_the_code, "Deployment", "labelling", f"{ONE}.env", None, "needs sasl_username and sasl_password"),
    (unknown_to_the_code, "Deployment", "labelling", f"{ONE}.livenessProbe.httpGet.path", "/health", "no /health"),
    (untended, "Deployment", "training", f"{ONE}.livenessProbe.httpGet.path", METRICS, "alive when it hangs"),
    (unknown_to_the_code, "Deployment", "labelling", f"{ONE}.livenessProbe.httpGet.port", "http", "no port http"),
    (unknown_to_the_code, "Deployment", "labelling", f"{ONE}.ports.0.containerPort", 9090, "on port 9100, not on 9090"),
    (unknown_to_the_code, "Deployment", "scorer", f"{ONE}.readinessProbe.httpGet.path", "/healthy", "no /healthy"),
    (homeless, "Deployment", "labelling", f"{ONE}.volumeMounts.0.mountPath", "/state", "its state"),
    (homeless, "Deployment", "scorer", f"{ONE}.volumeMounts", [], "compiled kernels"),
    (homeless, "Deployment", "scorer", f"{POD}.volumes", [], "not declared"),
    (homeless, "PersistentVolumeClaim", "checkpoints", "spec.accessModes", ["ReadWriteOnce"], "share its checkpoints"),
    (unscaled, "Deployment", "training", "spec.replicas", None, "by nobody"),
    (unscaled, "Deployment", "scorer", "spec.replicas", 2, "by two"),
    (unscaled, "ScaledObject", "labelling", "spec.scaleTargetRef.name", "labeling", "not there"),
    (blind, "ScaledObject", "interests", f"{TRIGGER}.metadata.consumerGroup", "interests", "stream-reco.interests"),
    (blind, "ScaledObject", "interests", f"{TRIGGER}.metadata.topic", "events", "not stream-reco.events"),
    (blind, "ScaledObject", "interests", "spec.maxReplicaCount", 24, "partitions are 12"),
    (blind, "ScaledObject", "interests", f"{TRIGGER}.metadata.bootstrapServersFromEnv", "KAFKA", "find Kafka"),
    (blind, "ScaledObject", "interests", f"{TRIGGER}.authenticationRef.name", "none", "get into Kafka"),
    (blind, "ScaledObject", "interests", f"{TRIGGER}.metadata.sasl", "plaintext", "proves its password"),
]


@pytest.mark.parametrize(("rule", "kind", "name", "place", "value", "complaint"), WRONG)
def test_what_is_wrong_is_found(
    manifests: Manifests, rule: Any, kind: str, name: str, place: str, value: Any, complaint: str
) -> None:
    changed = copy.deepcopy(manifests)
    at, (*way, last) = changed.objects[kind][name], place.split(".")
    for step in way:
        at = at[int(step) if step.isdecimal() else step]
    if value is None:
        del at[last]
    else:
        at[int(last) if last.isdecimal() else last] = value
    assert any(complaint in found for found in _until_it_breaks(rule, changed)), list(_until_it_breaks(rule, changed))


def _until_it_breaks(rule: Callable[[Manifests], Iterator[str]], manifests: Manifests) -> Iterator[str]:
    """The complaints; after the first, what is wrong may well be more than a rule can read."""
    try:
        yield from rule(manifests)
    except (KeyError, TypeError):
        return


# --- what is in them


def test_every_file_is_applied() -> None:
    for folder in (FOLDER, FOLDER / "monitoring"):
        files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert set(document(folder / "kustomization.yaml")["resources"]) == files


def test_everything_is_in_it(manifests: Manifests) -> None:
    assert set(manifests.of("Deployment")) == {"labelling", "interests", "training", "scorer"}
    assert manifests.of("Deployment")["training"]["spec"]["replicas"] == 2, "a leader and one that takes over"
    assert {one["spec"]["scaleTargetRef"]["name"] for one in manifests.of("ScaledObject").values()} == {
        "labelling",
        "interests",
    }
    assert manifests.shared["STREAM_RECO_KAFKA_PARTITIONS"] == str(KafkaSettings().partitions)


def test_the_image_is_that_of_this_version(manifests: Manifests) -> None:
    (image,) = document(FOLDER / "kustomization.yaml")["images"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert image == {"name": "stream-reco", "newTag": version}
    assert {pod["spec"]["containers"][0]["image"] for pod in manifests.pods.values()} == {"stream-reco"}


def test_selectors_select_the_pods_that_they_are_for(manifests: Manifests) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in manifests.pods.items()}
    for name, deployment in manifests.of("Deployment").items():
        assert deployment["spec"]["selector"]["matchLabels"] == labels[name] == {"app.kubernetes.io/name": name}
    for service in manifests.of("Service").values():
        assert service["spec"]["selector"] in labels.values()
    assert document(FOLDER / "kustomization.yaml")["labels"] == [{"pairs": PART_OF, "includeTemplates": True}]
    monitors = documents(FOLDER / "monitoring" / "pod-monitors.yaml")
    for policy in [*manifests.of("NetworkPolicy").values(), *monitors]:
        spec = policy["spec"]
        selector = spec.get("podSelector") or spec.get("selector")
        values = [value for one in selector.get("matchExpressions", ()) for value in one["values"]]
        values += [value for key, value in selector.get("matchLabels", {}).items() if key not in PART_OF]
        assert set(values) <= set(labels)


def test_ports_of_policies_services_and_monitors_have_names_that_pods_have(manifests: Manifests) -> None:
    ports = {
        name: {port["name"] for port in pod["spec"]["containers"][0].get("ports", ())}
        for name, pod in manifests.pods.items()
    }
    assert all(ports[name] == {"metrics"} for name in ("labelling", "interests", "training"))
    assert ports["scorer"] == {"http"}
    (service,) = manifests.of("Service").values()
    assert service["spec"]["ports"][0]["targetPort"] in ports["scorer"]
    policies = manifests.of("NetworkPolicy")
    assert policies["metrics"]["spec"]["ingress"][0]["ports"][0]["port"] == "metrics"
    assert policies["scorer"]["spec"]["ingress"][0]["ports"][0]["port"] == "http"
    workers, scorers = documents(FOLDER / "monitoring" / "pod-monitors.yaml")
    assert workers["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"
    assert scorers["spec"]["podMetricsEndpoints"][0]["port"] == "http"
    credentials = scorers["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"]
    assert credentials == {"name": "stream-reco", "key": "STREAM_RECO_SERVE_TOKEN"}
    assert credentials["key"] in SECRETS
