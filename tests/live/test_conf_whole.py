"""Every parameter in every form of value, and whole files of every shape, beside the real servers 15 and 18."""

import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from dbkit.ephemeral import Unavailable
from dbkit.ephemeral.account import unprivileged
from dbkit.ephemeral.postgres import start_postgres
from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.reader import read_file
from tests.fixtures.parts import missing

# What the machine, the build or the catalogue decides: locales, the stack, libraries, names of a database's objects.
ELSEWHERE = {
    "lc_messages", "lc_monetary", "lc_numeric", "lc_time", "max_stack_depth", "ssl", "wal_compression", "io_method",
    "default_toast_compression", "default_text_search_config", "default_table_access_method", "default_tablespace",
    "temp_tablespaces", "transaction_isolation", "transaction_deferrable", "output_plugin_libraries",
}  # fmt: skip
OF_THE_SERVER = {"config_file", "role", "session_authorization", "seed"}
# What one line makes of another a start refuses, the view does not: tests/live/test_conf_starts.py.
TOGETHER = ("Cannot enable", "multiple recovery targets")
FORMS = (
    "",
    " ",
    "on",
    "ON",
    "of",
    "t",
    "ye",
    "o",
    " on",
    "1",
    "0",
    "-1",
    "2",
    "8",
    "16",
    "100",
    "2147483648",
    "99999999999999999999",
    "0x10",
    "010",
    "08",
    "+5",
    "  5",
    "5  ",
    "5 x",
    "1_000",
    "1.5",
    "2.5",
    "-0.4",
    ".5",
    ".",
    "1e2",
    "1e",
    "0x1p4",
    "inf",
    "nan",
    "1kB",
    "1 kB",
    "1MB",
    "1GB",
    "1TB",
    "1mb",
    "1K",
    "1.5MB",
    "64kB",
    "1500us",
    "1.5ms",
    "1s",
    "90s",
    "0.5min",
    "1h",
    "25d",
    "1w",
    "a",
    "a,b",
    "a, b",
    '"a,b"',
    '"a',
    "a,,b",
    ",a",
    "é",
    "it's",
    "ISO, DMY",
    "German",
    "iso, sql",
    "dmy,mdy",
    "UTC",
    "utc",
    "Europe/Berlin",
    "EST5EDT",
    "EST5EDT,M3.2.0,M11.1.0",
    "EST5EDT,M13.2.0,M11.1.0",
    "EST5EDT;M11.1.0,J365",
    "EST5EDT4:00:01,J300,J60",
    "+3",
    "3.5",
    "100",
    "200",
    "<-03>3",
    "<-03",
    "interval '3' hour",
    "interval '-08:00'",
    "INTERVAL '3'x",
    "none",
    "all",
    "stderr,csvlog",
    "jsonlog",
    "C",
    "UTF8",
    "utf-8",
    "WIN1252",
    "Windows-1252",
    "SQL_ASCII",
    "ANY 1 (a,b)",
    "FIRST 2 (a, b)",
    "first 0 (a)",
    "1 (a)",
    "*",
    "2 (a",
    "any (a)",
    'ANY 1 ("a-b")',
    "s1,s2",
    "s-1",
    "immediate",
    "2020-01-01 10:00:00+02",
    "yesterday",
    "epoch",
    "0/1",
    "G/1",
    "16/B374D848",
    "latest",
    "3",
    "heap,hash",
    "Default",
    "India",
    "Foo",
    "0700",
    "set,inherit",
    "view",
    "data",
    "receipt,all",
    "TLSv1.2",
    "hot_standby",
    "archive",
    "debug",
    "safe_encoding",
    "immediate ",
    "a" * 64,
    "utf8" + "-" * 70,
    "1e-400",
    "-.0",
    "on\u212a",
    "9" * 5000,
    "1e400",
    "Asia.txt",
    "A3:",
    "A3:4:5",
    "\u00e93",
    "interval '3 hours 30 min'",
    "interval '3.5 hours'",
    "interval '-08:00:30'",
    "interval 'PT3H'",
    "interval '200 hours'",
    "2020-02-30",
    "2024-02-29 24:00:00-08:30",
    "2020-01-01 10:00:00.123456789 Europe/Berlin",
    "2020-01-01 25:00",
    "2020-01-01+16",
    "2020-01-01-08:30",
    "2020-366 10:00 UTC",
)  # fmt: skip


@pytest.fixture(scope="module")
def own(pg_major):
    try:
        made = start_postgres(pg_major, sources=("embedded", "local"))
    except Unavailable as error:
        missing(f"postgres{pg_major}", " ".join(error.reason.split()))
    with made as server:
        with (server.directory / "postgresql.conf").open("a") as stream:
            stream.write("include_if_exists 'w/probe.conf'\n")
        yield server


@pytest.fixture
def probe(own):
    folder = own.directory / "w"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    return folder / "probe.conf"


def test_every_parameter_takes_and_refuses_what_the_server_does(own, probe):
    said = []
    with psycopg.connect(own.dsn, autocommit=True) as connection:
        connection.execute("set client_min_messages = debug3")
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        known = parameters.load(own.major)
        names = [*(p.name for p in known.values() if p.name not in ELSEWHERE), "default_with_oids", "role", "seed"]
        wrong = []
        for form in FORMS:
            probe.write_text("".join(f"{name} = '{form.replace(chr(39), chr(39) * 2)}'\n" for name in names))
            probe.chmod(0o644)
            said.clear()
            rows = connection.execute(
                "select name, error from pg_file_settings where sourcefile like '%/probe.conf'"
            ).fetchall()
            restart = {m.split('"')[1] for m in said if "cannot be changed without restarting" in m}
            theirs = {name for name, error in rows if error and name not in restart}
            read = read_file(probe, own.major, auto_conf=probe.with_name("none")).settings
            ours = {s.name for s in read if s.error and not any(words in s.error for words in TOGETHER)}
            wrong += [(form, name, name in theirs) for name in sorted((ours ^ theirs) - OF_THE_SERVER)]
    assert not wrong


LONG = b"x" * 5000
DEEP = {f"n{i}.conf": b"include 'n%d.conf'\nwork_mem = %d\n" % (i + 1, 100 + i) for i in range(1, 10)}
FILES = {
    "byte order mark": b"\xef\xbb\xbfwork_mem = 4MB\nfsync = on\n",
    "crlf": b"work_mem = 4MB\r\nfsync = on\r\n\r\n# c\r\n",
    "cr only": b"work_mem = 4MB\rfsync = on\r",
    "nul": b"work_mem = 4MB\n\0\nfsync = on\n",
    "nul in a value": b"cluster_name = 'abc\0d'\nfsync = on\n",
    "nul in a name": b"wo\0rk_mem = 4MB\nfsync = on\n",
    "nul in a comment": b"# a\0b\nfsync = on\n",
    "form feed": b"work_mem\f=\f4MB\nfsync = on\n",
    "vertical tab": b"work_mem = 4MB\v\nfsync = on\n",
    "tabs": b"\twork_mem\t4MB\t# c\n",
    "long lines": b"cluster_name = '" + LONG + b"'\n# " + LONG + b"\nevent_source = '" + LONG + b"'",
    "nothing": b"",
    "no value": b"work_mem\nfsync\n",
    "equals": b"=\n= 1\nwork_mem = = 1\n",
    "quotes": b"cluster_name = ''\nevent_source = 'a''b'\nevent_source = '\\141\\\\'\narchive_command = 'x\\\ny'\n",
    "open quote": b"cluster_name = 'abc\nfsync = on\n",
    "escapes": b"cluster_name = 'a\\x41\\8\\18\\1234\\n'\nevent_source = '\\'\nrestore_command='\\\\'\nfsync = on\n",
    "double quotes": b'search_path = "a"\nfsync = on\n',
    "hash in quotes": b"cluster_name = 'a # b' # c\narchive_command = a#b\n",
    "unquoted": b"archive_command = /bin/true\nlog_line_prefix = a:b/c.d-e\nlisten_addresses = 127.0.0.1\nport = 5433\n",
    "numbers": b"work_mem = +8MB\nseq_page_cost = 1.\ncpu_tuple_cost = .01\nwork_mem = 0x100kB\nwork_mem = 1e3\nport = 5\n",
    "include": {"": b"include 'a.conf'\nwork_mem = 5MB\n", "a.conf": b"work_mem = 4MB\nnonsense\n"},
    "include, any case": {"": b"include = 'a.conf'\nINCLUDE a.conf\nInclude_If_Exists = b.conf\n", "a.conf": b"port = 5\n"},
    "include nothing": b"include ''\ninclude_dir ''\ninclude_if_exists ''\n",
    "include what is not there": b"include 'nope.conf'\nfsync = off\nnonsense = 1\n",
    "include_dir": {
        "": b"include_dir 'd'\n", "d/10-a.conf": b"work_mem = 1MB\n", "d/9-b.conf": b"work_mem = 2MB\n",
        "d/B.conf": b"work_mem = 3MB\n", "d/a.conf": b"work_mem = 4MB\n", "d/.h.conf": b"work_mem = 5MB\n",
        "d/x.txt": b"work_mem = 6MB\n", "d/.conf": b"bad\n", "d/sub.conf/x": b"", "d/D.CONF": b"bad\n",
    },
    "a folder included": {"": b"include 'd'\nfsync = on\n", "d/x.conf": b"fsync = on\n"},
    "a folder included if it is there": {"": b"include_if_exists 'd'\n", "d/x.conf": b"fsync = on\n"},
    "a file as include_dir": {"": b"include_dir 'a.conf'\n", "a.conf": b"fsync = on\n"},
    "include_dir in include_dir": {
        "": b"include_dir 'd'\nwork_mem = 9MB\n", "d/a.conf": b"include '../b.conf'\ninclude_dir 'e'\n",
        "b.conf": b"work_mem = 3MB\n", "d/e/z.conf": b"work_mem = 4MB\n",
    },
    "a fault ends include_dir": {
        "": b"include_dir 'd'\nfsync = on\n", "d/a.conf": b"oops\n", "d/b.conf": b"work_mem = 3MB\n",
    },
    "a missing file ends include_dir": {
        "": b"include_dir 'd'\nfsync = on\n", "d/a.conf": b"include 'no.conf'\n", "d/b.conf": b"work_mem = 2MB\n",
    },
    "a wrong name does not": {
        "": b"include_dir 'd'\nfsync = on\n", "d/a.conf": b"nonsense = 1\n", "d/b.conf": b"work_mem = 2MB\n",
    },
    "a fault in an included file": {
        "": b"fsync = on\ninclude 'a.conf'\nwork_mem = 2MB\n", "a.conf": b"work_mem = 1MB\n%\nfsync = off\n",
    },
    "nine deep": {"": b"include 'n1.conf'\nfsync = on\n", **DEEP, "n10.conf": b""},
    "itself": b"fsync = on\ninclude 'probe.conf'\nwork_mem = 4MB\n",
    "twice": {"": b"include 'a.conf'\ninclude 'a.conf'\n", "a.conf": b"work_mem = 1MB\n"},
    "duplicates": b"work_mem=banana\nWORK_MEM=2MB\nfsync=maybe\nfsync=on\nsort_mem=x\nwork_mem=3MB\n",
    "old name last": b"work_mem=2MB\nsort_mem=3MB\n",
    "old name first": b"sort_mem=3MB\nwork_mem=2MB\n",
    "unknown twice": b"foo=1\nfoo=2\nbar=1\n",
    "custom": b"a.b=1\nA.B=2\na.b=3\nx.y='z'\na.b.c=1\n",
    "not ascii": "work_mem\u00a0= 4MB\nfsync =\u00a0on\ncluster_name = 'é'\n# ünï\n".encode(),
    "latin1": b"cluster_name = '\xe9'\n# \xe9\nevent_source = \xe9\n\xe9=1\n",
    "other comments": b"fsync = on;\nwork_mem = 4MB ;\n; c\n// c\n-- c\n",
    "too much": b"include_dir = d.conf extra\n",
    "left out since 12": b"default_with_oids = off\nssl_renegotiation_limit = 0\n",
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_are_read_as_the_server_reads_them(name, own, probe):
    files = FILES[name] if isinstance(FILES[name], dict) else {"": FILES[name]}
    for path, content in files.items():
        file = probe.with_name("none").parent / (path or probe.name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    mine = read_file(probe, own.major, auto_conf=probe.with_name("none"))
    with psycopg.connect(own.dsn, autocommit=True) as connection:
        connection.execute("set client_encoding = sql_ascii")
        rows = connection.execute(
            "select sourcefile, sourceline, name, setting from pg_file_settings where sourcefile like '%/w/%'"
            " and name is not null order by seqno"
        ).fetchall()
    entries = [(s.file, s.line, s.name, s.raw) for s in mine.settings if not s.beyond]
    assert entries == [tuple(_text(v) for v in row) for row in rows]
    started, log = start(own, probe)
    assert mine.loads == (started is not None), (log, mine.problems)
    if started is None:
        assert len(mine.problems) == len(log), (mine.problems, log)
    else:
        assert mine.value("work_mem") == started


def _text(value):
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def start(own, probe):
    """What a start with this file makes of work_mem, or None and the reasons it logs."""
    program = Path(f"/proc/{own.pid}/exe").readlink()
    account = unprivileged()
    who = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    done = subprocess.run(
        [program, "-D", own.directory, "-c", f"config_file={probe}", "-C", "work_mem"],
        capture_output=True, cwd="/", check=False, **who,
    )  # fmt: skip
    log = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if "LOG:  " in line]
    reasons = [line for line in log if "skipping missing" not in line]
    return (done.stdout.decode().strip(), reasons) if done.returncode == 0 else (None, reasons)
