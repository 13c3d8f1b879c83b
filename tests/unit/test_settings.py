"""Configuration: where values come from, what is refused, and that nothing secret is ever kept in a file."""

import pytest

from dbkit import settings
from dbkit.errors import UsageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, text, name="dbkit.toml"):
    (folder / name).write_text(text)


def test_without_any_configuration_libpq_decides(folder):
    (target,) = settings.load(environ={}).choose()
    assert target.dsn({}) == ""


def test_the_environment_names_a_policy_without_any_file(folder):
    held = settings.load(environ={"DBKIT_POLICY": "strict.yaml"})
    assert (held.policy, held.sources["policy"]) == ("strict.yaml", "DBKIT_POLICY")


def test_nearest_file_upwards_wins(folder, monkeypatch):
    write(folder, '[targets.outer]\nservice = "outer"\n')
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    (folder / "a" / "dbkit.toml").write_text('[targets.inner]\nservice = "inner"\n')
    monkeypatch.chdir(inner)
    held = settings.load(environ={})
    assert list(held.targets) == ["inner"]
    assert held.sources["targets.inner"].endswith("a/dbkit.toml")


def test_pyproject_table_is_read_when_there_is_no_dbkit_toml(folder):
    write(folder, '[tool.dbkit.targets.prod]\nservice = "prod"\nmemory = "16GB"\n', "pyproject.toml")
    held = settings.load(environ={})
    assert held.targets["prod"].memory == 16 * 1024**3
    assert held.choose()[0].dsn({}) == "service=prod"


def test_dsn_comes_from_the_variable_the_file_names(folder):
    write(folder, '[targets.prod]\ndsn_env = "PROD_URL"\n')
    (target,) = settings.load(environ={}).choose(("prod",))
    assert target.dsn({"PROD_URL": "postgresql://u@h/d"}) == "postgresql://u@h/d"
    with pytest.raises(UsageError, match="PROD_URL") as caught:
        target.dsn({})
    assert "export PROD_URL" in caught.value.hint


def test_dbkit_dsn_beats_the_file(folder, monkeypatch):
    write(folder, '[targets.prod]\nservice = "prod"\n')
    monkeypatch.setenv("DBKIT_DSN", "postgresql://u@h/d")
    assert settings.load().choose()[0].dsn({}) == "postgresql://u@h/d"


@pytest.mark.parametrize(
    "line",
    [
        'dsn = "postgresql://u@h/d"',
        'url = "postgresql://u@h/d"',
        'service = "postgresql://app:canary-s3cret@h/d"',
        'password = "canary-s3cret"',
        'service = "x password=canary-s3cret"',
    ],
)
def test_a_secret_in_a_file_is_refused_without_being_shown(folder, line):
    write(folder, f"[targets.prod]\n{line}\n")
    with pytest.raises(UsageError) as caught:
        settings.load(environ={})
    assert "dsn_env" in caught.value.hint
    assert "canary-s3cret" not in "\n".join(caught.value.lines())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[targets.prod]\nmemori = 1\n", "did you mean 'memory'?"),
        ('polici = "x"\n', "did you mean 'policy'?"),
    ],
)
def test_an_unknown_key_names_the_nearest(folder, text, expected):
    write(folder, text)
    with pytest.raises(UsageError) as caught:
        settings.load(environ={})
    assert caught.value.hint == expected


@pytest.mark.parametrize(
    "text", ["[targets\n", "targets = 3\n", "[targets]\nprod = 3\n", '[targets.p]\nmemory = "lots"\n']
)
def test_broken_files_give_one_usage_error_naming_the_file(folder, text):
    write(folder, text)
    with pytest.raises(UsageError, match=r"dbkit\.toml"):
        settings.load(environ={})


def test_unknown_target_is_told_the_nearest(folder):
    write(folder, '[targets.production]\nservice = "x"\n[targets.staging]\nservice = "y"\n')
    held = settings.load(environ={})
    with pytest.raises(UsageError) as caught:
        held.choose(("prodution",))
    assert caught.value.hint == "did you mean 'production'?"
    with pytest.raises(UsageError, match="several targets"):
        held.choose()


@pytest.mark.parametrize(
    ("address", "engine", "kept"),
    [
        ("postgresql://u@h/d", "postgres", "postgresql://u@h/d"),
        ("postgresql+psycopg://u@h/d", "postgres", "postgresql://u@h/d"),
        ("host=h dbname=d", "postgres", "host=h dbname=d"),
        ("mongodb+srv://h/d", "mongo", "mongodb+srv://h/d"),
        ("https://h:9200", "elastic", "https://h:9200"),
    ],
)
def test_engine_follows_from_the_scheme(address, engine, kept):
    target = settings.from_address(address)
    assert (target.engine, target.dsn({})) == (engine, kept)


def test_unknown_scheme_is_refused_without_showing_the_rest():
    with pytest.raises(UsageError) as caught:
        settings.from_address("mysql://root:canary-s3cret@h/d")
    assert "canary-s3cret" not in "\n".join(caught.value.lines())
