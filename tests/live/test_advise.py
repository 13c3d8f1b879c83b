"""`index advise` on real servers: what it proposes, what it leaves alone, and whether the copy plans as the target."""

import time

import pytest

from dbkit.errors import Unreachable, UsageError
from dbkit.postgres.advise import facts, ground, report
from dbkit.postgres.advise.advise import Question, advise
from dbkit.postgres.advise.emptycopy import EmptyCopy, stretch
from dbkit.postgres.advise.plans import Plan
from dbkit.postgres.advise.statement import Statement, parse
from dbkit.postgres.connect import connect, fetch, server
from dbkit.postgres.indexes import desired
from dbkit.settings import from_address
from tests.live.advice import WORKLOAD, ask, shapes, template


@pytest.fixture
def shop(pg, database_on):
    """The documented platform with rows and statistics."""
    return database_on(pg, template=template(pg))


def test_the_platforms_statements_get_the_expected_advice(shop):
    answer = ask(shop.dsn, *WORKLOAD, "selekt 1", "select * from nowhere")
    assert shapes(answer) == {wanted for wanted in WORKLOAD.values() if wanted}
    served = {q.statement.line for p in answer.proposals for q in p.helped}
    assert served == {n for n, wanted in enumerate(WORKLOAD.values(), start=1) if wanted}
    for proposal in answer.proposals:
        assert proposal.after < 0.7 * proposal.before
        assert proposal.bytes > 0
    assert [u.reason for u in answer.work.unread] == ['syntax error at or near "selekt"']
    assert [u.reason for u in answer.unplanned] == ['relation "nowhere" does not exist']


@pytest.mark.pg(15)
def test_hypopg_and_the_copy_propose_the_same(shop):
    shop.execute("create extension hypopg")
    statements = [s for s, wanted in WORKLOAD.items() if wanted and "gin" not in wanted]
    hypopg = ask(shop.dsn, *statements, how="hypopg")
    copy = ask(shop.dsn, *statements, how="clone")
    assert hypopg.tried.startswith("HypoPG")
    assert copy.tried.startswith("an empty copy on PostgreSQL 15")
    assert shapes(hypopg) == shapes(copy) == {w for w in WORKLOAD.values() if w and "gin" not in w}
    for one, other in zip(hypopg.outcomes, copy.outcomes, strict=True):
        assert one.query.before.cost == pytest.approx(other.query.before.cost, rel=0.02)
        assert one.after.cost == pytest.approx(other.after.cost, rel=0.15, abs=2)


@pytest.mark.pg(15)
def test_gin_is_tried_on_a_copy_even_where_hypopg_is_installed(shop):
    shop.execute("create extension hypopg")
    answer = ask(shop.dsn, "select * from jobs where title ilike '%quantum%'")
    assert answer.tried.startswith("an empty copy")
    assert shapes(answer) == {"public.jobs using gin (title public.gin_trgm_ops)"}
    only = ask(shop.dsn, "select * from jobs where title ilike '%quantum%'", how="hypopg")
    assert only.proposals == ()
    assert [reason for _, reason in only.untried] == ["HypoPG has no gin indexes"]


INDEXED = (
    "create index on users (email)", "create index on users (lower(full_name))", "create index on jobs (posted_at)",
    "create index on applications (job_id, created_at)", "create index on resumes (user_id) where is_primary",
    "create index on audit_logs (user_id)", "create index on jobs using gin (title gin_trgm_ops)",
)  # fmt: skip
ASKED = (
    *WORKLOAD,
    "select * from users where email like 'user77%' and status = 'pending'",
    "select * from resumes where is_primary and user_id between 5 and 900",
    "select * from applications where job_id = any($1) order by created_at",
    "select j.location, count(*) from jobs j join applications a on a.job_id = j.id where j.company_id = 7 group by 1",
    "select * from jobs where posted_at > '2026-11-10'",
    "select * from audit_logs where action = 'view' and created_at > '2026-11-20'",
)


def test_the_copy_has_the_targets_statistics_and_comes_to_the_same_plans(shop):
    for statement in (*INDEXED, "vacuum analyze"):
        shop.execute(statement.encode())
    statements = [s for s in parse(";\n".join(ASKED)) if isinstance(s, Statement)]
    target = from_address(shop.dsn)
    with connect(target) as source:
        held = facts.read(source, server(source))
        with connect(target) as original, EmptyCopy(target, source, held) as copy:
            copy.learn(statements)
            ground.prepare(original, seconds=30)
            original.execute("set search_path = public")
            wanted = fetch(source, STATISTICS)
            assert len(wanted) > 40
            assert fetch(copy.connection, STATISTICS) == wanted
            for statement in statements:
                real, ours = ground.explain(original, statement), copy.plan(statement)
                assert isinstance(real, Plan), statement.text
                assert isinstance(ours, Plan), statement.text
                assert ours.steps() == real.steps(), statement.text
                # An index of the copy has no levels to go down: a fraction of a unit for each descent.
                assert ours.cost == pytest.approx(real.cost, rel=0.03, abs=1), statement.text
            assert fetch(copy.connection, "select count(*) as rows from public.users")[0]["rows"] == 0


STATISTICS = """
select tablename, attname, inherited, null_frac, avg_width, n_distinct, most_common_vals::text, most_common_freqs,
       histogram_bounds::text, correlation, most_common_elems::text, most_common_elem_freqs, elem_count_histogram
from pg_stats where schemaname = 'public' and tablename ~ '^(users|jobs|applications|resumes|sessions)'
order by 1, 2, 3
"""


def test_a_table_of_several_files_has_its_length(tmp_path):
    file = tmp_path / "1"
    file.write_bytes(b"")
    stretch(file, 131072 * 2 + 5)
    assert [(tmp_path / n).stat().st_size for n in ("1", "1.1", "1.2")] == [2**30, 2**30, 5 * 8192]
    assert sum((tmp_path / n).stat().st_blocks for n in ("1", "1.1", "1.2")) * 512 < 2**20
    stretch(file, 3)
    assert [p.name for p in tmp_path.iterdir()] == ["1"]
    assert file.stat().st_size == 3 * 8192


@pytest.mark.pg(18)
def test_what_is_there_already_is_not_proposed(shop):
    shop.execute("create index on users (email)")
    shop.execute("create index on resumes (title, id) where is_primary")
    shop.execute("create index on users (lower(full_name), id)")
    shop.execute("create index on sessions (expires_at, user_id)")
    shop.execute("analyze")
    statements = [s for s in WORKLOAD if " users " in s or " resumes " in s or "expires_at" in s]
    assert shapes(ask(shop.dsn, *statements)) & {w for w in WORKLOAD.values() if w} <= {"public.applications (job_id)"}


@pytest.mark.pg(18)
def test_an_invalid_index_of_the_definition_is_rebuilt_not_doubled(shop):
    with shop.connect() as connection:
        connection.execute("create index broken on users (email)")
        connection.execute("update pg_index set indisvalid = false where indexrelid = 'broken'::regclass")
    answer = ask(shop.dsn, "select * from users where email = $1")
    (proposal,) = answer.proposals
    assert proposal.invalid is not None
    assert proposal.verdict().remedy.sql == "reindex index concurrently public.broken"
    plan = report.plan(answer)
    assert plan.steps == ()
    assert [(p.object, p.rule) for p in plan.problems] == [("public.broken", "pg.index-invalid")]


def test_an_index_that_a_proposal_makes_redundant_is_named(shop):
    shop.execute("create index jobs_company on jobs (company_id)")
    shop.execute("analyze jobs")
    statement = "select * from jobs where company_id = $1 and status = $2 order by posted_at desc limit 20"
    (proposal,) = ask(shop.dsn, statement).proposals
    assert proposal.candidate.keys[0].text == "company_id"
    assert [i.name for i in proposal.redundant] == ["jobs_company"]


@pytest.mark.pg(18)
def test_writing_is_named_and_so_are_updates_that_can_no_longer_be_hot(shop):
    shop.execute("insert into applications (user_id, job_id, status) values (1, 1, 'submitted')")
    until = time.monotonic() + 20
    counted = "select n_tup_ins > 0 from pg_stat_user_tables where relname = 'applications'"
    while not shop.execute(counted)[0][0] and time.monotonic() < until:
        time.sleep(0.1)
    update = "update applications set job_id = $1 where id = $2"
    answer = ask(shop.dsn, "select * from applications where job_id = $1", update)
    (proposal,) = answer.proposals
    assert proposal.writes.inserts > 0
    assert proposal.hot == ("app.sql:2",)
    assert "can no longer be HOT" in proposal.verdict().message


@pytest.mark.pg(18)
def test_one_index_serves_several_statements(shop):
    answer = ask(
        shop.dsn,
        "select * from applications where user_id = $1 and job_id = $2",
        "select * from applications where user_id = $1",
        "select * from applications where user_id = $1 order by created_at desc limit 5",
    )
    assert shapes(answer) == {"public.applications (user_id)"}


@pytest.mark.pg(18)
def test_a_small_rest_of_columns_is_included_where_it_spares_the_table(shop):
    answer = ask(shop.dsn, "select sum(salary_min) from jobs where company_id between $1 and $2")
    assert shapes(answer) == {"public.jobs (company_id) include (salary_min)"}


def test_like_with_a_prefix_asks_for_the_operator_class_where_text_is_not_sorted_by_bytes(shop):
    answer = ask(shop.dsn, "select * from users where email like 'user777%'")
    plain = shop.execute(
        "select datlocprovider = 'b' or datcollate = 'C' from pg_database where datname = current_database()"
    )
    assert shapes(answer) == {"public.users (email)" if plain[0][0] else "public.users (email text_pattern_ops)"}


@pytest.mark.pg(18)
def test_both_arms_of_an_or_get_their_index(shop):
    answer = ask(shop.dsn, "select * from users where email = $1 or full_name = $2")
    assert shapes(answer) == {"public.users (email)", "public.users (full_name)"}


@pytest.mark.pg(18)
def test_without_trigrams_the_extension_is_named(db):
    db.psql("create table t (x text); insert into t select md5(n::text) from generate_series(1, 30000) n; analyze t")
    answer = ask(db.dsn, "select * from t where x like '%abc%'")
    assert answer.proposals == ()
    assert "create extension pg_trgm" in answer.lacks[0].reason


@pytest.mark.pg(18)
def test_a_function_that_is_not_immutable_is_said(db):
    db.psql(
        "create table t (c timestamptz); insert into t select now() - n * interval '1 min' from generate_series(1, 40000) n;"
        "analyze t"
    )
    answer = ask(db.dsn, "select * from t where date_trunc('day', c) = $1")
    assert answer.proposals == ()
    assert any("IMMUTABLE" in reason for _, reason in answer.untried)


def test_the_statistics_of_the_server_give_the_statements(shop):
    shop.execute("create extension pg_stat_statements")
    with shop.connect() as connection:
        connection.execute(
            "select pg_stat_statements_reset(0, (select oid from pg_database where datname = current_database()), 0)"
        )
        for n in range(5):
            connection.execute(f"select * from users where email = 'user{n}@example.org'".encode())
        connection.execute(
            "select date_trunc('day', created_at), count(*) from applications where user_id = 7 group by 1"
        )
        connection.execute(
            "select * from applications where created_at > timestamptz '2026-12-01' - interval '1 day' and job_id = 8"
        )
    answer = advise(from_address(shop.dsn), Question(min_calls=1))
    assert answer.unplanned == answer.work.unread == ()
    assert shapes(answer) == {"public.users (email)", "public.applications (user_id)", "public.applications (job_id)"}
    (users,) = [p for p in answer.proposals if p.candidate.table.name == "users"]
    assert users.helped[0].statement.calls == 5
    assert users.helped[0].statement.total_ms > 0
    assert shapes(advise(from_address(shop.dsn), Question(min_calls=5))) == {"public.users (email)"}


@pytest.mark.pg(18)
def test_without_the_extension_the_way_to_get_it_is_said(db):
    with pytest.raises(UsageError, match="pg_stat_statements is not there") as raised:
        advise(from_address(db.dsn), Question())
    assert "--sql FILE" in str(raised.value.hint)
    assert "shared_preload_libraries" in str(raised.value.hint)


@pytest.mark.pg(18)
def test_an_extension_whose_library_is_not_loaded_is_told_apart(own_server):
    with own_server() as alone:
        dsn = alone.dsn_for("postgres")
        with connect(from_address(dsn)) as connection:
            connection.execute("create extension pg_stat_statements schema public")
        with pytest.raises(UsageError, match="pg_stat_statements") as raised:
            advise(from_address(dsn), Question())
    assert "shared_preload_libraries" in str(raised.value.why)


def test_hidden_statements_and_hidden_tables_are_said(shop):
    shop.execute("create extension pg_stat_statements")
    shop.execute("select * from users where email = 'x'")
    _, dsn = shop.role()
    with pytest.raises(Unreachable, match="hidden") as raised:
        advise(from_address(dsn), Question())
    assert "grant pg_read_all_stats" in str(raised.value.hint)
    answer = ask(dsn, "select * from users where email = $1")
    assert [u.reason for u in answer.unplanned] == ['relation "users" does not exist']
    assert answer.proposals == ()


@pytest.mark.pg(18)
def test_a_role_that_owns_nothing_gets_advice_by_reading(shop):
    role, dsn = shop.role()
    shop.execute(f"grant select on users to {role}".encode())
    answer = ask(dsn, "select * from users where email = $1")
    assert shapes(answer) == {"public.users (email)"}


@pytest.mark.pg(18)
def test_a_standby_advises_and_its_plan_says_that_it_cannot_be_compared(own_server, replica):
    from tests.live.advice import build

    with own_server() as primary:
        dsn = primary.dsn_for("postgres")
        build(dsn)
        standby = replica(primary)
        answer = ask(standby.dsn_for("postgres"), "select * from users where email = $1")
    assert shapes(answer) == {"public.users (email)"}
    plan = report.plan(answer)
    assert plan.steps == ()
    assert "primary" in plan.problems[0].hint


def test_a_table_in_several_levels_of_partitions(db):
    db.psql("""
    create table part (id bigint, k int, at date, note text) partition by range (at);
    create table part_a partition of part for values from ('2020-01-01') to ('2025-01-01') partition by list (k);
    create table part_a1 partition of part_a for values in (1, 2, 3);
    create table part_a2 partition of part_a default;
    create table part_b partition of part default;
    insert into part select n, n % 1000, date '2020-01-01' + n % 3000, 'x' from generate_series(1, 60000) n;
    analyze;
    """)
    answer = ask(db.dsn, "select * from part where id = $1")
    assert shapes(answer) == {"public.part (id)"}
    plan = report.plan(answer)
    assert {s.action for s in plan.steps} == {"create-parent-index", "create-index", "attach-index"}


def test_strange_names_and_types(db):
    db.psql("""
    create schema "We""ird";
    create domain mail as text check (value like '%@%');
    create table "We""ird"."Order" ("User Id" bigint, "select" mail, tags text[], doc jsonb, period int4range);
    insert into "We""ird"."Order"
    select n, 'a' || n || '@x', array['t' || n % 900], jsonb_build_object('k', n), int4range(n, n + 2)
    from generate_series(1, 30000) n;
    analyze;
    """)
    table = '"We""ird"."Order"'
    answer = ask(
        db.dsn,
        f'select * from {table} where "User Id" = $1',
        f'select * from {table} where "select" = $1',
        f"select * from {table} where tags @> array['t5']",
        f"select * from {table} where doc->>'k' = ?",
        f"select * from {table} where (doc->>'k')::int = ?",
    )
    assert shapes(answer) == {
        f'{table} ("User Id")',
        f'{table} ("select")',
        f"{table} using gin (tags)",
        f"{table} ((doc ->> 'k'::text))",
        f"{table} (((doc ->> 'k'::text)::int))",
    }
    assert len(report.plan(answer).steps) == 5


def test_what_the_copy_cannot_know_is_noted(db):
    db.psql("""
    create table t (a int, b int, tenant text);
    insert into t select n % 1000, n % 1000, 'x' from generate_series(1, 30000) n;
    create statistics t_a_b on a, b from t;
    alter table t enable row level security;
    analyze t;
    """)
    answer = ask(db.dsn, "select * from t where a = $1 and b = $2")
    assert [n.partition(" has ")[2].split()[0] for n in answer.notes] == ["row-level", "extended"]
    assert answer.proposals


@pytest.mark.pg(18)
def test_no_place_to_try_is_one_error_that_says_what_helps(shop, monkeypatch):
    from dbkit.ephemeral import Unavailable
    from dbkit.postgres.advise import emptycopy

    def nowhere(*_, **__):
        raise Unavailable("nothing is installed")

    monkeypatch.setattr(emptycopy, "start_postgres", nowhere)
    with pytest.raises(Unavailable, match="no place to try indexes of PostgreSQL 18") as raised:
        ask(shop.dsn, "select * from users where email = $1")
    assert "create extension hypopg" in raised.value.hint


@pytest.mark.pg(15)
def test_behind_a_pooler_a_copy_is_taken_and_hypopg_refused(shop, pgbouncer):
    shop.execute("create extension hypopg")
    dsn = pgbouncer(shop.server).dsn_for(shop.name)
    answer = ask(dsn, "select * from users where email = $1")
    assert answer.tried.startswith("an empty copy")
    assert shapes(answer) == {"public.users (email)"}
    with pytest.raises(UsageError, match="needs a direct connection"):
        ask(dsn, "select * from users where email = $1", how="hypopg")


@pytest.mark.pg(18)
def test_a_wanted_index_that_is_missing_comes_before_a_new_one(shop):
    wishes = desired.read("create index my_email on users (email, status);", "wanted.sql")
    answer = ask(shop.dsn, "select * from users where email = $1", wishes=wishes)
    (proposal,) = answer.proposals
    assert proposal.name == "my_email"
    assert "documented index my_email (wanted.sql:1) is missing" in proposal.verdict().message
    assert [s.object for s in report.plan(answer).steps] == ["public.my_email"]
    foreign = desired.read(
        "create index a on nowhere (x); create index b on gone (x); create index my on users (email)", "w"
    )
    assumed = ask(shop.dsn, "select * from users where email = $1", wishes=foreign, assumed=True)
    assert [p.name for p in assumed.proposals] == ["users_email_idx"]
