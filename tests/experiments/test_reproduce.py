"""The experiments as commands: their runs, resuming, failures, interruption; and the pages they write."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet
import pytest

import tests.test_docs as rules
from stream_reco.cli.app import main
from stream_reco.cli.commands.replay import replay
from stream_reco.cli.commands.reproduce import write_experiment_page
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action
from stream_reco.experiments.pages.plot import experiment_plot
from stream_reco.experiments.pages.tables import ExperimentResults, experiment_figures, experiment_page
from stream_reco.experiments.runs.plan import FULL, LOG, SEEDS, Experiment, Run, Size, ablations, sync
from stream_reco.experiments.runs.process_pool import environment
from stream_reco.experiments.runs.result_store import Result, ResultStore
from stream_reco.experiments.runs.run_all import run_all
from stream_reco.model.features.names import FAMILIES, LEARNED_FAMILIES
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.sources import SOURCES
from stream_reco.serve.slate.request import Request
from stream_reco.terminal.errors import Failure
from tests.pages import Page
from tests.programs import COMMAND, environ

SIZE = Size(400, 200)
NEVER = Run("sync never", ("--sync-interval", "never"), seed=3)
SMALL = Experiment("sync", FULL, (FULL, NEVER), ())


def write_log(folder: Path, rows: int = 500) -> Path:
    """Clicks as those of the portal, one a second, on few articles that most people like."""
    rng = np.random.default_rng(0)
    start = 1_507_000_000_000
    columns: dict[str, Any] = {
        "user_id": rng.integers(40, size=rows),
        "click_article_id": rng.zipf(1.5, size=rows) % 30,
        "click_timestamp": start + 1000 * np.arange(rows),
        "session_start": np.full(rows, start),
    }
    for name in ("environment", "deviceGroup", "os", "country", "region", "referrer_type"):
        columns[f"click_{name}"] = rng.integers(3, size=rows)
    pa.parquet.write_table(pa.table(columns), folder / LOG)
    return folder / LOG


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[object, str]:
    """The exit status and error output of the command."""
    monkeypatch.setattr(sys, "argv", ["stream-reco", "reproduce", *map(str, arguments)])
    monkeypatch.delenv("STREAM_RECO_DATA", raising=False)
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


# --- what is run


def test_one_part_is_left_out_at_a_time() -> None:
    runs = ablations().runs
    assert runs[0] == FULL
    left_out = [run.options[len(FULL.options) :] for run in runs[1:]]
    assert left_out == [
        *(("--without-source", name) for name in SOURCES),
        *(("--without-features", name) for name in (*FAMILIES, *LEARNED_FAMILIES)),
    ]
    assert all(run.options[: len(FULL.options)] == FULL.options for run in runs)


def test_sync_differs_in_the_interval_alone() -> None:
    intervals = ("10", "60", "600", "3600", "never")
    assert [run.options for run in sync().runs] == [("--sync-interval", interval) for interval in intervals]
    assert sync().full in sync().runs
    assert sync().seeds == ablations().seeds
    assert [run.seed for run in sync().seeds] == list(SEEDS)


def test_a_result_is_of_one_command_and_one_log(tmp_path: Path) -> None:
    log = write_log(tmp_path)
    store = ResultStore(tmp_path / "work", log, SIZE)
    runs = list(dict.fromkeys((*sync().everything, *ablations().everything)))
    names = {store.file(run, "json") for run in runs}
    assert len(names) == len(runs) == 5 + len(SEEDS) + len(SOURCES) + len(FAMILIES) + len(LEARNED_FAMILIES)
    assert not names & {ResultStore(tmp_path / "work", log, replace(SIZE, limit=401)).file(run, "json") for run in runs}
    write_log(tmp_path, rows=501)
    assert not names & {ResultStore(tmp_path / "work", log, SIZE).file(run, "json") for run in runs}


def test_replays_do_not_inherit_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_RECO_TRAINING_SEED", "5")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    given = environment(1000)
    assert not [name for name in given if name.startswith("STREAM_RECO_")]
    assert given["OMP_NUM_THREADS"] == "7"
    assert given["NUMBA_NUM_THREADS"] == "1"


# --- running it


def test_what_is_finished_is_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = ResultStore(tmp_path / "work", write_log(tmp_path), SIZE)
    run_all(store, [FULL, NEVER, FULL], 2)
    assert "2/2" in capsys.readouterr().out
    full, never = store.find(FULL), store.find(NEVER)
    assert full is not None
    assert never is not None
    assert (full.report["events"], full.report["evaluated"], full.jobs) == (400, 200, 2)
    assert full.report["settings"]["training"]["seed"] == 0
    assert never.report["settings"]["training"]["seed"] == 3
    assert never.report["syncs"] < full.report["syncs"]
    assert {path.suffix for path in store.folder.iterdir()} == {".json", ".log", ".toml"}

    run_all(store, [FULL, NEVER], 1)
    output = capsys.readouterr().out
    assert "1/2 sync 60: kept from commit" in output
    assert "2/2 sync never: kept from commit" in output
    assert "started" not in output
    assert store.find(FULL) == full

    files = write_experiment_page(SMALL, store, tmp_path)
    assert [file.name for file in files] == ["sync.md", "sync.json", "sync.svg"]
    assert json.loads(files[1].read_bytes())["runs"]["sync 60"]["hr@10"] == full.report["hr@10"]
    assert f"{full.report['hr@10']:.4f}" in files[0].read_text()


def test_a_replay_that_fails_is_told_with_its_own_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = write_log(tmp_path)
    log.write_bytes(log.read_bytes()[:2000])
    store = ResultStore(tmp_path / "work", log, SIZE)
    with pytest.raises(Failure, match=rf"2 of 2 replays failed.*sync 60: stream-reco: .*{LOG}.*truncated.*status 1"):
        run_all(store, [FULL, NEVER], 2)
    assert capsys.readouterr().out.count("failed: ") == 2
    assert store.find(FULL) is None
    assert not list(store.folder.glob("*.part"))


def test_a_log_that_the_warm_up_takes_whole_is_told(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "work", write_log(tmp_path), SIZE)
    store.part(FULL).write_text('{"events": 20, "evaluated": 0}')
    with pytest.raises(Failure, match="nothing was evaluated: the log has 20 events"):
        store.keep(FULL, 1)
    assert store.find(FULL) is None


def test_interrupted_it_leaves_no_replay_behind(tmp_path: Path) -> None:
    write_log(tmp_path)
    command = [*COMMAND, "reproduce", "sync", "--data", str(tmp_path), "--jobs", "2"]
    process = subprocess.Popen(
        [*command, "--limit", "400", "--warm-up", "200", "--work", str(tmp_path / "w"), "--out", str(tmp_path / "o")],
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "started" in process.stdout.readline()
    assert "started" in process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == 2
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command resumes from there" in errors
    assert "Traceback" not in errors
    assert not psutil.wait_procs(children, timeout=5)[1]
    assert not list((tmp_path / "o").iterdir())


def test_what_makes_no_sense_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ("--data", tmp_path, "--work", tmp_path / "w", "--out", tmp_path / "o")
    for arguments, status, complaint in (
        (("nonsense", *there), 2, "nonsense"),
        (("sync", *there, "--limit", 5, "--warm-up", 5), 2, "--warm-up 5 leaves nothing of --limit 5"),
        (("sync",), 2, "https://www.kaggle.com/"),
        (("sync", *there), 1, f"{tmp_path / LOG}: No such file"),
    ):
        ended, errors = told(monkeypatch, capsys, *arguments)
        assert (ended, complaint in errors) == (status, True), errors
    write_log(tmp_path)
    (tmp_path / "o").write_text("")
    ended, errors = told(monkeypatch, capsys, "ablations", *there)
    assert ended == 1
    assert "name another folder with --out" in errors


# --- what is written


def result_of(run: Run, hit_rate: float, *, commit: str = "c" * 40) -> Result:
    """A result with made-up figures."""
    report: dict[str, Any] = {
        "events": 400,
        "evaluated": 200,
        "hr@10": hit_rate,
        "ndcg@10": hit_rate / 2,
        "auc": None,
        "logloss": 0.1,
        "calibration": 1.0,
        "events_per_second": 512.3,
        "candidates_per_request": 160.4,
        "git_commit": commit,
        "git_changed": False,
        "settings": {"training": {"seed": run.seed}},
    }
    command = " ".join(["stream-reco replay $STREAM_RECO_DATA/x.parquet --format globo", *run.options])
    return Result(command, {"processor": "P", "cores": "2"}, 1, report)


def made_up(experiment: Experiment, rates: dict[str, float]) -> ExperimentResults:
    """The experiment with these hit rates by title, 0.5 where there is none."""
    return ExperimentResults(
        experiment, {run: result_of(run, rates.get(run.title, 0.5)) for run in experiment.everything}
    )


ABLATED = {"sync 60": 0.7, "seed 1": 0.71, "seed 2": 0.695, "without source fresh": 0.71, "without source tower": 0.68}
EXPERIMENTS = [made_up(sync(), {"sync 60": 0.7}), made_up(ablations(), ABLATED)]


def test_differences_are_to_the_full_loop_and_chance_is_marked() -> None:
    page = Page("docs/results/ablations.md", experiment_page(EXPERIMENTS[1], None))
    rows = {row[0]: row[1:5] for row in page.table("without")}
    assert rows["– (full loop)"] == ["0.7000", "", "0.3500", ""]
    assert rows["fresh"] == ["0.7100", "≈ +0.0100", "0.3550", "≈ +0.0050"]
    assert rows["tower"] == ["0.6800", "−0.0200", "0.3400", "−0.0100"]
    same = made_up(ablations(), ABLATED | {"without source tower": 0.7})
    assert {row[0]: row[2] for row in Page("x.md", experiment_page(same, None)).table("without")}["tower"] == "="
    assert list(rows)[-1] == "fresh"  # the most important part comes first
    assert "seeds 0, 1, 2" in page.text
    assert "HR@10 from 0.6950 to 0.7100 and NDCG@10 from 0.3475 to 0.3550" in page.text
    assert len(re.findall(r"^- `stream-reco replay", page.text, re.MULTILINE)) == len(ablations().everything)


def test_intervals_are_listed_in_their_order() -> None:
    rows = Page("docs/results/sync.md", experiment_page(EXPERIMENTS[0], "sync.svg")).table("sync every")
    assert [row[0] for row in rows] == ["10 s", "60 s", "600 s", "3600 s", "never"]
    assert rows[0][5:] == ["–", "0.1000", "1.000", "512", "160"]


def test_runs_of_several_commits_are_told() -> None:
    found = EXPERIMENTS[0]
    assert "Not all runs are of one commit" not in experiment_page(found, None)
    mixed = dict(found.results) | {FULL: result_of(FULL, 0.7, commit="d" * 40)}
    assert "Not all runs are of one commit" in experiment_page(ExperimentResults(found.experiment, mixed), None)


@pytest.mark.parametrize("found", EXPERIMENTS, ids=lambda found: found.experiment.name)
def test_pages_keep_the_rules_of_pages(found: ExperimentResults) -> None:
    page = Page(f"docs/results/{found.experiment.name}.md", experiment_page(found, None))
    assert page.text.endswith("\n")
    assert not page.blocks
    for rule in rules.OF_EVERY_PAGE:
        rule(page)


@pytest.mark.parametrize("found", EXPERIMENTS, ids=lambda found: found.experiment.name)
def test_plots_and_figures_are_the_same_bytes_each_time(found: ExperimentResults) -> None:
    picture = experiment_plot(found)
    assert picture is not None
    assert picture == experiment_plot(found)
    text = picture.decode()
    assert "NDCG@10" in text
    assert "<dc:date>" not in text
    for run in found.experiment.runs:
        if run != FULL:
            assert (run.options[-1] if found.experiment.name == "sync" else run.title) in text
    figures = json.loads(json.dumps(experiment_figures(found)))
    assert set(figures["runs"]) == {run.title for run in found.experiment.everything}
    assert figures["runs"]["sync 60"]["hr@10"] == 0.7
    assert figures["settings_of_full"] == {"training": {"seed": 0}}


def test_without_matplotlib_there_is_a_page_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert experiment_plot(EXPERIMENTS[0]) is None
    assert "svg" not in experiment_page(EXPERIMENTS[0], None)


def test_a_source_that_is_left_out_leaves_training_as_it_was() -> None:
    """What the page says of it: the same examples and the same weights, but other candidates."""
    shown, weights = [], []
    for without in ((), ("trending", "covisits", "context")):
        # With the quotas of a large shop any one source would propose all of these few items.
        retrieve = RetrieveSettings(fresh=3, tower=3, interests=3, without=without)
        with Engine(None, Settings(retrieve=retrieve)) as engine:
            engine.ingest(
                [
                    Action(user_id=n % 9, item_id=n * 7 % 40, action="click", timestamp=1_507_000_000_000 + n * 1000)
                    for n in range(200)
                ]
            )
            engine.sync()
            slates = engine.recommend_many([Request(user) for user in range(9)])
            shown.append({item.source for slate in slates for item in slate.items})
            weights.append(engine.learner.queue.trainer.state())
    assert not shown[1] & {"trending", "covisits", "context"}
    assert shown[0] & {"trending", "covisits", "context"}
    assert weights[0].keys() == weights[1].keys()
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])


def test_the_options_are_those_of_replay() -> None:
    names = {f"--{name.replace('_', '-')}" for name in replay.__annotations__}
    used = {option for run in (*sync().everything, *ablations().everything) for option in run.options[::2]}
    assert used == {"--sync-interval", "--without-source", "--without-features"}
    assert used <= names
