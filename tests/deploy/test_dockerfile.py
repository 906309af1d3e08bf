"""The image: pinned, without a compiler or secrets, run by nobody in particular, made of what is there."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.yaml_files import DEPLOY, ROOT

DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, its arguments) without comments, lines that go on joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages(text: str) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions(text):
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def problems(text: str) -> Iterator[str]:
    build, *_, last = stages(text)
    bases = {rest.split()[0] for word, rest in instructions(text) if word == "FROM"}
    if len(bases) > 1 or not re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", next(iter(bases))):
        yield f"the base is not one version: {bases}"
    users = [rest for word, rest in last if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        yield f"it runs as {users}"
    if [rest for word, rest in last if word == "ENTRYPOINT"] != ['["stream-reco"]']:
        yield "the entry point is not the command"
    if "g++" not in str(build) or "g++" in str(last):
        yield "the compiler belongs to the first stage alone"
    if re.search(r"(?i)(password|token|secret)\s*=|https?://", "\n".join(rest for _, rest in instructions(text))):
        yield "a secret or the address of a registry"
    for word, rest in instructions(text):
        for name in rest.split()[:-1] if word in ("COPY", "ADD") and "--from" not in rest else ():
            if not (ROOT / name).exists() or is_ignored(name):
                yield f"{name} cannot be copied"


def is_ignored(name: str) -> bool:
    """Whether .dockerignore keeps a path of the project outside."""
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!")
            if fnmatch(name, pattern) or name.startswith(f"{pattern}/"):
                ignored = not line.startswith("!")
    return ignored


def test_the_image_is_as_it_should_be() -> None:
    assert list(problems(DOCKERFILE)) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("3.11.13-slim-bookworm", "3.11"), "not one version"),
        (("FROM python:3.11.13-slim-bookworm\n", "FROM python:3.12.1-slim-bookworm\n"), "not one version"),
        (("USER 10001:10001\n", ""), "it runs as"),
        (("USER 10001:10001", "USER root"), "it runs as"),
        (("USER 10001:10001", "USER 0:0"), "it runs as"),
        (('["stream-reco"]', '["sh"]'), "entry point"),
        (("libgomp1 ", "libgomp1 g++ "), "compiler"),
        (('TORCH_INDEX=""', 'TORCH_INDEX="https://wheels.example"'), "registry"),
        (("ENV PATH", "ENV SERVE_TOKEN=abc PATH"), "secret"),
        (("COPY README.md", "COPY READTHIS.md"), "READTHIS.md cannot"),
        (("COPY README.md", "COPY tests"), "tests cannot"),
    ],
)
def test_what_is_wrong_is_found(change: tuple[str, str], complaint: str) -> None:
    assert change[0] in DOCKERFILE
    assert any(complaint in found for found in problems(DOCKERFILE.replace(*change))), change


def test_the_context_holds_nothing_else() -> None:
    for name in (".git", "tests", "docs", "deploy/.env", "stream_reco/__pycache__", ".venv"):
        assert is_ignored(name), name


def test_every_dependency_has_one_version_that_the_project_allows() -> None:
    lines = (DEPLOY / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {}
    for line in filter(lambda line: not line.startswith("#"), lines):
        pin = Requirement(line)
        (only,) = pin.specifier
        assert only.operator == "=="
        pins[canonicalize_name(pin.name)] = only.version
    for text in PROJECT["dependencies"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), text
    assert "stream-reco" in PROJECT["scripts"]


def test_the_python_is_one_that_the_project_is_for() -> None:
    version = re.findall(r"FROM python:([\d.]+)", DOCKERFILE)[0]
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(version)
