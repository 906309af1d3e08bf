"""The walls between the rooms: who may import whom, who may read the clock, how large a file may grow, unique names."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CORE = frozenset(
    {"events", "embedding", "signals", "labels", "interests", "model", "train", "sync", "learner", "retrieve"}
)
ALL = CORE | {"clock", "metrics", "measure", "serve", "datasets", "simulate", "storage", "redis", "config"}
# Besides itself and `metrics`. The same table stands in docs/architecture.md.
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "": frozenset({"kernel_cache"}),  # the package itself, before any room
    "kernel_cache": frozenset(),
    "events": frozenset(),
    "clock": frozenset(),
    "metrics": frozenset(),
    "embedding": frozenset(),
    "storage": frozenset({"events", "embedding"}),
    "redis": frozenset(),
    "signals": frozenset({"events"}),
    "labels": frozenset({"events", "storage"}),
    "interests": frozenset({"events", "signals"}),
    "model": frozenset({"embedding", "events", "signals", "interests"}),
    "train": frozenset({"model", "embedding", "events", "signals"}),
    "sync": frozenset({"embedding", "redis"}),
    "learner": frozenset({"events", "embedding", "signals", "labels", "model", "train", "sync", "storage"}),
    "retrieve": frozenset({"sync", "model", "interests", "signals", "events"}),
    "measure": frozenset({"events"}),
    "serve": frozenset({"retrieve", "sync", "model", "interests", "signals", "measure", "events", "redis"}),
    "datasets": frozenset({"events"}),
    "simulate": frozenset({"events"}),
    "config": frozenset({"redis"}),  # besides the rooms' settings
    "embedded": ALL,
    "topologies": ALL,
    "terminal": frozenset({"config", "datasets", "events", "topologies"}),
    "experiments": ALL | {"embedded", "terminal"},
    "cli": ALL | {"embedded", "topologies", "terminal", "experiments"},
}
SEES_CLOCK = frozenset({"embedded", "cli", "experiments", "topologies"})
ONLY_INSIDE_FUNCTIONS = frozenset({("cli", "topologies"), ("terminal", "topologies")})
KAFKA = frozenset({"faust", "aiokafka", "mode"})
WEB = frozenset({"uvicorn", "uvloop", "httptools", "starlette", "fastapi", "litestar", "aiohttp", "h11"})
API = "stream_reco.serve.http"
MOST_MODULE_LINES = 350
MOST_FUNCTION_LINES = 50
MOST_KERNEL_PARAMETERS = 7
"""Arrays of one type are easily mixed up, and nothing checks them: what belongs together goes as a named tuple."""
NAMELESS = frozenset({"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc"})
_TIME = frozenset({"time", "time_ns", "localtime", "gmtime", "ctime"})
_DATES = frozenset({"datetime.now", "datetime.utcnow", "datetime.today", "date.today"})
WALL_CLOCK = frozenset({f"time.{name}" for name in _TIME} | {f"datetime.{name}" for name in _DATES})
# Generators that take a seed; everything else in numpy.random draws from one hidden state.
SEEDED = frozenset({"Generator", "BitGenerator", "SeedSequence", "Philox", "PCG64", "PCG64DXSM", "SFC64", "MT19937"})


@dataclass(frozen=True)
class Import:
    """One name that a module imports, wherever in it the statement stands; `target` is dotted from the top."""

    target: str
    line: int
    lazy: bool


@dataclass(frozen=True)
class Module:
    """One source file under its dotted name."""

    name: str
    path: Path
    lines: int
    tree: ast.Module

    @property
    def room(self) -> str:
        """The room it belongs to, `topologies` for what is beside the package, "" for the package itself."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "stream_reco" and len(parts) > 1 else parts[0].removeprefix("stream_reco")

    @property
    def is_api(self) -> bool:
        return self.name.startswith(API)

    def imports(self) -> list[Import]:
        """All of them, inside functions and by `importlib` too."""
        within = {id(node) for function in self.functions() for node in ast.walk(function)}
        return [
            Import(target, getattr(node, "lineno", 0), id(node) in within)
            for node in ast.walk(self.tree)
            for target in self._targets(node)
        ]

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    def _targets(self, node: ast.AST) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            origin = self._origin(node)
            return [f"{origin}.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in ("import_module", "__import__"):
            return [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        return []

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.name.split(".") + ([""] if self.path.name == "__init__.py" else [])
        return ".".join([*package[: -node.level], *([node.module] if node.module else [])])


Rule = Callable[[list[Module]], Iterator[str]]


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an expression made of names and dots, "" of any other."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def modules_of(root: Path) -> list[Module]:
    """Every source file of the package and of the topologies below `root`."""
    found = []
    for path in sorted(path for top in ("stream_reco", "topologies") for path in (root / top).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        text = path.read_text(encoding="utf-8")
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found.append(Module(name, path, text.count("\n"), ast.parse(text, str(path))))
    return found


def room_of(target: str) -> str | None:
    """The room that an import enters; None where it leaves the project."""
    parts = target.split(".")
    if parts[0] == "topologies":
        return "topologies"
    return parts[1] if parts[0] == "stream_reco" and len(parts) > 1 else None


def may_enter(module: Module, one: Import, room: str) -> bool:
    """Whether the table lets `module` import something of `room`."""
    if room in (module.room, "metrics"):
        return True
    if room == "clock":
        return module.is_api or module.room in SEES_CLOCK
    if module.room == "config" and room in ALL and "settings" in one.target.split(".")[2:]:
        return True
    if (module.room, room) in ONLY_INSIDE_FUNCTIONS:
        return one.lazy
    return room in MAY_IMPORT.get(module.room, frozenset())


def broken_walls(modules: list[Module]) -> Iterator[str]:
    """Imports from one room into another that the table does not list."""
    for module in modules:
        for one in module.imports():
            room = room_of(one.target)
            if room is not None and not may_enter(module, one, room):
                hint = ", except inside a function" if (module.room, room) in ONLY_INSIDE_FUNCTIONS else ""
                yield f"{module.path}:{one.line}: {module.room or 'the package'} may not import {one.target}{hint}"


def unlisted_rooms(modules: list[Module]) -> Iterator[str]:
    """Rooms that the table does not know."""
    for room in sorted({module.room for module in modules} - set(MAY_IMPORT)):
        yield f"stream_reco.{room} is not in the table of rooms"


def foreign_parts(modules: list[Module]) -> Iterator[str]:
    """Kafka outside the topologies, a web framework outside the API."""
    for module in modules:
        for one in module.imports():
            top = one.target.split(".")[0]
            if (top in KAFKA and module.room != "topologies") or (top in WEB and not module.is_api):
                yield f"{module.path}:{one.line}: {module.name} may not import {one.target}"


def cycles(modules: list[Module]) -> Iterator[str]:
    """Modules that import each other, however far round; one line for each knot of them."""
    for knot in _knots(_module_graph(modules)):
        yield "imports go round in a circle: " + ", ".join(knot)


def cycles_of_rooms(modules: list[Module]) -> Iterator[str]:
    """Rooms that import each other, however far round, also where no two of their modules do.

    Rooms are those of the first level, and within them those of the second; a module outside of a folder is one itself.
    """
    graph = _module_graph(modules)
    for depth in (1, 2):
        rooms: dict[str, set[str]] = {}
        for name, targets in graph.items():
            room = _room_at(name, depth)
            rooms.setdefault(room, set()).update({_room_at(target, depth) for target in targets} - {room})
        for knot in _knots(rooms):
            yield "rooms import each other in a circle: " + ", ".join(knot)


def _room_at(name: str, depth: int) -> str:
    """The room of a module: `stream_reco.serve`, `stream_reco.serve.http`; `topologies`, `topologies.client`."""
    parts = name.split(".")
    return ".".join(parts[: depth if parts[0] == "topologies" else depth + 1])


def _module_graph(modules: list[Module]) -> dict[str, set[str]]:
    names = {module.name for module in modules}
    return {
        module.name: {name for one in module.imports() if (name := _module_in(one.target, names))} - {module.name}
        for module in modules
    }


def _knots(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The sets of nodes that reach each other, sorted."""
    reached = {name: _reachable(graph, name) for name in graph}
    knots = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted(sorted(knot) for knot in knots if knot)


def _module_in(target: str, names: set[str]) -> str | None:
    return next((name for name in (target, target.rpartition(".")[0]) if name in names), None)


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = [*graph[start]]
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += graph[name]
    return seen


def too_large(modules: list[Module]) -> Iterator[str]:
    """Modules and functions that are hard to hold in one's head."""
    for module in modules:
        if module.lines > MOST_MODULE_LINES:
            yield f"{module.path}: {module.lines} lines, at most {MOST_MODULE_LINES}: split it by idea"
        for function in module.functions():
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > MOST_FUNCTION_LINES:
                where = f"{module.path}:{function.lineno}"
                yield f"{where}: {function.name} has {lines} lines, at most {MOST_FUNCTION_LINES}"


def names_of_two_classes(modules: list[Module]) -> Iterator[str]:
    """Public classes that share a name: whoever searches for it would open the wrong file."""
    places: dict[str, list[str]] = {}
    for module in modules:
        for node in module.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(f"{module.path}:{node.lineno}")
    for name, found in places.items():
        if len(found) > 1:
            yield f"{len(found)} classes are called {name}: {', '.join(found)}"


def crowded_kernels(modules: list[Module]) -> Iterator[str]:
    """Compiled functions with more parameters than a reader can keep apart."""
    for module in modules:
        for function in module.functions():
            given = function.args
            parameters = len([*given.posonlyargs, *given.args, *given.kwonlyargs])
            compiled = any("jit" in ast.unparse(decorator) for decorator in function.decorator_list)
            if compiled and parameters > MOST_KERNEL_PARAMETERS:
                where = f"{module.path}:{function.lineno}"
                yield f"{where}: kernel {function.name} has {parameters} parameters: put them into named tuples"


def nameless(modules: list[Module]) -> Iterator[str]:
    """Modules named after nothing."""
    for module in modules:
        for part in set(module.name.split(".")) & NAMELESS:
            yield f"{module.path}: {part!r} says nothing about what is inside"


def hidden_inputs(modules: list[Module]) -> Iterator[str]:
    """Reads of the wall clock and of random numbers without a seed."""
    for module in modules:
        if module.name == "stream_reco.clock":
            continue
        aliases = _aliases(module)
        for one in module.imports():
            if one.target.split(".")[0] == "random":
                yield f"{module.path}:{one.line}: random has hidden state: pass a seeded generator in"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute | ast.Name):
                first, dot, rest = dotted(node).partition(".")
                if (why := _hidden(aliases.get(first, first) + dot + rest)) is not None:
                    yield f"{module.path}:{node.lineno}: {why}"
            elif isinstance(node, ast.Call) and dotted(node.func).endswith("default_rng") and not node.args:
                yield f"{module.path}:{node.lineno}: default_rng without a seed"


def _aliases(module: Module) -> dict[str, str]:
    """Local name → dotted origin, of everything imported."""
    aliases: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return aliases


def _hidden(name: str) -> str | None:
    if name in WALL_CLOCK:
        return f"{name} reads the wall clock: take the time as an argument"
    parts = name.split(".")
    if parts[:2] == ["numpy", "random"] and len(parts) == 3 and parts[2] not in SEEDED | {"default_rng"}:
        return f"{name} has hidden state: pass a seeded generator in"
    return None


RULES: tuple[Rule, ...] = (
    broken_walls,
    unlisted_rooms,
    foreign_parts,
    cycles,
    cycles_of_rooms,
    too_large,
    names_of_two_classes,
    nameless,
    crowded_kernels,
    hidden_inputs,
)


@pytest.fixture(scope="module")
def project() -> list[Module]:
    return modules_of(ROOT)


def test_the_project_is_there(project: list[Module]) -> None:
    rooms = {module.room for module in project}
    assert rooms >= ALL, f"no module found in {sorted(ALL - rooms)}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_holds(rule: Rule, project: list[Module]) -> None:
    broken = list(rule(project))
    assert not broken, "\n" + "\n".join(broken)


def test_tests_have_names_too() -> None:
    assert not {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("*.py")} & NAMELESS


BAD: list[tuple[Rule, dict[str, str], str]] = [
    (broken_walls, {"stream_reco/events/a.py": "import stream_reco.labels.joiner"}, "events may not import"),
    (broken_walls, {"stream_reco/events/a.py": "from stream_reco import labels"}, "stream_reco.labels"),
    (broken_walls, {"stream_reco/events/a.py": "def f():\n    from stream_reco.model import b"}, "a.py:2"),
    (broken_walls, {"stream_reco/events/a.py": "from ..model.b import c"}, "stream_reco.model.b.c"),
    (broken_walls, {"stream_reco/events/__init__.py": "from ..model import c"}, "stream_reco.model.c"),
    (broken_walls, {"stream_reco/train/a.py": "import importlib\nimportlib.import_module('stream_reco.sync')"}, "sync"),
    (broken_walls, {"stream_reco/__init__.py": "from stream_reco import events"}, "the package may not"),
    (broken_walls, {"stream_reco/serve/slate/a.py": "from stream_reco.clock import Clock"}, "clock"),
    (broken_walls, {"stream_reco/train/a.py": "from stream_reco.config import load"}, "config"),
    (broken_walls, {"stream_reco/learner/a.py": "from stream_reco.config import Settings"}, "config"),
    (broken_walls, {"stream_reco/train/a.py": "from stream_reco.storage.checkpoint import Part"}, "storage"),
    (broken_walls, {"stream_reco/storage/a.py": "from stream_reco.labels import Example"}, "storage may not"),
    (broken_walls, {"stream_reco/cli/commands/a.py": "import topologies.app"}, "except inside a function"),
    (broken_walls, {"stream_reco/terminal/a.py": "import topologies.app"}, "except inside a function"),
    (broken_walls, {"stream_reco/experiments/a.py": "def f():\n    import stream_reco.cli.app"}, "experiments may not"),
    (broken_walls, {"stream_reco/config/a.py": "from stream_reco.labels import LabelJoiner"}, "LabelJoiner"),
    (broken_walls, {"stream_reco/config/a.py": "import stream_reco.embedded.settings"}, "embedded"),
    (broken_walls, {"stream_reco/serve/http/app.py": "from stream_reco.embedded import Engine"}, "Engine"),
    (broken_walls, {"topologies/a.py": "from stream_reco.embedded import Engine"}, "topologies may not"),
    (broken_walls, {"topologies/a.py": "import stream_reco.cli"}, "topologies may not"),
    (broken_walls, {"stream_reco/embedded/a.py": "def f():\n    import topologies"}, "embedded may not"),
    (broken_walls, {"stream_reco/cli/a.py": "import topologies.app"}, "except inside a function"),
    (unlisted_rooms, {"stream_reco/attic/a.py": ""}, "stream_reco.attic"),
    (foreign_parts, {"stream_reco/cli/a.py": "def f():\n    import aiokafka"}, "aiokafka"),
    (foreign_parts, {"stream_reco/sync/a.py": "from faust import App"}, "faust.App"),
    (foreign_parts, {"stream_reco/serve/slate/a.py": "import uvicorn"}, "uvicorn"),
    (cycles, {"stream_reco/sync/a.py": "from .b import x", "stream_reco/sync/b.py": "from . import a"}, "sync.a, "),
    (
        cycles,
        {
            "stream_reco/sync/__init__.py": "from stream_reco.sync.a import x",
            "stream_reco/sync/a.py": "def f():\n    import stream_reco.sync.b",
            "stream_reco/sync/b.py": "from stream_reco.sync import x",
        },
        "stream_reco.sync, stream_reco.sync.a, stream_reco.sync.b",
    ),
    (
        cycles_of_rooms,
        {
            "topologies/client/a.py": "from topologies.topics.c import x",
            "topologies/client/b.py": "",
            "topologies/topics/c.py": "",
            "topologies/topics/d.py": "from topologies.messages import e",
            "topologies/messages/e.py": "def f():\n    from topologies.client.b import x",
        },
        "circle: topologies.client, topologies.messages, topologies.topics",
    ),
    (
        cycles_of_rooms,
        {
            "stream_reco/serve/http/a.py": "from stream_reco.serve.slate import c",
            "stream_reco/serve/http/b.py": "",
            "stream_reco/serve/slate/c.py": "",
            "stream_reco/serve/slate/d.py": "from ..http.b import x",
        },
        "circle: stream_reco.serve.http, stream_reco.serve.slate",
    ),
    (too_large, {"stream_reco/sync/a.py": "x = 1\n" * 351}, "351 lines"),
    (too_large, {"stream_reco/sync/a.py": "class A:\n    async def f():\n" + "        x = 1\n" * 50}, "f has 51 lines"),
    (
        names_of_two_classes,
        {"stream_reco/sync/a.py": "class Rows: ...", "topologies/b.py": "x = 1\nclass Rows: ..."},
        "topologies/b.py:2",
    ),
    (
        crowded_kernels,
        {"stream_reco/signals/a.py": "@njit(cache=True)\ndef add(a, b, c, d, e, f, g, h):\n    pass"},
        "add has 8 parameters",
    ),
    (nameless, {"stream_reco/sync/utils.py": ""}, "utils"),
    (nameless, {"stream_reco/helpers/sync.py": ""}, "helpers"),
    (hidden_inputs, {"stream_reco/sync/a.py": "import time\ntime.time()"}, "a.py:2"),
    (hidden_inputs, {"stream_reco/sync/a.py": "import time as t\nnow = t.time_ns"}, "time.time_ns"),
    (hidden_inputs, {"stream_reco/sync/a.py": "from time import time\ntime()"}, "time.time"),
    (hidden_inputs, {"stream_reco/sync/a.py": "from datetime import datetime\ndatetime.now()"}, "datetime.now"),
    (hidden_inputs, {"stream_reco/sync/a.py": "import datetime\ndatetime.datetime.utcnow()"}, "utcnow"),
    (hidden_inputs, {"stream_reco/sync/a.py": "def f():\n    from random import shuffle"}, "random"),
    (hidden_inputs, {"stream_reco/sync/a.py": "import numpy as np\nnp.random.rand(3)"}, "numpy.random.rand"),
    (hidden_inputs, {"stream_reco/sync/a.py": "import numpy as np\nnp.random.default_rng()"}, "without a seed"),
]

GOOD = {
    "stream_reco/__init__.py": '"""The package."""',
    "stream_reco/clock.py": "import time\ntime.time_ns()",
    "stream_reco/labels/a.py": "from stream_reco import metrics\nfrom stream_reco.events import Event\nfrom . import b",
    "stream_reco/labels/b.py": "import time\ntime.perf_counter()\nx = 1\n" + "# a line\n" * 347,
    "stream_reco/labels/settings.py": "def f():\n" + "    x = 1\n" * 49,
    "stream_reco/serve/http/messages.py": "import uvicorn\nfrom stream_reco.clock import Clock",
    "stream_reco/config/a.py": "from stream_reco.labels.settings import LabelSettings",
    "stream_reco/embedded/__init__.py": "from stream_reco.embedded.a import Engine",
    "stream_reco/embedded/a.py": "from stream_reco import clock, config, serve",
    "stream_reco/signals/a.py": "@njit\ndef f(a, b, c, d, e, f, g):\n    pass\ndef g(a, b, c, d, e, f, g, h): ...",
    "stream_reco/train/a.py": "import numpy as np\nnp.random.default_rng(7)\nclass A: ...\nclass _Part: ...",
    "stream_reco/train/b.py": "class _Part: ...\nclass B:\n    class A: ...",
    "stream_reco/cli/a.py": "from stream_reco.embedded import Engine\ndef f():\n    from topologies import app",
    "topologies/app.py": "import faust\nfrom stream_reco import clock, config, storage, learner, serve",
    "topologies/random_walk.py": "from topologies import app",
    "topologies/client/a.py": "from topologies.client import b\nfrom topologies.topics.c import x",
    "topologies/client/b.py": "from topologies.topics import d",
    "topologies/topics/c.py": "from topologies.topics import d",
    "topologies/topics/d.py": "from topologies import app",
    "stream_reco/serve/slate/a.py": "from stream_reco.serve.http import messages",
}


def _tree(root: Path, files: Mapping[str, str]) -> list[Module]:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return modules_of(root)


@pytest.mark.parametrize(("rule", "files", "complaint"), BAD)
def test_what_is_forbidden_is_found(rule: Rule, files: dict[str, str], complaint: str, tmp_path: Path) -> None:
    (found,) = rule(_tree(tmp_path, files))
    assert complaint in found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_what_is_allowed_is_not_found(rule: Rule, tmp_path: Path) -> None:
    assert list(rule(_tree(tmp_path, GOOD))) == []
