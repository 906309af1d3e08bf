"""`stream-reco bench`: one of the benchmarks of the source checkout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream_reco.terminal.errors import Failure, Misuse
from stream_reco.terminal.json_file import JsonOption, check_writable, write_json
from stream_reco.terminal.printing import say

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFIX = "bench_"


def bench(
    name: Annotated[str, typer.Argument(help="The benchmark; without one they are listed.", metavar="[NAME]")] = "",
    json: JsonOption = None,
) -> None:
    """Measure one part of the loop against its baseline."""
    folder = folder_of(Path.cwd())
    names = names_in(folder)
    if not name:
        say("\n".join(names))
        return
    if name not in names:
        raise Misuse(f"there is no benchmark {name!r}; choose from {', '.join(names)}")
    if json is not None:
        check_writable(json)
    figures = _measure(folder / f"{_PREFIX}{name}.py")()
    _show(name, figures)
    if json is not None:
        write_json(json, dict(figures))


def folder_of(here: Path) -> Path:
    """The benchmarks of the checkout that this file belongs to, or else of the one that contains `here`.

    Raises `Failure` where neither has any.
    """
    for root in (Path(__file__).parents[3], here, *here.parents):
        if names_in(root / "tests" / "bench"):
            return root / "tests" / "bench"
    raise Failure(f"there are no benchmarks in {here}: they come with the source; run this in a checkout of it")


def names_in(folder: Path) -> list[str]:
    """The names of the benchmarks in a folder."""
    return sorted(path.stem.removeprefix(_PREFIX) for path in folder.glob(f"{_PREFIX}*.py"))


def _measure(path: Path) -> Callable[[], Mapping[str, Any]]:
    import importlib.util
    import sys

    # Benchmarks import what they share as a part of the checkout, which need not be what is installed.
    sys.path.insert(0, str(path.parents[2]))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise Failure(f"{path.name} needs {error.name}: install it with pip install -e '.[dev]'") from error
    run: Callable[[], Mapping[str, Any]] = module.run
    return run


def _show(name: str, figures: Mapping[str, Any]) -> None:
    from rich.table import Table

    from stream_reco.terminal.console import DataConsole

    table = Table("", name, box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for label, value in _leaves(figures):
        table.add_row(label, f"{value:,.4g}" if isinstance(value, float) else str(value))
    DataConsole().print(table)


def _leaves(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for label, value in figures.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{label}.")
        else:
            yield prefix + label, value
