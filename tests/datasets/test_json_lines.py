"""Logs in our own schema: what is written is read again, what is no event is a dead letter with the edge's reason."""

from __future__ import annotations

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.datasets import DatasetError, load, write_events
from stream_reco.events import Action, Event, Impression, ItemEvent, Retraction, UserEvent

T = 1_507_000_000_000
IDS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(min_size=1, max_size=9))
TIMES = st.integers(T, T + 3)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Impression, user_id=IDS, item_id=IDS, timestamp=TIMES, event_id=IDS, position=st.integers(0, 9)),
    st.builds(Action, user_id=IDS, item_id=IDS, timestamp=TIMES, event_id=IDS, action=st.just("click")),
    st.builds(Retraction, retracts=IDS, timestamp=TIMES, event_id=IDS),
    st.builds(ItemEvent, item_id=IDS, timestamp=TIMES, event_id=IDS, vector=st.just([0.5, -1.0])),
    st.builds(UserEvent, user_id=IDS, timestamp=TIMES, event_id=IDS, features=st.just({"age": 3, "tags": ["a"]})),
)


@settings(max_examples=60, deadline=None)
@given(events=st.lists(EVENTS, min_size=1, max_size=20), packed=st.booleans())
def test_what_is_written_is_read_in_order_of_time(events: list[Event], packed: bool) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / ("log.jsonl.gz" if packed else "log.jsonl")
        assert write_events(path, iter(events)) == len(events)
        log = load(path, "events")
    assert list(log) == sorted(events, key=lambda event: event.timestamp)
    assert not log.dead_letters.counts


def test_the_name_says_whether_it_is_packed(tmp_path: Path) -> None:
    write_events(tmp_path / "a.jsonl.gz", [Retraction(retracts=1, timestamp=T)])
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).startswith(b'{"type":"retraction"')


def test_bad_lines_are_dead_letters_with_the_number_of_the_line(tmp_path: Path) -> None:
    good = f'{{"type":"action","user_id":1,"item_id":2,"action":"buy","timestamp":{T}}}'
    lines = [
        "",
        good,
        "not json",
        '{"type":"wish"}',
        good.replace('"user_id":1', '"user_id":""'),
        good.replace(str(T), "1507000000"),
        good.replace(str(T), str(T + 300_001)),
        '{"type":"action","user_id":1,"item_id":2,"action":"buy"}',
        good.replace('"buy"', '"buy","value":NaN'),
        good.replace(str(T), str(T - 1)).replace("{", '{"event_id":"own",'),
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    log = load(path, "events", now_ms=T)
    assert [(len(str(event.event_id)), event.timestamp) for event in log] == [(len("own"), T - 1), (32, T)]
    assert log.dead_letters.counts == {"json": 1, "type": 1, "id": 1, "timestamp": 3, "value": 1}
    assert {letter.where for letter in log.dead_letters.examples} == {f"a.jsonl:{line}" for line in range(3, 10)}
    assert len(load(path, "events")) == 3


def test_dead_letters_count_all_and_keep_a_few(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"type":"wish"}\n' * 1000 + "x\n" * 3)
    log = load(tmp_path / "a.jsonl", "events")
    assert log.dead_letters.counts == {"type": 1000, "json": 3}
    assert len(log.dead_letters) == 1003
    assert [letter.reason for letter in log.dead_letters.examples] == ["type"] * 5 + ["json"] * 3


@pytest.mark.parametrize("content", [b"user,item,t\n1,2,3\n", b"PAR1\x00\x01\n", b"[\n1,\n"])
def test_a_file_without_one_line_of_json_is_the_wrong_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    if content.startswith(b"["):
        content += b"]"
    with pytest.raises(DatasetError, match=r"a\.jsonl.*JSON"):
        load(tmp_path / "a.jsonl", "events")


def test_a_truncated_pack_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    write_events(path, [Retraction(retracts=number, timestamp=T) for number in range(1000)])
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DatasetError, match="truncated"):
        load(path, "events")
