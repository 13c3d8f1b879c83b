"""The rule under which advice is reported. No driver is imported here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from dbkit.model import Severity
from dbkit.postgres.indexes.rules.declare import Verdict, index_rule
from dbkit.rules import Rule

if TYPE_CHECKING:
    from dbkit.postgres.advise.advice import Proposal


@index_rule(
    "index-advised",
    Severity.WARN,
    ok="No statement of the workload would be much cheaper with another index",
    bad="""
    create table job (id bigint primary key, company_id int not null, title text, posted_at timestamptz not null);
    insert into job select n, n % 500, 'job ' || n, now() - n * interval '1 min' from generate_series(1, 50000) n;
    analyze job;
    -- workload: select * from job where company_id = $1 order by posted_at desc limit 20
    """,
    good="""
    create table job (id bigint primary key, company_id int not null, title text, posted_at timestamptz not null);
    create index job_company on job (company_id, posted_at);
    insert into job select n, n % 500, 'job ' || n, now() - n * interval '1 min' from generate_series(1, 50000) n;
    analyze job;
    -- workload: select * from job where company_id = $1 order by posted_at desc limit 20
    """,
    equivalents={
        "dexter": ("index found",),
        "pghero": ("suggested_indexes",),
        "pg_qualstats": ("pg_qualstats_index_advisor",),
        "index_advisor": ("index_advisor",),
    },
)
def advised(proposals: Sequence[Proposal]) -> Iterator[Verdict]:
    """Statements of the workload would be much cheaper with an index that is not there.

    Why: without it the planner reads far more rows than it returns, or sorts what an index would hand out in order.
    Each index named here was tried: HypoPG, or a real index on an empty copy that knows the target's statistics, and
    the planner took it. What is shown is the planner's cost of generic plans, before and after; it is an estimate, and
    no statement was executed.

    Fix: review the statement, then build it: `dbkit index advise --plan plan.json`, then `dbkit apply plan.json`, or
    `--migration DIR` for a migration. Where a documented index does the same, `dbkit index apply` builds that one.
    Where an INVALID index has the definition already, it is rebuilt instead. Look at the named cost of writing: each
    insert and each update that is not HOT adds an entry, and an update of an indexed column can no longer be HOT.

    Not reported when: a statement costs less than `--min-cost`, its cost falls by less than `--min-saving`, an existing
    index (partial ones, expressions and longer ones included) serves it, or writing would cost more than reading saves
    as measured over a day and more. A statement that cannot be planned is listed as skipped, with the reason.

    See: pg.index-redundant-prefix for what becomes superfluous, pg.index-unused for what nobody reads.
    """
    for proposal in proposals:
        yield proposal.verdict()


ADVICE_RULES: Final[tuple[Rule[..., Any], ...]] = (advised,)
