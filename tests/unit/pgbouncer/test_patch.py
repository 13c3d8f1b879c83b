"""Patches of pgbouncer.ini: applied by `patch` and by us alike, whatever the file looks like."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbkit.model import Location
from dbkit.pgbouncer.ini import parameters
from dbkit.pgbouncer.ini.reader import read_file
from dbkit.pgbouncer.patch import apply_edits, patch
from dbkit.pgbouncer.rules.declare import Edit

V = parameters.version("1.24.1")


def edited(folder, text, *edits):
    """The configuration after the edits, made by `patch` and compared with our own."""
    path = folder / "pgbouncer.ini"
    path.write_bytes(text.encode())
    ini = read_file(path, V)
    ours = apply_edits(ini, edits)
    diff = patch(ini, edits)
    if shutil.which("patch") and diff:
        subprocess.run(["patch", "-s", "--binary", str(path)], input=diff.encode(), check=True, cwd=folder)
        assert path.read_bytes().decode() == ours[str(path)]
    elif diff:
        path.write_bytes(ours[str(path)].encode())
    return read_file(path, V)


@pytest.mark.parametrize(
    "text",
    [
        "[pgbouncer]\npool_mode = session\n",
        "[pgbouncer]\npool_mode=session",
        "[pgbouncer]\r\npool_mode = session\r\n",
        "[databases]\na = host=x\n\n[pgbouncer]\n; c\n\n",
        "[pgbouncer]",
        "[pgbouncer] pool_mode = session\n",
        "[pgbouncer]\n\n[databases]\na = host=x\n",
        "[pgbouncer]\npool_mode = session\npool_mode = session\n[databases]\n",
    ],
)
def test_a_key_is_set_wherever_it_stands(tmp_path, text):
    held = edited(tmp_path, text, Edit("pool_mode", "transaction"), Edit("min_pool_size", "5"))
    assert held.loads, held.problems
    assert held.value("pool_mode") == "transaction"
    assert held.value("min_pool_size") == "5"
    assert [d.name for d in held.databases] == (["a"] if "a = " in text else [])


def test_a_key_of_an_included_file_is_set_there(tmp_path):
    (tmp_path / "more.ini").write_text("pool_mode = session\n")
    path = tmp_path / "pgbouncer.ini"
    path.write_text("[pgbouncer]\n%include more.ini\n")
    ini = read_file(path, V)
    made = apply_edits(ini, [Edit("pool_mode", "transaction")])
    assert made == {str(tmp_path / "more.ini"): "pool_mode = transaction\n"}


def test_a_line_is_taken_out_and_another_set(tmp_path):
    text = "[pgbouncer]\nquery_timeout = 1\nquery_timeout = 2\n"
    path = tmp_path / "pgbouncer.ini"
    held = edited(tmp_path, text, Edit(at=Location(str(path), 2)), Edit("query_timeout", "0"))
    assert path.read_text() == "[pgbouncer]\nquery_timeout = 0\n"
    assert held.value("query_timeout") == "0"


def test_the_first_of_two_wishes_for_a_key_wins(tmp_path):
    held = edited(tmp_path, "[pgbouncer]\n", Edit("min_pool_size", "5"), Edit("min_pool_size", "6"))
    assert held.value("min_pool_size") == "5"


_lines = st.sampled_from(
    [
        "[databases]",
        "[users]",
        "[pgbouncer]",
        "a = host=x",
        "pool_mode = session",
        "; c",
        "",
        "min_pool_size = 1",
        "  # d",
        "; e\x0cf\x0bg\x85h\u2028i\rj\x1ck",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_lines, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_file_that_loads_still_loads_and_says_what_was_wished(lines, end, final):
    with tempfile.TemporaryDirectory() as folder:
        text = end.join(lines) + (end if final else "")
        path = Path(folder) / "pgbouncer.ini"
        path.write_bytes(text.encode())
        held = text.encode()
        before = read_file(path, V)
        if not before.loads:
            return
        after = edited(Path(folder), text, Edit("pool_mode", "transaction"), Edit("reserve_pool_size", "5"))
        assert after.loads
        assert after.value("pool_mode") == "transaction"
        assert after.value("reserve_pool_size") == "5"
        assert after.value("min_pool_size") == before.value("min_pool_size")
        assert [d.name for d in after.databases] == [d.name for d in before.databases]
        kept = [line for line in held.split(b"\n") if line.lstrip().startswith((b";", b"#"))]
        assert [line for line in path.read_bytes().split(b"\n") if line.lstrip().startswith((b";", b"#"))] == kept
