"""`replay --labels`: the figures of what was shown, from the command and counted by hand."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from stream_reco.cli.app import main
from stream_reco.datasets import DeadLetters, Log
from stream_reco.datasets.rows import ListedRows
from stream_reco.events import Action, Event, Id, Impression, encode
from stream_reco.experiments.replay.shown_quality import ShownQuality, final_labels_of
from stream_reco.labels import Final, LabelSettings
from stream_reco.simulate.late_clicks import late_clicks

T = 1_700_000_000_000


def write_log(folder: Path, count: int = 900) -> list[Event]:
    """The first events of a small world, and what comes of them."""
    world = late_clicks(1, 0, requests_per_day=2_000.0, users=20, items=20)
    log = [event for event, _ in islice(world, count)]
    (folder / "log.jsonl").write_bytes(b"".join(encode(event) + b"\n" for event in log))
    return log


def replayed(folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> tuple[int, dict[str, object]]:
    """Exit status and figures of a replay of the log there."""
    out = folder / "out.json"
    arguments = [str(folder / "log.jsonl"), "--format", "events", "--warm-up", "100", "--json", str(out), *options]
    monkeypatch.setattr(sys, "argv", ["stream-reco", "replay", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return int(code or 0), json.loads(out.read_bytes()) if out.exists() else {}


def test_each_policy_is_measured_on_the_same_impressions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write_log(tmp_path)
    shown = [event for event in log if isinstance(event, Impression)]
    known = {id_: event.timestamp for event in shown if (id_ := event.event_id)}
    clicked = {str(event.event_id).removesuffix(":click") for event in log if isinstance(event, Action)}
    found = {}
    for policy in ("auto", "conclusive", "early", "immediate", "oracle"):
        status, report = replayed(tmp_path, monkeypatch, "--labels", policy)
        assert status == 0
        assert report["labels"] == policy
        found[policy] = report["impressions"]
        assert isinstance(report["settings"], dict)
        assert report["settings"]["labels"]["policy"] == ("auto" if policy == "oracle" else policy)
    counts = {(one["count"], one["positives"]) for one in found.values()}  # type: ignore[index]
    served = [event for event in log[100:] if isinstance(event, Impression)]
    assert counts == {(len(served), sum(event.event_id in clicked for event in served))}
    losses = {policy: one["logloss"] for policy, one in found.items()}  # type: ignore[index]
    assert losses["early"] == losses["conclusive"], "what comes early is learned from with the rest of the slate"
    assert len(set(losses.values())) == 4, "each other policy learns something else"
    # Which is lower says nothing here: of seven clicks there is little to learn but their rate, and it begins near it.
    assert len(known) == len(shown)


def test_a_policy_of_the_settings_stays_without_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_log(tmp_path, 300)
    (tmp_path / "s.toml").write_text('[labels]\npolicy = "immediate"\n')
    _, report = replayed(tmp_path, monkeypatch, "--config", str(tmp_path / "s.toml"))
    assert report["labels"] == "immediate"
    _, report = replayed(tmp_path, monkeypatch, "--config", str(tmp_path / "s.toml"), "--labels", "early")
    assert report["labels"] == "early"


def test_a_policy_that_is_none_is_a_slip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(tmp_path, 10)
    assert replayed(tmp_path, monkeypatch, "--labels", "patient")[0] == 2
    assert "'auto', 'conclusive', 'early', 'immediate', 'oracle'" in " ".join(
        capsys.readouterr().err.replace("│", "").split()
    )


def test_figures_are_those_of_a_library() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=1_000)
    chances = rng.random(1_000).astype(np.float32)
    finals: dict[Id, Final] = {f"i{place}": Final(int(label), 1.0, T) for place, label in enumerate(labels)}
    quality = ShownQuality(finals)
    shown = [Impression(user_id=1, item_id=2, timestamp=T + n, event_id=f"i{n}") for n in range(1_000)]
    # The first two hundred came before anything was served, and one is of another log.
    quality.shown(shown[600:], chances[600:])
    quality.shown([*shown[200:600], Impression(user_id=1, item_id=2, timestamp=T)], np.append(chances[200:600], 1.0))
    figures = quality.as_dict()
    assert figures["count"] == 800
    assert figures["auc"] == pytest.approx(roc_auc_score(labels[200:], chances[200:]), abs=1e-9)
    assert figures["logloss"] == pytest.approx(log_loss(labels[200:], chances[200:].astype(float)), rel=1e-6)
    assert figures["calibration"] == pytest.approx(chances[200:].sum() / labels[200:].sum(), rel=1e-5)
    half, tenths = figures["second_half"], figures["tenths"]
    assert isinstance(half, dict)
    assert half["auc"] == pytest.approx(roc_auc_score(labels[500:], chances[500:]), abs=1e-9)
    assert isinstance(tenths, list)
    assert [one["count"] for one in tenths] == [0, 0, *[100] * 8]
    assert [one["positives"] for one in tenths[2:]] == [int(labels[n : n + 100].sum()) for n in range(200, 1_000, 100)]
    assert [one["until"] for one in tenths[:3]] == [None, None, T + 299]


def test_hours_are_counted_from_the_first_prediction_with_what_had_come_by_then() -> None:
    hour = 3_600_000
    finals: dict[Id, Final] = {
        "early": Final(1, 1.0, T + hour),
        "a": Final(1, 1.0, T + 3 * hour + 5),
        "b": Final(0, 1.0, T + 9 * hour),
        "c": Final(1, 1.0, T + 3 * hour + 6),
    }
    quality = ShownQuality(finals)
    assert quality.as_dict()["hours"] == []
    shown = [
        Impression(user_id=1, item_id=2, timestamp=T + at, event_id=name)
        for name, at in (("a", hour), ("b", hour + 5), ("c", 3 * hour + 5))
    ]
    quality.shown(shown, np.array([0.5, 0.25, 0.125], dtype=np.float32))
    # Of "early" nothing was predicted, and its action came as the first hour began.
    assert quality.as_dict()["hours"] == [
        {"hour": 0, "count": 2, "positives": 1, "predicted": 0.75, "come": 0},
        {"hour": 2, "count": 1, "positives": 1, "predicted": 0.125, "come": 1},
    ]


def test_a_log_of_clicks_alone_has_no_such_figures() -> None:
    clicks = [Action(user_id=1, item_id=2, action="click", timestamp=T + n, event_id=f"c{n}") for n in range(9)]
    assert final_labels_of(Log("clicks", [ListedRows(clicks)], DeadLetters()), LabelSettings()) == {}
