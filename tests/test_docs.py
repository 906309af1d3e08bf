"""The pages of docs, held to the code: names, paths, commands, tables; and their examples, executed."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest
import typer
from prometheus_client.metrics import MetricWrapperBase

from stream_reco import metrics
from stream_reco.cli.app import app
from stream_reco.config import Settings, describe, load
from stream_reco.config.deprecated import RENAMED
from stream_reco.events import BadEvent, decode_many
from stream_reco.events.schema import KINDS
from stream_reco.model.registry import DEFAULT, MODELS
from stream_reco.serve.feature_report import FeatureReport
from stream_reco.serve.http.openapi import ERRORS, openapi
from stream_reco.serve.settings import ServeSettings
from tests.page_shell import PageShell
from tests.pages import ROOT, Page, bare, page, pages
from tests.test_architecture import ALL, MAY_IMPORT

PAGES = pages()
each_page = pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
ARCHITECTURE, GLOSSARY = page("docs/architecture.md"), page("docs/glossary.md")
NAMES_CODE = (ARCHITECTURE, GLOSSARY)
"""Pages in which every class must exist, and a path may leave out `stream_reco/`."""
EVENTS = page("docs/events.md")
FEATURES = page("docs/features.md")
OPERATIONS, DECISIONS = page("docs/operations.md"), page("docs/decisions/README.md")
CHANGELOG = page("docs/CHANGELOG.md")

# Read by tests/run, which stands outside the settings.
OTHER_VARIABLES = {"STREAM_RECO_", "STREAM_RECO_DATA", "STREAM_RECO_VENV"}
_FILE = re.compile(r"^[\w.-]+(/[\w.-]+)*(\.(py|md|toml|html|js|css|svg)|/)$")
_TOP = re.compile(r"^(stream_reco|tests|docs|deploy|topologies|\.ci)/")
_ROUTE = re.compile(r"^(?:(GET|POST|DELETE) )?(/[\w/{}-]*)$")


# --- names


@cache
def _classes_and_functions() -> tuple[dict[str, set[str]], set[str]]:
    classes: dict[str, set[str]] = {}
    bases: dict[str, set[str]] = {}
    functions: set[str] = set()
    for path in (path for top in ("stream_reco", "topologies") for path in (ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, set()).update(_members(node))
                bases.setdefault(node.name, set()).update(_bases(node))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.add(node.name)
    return {name: _with_inherited(name, classes, bases) for name in classes}, functions


def _bases(node: ast.ClassDef) -> Iterator[str]:
    for base in node.bases:
        plain = base.value if isinstance(base, ast.Subscript) else base
        if isinstance(plain, ast.Name):
            yield plain.id


def _with_inherited(name: str, classes: dict[str, set[str]], bases: dict[str, set[str]]) -> set[str]:
    inherited = (_with_inherited(base, classes, bases) for base in bases.get(name, ()))
    return classes.get(name, set()).union(*inherited)


def _members(node: ast.ClassDef) -> Iterator[str]:
    for part in node.body:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            yield part.name
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id


@each_page
def test_files_exist(one: Page) -> None:
    for link in filter(None, one.links):
        assert (ROOT / one.name).parent.joinpath(link).exists(), f"{one.name} links to {link}"
    for link, anchor in one.places:
        path = (ROOT / one.name).parent.joinpath(link) if link else None
        there = one.anchors if path is None else Page(link, path.read_text(encoding="utf-8")).anchors
        assert anchor in there, f"{one.name} links to {link}#{anchor}"
    for name in filter(_FILE.match, one.inline):
        if _TOP.match(name) or one in NAMES_CODE:
            places = (ROOT / name, ROOT / "stream_reco" / name, (ROOT / one.name).parent / name)
            assert any(place.exists() for place in places) or name == "settings.py", f"{one.name} names {name}"


@each_page
def test_functions_and_methods_exist(one: Page) -> None:
    classes, functions = _classes_and_functions()
    for name in one.inline:
        if _FILE.match(name):
            continue
        if found := re.match(r"^([A-Z]\w+)\.([a-z]\w*)(\(\))?$", name):
            assert found[2] in classes.get(found[1], ()), f"{one.name} names {name}"
        elif found := re.match(r"^(\w+)\(\)$", name):
            assert found[1] in functions, f"{one.name} names {name}"
        elif one in NAMES_CODE and re.match(r"^[A-Z][a-z]\w*$", name):
            assert name in classes, f"{one.name} names {name}"


@each_page
def test_settings_and_variables_exist(one: Page) -> None:
    every = [line for name in MODELS for line in describe(load(overrides={"model.name": name}))]
    known = {line.key for line in every} | (set(RENAMED) if one is CHANGELOG else set())
    variables = {line.variable for line in every} | OTHER_VARIABLES
    sections = "|".join(get_type_hints(Settings))
    for name in one.inline:
        if re.match(rf"^({sections})\.[a-z_]+(\.[a-z_]+)?$", name) and not _FILE.match(name):
            assert name in known, f"{one.name} names the setting {name}"
    assert set(re.findall(r"\bSTREAM_RECO_[A-Z_]*", one.text)) <= variables


@each_page
def test_commands_and_flags_exist(one: Page) -> None:
    group: Any = typer.main.get_command(app)
    flags = {
        name: {flag for option in command.params for flag in option.opts} for name, command in group.commands.items()
    }
    every = set().union(*flags.values())
    for code in one.code:
        called = re.search(r"(?:^|[ /])stream-reco (\S+)(.*)", code)
        if called and not called[1].startswith("-"):
            assert called[1] in flags, f"{one.name}: there is no command {called[1]!r} in {code!r}"
        known = flags[called[1]] if called and called[1] in flags else every
        for flag in re.findall(r"(?<!\S)--[a-z][a-z-]*", called[2] if called else code if code[:1] == "-" else ""):
            assert flag in known, f"{one.name}: there is no {flag} in {code!r}"


@each_page
def test_routes_exist_and_no_path_is_of_one_machine(one: Page) -> None:
    paths = json.loads(openapi(ServeSettings()))["paths"]
    for name in one.inline:
        if found := _ROUTE.match(name.partition("?")[0]):
            method, path = found[1], found[2]
            assert path in paths or path in ("/", "/serve"), f"{one.name} names {path}"
            assert method is None or method.lower() in paths[path], f"{one.name} names {name}"
    assert not re.findall(r"(?<![\w.}\]])/(?:work|home|root|Users|tmp|opt|mnt|usr|var)\b", one.text)


@each_page
def test_named_metrics_exist(one: Page) -> None:
    known = {row[0] for row in _metric_rows()}
    for name in one.inline:
        if re.match(r"^stream_reco_[a-z_]+$", name):
            assert name in known, f"{one.name} names the metric {name}"


OF_EVERY_PAGE = (
    test_files_exist,
    test_functions_and_methods_exist,
    test_settings_and_variables_exist,
    test_commands_and_flags_exist,
    test_routes_exist_and_no_path_is_of_one_machine,
)
"""What pages that a command writes keep too."""

# What is wrong in a page must be found, or the tests above could not fail.
WRONG = [
    (test_files_exist, "see `stream_reco/nowhere.py`"),
    (test_files_exist, "see `topologies/nowhere.py`"),
    (test_files_exist, "see [this](nowhere.md)"),
    (test_files_exist, "see [this](operations.md#nowhere)"),
    (test_files_exist, "# Here\n\nsee [this](#nowhere)"),
    (test_functions_and_methods_exist, "`Engine.ponder`"),
    (test_functions_and_methods_exist, "`ponder()`"),
    (test_settings_and_variables_exist, "`labels.patience`"),
    (test_settings_and_variables_exist, "`STREAM_RECO_LABELS_PATIENCE`"),
    (test_commands_and_flags_exist, "`stream-reco ponder`"),
    (test_commands_and_flags_exist, "`stream-reco serve --slowly`"),
    (test_commands_and_flags_exist, "`--slowly`"),
    (test_commands_and_flags_exist, "```sh\nA=1 stream-reco replay x \\\n  --slowly\n```\n"),
    (test_routes_exist_and_no_path_is_of_one_machine, "`/v1/ponder`"),
    (test_routes_exist_and_no_path_is_of_one_machine, "`DELETE /v1/events`"),
    (test_routes_exist_and_no_path_is_of_one_machine, "the log is in /tmp/shop"),
    (test_named_metrics_exist, "`stream_reco_ponderings_total`"),
]


@pytest.mark.parametrize(("rule", "text"), WRONG)
def test_what_is_wrong_is_found(rule: Callable[[Page], None], text: str) -> None:
    with pytest.raises(AssertionError):
        rule(Page("docs/wrong.md", text))


# --- tables


def _metric_rows() -> list[tuple[str, str, str, str]]:
    rows = []
    for metric in (getattr(metrics, name) for name in metrics.__all__):
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            rows.append((name, family.type, labels, family.documentation))
    return rows


def test_every_metric_is_listed() -> None:
    listed = [(bare(name), kind, labels, text) for name, kind, labels, text in OPERATIONS.table("metric")]
    wanted = _metric_rows()
    missing = "\n".join(f"| `{name}` | {kind} | {labels} | {text} |" for name, kind, labels, text in wanted)
    assert listed == wanted, f"the table of metrics in {OPERATIONS.name} should be:\n{missing}"


def test_every_metric_is_handed_on() -> None:
    registered = {family.name for family in metrics.REGISTRY.collect() if family.name.startswith("stream_reco_")}
    assert registered == {name.removesuffix("_total") for name, *_ in _metric_rows()}


def test_every_setting_is_listed_with_its_default() -> None:
    listed = [(bare(name), bare(default)) for name, default, _ in OPERATIONS.table("setting")]
    assert listed == [(line.key, line.value) for line in describe(load())]
    assert all(len(what) > 10 for _, _, what in OPERATIONS.table("setting"))


def test_every_setting_of_the_other_models_is_listed_with_its_default() -> None:
    listed = [(bare(name), bare(default)) for name, default, _ in OPERATIONS.table("model setting")]
    wanted = []
    for name in MODELS:
        if name != DEFAULT:
            lines = describe(load(overrides={"model.name": name}))
            wanted += [(line.key, line.value) for line in lines if line.key.startswith(f"model.{name}.")]
    assert listed == wanted


def test_every_route_is_listed() -> None:
    paths = json.loads(openapi(ServeSettings()))["paths"]
    there = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert {bare(route) for route, _ in EVENTS.table("route")} == there


def test_every_field_of_an_event_is_listed() -> None:
    listed: dict[str, dict[str, bool]] = {kind: {} for kind in KINDS}
    for field, kinds, _ in EVENTS.table("field"):
        for kind in kinds.replace("\\", "").split(", "):
            listed[kind.rstrip("*")][bare(field)] = kind.endswith("*")
    for kind, struct in KINDS.items():
        fields = {field.name: field.required for field in msgspec.structs.fields(struct)}
        assert listed[kind] == {"type": True} | fields, kind


def _reasons_in(folder: str, error: str) -> set[tuple[int, str]]:
    """(status or 0, reason) of every `error(…)` whose arguments are written out."""
    found = set()
    for path in (ROOT / "stream_reco" / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == error:
                values = [one.value for one in node.args[:2] if isinstance(one, ast.Constant)]
                if len(values) == 2 and isinstance(values[0], int) and isinstance(values[1], str):
                    found.add((values[0], values[1]))
                elif values and isinstance(values[0], str):
                    found.add((0, values[0]))
    return found


def test_every_reason_is_listed() -> None:
    events = {reason for _, reason in _reasons_in("events", "BadEvent")} | {"too_large"}
    assert {bare(reason) for reason, _ in EVENTS.table("reason")} == events
    listed = {(int(status), bare(one)) for status, reasons, _ in EVENTS.table("status") for one in reasons.split(", ")}
    raised = _reasons_in("serve", "HttpError") | _reasons_in("serve", "ForbiddenError")
    raised |= {(503, reason) for _, reason in _reasons_in("embedded", "UnavailableError")}
    raised |= {(400, reason) for _, reason in _reasons_in("serve", "RefusedError") if reason != "now"}  # Python's alone
    raised |= {(501, reason) for _, reason in _reasons_in("serve", "NotSetUpError")}
    assert raised <= listed, f"not listed: {sorted(raised - listed)}"
    assert {status for status, _ in listed} == {*ERRORS, 405}


def test_rooms_are_those_of_the_walls() -> None:
    listed = {bare(room): may for room, _, may in ARCHITECTURE.table("room")}
    assert set(listed) == set(MAY_IMPORT) - {""}
    anyone = {"kernel_cache", "metrics"}  # below all rooms: neither is listed where all above are meant
    for place, (room, may) in enumerate(listed.items()):
        if may.startswith("all above"):
            without = {bare(name) for name in may.removeprefix("all above").removeprefix(" but ").split(", ")}
            assert set(list(listed)[:place]) - without - anyone == MAY_IMPORT[room] - anyone, room
        else:
            assert sorted(MAY_IMPORT[room]) == [bare(name) for name in may.split(", ") if name], room
    assert set(list(listed)[: list(listed).index("embedded")]) - {"kernel_cache"} == ALL


def test_folders_of_rooms_are_listed() -> None:
    packages = {path.parent for top in ("stream_reco", "topologies") for path in (ROOT / top).rglob("__init__.py")}
    names = {str(path.relative_to(ROOT)).removeprefix("stream_reco/") for path in packages}
    assert [bare(folder) for folder, _ in ARCHITECTURE.table("folder")] == sorted(
        (name for name in names if name.count("/") == 1), key=lambda name: (name.startswith("topologies/"), name)
    )


def test_each_question_names_files_that_exist() -> None:
    questions = ARCHITECTURE.table("question")
    assert len(questions) >= 10
    for question, where in questions:
        files = [name for name in re.findall(r"`([\w/]+\.py)`", where) if name != "settings.py"]
        assert question.endswith("?")
        assert files, f"{question} names no file"
        for name in files:
            root = ROOT if name.startswith("topologies/") else ROOT / "stream_reco"
            assert (root / name).is_file(), f"{question} names {name}"


def test_the_glossary_is_in_order_and_names_where_each_thing_is() -> None:
    terms = GLOSSARY.table("term")
    assert [term for term, *_ in terms] == sorted((term for term, *_ in terms), key=str.casefold)
    for term, meaning, where in terms:
        assert len(meaning) > 20, term
        assert "`" in where, f"{term} names no file"


def test_decisions_are_numbered_and_indexed() -> None:
    files = sorted(path for path in (ROOT / "docs" / "decisions").glob("*.md") if path.name != "README.md")
    index = dict(zip(DECISIONS.links, [row[1] for row in DECISIONS.table("page")], strict=True))
    assert list(index) == [path.name for path in files]
    for number, path in enumerate(files, start=1):
        assert path.name.startswith(f"{number:04d}-")
        assert path.read_text().startswith(f"# {number}. {index[path.name]}\n")


# --- examples


def test_example_events_decode() -> None:
    block = next(block for block in EVENTS.blocks if block.language == "json")
    events = decode_many(block.text.encode())
    assert not [event for event in events if isinstance(event, BadEvent)]
    assert {type(event) for event in events} == set(KINDS.values())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("one", [EVENTS, OPERATIONS], ids=lambda one: one.name)
def test_examples_run_as_they_stand(one: Page, tmp_path: Path) -> None:
    with PageShell(tmp_path, tmp_path) as shell:
        asked, printed = None, ""
        for block in one.blocks:
            if block.language == "sh":
                asked, printed = block, shell.run(block)
            elif block.language == "toml":
                (tmp_path / block.text.split()[1]).write_text(block.text)
            elif asked is not None and printed:
                shell.check_answer(asked, printed, block)
                printed = ""


def test_the_examples_of_features_are_events_settings_and_answers(tmp_path: Path) -> None:
    events, declared, answer = FEATURES.blocks
    for line in events.text.splitlines():
        (event,) = decode_many(f"[{line}]".encode(), arrived_at=1)
        assert not isinstance(event, BadEvent)
    (tmp_path / "features.toml").write_text(declared.text)
    settings = load(tmp_path / "features.toml").settings.features
    assert (settings.item, settings.user) == ({"year": "category", "clicks": "ignored"}, {})
    assert msgspec.json.decode(answer.text, type=FeatureReport).features[0].name == "kind"


def test_other_pages_have_no_examples_that_nobody_runs() -> None:
    for one in PAGES:
        # The model of the page on architecture is added and trained by tests/model/zoo/test_added_model.py.
        if one.name not in ("README.md", EVENTS.name, OPERATIONS.name, ARCHITECTURE.name, FEATURES.name):
            assert not one.blocks, one.name
