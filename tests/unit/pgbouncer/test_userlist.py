"""auth_file: quoting, kinds of secrets, and where the daemon stops."""

from hypothesis import given
from hypothesis import strategies as st

from dbkit.pgbouncer.ini.userlist import read

SCRAM = "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"


def test_kinds_of_secrets():
    text = f'"a" "{SCRAM}"\n"b" "md5{"0" * 32}"\n; a comment\n  "c" "secret" trailing words\n\n"d" ""\n"e""f" "x"\n'
    held = read(text.encode())
    assert [(u.name, u.kind, u.line) for u in held.users] == [
        ("a", "scram", 1),
        ("b", "md5", 2),
        ("c", "plain", 4),
        ("d", "none", 6),
        ('e"f', "plain", 7),
    ]
    assert held.broken_line is None
    assert "secret" not in repr(held)


def test_the_last_line_of_a_user_counts():
    assert [(u.name, u.kind) for u in read(b'"a" "x"\n"a" ""\n').users] == [("a", "none")]


def test_what_stands_after_a_broken_line_is_not_read():
    held = read(b'"a" "x"\nb "y"\n"c" "z"\n')
    assert [u.name for u in held.users] == ["a"]
    assert held.broken_line == 2
    assert read(b'# not a comment here\n"a" "x"\n').broken_line == 1
    assert read(b'"' + b"n" * 128 + b'" "x"\n').broken_line == 1


@given(st.binary(max_size=200))
def test_no_bytes_break_it(content):
    read(content)
