"""Sizes and durations survive being written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit.sizes import format_bytes, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("16GB", 16 * 2**30),
        ("512 MB", 2**29),
        ("1.5GiB", 3 * 2**29),
        ("64kB", 65536),
        ("7", 7),
        ("7B", 7),
        ("1t", 2**40),
    ],
)
def test_parse_bytes(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "16 potatoes", "-1GB", "1e3MB"])
def test_parse_bytes_refuses(text):
    with pytest.raises(ValueError, match="not a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 kB"), (23 * 2**20, "23 MB"), (5 * 2**40, "5.0 TB")],
)
def test_format_bytes(count, expected):
    assert format_bytes(count) == expected


@given(st.integers(min_value=0, max_value=2**50))
def test_formatted_bytes_read_back_within_rounding(count):
    assert parse_bytes(format_bytes(count)) == pytest.approx(count, rel=0.06)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.043, "43 ms"), (4.2, "4.2 s"), (190, "3 min 10 s"), (7500, "2 h 5 min"), (3600, "1 h"), (90000, "1 d 1 h")],
)
def test_format_seconds(seconds, expected):
    assert format_seconds(seconds) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("250ms", 0.25), ("30s", 30), ("5min", 300), ("5m", 300), ("2h", 7200), ("3", 3)]
)
def test_parse_seconds(text, expected):
    assert parse_seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-3s", "3 weeks"])
def test_parse_seconds_refuses(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_seconds(text)
