"""Diffs with a secret near the change: `patch` applies them, and the secret is not in them."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit import diffs

LINES = st.lists(st.sampled_from(["a\n", "b\n", "c\x0cd\n", "password = c4nary\n"]), max_size=12)


@given(LINES, st.lists(st.tuples(st.integers(0, 20), st.sampled_from([None, "new\n", "a\n"])), max_size=3))
def test_no_secret_around_a_change_and_patch_applies_it(tmp_path_factory, before, changes):
    after = list(before)
    for place, line in changes:
        if line is None and place < len(after) and not diffs.secret(after[place]):
            del after[place]
        elif line is not None:
            after.insert(min(place, len(after)), line)
    made = diffs.unified(before, after, "a/file", "b/file")
    assert "c4nary" not in made
    if made and shutil.which("patch"):
        file = tmp_path_factory.mktemp("patch") / "file"
        file.write_bytes("".join(before).encode())
        subprocess.run(["patch", "-s", "--binary", file], input=made.encode(), check=True)
        assert file.read_bytes() == "".join(after).encode()


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("primary_conninfo = 'host=h password=x'\n", True),
        ("ssl_passphrase_command = 'echo x'\n", True),
        ("app.token 'x'\n", True),
        ("db = host=h user=u password=x\n", True),
        ("password_encryption = md5\n", False),
        ("# password\n", False),
    ],
)
def test_which_lines_hold_a_secret(line, secret):
    assert diffs.secret(line) is secret
