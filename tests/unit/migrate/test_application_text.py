"""Parameters of the application's queries as its driver takes them."""

import pytest

from dbkit.errors import UsageError
from dbkit.postgres.migrate.rehearse import application


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("select 1 where a = %s and b = %s", "select 1 where a = $1 and b = $2"),
        ("select %(a)s, %(b)s, %(a)s", "select $1, $2, $1"),
        ("select :a::int, :b, :a", "select $1::int, $2, $1"),
        ("select %s; select %s, 5 %% 2", "select $1; select $1, 5 % 2"),
        ("select '%s :a', \"%s\", $$ %s $$, $x$ :a $x$ -- %s :a", "select '%s :a', \"%s\", $$ %s $$, $x$ :a $x$ -- %s :a"),
        ("select /* :a */ b[1:2], c[i:j]", "select /* :a */ b[1:2], c[i:j]"),
    ],
)  # fmt: skip
def test_parameters_are_numbered(written, read):
    assert application.numbered(written) == read


def test_what_postgresql_reads_is_left_alone(tmp_path):
    (tmp_path / "q.sql").write_text("select a %s from t where b = $1")  # modulo of a column called s
    assert application.read("old", tmp_path / "q.sql")[0].sql == "select a %s from t where b = $1"


def test_an_error_is_that_of_the_text_as_written(tmp_path):
    (tmp_path / "q.sql").write_text("select 1;\nselekt 2\n")
    with pytest.raises(UsageError, match=r"q.sql:2"):
        application.read("old", tmp_path / "q.sql")
