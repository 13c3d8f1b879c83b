"""No password leaves in a text, whatever wrote it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbkit.secrets import redact


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:canary@h/d",
        "invalid dsn postgresql://app:can/a@ry@h/d",
        "host=h password=canary dbname=d",
        "password = 'can ary' host=h",
        "alter role app password 'canary'",
        "PASSWORD: canary",
        "mongodb://u:canary@a,b/c",
        "password='it''s canary' host=h",
        "alter role app password e'can\\'ary'",
        "alter role app password $q$it is canary$q$ valid until 'infinity'",
        '{"password": "can ary", "user": "app"}',
        "PGPASSWORD=canary pg_dump -Fc app",
        "PGPASSWORD='can ary' pg_dump",
        "tool --password canary --verbose",
        "tool --db-password='can ary'",
        "AWS_SECRET_ACCESS_KEY=canary aws s3 cp",
        'ldapbindpasswd="can ary"',
    ],
)
def test_redact(text):
    shown = redact(text)
    assert "canary" not in shown
    assert "***" in shown
    assert "ary" not in shown


def test_harmless_text_is_left_alone():
    for text in (
        "could not connect to postgresql://app@h/d: password authentication failed for user app",
        "password_encryption = md5",
        "pg_dump --no-password -Fc app",
        "the token = of a search",
    ):
        assert redact(text) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Z", "C"], exclude_characters="@"), min_size=4))
def test_any_url_password_goes(secret):
    assert secret not in redact(f"postgresql://user:{secret}@host/base").removeprefix(
        "postgresql://user:"
    ).removesuffix("@host/base")
