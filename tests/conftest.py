"""What tests of several rooms need: real logs, a real Kafka and Redis, programs that may be absent, a full disk."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from stream_reco.config.servers import KafkaSettings
    from tests.kafka_server import KafkaServer
    from tests.redis_server import RedisServer

ROOT = Path(__file__).parents[1]
RunOnSmallDisk = Callable[[Path, int], str]

PROGRAMS = {
    "browser": ("chromium",),
    "prometheus": ("prometheus",),
    "kafka": ("java", "mvn"),
    "redis": ("redis-server",),
}
"""Marker of a test → the programs without which it cannot run."""
SLOW_TESTS = Path(__file__).with_name("slow_tests.txt")
"""Which tests are slow by themselves; the file says how they were found."""
_prefixes = itertools.count(1)

_MOUNTED = 'mount -t tmpfs -o size="$2" none "$1" && shift 2 && exec "$@"'
_LIMITED = "import os, resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (n, n));"
_LIMITED += " os.execv(sys.executable, [sys.executable, *sys.argv[2:]])"


@pytest.fixture
def on_small_disk(tmp_path: Path) -> RunOnSmallDisk:
    """Runs `script DISK` in a process for which the folder DISK is a disk of so many bytes; returns what it prints.

    The mount lives and dies with the process, in a namespace of its own, which needs no root where the kernel lets
    users have namespaces. Where it does not, a limit on the size of a file stands in, with a warning.
    """

    def run(script: Path, size: int) -> str:
        disk = tmp_path / "disk"
        disk.mkdir()
        command = [sys.executable, str(script), str(disk)]
        env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
        apart = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", _MOUNTED, "sh"]
        if _can_mount(apart, disk):
            command = [*apart, str(disk), str(size), *command]
        else:
            warnings.warn("no file system may be mounted here: the full disk is only a file size limit", stacklevel=2)
            command = [sys.executable, "-c", _LIMITED, str(size), *command[1:]]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def _can_mount(apart: list[str], disk: Path) -> bool:
    try:
        return subprocess.run([*apart, str(disk), "65536", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real logs, which `STREAM_RECO_DATA` names; the test is skipped where nothing is named."""
    named = os.environ.get("STREAM_RECO_DATA")
    if not named:
        pytest.skip("STREAM_RECO_DATA names no folder with the real logs")
    folder = Path(named)
    assert folder.is_dir(), f"STREAM_RECO_DATA={named} is no folder"
    return folder


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The Kafka that tests share; those that stop or kill it take `own_kafka`. Mark them `kafka`."""
    yield from _kafka(tmp_path_factory.mktemp("kafka"))


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    """A Kafka for one test alone, running."""
    yield from _kafka(tmp_path / "kafka")


@pytest.fixture
def stopped_kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    """A Kafka for one test alone, which that starts."""
    yield from _kafka(tmp_path / "kafka", running=False)


def _kafka(folder: Path, *, running: bool = True) -> Iterator[KafkaServer]:
    from tests.kafka_jars import kafka_jars
    from tests.kafka_server import KafkaServer

    server = KafkaServer(folder, kafka_jars())
    try:
        if running:
            server.start()
        yield server
    finally:
        server.clean()


@pytest.fixture
def topic_prefix() -> str:
    """What the names of one test's topics, groups and transactions begin with, so that tests share a broker."""
    return f"test-{os.getpid()}-{next(_prefixes)}"


@pytest.fixture
def kafka_settings(kafka: KafkaServer, topic_prefix: str) -> KafkaSettings:
    """Settings for the shared Kafka: topics of this test's own with 2 partitions, and sessions of 6 s."""
    from stream_reco.config.servers import KafkaSettings

    return KafkaSettings(bootstrap=kafka.bootstrap, prefix=topic_prefix, partitions=2, session_seconds=6.0)


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts servers of the test's own, with arguments for redis-server; they end with the test."""
    from tests.redis_server import RedisServer

    with ExitStack() as running:
        numbers = iter(range(1_000))

        def start(*arguments: str, config: str = "", tls: bool = False) -> RedisServer:
            server = RedisServer(tmp_path / f"redis-{next(numbers)}", *arguments, config=config, tls=tls)
            return running.enter_context(server)

        yield start


@pytest.fixture(scope="session")
def _one_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    from tests.redis_server import RedisServer

    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(_one_redis: RedisServer) -> RedisServer:
    """An empty Redis, the same server for all tests that neither kill nor pause it."""
    _one_redis.do("FLUSHALL")
    return _one_redis


def pytest_configure() -> None:
    """Let the processes that tests start hear Ctrl-C where this one was told to ignore it: shells tell that to what
    they run in the background, and it is inherited.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def slow_tests() -> frozenset[str]:
    """The files and functions of `SLOW_TESTS`, from the root of the project."""
    lines = SLOW_TESTS.read_text(encoding="utf-8").splitlines() if SLOW_TESTS.exists() else []
    return frozenset(line.split()[0] for line in lines if line and not line.startswith("#"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what starts a server, reads the real logs or is listed, before `-m` chooses."""
    listed = slow_tests()
    for item in items:
        name = item.nodeid.partition("[")[0]
        implied = any(item.get_closest_marker(marker) for marker in (*PROGRAMS, "data"))
        if implied or {name, name.partition("::")[0]} & listed:
            item.add_marker("slow")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, programs in PROGRAMS.items():
        absent = [program for program in programs if shutil.which(program) is None]
        if item.get_closest_marker(marker) and absent:
            pytest.skip(f"{' and '.join(absent)} is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On the build machine nothing required may be absent, so that a green run means that everything ran."""
    report = yield
    required = any(item.get_closest_marker(marker) for marker in PROGRAMS)
    if report.skipped and required and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI=true forbids: {call.excinfo and call.excinfo.value}"
    if report.failed:
        report.sections += [(f"Kafka at {server.bootstrap}", server.complaints()) for server in _servers_of(item)]
    return report


def _servers_of(item: pytest.Item) -> list[KafkaServer]:
    fixtures: dict[str, KafkaServer] = getattr(item, "funcargs", {})
    return [fixtures[name] for name in ("kafka", "own_kafka", "stopped_kafka") if name in fixtures]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What `tests/run` did before, and what is absent, just above the closing line."""
    lines = os.environ.get("STREAM_RECO_CHECKS", "").splitlines()
    programs = [program for each in PROGRAMS.values() for program in each]
    lines += [f"{program}: NOT INSTALLED" for program in programs if shutil.which(program) is None]
    if not os.environ.get("STREAM_RECO_DATA"):
        lines.append("real logs: absent (STREAM_RECO_DATA is not set), tests marked `data` are skipped")
    if lines:
        terminalreporter.section("checks")
    for line in lines:
        terminalreporter.line(line)
