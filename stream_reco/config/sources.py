"""The sources of settings, weakest first: a TOML file, the environment, flags. Each collects all its problems."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from stream_reco.config.deprecated import RENAMED, renamed
from stream_reco.config.origin import Given, Origin

PREFIX = "STREAM_RECO_"
Names = Mapping[str, Iterable[str]]
"""The names of the settings of each section."""


def from_file(path: Path, names: Names, problems: list[str]) -> list[Given]:
    """The values in a TOML file."""
    origin = Origin("file", str(path))
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        problems.append(f"the settings file {str(path)!r} cannot be read: {problem.strerror}; check the path")
        return []
    except ValueError as problem:  # of TOML or of UTF-8
        problems.append(f"the settings file {str(path)!r} is not TOML: {problem}")
        return []
    given: list[Given] = []
    for section, table in document.items():
        if section not in names:
            problems.append(f"there is no section {section!r} ({origin}){_instead(section, names)}")
        elif not isinstance(table, dict):
            problems.append(_no_section(section, table, origin))
        else:
            given += _of_table(section, table, names, origin, problems)
    return known(given, names, problems)


def _of_table(
    section: str, table: Mapping[str, object], names: Names, origin: Origin, problems: list[str]
) -> list[Given]:
    """What one section of a file gives, and the sections within it."""
    given: list[Given] = []
    for name, value in table.items():
        within = f"{section}.{name}"
        if within not in names:
            given.append(Given(section, name, value, origin))
        elif isinstance(value, dict):
            given += [Given(within, one, each, origin) for one, each in value.items()]
        else:
            problems.append(_no_section(within, value, origin))
    return given


def _no_section(section: str, value: object, origin: Origin) -> str:
    return f"{section} is {value!r} ({origin}): it is a section; write [{section}] and settings below it"


def from_environment(environ: Mapping[str, str], names: Names, problems: list[str]) -> list[Given]:
    """What variables called STREAM_RECO_<SECTION>_<NAME> give; an empty one counts as not set.

    The prefix is not ours alone (tests and deployments have variables of their own), so a variable of no section is
    only a problem where it looks like a slip of one that exists.
    """
    # Sections within sections are left out: their names need imports that cost seconds.
    every = [variable(section, name) for section in names if "." not in section for name in names[section]]
    given: list[Given] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or not environ[name]:
            continue
        rest = name.removeprefix(PREFIX).lower()
        sections = [section for section in names if rest.startswith(_in_variable(section) + "_")]
        if sections:
            section = max(sections, key=len)
            given.append(
                Given(section, rest[len(section) + 1 :], environ[name], Origin("environment", name), text=True)
            )
        elif difflib.get_close_matches(name, every, n=1, cutoff=0.9):
            problems.append(f"there is no environment variable {name}{_instead(name, every)}")
    return known(given, names, problems)


def from_flags(overrides: Mapping[str, object], names: Names, problems: list[str]) -> list[Given]:
    """The values of flags, by `section.name`; None is a flag that was not used, text is parsed as in a variable."""
    given: list[Given] = []
    for key, value in overrides.items():
        section, _, name = key.rpartition(".")
        if value is None:
            continue
        if section in names:
            given.append(Given(section, name, value, Origin("flag", key), text=isinstance(value, str)))
        else:
            problems.append(f"there is no section {section!r} (flag {key}){_instead(section, names)}")
    return known(given, names, problems)


def known(given: list[Given], names: Names, problems: list[str]) -> list[Given]:
    """The given values whose names are settings; the others become problems that suggest the closest name."""
    found: list[Given] = []
    # Of two names for one setting the present one counts, whichever of them a source gives last.
    for each in map(renamed, sorted(given, key=lambda one: one.key not in RENAMED)):
        if each.name in names[each.section]:
            found.append(each)
            continue
        within = [name.removeprefix(f"{each.section}.") for name in names if name.startswith(f"{each.section}.")]
        hint = _instead(each.name, [*names[each.section], *within], each.section + ".")
        if each.origin.kind == "environment":
            hint = _instead(each.origin.name, [variable(each.section, name) for name in names[each.section]])
        problems.append(f"there is no setting {each.key} ({each.origin}){hint}")
    return found


def variable(section: str, name: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{_in_variable(section)}_{name}".upper()


def _in_variable(section: str) -> str:
    return section.replace(".", "_")


def _instead(word: str, candidates: Iterable[str], prefix: str = "") -> str:
    names = list(candidates)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f": did you mean {prefix}{close[0]}?"
    return f"; choose from {', '.join(prefix + name for name in names)}"
