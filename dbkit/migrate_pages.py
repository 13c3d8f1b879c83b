"""The topics of `dbkit explain` on filling, proving and closing a migration."""

from __future__ import annotations

from typing import Final

MIGRATE_TOPICS: Final[dict[str, str]] = {
    "changes": """Changing a schema while two versions of the application run

  dbkit migrate new KIND ...     writes an expand and a contract revision; read, edit, lint, rehearse, commit them
  dbkit migrate expand           adds the new shape; from then on every write of either shape reaches the other
                                 -> the application that uses the old shape goes on
  dbkit migrate backfill         fills the rows that nobody writes
  dbkit migrate verify           the server proves that every row agrees, and from then on refuses what would break it
                                 -> now the application that uses the new shape may start, and not before
  dbkit migrate contract         takes the old shape away, once nothing uses it (`dbkit explain gate`)
  dbkit migrate rollback         before contract at any time: the old columns were right at every moment
  dbkit migrate status           where each change stands, what is next, and what keeps it from being done

In a pipeline: `dbkit migrate deploy --phase pre` before the rollout, `--phase post` after it.

Many databases, many schemas. `-t eu -t us` does it on one target after the other and stops at the first that fails
(--keep-going does not); the exit code is the worst, `runs` of the JSON report tells of each. With
`--schema-pattern "tenant_*"` it is done in every schema that matches, as Alembic's recipe for tenants does it:
search_path is that schema alone, and each has its own alembic_version. Revisions must name no schema then;
`dbkit migrate new KIND tenant_1.users... --any-schema` writes them so, from one of the tenants as the pattern.

When something dies. Killed, cut off or out of disk: the same command goes on, and nothing is done twice; a `rollback`
ends what it had begun and takes nothing more back. A second runner is refused, and told the first one's host, pid and
session and how long it has been silent. After a failover run the same command on the new primary: rows, their place and
the marks of what has run are committed together, so what a lagging replica has not received is missing together and is
done again. A DSN of all hosts with target_session_attrs=read-write finds the new primary; the gate watches anew there.

Revisions that need a connection (`op.get_bind()`, `context`) are run by Alembic itself, each in one transaction with
its version, under dbkit's timeouts; one that gets no lock in time is undone and called again, so it must do nothing
outside the database that may not happen twice. A commit or an autocommit_block() in one is refused: split it. Branches
and merges run in the order of their graph.

  rename-column     TABLE.COLUMN NEW_NAME                                 a second column beside the first
  rename-column     TABLE.COLUMN NEW_NAME --view                          by a view: columns of keys, always
  change-type       TABLE.COLUMN TYPE [--using EXPR]                      under its own name, by a swap: keys, identity,
                                                                          serial and what points at them too
  change-type       TABLE.COLUMN TYPE --name NEW_NAME [--back COLUMN=EXPR]   both names written side by side
  set-not-null      TABLE.COLUMN [--using EXPR]
  add-column        TABLE.COLUMN TYPE --default EXPR                      a default that differs from row to row
  add-foreign-key   TABLE.COLUMN PARENT[.COLUMN] [--on-delete ACTION] [--name NAME]
  add-unique        TABLE COLUMN... [--name NAME]
  add-check         TABLE CONDITION [--name NAME]
  add-enum-value    TYPE VALUE [--before VALUE | --after VALUE]           the way back leaves the value in the type, and
                                                                          is refused while anything holds it
  enum-to-text      TABLE.COLUMN [--name NEW_NAME]                        a check holds the values; where text sorts
                                                                          otherwise, --accept ordering
  add-generated-column   TABLE.COLUMN TYPE --expression EXPR              a trigger and a validated check keep it
  add-generated-column   TABLE.COLUMN TYPE --expression EXPR --virtual    computed when it is read; PostgreSQL 18
  add-exclusion     TABLE 'EXCLUDE ...' [--name NAME]                     small tables, tried on a copy of them first
  drop-column       TABLE.COLUMN
  drop-table        TABLE
  split-column      TABLE --set NEW=EXPR --set NEW=EXPR --back OLD=EXPR
  merge-columns     TABLE --set NEW=EXPR --back OLD=EXPR --back OLD=EXPR
  rename-table      TABLE NEW_NAME                                        a view keeps the old name alive
  partition-table   TABLE --by COLUMN --every month|week|day|N [--from VALUE] [--ahead N]    `dbkit explain partitions`
  move-column       TABLE.COLUMN OTHER_TABLE --match KEY=KEY [--name NEW]   `dbkit explain move-column`

An exclusion constraint can be neither NOT VALID nor take over an index, on any version, and a trigger in its place does
not see what others have not committed: it is built while nobody may read or write the table. Where the build takes over
200 ms on a copy, `new` refuses it (--accept stall for a window), and expand does when the table has grown since.

Renaming by a view. A column of a primary key, unique or exclusion constraint, unique index, foreign key that points at
it, partition key or identity stays one column: two unique indexes would make upserts by one name fail on the other.
expand calls the table TABLE_base and puts a view in its place in which the column has both names; `on conflict (old)`
and `on conflict (new)` both work, nothing is filled or verified. contract renames the column and makes it a table;
both ways back take milliseconds. `--view` does the same for any column: no copy, whatever its default, or a
generated column made from it. Meanwhile COPY FROM, TRUNCATE, ON CONFLICT ON CONSTRAINT, REFERENCES, WHERE CURRENT OF,
ctid, GROUP BY the key alone, and before 17 MERGE do not work on the name: `new` prepares the statements of
pg_stat_statements on an empty copy and on a view of it, and refuses with those that fail (--accept statements). Without
pg_stat_statements nobody looks. rename-table keeps its old name in the same way.

Splitting and merging. Indexes and checks go over to the new columns where they say the same there: a column that is
taken over as it is, an expression that is one of --set, any other expression with --back in the column's place. An
index on a column that is taken apart has no copy; it is named by `new`, `status` and the gate (--accept index:NAME):
write the one that the new application needs into the expand revision.

The way back after contract. Columns that were replaced, split, merged or renamed are made again and filled from the new
ones. A change of type under one name is made once more with the types exchanged; values that do not fit are counted
first and refuse it, and what is written meanwhile has to fit. A --using, or a type whose values cannot be asked (text
to a number), has no way back after contract, nor has a dropped column or table.

What is refused is refused by `new`, with every reason at once. Two things hold for every kind that puts a column in
place of another: statements that say `select *`, `returning *` or insert without a list of columns have to be named
first (the column moves to the end, and prepared ones fail with 0A000), and nothing but the application may use the old
name when contract runs: views and policies on it are named when the revisions are written.

One revision tree serves all environments: each database has its own phase. The revisions name no roles; rights and
policies are read from the table where they run. Of what else hangs on a table they know what the database held where
`new` ran: write a change where the schema is that of production.

The revisions are plain Alembic: `alembic upgrade` and `downgrade` run them too, filling rows in one statement where
dbkit does it in batches, and without looking for blockers.""",
    "move-column": """Moving a column to a table that is joined one to one

  dbkit migrate new move-column users.bio profiles --match id=user_id [--name about]

Both keys are unique and not null, and a foreign key leads from profiles.user_id to users.id: it makes sure that a row
of profiles is inserted where the row of users can be seen. The column may be null.

  expand     adds profiles.bio and triggers on both tables: what is written to one column reaches the other in the same
             transaction, as the table's owner, so that applications need no rights on the other table. Where the two
             agree nothing is written, which ends the going back and forth. A new row of profiles without a bio takes
             the one that users holds (an upsert of a row that is there keeps its null); a deleted one leaves it there.
  backfill   fills profiles.bio, the row of users locked before that of profiles. The trigger that would bring the value
             back passes these rows by, unless triggers of your own may change them. With the lock and the look at each
             pair it takes four to five times as long as one UPDATE of the same rows.
  verify     counts the pairs that differ, and the values of users that have no row in profiles: those would be lost, so
             each has to get one. No check can span two tables. What it proves: every pair was seen to agree after the
             triggers were there, and each of them, always enabled, keeps a pair that agrees that way, for each write
             happens under the locks of both rows. That is noted as a comment on the triggers, and goes with them: while
             one is disabled or made anew, contract is refused.
  contract   closes users.bio to writes, compares all pairs once more in one snapshot, and drops it.
  rollback   after contract: makes the column again, with the triggers, fills it from profiles and compares all pairs.
             Values whose row of profiles was deleted after contract are gone.

Two transactions that write the same pair at the same moment, one through each table, or touch its two rows in
opposite orders, can meet in a deadlock: the server ends one after deadlock_timeout (40P01). Let the application try
again, or let it lock the row of users first (select ... for no key update) where it writes that of profiles. Indexes,
checks and statistics on the column are not copied, but named: make them on the new column before contract. Refused:
columns of keys or that others point at, generated and not-null ones, partitioned, inherited and published tables,
forced row level security.""",
    "partitions": """Partitioning a table by ranges while it is used

  dbkit migrate new partition-table events --by created_at --every month
  dbkit migrate new partition-table events --by id --every 10000000 --from 400000000 --ahead 5

A partitioned table takes the name; the table as it is becomes its first partition, TABLE_legacy, for everything below
the first new one. No row is copied, and every statement that names the table goes on, prepared ones too. Columns are of
type date, timestamp, timestamptz or a whole number; months, weeks (from Monday) and days are those of UTC.

  expand     builds, without stopping anybody, a unique index on KEY and the column for every unique key without it:
             over partitions a key has to hold the column. From here on `on conflict (id, created_at)` works beside
             `on conflict (id)`: the application goes over to it. While both keys are there, two sessions that upsert
             the same key at the same moment may see 23505 from the other one, and an upsert that gives an old id a
             new created_at always does, as it did before.
  contract   the gate looks for `on conflict` on the old keys, in statements and functions. Then: the new table with
             indexes, foreign keys, triggers, policies, grants, statistics, comments and its partitions, empty; a check
             that the old table ends below the bound, validated without stopping anybody; and the swap in one short
             transaction, in which ATTACH scans nothing. Views are made again in it: they hold on to tables, not names.
             From the check until the swap a row beyond the bound is refused, which is why the bound lies 14 days off
             or more, and contract does not begin when less than a day (a tenth of a step) is left.
  rollback   after contract too: rows of new partitions are brought back under the lock, up to 10,000 of them
             (PGOPTIONS=-cdbkit.move_at_most=N and --max-hold allow more, and a longer pause).

What it costs. id alone is not unique any more where it is not part of the bounds; the server only goes on making new
values for it. Where it does not make them, --accept unique says that the application keeps them apart. Foreign keys
cannot point at id alone: --accept foreign-keys lets expand drop those that do (rollback makes them again). An update
that changes the column moves the row, and a concurrent update of it may then fail with 40001. `currval` of an identity
is known in a session only after its first new value. What says ONLY TABLE sees no row.

The next partitions. Beyond the last one rows go to TABLE_default, so no insert fails; rows there keep their partition
from being made, so make partitions in time: `select TABLE_add_partitions(3)` makes what is missing for
the period it is and three more, each built apart and attached under SHARE UPDATE EXCLUSIVE. Call it daily, by cron or
pg_cron, as the table's owner; `dbkit audit` warns when the end comes near (`dbkit explain pg.partitions-run-out`).
Where rows have reached TABLE_default, in one transaction: lock it, create the partition
`(like TABLE including all)`, move them by `with moved as (delete from ... returning *) insert into ... select *`,
attach it. While there is a default partition DETACH CONCURRENTLY is refused: drop it if you detach partitions often.
Autovacuum does not analyze partitioned tables as wholes: run `analyze TABLE` after contract, and then now and then.

Refused, with every reason: a column that may be null; inheritance, rules, exclusion and deferrable constraints,
constraints that are not validated, a replica identity index; materialized views, functions and columns bound to the row
type; unlogged tables; a table on which another change is under way; a published one without --accept publication.""",
    "backfill": """Backfilling

  dbkit migrate backfill CHANGE         the rows of a change that `dbkit migrate expand` has begun
  dbkit migrate backfill                of every change that is expanded and not yet verified
  dbkit migrate backfill --table public.users --set "display_name = full_name"      without a change
  ... --dry-run                         the ranges, the statement and the limits, touching nothing

How it works. Each table (each leaf of a partitioned one) is cut into ranges with an end that is fixed at the start:
by pages (ctid) for a change, whose triggers fill a row that moves meanwhile; without a change by a unique key where
rows lie in its order. A batch is one transaction that takes ROW EXCLUSIVE and the locks of its rows, sets the columns
of rows that are not filled yet, and moves its place in dbkit.backfill: rows and place are committed together. Killed,
cut off or out of disk, the same command (or `dbkit job resume ID`) goes on there, and no row is filled twice. A table
that was rewritten meanwhile (VACUUM FULL, CLUSTER) is begun again where ranges are pages: its rows lie elsewhere then.

It spares the table. Where no index holds a filled column, a range of pages is filled in three steps: the old versions
of the first third make room for the other two in the same pages, so that more than half of the rows need no new index
entries (HOT) and the table grows by less than half instead of doubling. An old snapshot keeps that from working, and
then costs one more look at the pages. Batches do not wait for the disk (synchronous_commit = off): a crash of the
server loses the last of them together with their places; what ends a backfill (its job's last row, VALIDATE) waits.

It gives way. A batch has 100 ms for a lock and 200 ms in all (four times --batch-time where that is more); losing
either, or meeting a deadlock, it is rolled back, halved, and tried again after a random pause, so that of two sessions
it is never the application that loses. Its size follows the time batches take, 50 ms by default; each batch sees at its
end whether somebody waits for its rows, and while that is so batches become shorter, down to 10 ms. Between batches it
holds back while one of these is over its limit, and the history says which, when and for how long:

  --max-lag       replay of a replica behind the primary           10 s
  --max-slot-lag  WAL that a replication slot keeps back           8 GB
  --max-waiters   sessions that wait for a lock of this backfill   0
  --max-wal       WAL of the server per second                     off
  --max-dead      share of dead rows in the table                  off
  --max-active    active sessions of others                        off
  --max-vacuums   vacuums at work on the table                     off
  --pause-file    a file that exists                               off
  --hold-while    a query that returns true, or text: its reason   off

Held back for longer than --max-hold (1 h) it stops, resumable (exit 5). `off` switches a limit off.

Steering it. `dbkit job limit ID --max-lag 2s` changes limits within a second, also for later runs of the job;
`dbkit job pause | resume | abort ID`; --stop-after 2h for a maintenance window; --rest 1 for half the speed. A second
runner on the same table is refused. --workers sets how many ranges are filled side by side (2). `dbkit job show ID`
prints every decision with its reason.

Without a change (--table) no triggers keep filled rows right: deploy the application that writes the new value first.
At the end the rows are counted; any that were written meanwhile without it are told (exit 5), and the same command
fills them. What cannot be asked twice is refused: a filled row must no longer meet --where.

Triggers of the table. For a change they are skipped on filled rows (session_replication_role = replica) where the role
may and no foreign key needs them, so that `updated_at` and audit tables stay as they are; --triggers fire runs them.

Rights: UPDATE and SELECT on the table, BYPASSRLS where row level security is on, CREATE on the database once (schema
dbkit). `grant set on parameter session_replication_role, deadlock_timeout` (15 and newer) and pg_monitor make it
better; what is missing is said. It needs a direct connection, not PgBouncer.""",
    "verify": """Verifying

  dbkit migrate verify CHANGE
  dbkit migrate verify --table public.users --check users_name_tie     any check that is NOT VALID

First the rows that differ are counted, piece by piece, so that no snapshot is held for long, and the first five are
shown with what they hold and what they should. Any that differ are findings (migrate.rows-differ, exit 1) and nothing
is changed. If there is none, the server validates the check that ties the new columns to the old: it reads every row
under SHARE UPDATE EXCLUSIVE, while reads and writes go on. VALIDATE may wait --max-wait for others (a VACUUM, a
CREATE INDEX CONCURRENTLY); nobody but such commands waits behind it.

The proof lasts: a validated check is in the catalogue, and the server refuses every later write that would break it.
A check that is not immutable proves nothing and is refused. dbkit.verification keeps who verified what, when, over how
many rows.

Start the new version of the application after verify, not before: until then a row may still be unfilled.""",
    "gate": """The gate before contract

Contract takes the old shape away, so it is refused (exit 4) while something is seen to use it:

  statement             of pg_stat_statements, run again since it was last looked at; told by PostgreSQL's own grammar:
                        aliases, subqueries, CTEs, RETURNING, ON CONFLICT, MERGE, COPY, partitions named directly
  all columns           select * or RETURNING * that reaches the application, a whole row, INSERT without a column list
  unread statement      its text cannot be parsed, and it names table and column
  observation           it has not been quiet for --window (1 h), or cannot be seen: the reason and the GRANT are said
  standby               that replays from here and is not watched, or is named and gives no answer
  view, materialized view, rule, policy, publication, foreign key, function
                        what the catalogue knows to rest on it
  function              also those whose body is only text: SQL and PL/pgSQL are read, others searched for the names
  index                 that goes with the old columns and has no copy
  trigger, constraint, statistics object, generated column
                        where nothing takes their place, because the column simply goes
  transaction           older than the watch, or holding the table where nothing is watched
  prepared transaction  that holds the table

The watch begins with `dbkit migrate verify` (or the first look) and goes on with every look of `status` and `contract`.
What ran before it does not count: the old application was meant to. Statistics that are reset and entries that are
evicted (pg_stat_statements.max too small) begin it anew, because nobody knows what ran in between. An hour does not see
a job that runs at night: give --window 25h, or 8d for one that runs on Sundays.

A standby counts the statements it runs itself; the primary never hears of them. Name it, and it is watched over the
same window: in `replicas` of the target in dbkit.toml, which every command heeds, or by --standby TARGET|DSN of
`verify`, `status`, `contract` and `deploy`. Its role needs pg_monitor. A standby that replays from here and is not
named keeps the gate closed: nobody can see from the primary whether a standby serves reads, and what reads the old
shape there fails once it has replayed the contract. One that only waits for a failover is quiet once it is named, or is
taken by --accept standby.

Not counted are receivers such as pg_receivewal and pg_basebackup, which never replay, and logical subscribers, whose
schema is their own. A named standby is found among the connected by slot, by application_name and address, or by a name
that its primary_conninfo alone gives; in doubt it counts as not watched. Not seen: standbys that are not connected when
the gate looks or are fed from the archive, unless named, and those behind one that is not named.

  dbkit migrate status                                    what keeps the gate closed, and who
  dbkit migrate contract CHANGE --window 25h
  dbkit migrate contract CHANGE --standby prod-replica
  dbkit migrate contract CHANGE --accept observation --accept view:public.report

--accept takes a kind, or one by itself (`view:public.report`, `statement:QUERYID`, `standby:walreceiver@10.0.0.7`);
what was accepted, by whom and when stays in dbkit.gate_accept. `observation` takes `standby`, too. Where
pg_stat_statements is not there the gate cannot see and stays closed.""",
}
ALIASES: Final = {
    "migrate.backfill-incomplete": "backfill",
    "migrate.rows-differ": "verify",
}
"""Names under which findings of these commands are reported, and the topic that explains them."""
