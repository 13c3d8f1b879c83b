"""The facts lint rests on, seen on real servers: what rewrites, what scans, and under which lock."""

import psycopg
import pytest

from tests.fixtures.migrations import hazards, report
from tests.fixtures.type_changes import CHANGES, DEFINITIONS

SCAN_WORDS = ("verifying table", "validating foreign key", "building index", "rewriting table")

M = "create table m (a int, b int) partition by range (a);"
D = M + "create table d partition of m default;"
K = "create table m (k text, b int) partition by list (k);"
R = "for values from (0) to (9)"
# (schema before, bound, the hazard or None): which checks the server takes as proof of a bound
ATTACHED = [
    (M + "create table c (a int not null, b int, check (a >= 0 and a < 9))", R, None),
    (M + "create table c (a int not null, b int, check (a between 1 and 8))", R, None),
    (M + "create table c (a int not null, b int, check (a in (1, 2, 8)))", R, None),
    (M + "create table c (a int, b int, check (not (a is null or a < 0 or 9 <= a)))", R, None),
    (M + "create table c (a int, b int, check (a >= 0 and a < 9))", R, "attach-partition"),
    (M + "create table c (a int not null, b int, check (a >= 0))", R, "attach-partition"),
    (M + "create table c (a int not null, b int, check (a >= 0 and a <= 9))", R, "attach-partition"),
    (M + "create table c (a int not null, b int, check (b >= 0 and b < 9))", R, "attach-partition"),
    (M + "create table c (a int not null, b int, check (a > 0 or a < 9))", R, "attach-partition"),
    (M + "create table c (a int not null, b int); alter table c add check (a >= 0 and a < 9) not valid", R,
     "attach-partition"),
    (("create table m (a bigint, b int) partition by range (a);"
     " create table c (a bigint not null, b int, check (a >= 0 and a < 9))"), R, None),
    (("create table m (a numeric, b int) partition by range (a);"
     " create table c (a numeric not null, b int, check (a >= 0 and a < 8.5))"), R, None),
    (("create table m (a timestamptz) partition by range (a);"
     " create table c (a timestamptz not null, check (a >= '2026-01-01' and a < '2026-01-31 12:00'))"),
     "for values from ('2026-01-01') to ('2026-02-01')", None),
    (("create table m (a timestamptz) partition by range (a);"
     " create table c (a timestamptz not null, check (a >= date '2026-01-01' and a < date '2026-01-31'))"),
     "for values from ('2026-01-01') to ('2026-02-01')", "attach-partition"),
    (("create table m (a date) partition by range (a);"
     " create table c (a date not null, check (a >= '2026-01-01' and a < '2026-02-01'))"),
     "for values from ('2026-01-01') to ('2026-02-01')", None),
    (M + "create table c (a int not null, b int, check (a < 9))", "for values from (minvalue) to (9)", None),
    (("create table m (a int, b int) partition by range (a, b); create table c (a int not null, b int not null,"
     " check ((a > 1 or a = 1 and b >= 2) and (a < 3 or a = 3 and b < 4)))"), "for values from (1, 2) to (3, 4)", None),
    (("create table m (a int, b int) partition by range (a, b); create table c (a int not null, b int not null,"
     " check (a = 1 and b >= 2 and b < 4))"), "for values from (1, 2) to (1, 4)", None),
    (("create table m (a int, b int) partition by range (a, b); create table c (a int not null, b int not null,"
     " check (a >= 1 and a < 3))"), "for values from (1, minvalue) to (3, minvalue)", None),
    (("create table m (a int, b int) partition by range (a, b); create table c (a int not null, b int not null,"
     " check (a >= 1 and a <= 3))"), "for values from (1, minvalue) to (3, maxvalue)", None),
    (("create table m (a int, b int) partition by range (a, b); create table c (a int not null, b int not null,"
     " check (a >= 1 and a < 3))"), "for values from (1, 2) to (3, 4)", "attach-partition"),
    (("create table m (a text) partition by range (lower(a)); create table c (a text,"
     " check (lower(a) is not null and lower(a) >= 'a' and lower(a) < 'b'))"), "for values from ('a') to ('b')", None),
    (K + "create table c (k text not null check (k in ('x', 'y')), b int)", "for values in ('x', 'y', 'z')", None),
    (K + "create table c (k text not null check (k = any (array['x', 'y'])), b int)", "for values in ('x', 'y')", None),
    (K + "create table c (k text check (k in ('x', 'y')), b int)", "for values in ('x', 'y')", "attach-partition"),
    (K + "create table c (k text check (k is null or k = 'x'), b int)", "for values in ('x', null)", None),
    (K + "create table c (k text not null check (k in ('x', 'w')), b int)", "for values in ('x')", "attach-partition"),
    (("create table m (k varchar(9)) partition by list (k);"
     " create table c (k varchar(9) not null check (k::text = 'x'::text))"), "for values in ('x')", None),
    ("create table m (a int) partition by hash (a); create table c (a int not null check (a = 1))",
     "for values with (modulus 2, remainder 0)", "attach-partition"),
    (D + "create table c (a int not null, b int, check (a >= 0 and a < 9))", R, "attach-partition"),
    (D + "alter table d add check (a < 0 or a >= 9);"
     " create table c (a int not null, b int, check (a >= 0 and a < 9))", R, None),
    (D + "alter table d add check (a is null or a < 0); create table c (a int not null, b int,"
     " check (a >= 0 and a < 9))", R, None),
    (D + "alter table d add check (a < 0 or a > 8);"
     " create table c (a int not null, b int, check (a >= 0 and a < 9))", R, "attach-partition"),
    (D + "alter table d add check (b > 0); create table c (a int not null, b int, check (a >= 0 and a < 9))", R,
     "attach-partition"),
    (M + "create table c (a int, b int)", "default", None),
    (M + "create table m1 partition of m for values from (0) to (9); create table c (a int, b int)", "default",
     "attach-partition"),
    (M + "create table m1 partition of m for values from (0) to (9); create table c (a int, b int, check (a >= 9))",
     "default", None),
]  # fmt: skip
# What a linter may easily take for safe.
TAKEN_FOR_SAFE = [
    (("create table m (a int not null, b int) partition by range (a); create index m_b on m (b);"
     " create table c (a int not null, b int, check (a >= 0 and a < 9))"), f"alter table m attach partition c {R}",
     "attach-partition-builds", "building index"),
    (("create table m (a int not null, b int) partition by range (a); create index m_b on m (b);"
     " create table c (a int not null, b int, check (a >= 0 and a < 9)); create index on c (b)"),
     f"alter table m attach partition c {R}", None, ""),
    (("create table m (a int primary key) partition by range (a); create table c (a int not null,"
     " check (a >= 0 and a < 9)); create unique index on c (a)"), f"alter table m attach partition c {R}",
     "attach-partition-builds", "building index"),
    (("create table m (a int primary key) partition by range (a); create table c (a int primary key,"
     " check (a >= 0 and a < 9))"), f"alter table m attach partition c {R}", None, ""),
    (("create table p (id int primary key);"
     " create table m (a int not null, b int references p (id)) partition by range (a);"
     " create table c (a int not null, b int, check (a >= 0 and a < 9))"), f"alter table m attach partition c {R}",
     "attach-partition-builds", None),
    ("create table t (a int, check (a is not null) no inherit)", "alter table t alter column a set not null",
     "not-null-scans", None),
    ("create table t (a int, check (not (a is null)))", "alter table t alter column a set not null", None, ""),
    ("create table t (b int, check (b is not null)); alter table t rename column b to x; alter table t add column b int",
     "alter table t alter column b set not null", "not-null-scans", "verifying table"),
    ("create table t (b int, check (b is not null)); alter table t rename column b to x",
     "alter table t alter column x set not null", None, ""),
    ("create table t (n varchar(9)); create index t_lower on t (lower(n))", "alter table t alter n type varchar(20)",
     "column-type-rebuilds-index", "building index"),
    ("create table t (n varchar(9)); create index t_some on t (n) where n <> ''",
     "alter table t alter n type varchar(20)", "column-type-rebuilds-index", "building index"),
    ("create table t (id int, n varchar(9)); create index t_some on t (id) where n is not null",
     "alter table t alter n type varchar(20)", "column-type-rebuilds-index", "building index"),
    ("create table t (id int, n varchar(9)); create index t_n on t (n, id) where id > 0",
     "alter table t alter n type varchar(20)", "column-type-rebuilds-index", "building index"),
    ("create table t (n varchar(9)); create index t_n on t (lower(n))", "alter table t alter n type varchar(9)",
     "column-type-rebuilds-index", "building index"),
    ("create table t (id int, n varchar(9)); create index t_n on t (n, id)", "alter table t alter n type varchar(20)",
     None, ""),
    ("create table t (a int, constraint k check (a is not null))",
     "alter table t alter a set not null, drop constraint k", "not-null-scans", "verifying table"),
    ("create table t (a int)", "alter table t add column c uuid, alter column c set default gen_random_uuid()", None, ""),
    ("create table t (a int); create table s (a int)", "create index i on only t (a)", "index-not-concurrent",
     "building index"),
    ("create table p (id varchar(9) primary key); create table t (n varchar(9) references p (id))",
     "alter table t alter n type varchar(20)", None, ""),
]  # fmt: skip
# (schema before, statement, the hazard lint names for it or None, what the server's debug lines show)
STATEMENTS = [
    ("create table t (a int, b int); alter table t add constraint k check (a > 0) not valid",
     "alter table t validate constraint k, drop column b", "validate-with-stronger-lock", "verifying table"),
    ("create table t (a int)", "alter table t alter column a set not null", "not-null-scans", "verifying table"),
    ("create table t (a int, check (a is not null))", "alter table t alter column a set not null", None, ""),
    ("create table t (a int, check (a is not null and a > 0))", "alter table t alter column a set not null", None, ""),
    ("create table t (a int, check (a > 0))", "alter table t alter column a set not null", "not-null-scans",
     "verifying table"),
    ("create table t (a int)", "alter table t add column c int check (c > 0)", "check-scans", "verifying table"),
    ("create table t (a int)", "alter table t add column c int default 10", None, ""),
    ("create table t (a int)", "alter table t add column c timestamptz not null default now()", None, ""),
    ("create table t (a int)", "alter table t add column c timestamptz default clock_timestamp()",
     "add-column-volatile-default", "rewriting table"),
    ("create table t (a int)", "alter table t add column c serial", "add-column-serial", "rewriting table"),
    ("create table t (a int)", "alter table t add column c int generated always as identity", "add-column-identity",
     "rewriting table"),
    ("create table t (a int)", "alter table t add column c int generated always as (a * 2) stored",
     "add-column-generated-stored", "rewriting table"),
    ("create table t (a int); create domain d as int check (value > 0)", "alter table t add column c d",
     "add-column-constrained-domain", "rewriting table"),
    ("create table t (a int); create domain d as int", "alter table t add column c d", None, ""),
    ("create table p (id int primary key); create table t (a int)", "alter table t add column c int references p (id)",
     None, ""),
    ("create table p (id int primary key); create table t (a int)",
     "alter table t add foreign key (a) references p (id)", "foreign-key-scans", "validating foreign key"),
    ("create table p (id int primary key); create table t (a int)",
     "alter table t add foreign key (a) references p (id) not valid", None, ""),
    ("create table t (a int); create unique index i on t (a)", "alter table t add primary key using index i",
     "primary-key-over-nullable", "verifying table"),
    ("create table t (a int not null); create unique index i on t (a)", "alter table t add primary key using index i",
     None, ""),
    ("create table t (a int)", "alter table t add unique (a)", "unique-builds-index", "building index"),
    ("create table t (a int)", "alter table t set unlogged", "set-logged", "rewriting table"),
    ("create table t (a int)", "alter table t set logged", None, ""),
    ("create domain d as int; create table t (a d)", "alter domain d add check (value > 0)", "domain-constraint-scans",
     None),
    ("create domain d as int; create table t (a d)", "alter domain d add check (value > 0) not valid", None, ""),
    ("create table m (a int) partition by range (a); create table c (a int)",
     "alter table m attach partition c for values from (0) to (9)", "attach-partition", "verifying table"),
    (("create table m (a int) partition by range (a);"
     " create table c (a int not null, check (a >= 0 and a < 9 and a is not null))"),
     "alter table m attach partition c for values from (0) to (9)", None, ""),
    ("create table t (a varchar(10) check (a <> ''))", "alter table t alter a type varchar(20)", "column-type-rechecks",
     "verifying table"),
    *TAKEN_FOR_SAFE,
]  # fmt: skip


@pytest.mark.parametrize(("before", "statement", "hazard", "words"), STATEMENTS, ids=[s[1] for s in STATEMENTS])
def test_lint_says_what_the_server_does(db, before, statement, hazard, words):
    assert hazards(statement, before=before) == ({hazard} if hazard else set())
    work, modes = debug_lines(db, before, statement)
    if words:
        assert any(words in line for line in work), work
    elif words == "":
        assert not work
    if hazard:
        assert modes & {"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"}


def test_a_check_is_a_proof_where_the_server_takes_it_for_one(db):
    wrong = []
    with db.connect(autocommit=False) as connection:
        said = []
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        for before, bound, hazard in ATTACHED:
            statement = f"alter table m attach partition c {bound}"
            connection.execute(before)
            said.clear()
            connection.execute("set local client_min_messages = debug1")
            connection.execute(statement)
            scanned = any("verifying table" in line for line in said)
            connection.rollback()
            if scanned is not bool(hazard) or hazards(statement, before=before) != ({hazard} if hazard else set()):
                wrong.append((before, bound, said.copy(), hazards(statement, before=before)))
    assert not wrong


F = "create function f() returns trigger language plpgsql as 'begin return new; end'; create trigger g before update "
# what hangs on t.a: whether ALTER TYPE and DROP COLUMN fail because of it
HANGING = [
    ("create view v as select a from t", "type drop"),
    ("create view v as select b from t", ""),
    ("create view v as select b from t where a = 1", "type drop"),
    ("create view v as select * from t", "type drop"),
    ("create view v as select t from t", ""),
    ("create table u (b int, c int); create view v as select u.c, t.b from t join u using (b)", ""),
    ("create table u (a int, b int); create view v as select u.a, x.b from t x join u on u.b = x.b", ""),
    ("create table u (a int, b int); create view v as select x.a, u.b from t x join u on u.b = x.b", "type drop"),
    ("create materialized view v as select a from t", "type drop"),
    ("create rule r as on update to t where new.a = 1 do also select 1", "type drop"),
    ("create rule r as on update to t where new.b = 1 do also select 1", ""),
    ("create policy p on t using (a = 1)", "type drop"),
    ("create policy p on t with check (a = 1)", "type drop"),
    ("create policy p on t using (b = 1)", ""),
    ("create policy p on t using (a = 1); alter policy p on t rename to q; drop policy q on t", ""),
    ("create table u (x int); create policy p on u using (x in (select a from t))", "type drop"),
    ("create table u (x int); create policy p on u using (x in (select b from t))", ""),
    (F + "of a on t for each row execute function f()", "type drop"),
    (F + "of b on t for each row execute function f()", ""),
    (F + "on t for each row when (new.a = 1) execute function f()", "type drop"),
    (F + "on t for each row when (old.* is distinct from new.*) execute function f()", ""),
    (F + "of a on t for each row execute function f(); drop trigger g on t", ""),
    ("alter table t add g int generated always as (a) stored", "type drop"),
    ("create index i on t (b) where a = 1", ""),
    ("create index i on t ((a + 1)) include (b)", ""),
    ("create statistics s on a, b from t", ""),
    ("alter table t add check (a > b), alter a set default 1", ""),
    ("alter table t add unique (a); create table c (x int references t (a))", "drop"),
    ("create table p (id int primary key); alter table t add foreign key (a) references p", ""),
    ("create publication dbkit_p for table t (a, b)", "type drop"),
    ("create publication dbkit_p for table t where (a = 1)", "type drop"),
    ("create publication dbkit_p for table t (b)", ""),
    ("create publication dbkit_p for table t (a); alter publication dbkit_p drop table t", ""),
    ("create function h() returns int begin atomic select a from t limit 1; end", "type drop"),
    ("create function h() returns int language sql as 'select a from t limit 1'", ""),
    ("create table u (x t)", "type"),
    ("alter table t rename b to c; create view v as select c from t; alter table t rename c to b", ""),
    ("create view v as select a from t; alter table t rename a to c; alter table t rename b to a", ""),
    ("create view v as select a from t; alter table t rename to u; create table t (a int, b int)", ""),
    (("alter table t drop column b; alter table t rename a to k; alter table t add a int, add b int;"
     " create view v as select k from t"), ""),
]  # fmt: skip


def test_what_hangs_on_a_column_is_what_the_server_refuses_for(db):
    acts = {"type": "alter table t alter a type bigint", "drop": "alter table t drop column a"}
    wrong = []
    with db.connect(autocommit=False) as connection:
        for setup, expected in HANGING:
            before = f"create table t (a int, b int); {setup}"
            for act, statement in acts.items():
                connection.execute(before)
                try:
                    connection.execute(statement)
                    refused = False
                except (psycopg.errors.FeatureNotSupported, psycopg.errors.DependentObjectsStillExist):
                    refused = True
                connection.rollback()
                found = [f for f in report(statement, before=before).active if f.rule == "migrate.column-in-view"]
                if not refused == bool(found) == (act in expected.split()):
                    wrong.append((setup, act, refused, [f.message for f in found]))
    assert not wrong


def debug_lines(db, before, statement):
    """What the server says it does for a statement, and the table locks it holds then."""
    db.psql(before)
    with db.connect(autocommit=False) as connection:
        said = []
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        connection.execute("set local client_min_messages = debug1")
        connection.execute(statement)
        work = [line for line in said if any(word in line for word in SCAN_WORDS) and "pg_toast" not in line]
        modes = {
            mode
            for (mode,) in connection.execute(
                "select l.mode from pg_locks l join pg_class c on c.oid = l.relation"
                " where l.pid = pg_backend_pid() and c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace"
            )
        }
        connection.rollback()
    return work, modes


def test_every_type_change_costs_what_the_table_says(db):
    db.psql(DEFINITIONS)
    wrong = []
    with db.connect() as connection:
        for change in CHANGES:
            connection.execute("set timezone = 'UTC'; drop table if exists t")
            connection.execute(
                f"create table t (c {change.old}, d {change.old}); create index i on t ({'c' if change.indexed else '(1)'})"
            )
            connection.execute(f"set timezone = '{change.zone}'")
            nodes = "select pg_relation_filenode('t'), pg_relation_filenode('i')"
            before = connection.execute(nodes).fetchone()
            using = f" using {change.using}" if change.using else ""
            connection.execute(f"alter table t alter column c type {change.new}{using}")
            after = connection.execute(nodes).fetchone()
            cost = "rewrite" if before[0] != after[0] else "rebuild" if before[1] != after[1] else "free"
            if cost != change.cost:
                wrong.append((str(change), cost))
    assert not wrong


@pytest.mark.parametrize(
    ("before", "statement", "modes"),
    [
        ("create table t (a int)", "create index on t (a)", {"t": "ShareLock"}),
        ("create table t (a int)", "create trigger x before insert on t for each row execute function suppress_redundant_updates_trigger()", {"t": "ShareRowExclusiveLock"}),
        ("create table p (id int primary key); create table t (a int, constraint fk foreign key (a) references p)", "alter table t drop constraint fk", {"t": "AccessExclusiveLock", "p": "AccessExclusiveLock"}),
        ("create table p (id int primary key); create table t (a int references p)", "drop table t", {"p": "AccessExclusiveLock"}),
        ("create table m (a int) partition by range (a); create table c partition of m default", "create table d partition of m for values from (0) to (9)", {"m": "AccessExclusiveLock", "c": "AccessExclusiveLock"}),
        ("create table m (a int) partition by range (a); create table c (a int); create table d partition of m default", "alter table m attach partition c for values from (0) to (9)", {"m": "ShareUpdateExclusiveLock", "c": "AccessExclusiveLock", "d": "AccessExclusiveLock"}),
        ("create table m (a int) partition by range (a); create table c partition of m for values from (0) to (9)", "alter table m detach partition c", {"m": "AccessExclusiveLock", "c": "AccessExclusiveLock"}),
        ("create table t (a int, constraint k check (a > 0) not valid)", "alter table t validate constraint k", {"t": "ShareUpdateExclusiveLock"}),
        ("create table t (a int)", "alter table t set (fillfactor = 90)", {"t": "ShareUpdateExclusiveLock"}),
        ("create table t (a int)", "alter table t alter a set statistics 10", {"t": "ShareUpdateExclusiveLock"}),
        ("create table t (a int)", "alter table t alter a set default 1", {"t": "AccessExclusiveLock"}),
        ("create table t (a int); create index i on t (a)", "drop index i", {"t": "AccessExclusiveLock"}),
        ("create table t (a int); create table u (a int)", "lock table t", {"t": "AccessExclusiveLock"}),
    ],
)  # fmt: skip
def test_locks_are_the_servers(db, before, statement, modes):
    from dbkit.postgres import ddl
    from dbkit.postgres.migrate.evolve import apply
    from dbkit.postgres.migrate.locks import locks
    from dbkit.postgres.migrate.reading import read
    from dbkit.postgres.migrate.schema import Schema

    db.psql(before)
    with db.connect(autocommit=False) as connection:
        connection.execute(statement)
        held = {}
        for name, mode in connection.execute(
            "select c.relname, l.mode from pg_locks l join pg_class c on c.oid = l.relation"
            " where l.pid = pg_backend_pid() and l.granted"
        ):
            held.setdefault(name, set()).add(mode)
        connection.rollback()
    schema = Schema()
    for made in ddl.parse(before):
        for action in read(made):
            apply(schema, action)
    said = {}
    for action in read(ddl.parse(statement)[0]):
        for name, mode in locks(action, schema, 15):
            said[name.name] = max(mode, said.get(name.name, mode))
    for name, mode in modes.items():
        assert mode in held[name]
        assert said[name].words.title().replace(" ", "") + "Lock" == mode


ON_18 = [
    ("create table t (a int)", "alter table t add column v int generated always as (a + 1) virtual", None, ""),
    (
        "create table t (a int)",
        "alter table t add column v int generated always as (a + 1) virtual not null",
        "not-null-scans",
        "verifying table",
    ),
    ("create table t (a int)", "alter table t add constraint n not null a not valid", None, ""),
    ("create table t (a int)", "alter table t add constraint n not null a", "not-null-scans", "verifying table"),
    (
        "create table t (a int); alter table t add constraint n not null a not valid",
        "alter table t alter a set not null",
        "not-null-scans",
        "verifying table",
    ),
    (
        "create table t (a int, v int generated always as (a) stored)",
        "alter table t alter v set expression as (a + 1)",
        "set-expression",
        "rewriting table",
    ),
    (
        "create table t (a int, v int generated always as (a) virtual)",
        "alter table t alter v set expression as (a + 1)",
        None,
        "",
    ),
    ("create table t (a int)", "alter table t add check (a > 0) not enforced", None, ""),
]


@pytest.mark.parametrize(("before", "statement", "hazard", "words"), ON_18, ids=[s[1] for s in ON_18])
def test_lint_says_what_version_18_does(db, before, statement, hazard, words):
    if db.server.version < 180000:
        db.psql(before) if "not valid" not in before and "virtual" not in before else None
        with db.connect() as connection, pytest.raises(psycopg.Error):
            connection.execute(statement)
        return
    assert hazards(statement, before=before, version=(18, None)) == ({hazard} if hazard else set())
    said = debug_lines(db, before, statement)[0]
    assert any(words in line for line in said) if words else not said
