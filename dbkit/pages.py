"""The pages that `dbkit explain` prints: one for each rule, made from its docstring and examples, and a few topics."""

from __future__ import annotations

from typing import Any, Final

from dbkit.errors import UsageError
from dbkit.migrate_pages import ALIASES, MIGRATE_TOPICS
from dbkit.rules import Rule, resolve

TOPICS: Final[dict[str, str]] = {
    "exit-codes": """Exit codes

  0    done; no finding at or above --fail-on
  1    findings at or above --fail-on, or --exit-code and steps pending
  2    usage, configuration, policy or unreadable input
  3    cannot connect, or not permitted
  4    refused: nothing was changed (stale plan, guard, lock that never came free, second runner)
  5    stopped part-way in a safe state; the same command or `dbkit job resume` goes on
  6    failed part-way; a person must look, the hint says where
  130  interrupted by SIGINT, state saved
  143  ended by SIGTERM, state saved

stdout carries the result only; progress, notes, prompts and errors go to stderr.""",
    "environment": """Environment

  DBKIT_DSN      the target when none is named
  DBKIT_CONFIG   the configuration file instead of the nearest dbkit.toml
  DBKIT_POLICY   the policy instead of the configuration's
  DBKIT_DEBUG    show tracebacks
  NO_COLOR, FORCE_COLOR   colour off or on, whatever the terminal
  PGHOST, PGPORT, PGUSER, PGDATABASE, PGSERVICE, PGPASSFILE ...   read by libpq itself

A flag beats the environment, the environment beats dbkit.toml, dbkit.toml beats [tool.dbkit] in pyproject.toml.
`dbkit doctor` shows every value with its source.""",
    "config": """Configuration: dbkit.toml, or [tool.dbkit] in pyproject.toml

  default_target = "prod"
  policy = "policies/strict.yaml"

  [targets.prod]
  dsn_env = "PROD_URL"          # the variable that holds the DSN; or: service = "prod"
  memory = "16GB"               # of the server's machine
  cpus = 4
  storage = "ssd"               # ssd, hdd or san
  indexes = ["sql/indexes"]     # files or folders with the wanted create index statements
  settings = "policies/ours.yaml" # wanted settings: `extends: postgres` and what differs
  policy = "policies/prod.yaml"
  replicas = ["prod-replica"]   # its standbys: what they count of indexes and statements counts too

  [targets.pool]
  engine = "pgbouncer"          # its own keys: `dbkit explain pgbouncer`
  dsn_env = "POOL_URL"

A password in this file is an error: it would be copied, committed and logged.

Policies and pages name where a value comes from: S0 4.1 is chapter 4.1 of a document that dbkit was built on (S0
performance guide, S1 scaling, S2 performance standards, S3 infrastructure, S4 production readiness).""",
    "pgbouncer": """Auditing PgBouncer

A file, with no pooler: what a daemon of 1.18 to 1.26 makes of it, and what is wrong with it.

  dbkit audit --pgbouncer-ini pgbouncer.ini --pgbouncer-version 1.18
  dbkit audit --pgbouncer-ini pgbouncer.ini --pg-conf postgresql.conf     # do its pools fit such a server?
  dbkit audit --pgbouncer-ini pgbouncer.ini --fix fix.patch && patch pgbouncer.ini fix.patch

A running one, as a user of stats_users (who needs a line in auth_file): queues, full pools, drift, and whether the
pools fit the PostgreSQL servers behind it.

  dbkit audit --dsn pgbouncer://monitoring@pooler:6432 --pgbouncer-ini /etc/pgbouncer/pgbouncer.ini
  dbkit audit pool prod            # two targets of dbkit.toml: the pools are held against prod's max_connections

  [targets.pool]
  engine = "pgbouncer"
  dsn_env = "POOL_URL"             # pgbouncer://monitoring@pooler:6432
  ini = "/etc/pgbouncer/pgbouncer.ini"
  servers = ["prod"]               # the PostgreSQL targets behind it
  processes = 2                    # PgBouncer processes with this file, on all machines together
  connections = "connections.yaml" # your own figures instead of the documents'

Several poolers in one run (targets, or --pgbouncer-ini more than once) are held against each other: what should be
alike where they serve the same database, peers that share a port, and the sum of all of them on each server.

  dbkit audit pool-a pool-b prod
  dbkit audit --pgbouncer-ini a.ini --pgbouncer-ini b.ini --pg-conf postgresql.conf

Before RELOAD: --reload-check says what it would change, what it ignores until a restart, and where a mistake would
stop it half-way, with keys after it falling back to their defaults. After RELOAD the same command finds nothing to
change, and pgbouncer.config-drift passes.

A plan does all of that, and only when you say so:

  dbkit audit pool --fix fix.json                # reads only; the plan lists each line and what RELOAD would change
  dbkit apply fix.json --dsn pgbouncer://admin@localhost:6432      # on the pooler's machine, as a user of admin_users

apply refuses when the file is not the one that was audited, when the pooler runs with another file or on another
machine, or when RELOAD would now do anything else than foretold. It replaces the file at one stroke, keeps the earlier
one beside it (pgbouncer.ini.dbkit-...), runs RELOAD, and holds SHOW CONFIG against the plan; if that differs, the
earlier file is put back and loaded. Killed, it is run again. What takes a restart is listed and left to you. Without a
file (no `ini`) the plan is SET on the console, which holds until the next RELOAD or restart: that takes it back.

Azure's built-in PgBouncer (port 6432) has no file: --managed azure --fix fix.sh writes az commands for the nine keys
that can be set there, and names the others.

The sum for each physical server (host and port, not entry): users x (pool_size + reserve), at most max_db_connections,
for each database, and at most max_user_connections of each user over all of them, x processes, + clients that connect
directly, against max_connections less the reserves. Users are counted in auth_file, where it stands beside
pgbouncer.ini and no auth_query lets others in, or as `users` of connections.yaml says; what [users] gives one of them
counts for it. Bands: S2 1.4.

In the JSON report each of `errors` has the words of the daemon's log, the `line` that it names there (which lies below
the entry when blank lines or a carriage return follow), and `at`, the line where the entry stands.

Figures: policies/connections.yaml (servers, processes, drivers), policies/pgbouncer.yaml (settings). Copy the first,
write your own, and name it with --connections.

Keys of a [databases] line: dbname host port user password auth_user client_encoding datestyle timezone pool_size
min_pool_size reserve_pool max_db_connections pool_mode connect_query application_name; auth_dbname from 1.19,
auth_query from 1.22, server_lifetime from 1.23, reserve_pool_size max_db_client_connections load_balance_hosts from
1.24, query_wait_timeout from 1.26. The rules: `dbkit explain --list`.""",
    "rehearse": """Rehearsing migrations

`dbkit migrate rehearse` runs pending migrations on a throw-away PostgreSQL and says what each statement did to the
others. Production is never touched; what it starts is gone when it ends, however it ends.

What is before, what is pending
  --schema FILE     the schema is what `pg_dump -s` says; earlier migrations are not run
  otherwise         the schema is what the earlier migrations make of an empty database
  pending is        the last migration; --pending N, the last N; --from REV, all after what is deployed;
                    --diff-base REF, what is new in git; all files named one by one beside --schema

How it runs
  rows              tables are filled so that types, checks, keys, partitions and what pending migrations demand hold;
                    NULLs as production has them (--stats), else where pending statements ask for them; rows below
                    COPY ... FROM stdin are loaded
  transactions      as the tool would: wrapped, statement by statement, or as one message; Alembic's autocommit_block
                    and transaction_per_migration count. A plain file is taken to be wrapped, unless it has its own
                    BEGIN or holds a statement that refuses one; --no-assume-in-transaction says otherwise.
  Alembic           a revision that asks for a connection (op.get_bind(), an inspector, a Session) gets one of the
                    throw-away server, each statement watched; a loop is one statement that ran often. env.py never
                    runs. A connection of its own, and a program it starts, are refused: they could reach production
  what is lacking   roles that are only named are made. An extension that is not installed here is passed over with a
                    note, and what fails for want of it is migrate.not-rehearsed, no verdict
  locks             read inside the transaction after each statement, and every millisecond from a second session.
                    A CONCURRENTLY form is held back by short locks of ours until its own are seen; that time is not
                    counted. ACCESS SHARE, and what nobody else can see yet, are left out
  rewrites, scans   by the files of tables and indexes, the server's own debug lines, and its counters
  probes            a reader and a writer on up to eight touched tables; waits count where a lock explains them. In a
                    deadlock with the migration they and the application's queries lose
  --app-sql         the running version's queries, prepared once: must work before, during and after. $1, %s, %(name)s
                    and :name get values
  --app-sql-new     the next version's: must work after

Predictions (--stats, from `dbkit migrate stats`)
  Each statement is timed at two sizes, twice, so that the fixed part is told from what grows. The interval covers the
  spread of these times, whether rows or bytes decide, and how far production is from what was timed. It holds for a
  machine as fast as this one with the table in memory; with --read-rate 200MB none takes less than reading its tables
  from such storage. --max-stall holds the predicted time under a lock against a budget; without --stats, the time seen.

Evidence
  Findings of lint are marked observed when the lock and the work they name were seen. Where lint and the server differ,
  in either direction, migrate.lint-disagrees says so.""",
    **MIGRATE_TOPICS,
    "formats": """Formats

  text      for people; grouped and coloured on a terminal, one finding a line elsewhere
  json      the whole report, stable: see `dbkit policy schema --report`
  sarif     GitHub code scanning and other SARIF 2.1.0 readers
  junit     test reports of CI systems
  github    annotations of a GitHub Actions run, worst first
  gitlab    the code quality report of GitLab merge requests
  markdown  for a pull request or a ticket
  html      one file with everything in it, for a manager and a DBA

--format decides what goes to stdout; every -o FILE adds a file, its format told by its suffix
(.txt .json .sarif .xml .md .html; .github.txt for annotations, .gitlab.json for code quality).""",
}


def page(name: str) -> str:
    """The page as text. Raises UsageError when neither a rule nor a topic has that name."""
    name = ALIASES.get(name, name)
    if name in TOPICS:
        return TOPICS[name]
    return rule_page(_rule(name))


def as_data(name: str) -> dict[str, Any]:
    """The page as plain data."""
    name = ALIASES.get(name, name)
    if name in TOPICS:
        return {"topic": name, "text": TOPICS[name]}
    rule = _rule(name)
    return {
        "id": rule.id,
        "engine": rule.engine,
        "category": rule.category,
        "severity": rule.severity.value,
        "evidence": rule.evidence.value,
        "title": rule.title,
        "text": rule.body,
        "facts": dict(rule.facts),
        "bad": rule.bad,
        "good": rule.good,
        "equivalents": {tool: list(names) for tool, names in rule.equivalents.items()},
    }


def rule_page(rule: Rule[..., Any]) -> str:
    """A rule's page: sentence, facts, text, examples, other names."""
    lines = [rule.id, "=" * len(rule.id), "", rule.title, ""]
    lines += [f"severity  {rule.severity.value}{' (only when selected or switched on)' if rule.opt_in else ''}"]
    lines += [f"evidence  {rule.evidence.value}"]
    lines += [f"{name:<9} {text}" for name, text in rule.facts.items()]
    if rule.body:
        lines += ["", rule.body]
    lines += ["", "Bad:", "", _indent(rule.bad), "", "Good:", "", _indent(rule.good)]
    if rule.equivalents:
        lines += ["", "Known elsewhere as:"]
        lines += [f"    {tool}: {', '.join(names)}" for tool, names in sorted(rule.equivalents.items())]
    if rule.aliases:
        lines += ["", f"Former names: {', '.join(rule.aliases)}"]
    return "\n".join(lines)


def index(rows: list[dict[str, object]], *, topics: bool) -> str:
    """All rules, one a line, grouped by engine and category; with the topics when asked."""
    lines: list[str] = []
    width = max((len(str(r["id"])) for r in rows), default=0)
    for engine, category in sorted({(str(r["engine"]), str(r["category"])) for r in rows}):
        lines.append(f"{engine}: {category}")
        members = [r for r in rows if (r["engine"], r["category"]) == (engine, category)]
        lines += [f"  {r['id']!s:<{width}}  {r['severity']!s:<5}  {r['title']}" for r in members]
        lines.append("")
    if topics:
        lines += ["topics", *(f"  {name}" for name in TOPICS), "", "`dbkit explain NAME` prints a page."]
    return "\n".join(lines).rstrip()


def _rule(name: str) -> Rule[..., Any]:
    try:
        return resolve(name)
    except UsageError as error:
        raise UsageError(
            f"no rule or topic is called {name!r}", hint=f"{error.hint}; topics: {', '.join(TOPICS)}"
        ) from None


def _indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
