"""The elements of an array, found without decoding, against a parser that decodes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.serve.http.json_array import NotAnArrayError, elements_of

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a"\\[]{},:ü\n'), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.lists(anything, max_size=12), st.integers(1, 8), st.sampled_from([None, 1]))
def test_elements_are_those_that_a_parser_finds(values: list[object], limit: int, indent: int | None) -> None:
    for plain in (True, False):
        text = json.dumps(values, ensure_ascii=plain, indent=indent).encode()
        found = elements_of(b" \n" + text + b"\t", limit)
        assert found.count == len(values)
        start, located = found.first, []
        for end in found.ends.tolist():
            located.append(json.loads((b" \n" + text)[start:end]))
            start = end + 1
        assert located == values[:limit]


@settings(deadline=None)
@given(st.text(st.sampled_from('[]{},"\\ 1'), max_size=12).map(str.encode))
def test_what_is_no_array_is_refused_or_left_to_the_decoder(text: bytes) -> None:
    try:
        is_array = isinstance(json.loads(text), list)
    except ValueError:
        is_array = False
    try:
        elements_of(text, 100)
    except NotAnArrayError:
        assert not is_array


@pytest.mark.parametrize("text", [b"", b" ", b"{}", b"5", b"[", b"[1", b'["]', b"[1}", b"[1]]", b"[1] x", b"\xff[]"])
def test_no_arrays(text: bytes) -> None:
    with pytest.raises(NotAnArrayError, match=r"^the body "):
        elements_of(text, 100)
