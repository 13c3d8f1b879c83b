"""The documented tiers, pgtune's rows beside ours, and the page docs/postgres-settings.md made of both and the rules.

`WRITE_DOCS=1` writes the page anew.
"""

import math
import os
from pathlib import Path

import pytest

from dbkit.postgres.conf import parameters
from dbkit.postgres.conf.values import written
from dbkit.postgres.indexes.rules import INDEX_RULES
from dbkit.postgres.settings import compare, documents, memory, offline
from dbkit.postgres.settings.rules import SETTING_RULES
from dbkit.postgres.settings.scene import Size
from dbkit.sizes import parse_bytes

GB, MB, KB = 2**30, 2**20, 2**10
ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "postgres-settings.md"
TIERS = ((16, 4), (32, 8), (64, 16))
DOCUMENT = {  # S0 4.1, for the first tier of S0 7.3
    "shared_buffers": "4GB", "effective_cache_size": "12GB", "maintenance_work_mem": "1GB", "max_connections": "200",
    "checkpoint_completion_target": "0.9", "max_wal_size": "4GB", "min_wal_size": "1GB", "random_page_cost": "1.1",
    "effective_io_concurrency": "200", "default_statistics_target": "100", "log_min_duration_statement": "1s",
    "log_checkpoints": "on", "log_disconnections": "on", "log_lock_waits": "on",
}  # fmt: skip
DEVIATES = {"work_mem", "wal_buffers", "max_parallel_workers", "max_parallel_workers_per_gather",
            "max_parallel_maintenance_workers"}  # fmt: skip
WHY = {
    "work_mem": "pgtune leaves out hash_mem_multiplier (2.0 from 15 on), autovacuum and 10 MB a connection (S2 5.2); "
    "ours fits 80 % of the memory at the worst",
    "wal_buffers": "the server chooses 16MB by itself at this size",
    "max_worker_processes": "the server's default is 8: fewer would take workers from replication and extensions",
    "huge_pages": "`try` is the default, and harmless without huge pages",
    "autovacuum_max_workers": "more workers share one cost limit: each is slower, not vacuum faster",
    "jit": "off at every size: it is the statements that are short, not the machine that is large",
    "wal_compression": "at every size; lz4 where a running server's build has it, pglz in a file whose server is unknown",
}


def fresh(memory_gb, cpus, major=18):
    """A server with nothing set, so that every wish has to speak."""
    file = Path("postgresql.conf")
    scene = offline.scene_of(file, major, Size(memory_gb * GB, cpus), documents.load(), overlay={str(file): b""})
    known = compare.names(scene)
    found = {}
    for name, wish in scene.wanted.wishes.items():
        if scene.known(name) and compare.applies(wish, scene, known):
            parameter = scene.setting(name).parameter
            value = compare.wanted(wish, scene, parameter, known)
            found[name] = "" if value is None else written(parameter, value)
    return found


def pgtune(memory_gb, cpus):
    """pgtune's web profile on SSD for 200 connections, from its published formulas (research 2.5); Linux, 18."""
    total, buffers = memory_gb * GB, memory_gb * GB // 4
    half = min(math.ceil(cpus / 2), 4)
    work = (total - buffers) / ((200 + cpus) * 3)
    rows = {
        "max_connections": "200",
        "shared_buffers": f"{buffers // GB}GB",
        "effective_cache_size": f"{total * 3 // 4 // GB}GB",
        "maintenance_work_mem": f"{min(total // 16, 2 * GB * 4) // GB}GB",
        "checkpoint_completion_target": "0.9",
        "wal_buffers": "16MB",
        "default_statistics_target": "100",
        "random_page_cost": "1.1",
        "effective_io_concurrency": "200",
        "work_mem": f"{round(work / MB)}MB",
        "min_wal_size": "1GB",
        "max_wal_size": "4GB",
        "max_worker_processes": f"{cpus}",
        "max_parallel_workers_per_gather": f"{half}",
        "max_parallel_workers": f"{cpus}",
        "max_parallel_maintenance_workers": f"{half}",
    }
    if memory_gb >= 64:
        rows |= {"autovacuum_max_workers": "4", "jit": "off", "wal_compression": "lz4"}
    return rows


def test_the_first_tier_is_the_document_or_says_why_not():
    ours = fresh(16, 4)
    assert {name: ours[name] for name in DOCUMENT} == DOCUMENT
    wishes = documents.load().wishes
    assert {n for n, w in wishes.items() if w.deviates} == DEVIATES
    for name, wish in wishes.items():
        assert wish.origin, name
        if wish.document is not None and name not in DEVIATES and name != "log_connections":
            assert name in DOCUMENT, name


def test_the_other_tiers_and_what_is_between():
    assert fresh(32, 8)["max_parallel_workers"] == "8"
    assert fresh(32, 8)["max_parallel_workers_per_gather"] == "4"
    assert [fresh(m, c)["shared_buffers"] for m, c in TIERS] == ["4GB", "8GB", "16GB"]
    assert [fresh(m, c)["effective_cache_size"] for m, c in TIERS] == ["12GB", "24GB", "48GB"]
    for name in ("shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem", "max_parallel_workers"):
        parameter = parameters.load(18)[name]
        sizes = [
            amount(fresh(m, c)[name], parameter)
            for m, c in ((2, 1), (4, 2), (8, 2), (16, 4), (24, 6), (32, 8), (48, 12), (64, 16), (128, 32))
        ]
        assert sizes == sorted(sizes), name


def amount(text, parameter):
    return parse_bytes(text.replace("kB", "KB")) if parameter.unit else float(text)


@pytest.mark.parametrize(("memory_gb", "cpus"), [(4, 2), (8, 2), *TIERS, (128, 32), (256, 64)])
@pytest.mark.parametrize("major", parameters.VERSIONS)
def test_what_is_wanted_fits_the_machine_and_is_wanted_again(memory_gb, cpus, major):
    """The wanted file is a fixed point: nothing is left to say of it, and its worst case fits."""
    file = Path("postgresql.conf")
    text = "".join(f"{name} = '{value}'\n" for name, value in fresh(memory_gb, cpus, major).items() if value)
    scene = offline.scene_of(
        file, major, Size(memory_gb * GB, cpus), documents.load(), overlay={str(file): text.encode()}
    )
    assert scene.conf.loads, scene.conf.problems
    known = compare.names(scene)
    for name, wish in scene.wanted.wishes.items():
        if scene.known(name) and compare.applies(wish, scene, known):
            assert compare.differs(wish, scene, scene.setting(name), known) is None, name
    if memory_gb >= 8:
        assert memory.worst(scene).bytes <= memory_gb * GB


def test_pgtune_is_reproduced_or_each_difference_explained():
    for memory_gb, cpus in TIERS:
        ours = fresh(memory_gb, cpus)
        for name, theirs in pgtune(memory_gb, cpus).items():
            assert ours.get(name) == theirs or name in WHY, (memory_gb, name, ours.get(name), theirs)


def page():
    lines = ["# PostgreSQL settings", "",
             "Made by `tests/unit/test_postgres_tiers.py` from `policies/postgres.yaml` and the rules; do not edit.", "",
             "## Wanted values by tier (S0 7.3), SSD, 200 connections, beside pgtune's web profile", "",
             "| setting | " + " | ".join(f"{m} GB, {c} CPUs | pgtune" for m, c in TIERS) + " | difference |",
             "|---|" + "---|" * (2 * len(TIERS) + 1)]  # fmt: skip
    ours = [fresh(*tier) for tier in TIERS]
    theirs = [pgtune(*tier) for tier in TIERS]
    for name in dict.fromkeys([*ours[0], *(n for row in theirs for n in row)]):
        cells = [
            cell
            for mine, other in zip(ours, theirs, strict=True)
            for cell in (mine.get(name, "default"), other.get(name, ""))
        ]
        differs = any(o and m != o for m, o in zip(cells[::2], cells[1::2], strict=True))
        lines.append(f"| {name} | {' | '.join(cells)} | {WHY[name] if differs else ''} |")
    lines += ["", "## Where the policy deviates from the documents", ""]
    for name, wish in documents.load().wishes.items():
        if wish.deviates:
            lines.append(f"- **{name}** ({wish.origin}: {wish.document}): {wish.deviates}.")
    for name, words in documents.load().not_settings.items():
        lines.append(f"- **{name}** (S0 4.1): {words}.")
    lines.append(
        "- **comments** (S0 4.1): the document writes `--`; postgresql.conf knows only `#`. The patch rewrites them."
    )
    lines += ["", "## What other tools check, and the rule that does", ""]
    for tool in ("postgresqltuner", "pghero", "pgtune", "pg_gather", "postgres-checkup", "timescaledb-tune"):
        lines += [f"### {tool}", "", "| check | rules |", "|---|---|"]
        held = {}
        for rule in (*SETTING_RULES, *INDEX_RULES):
            for check in rule.equivalents.get(tool, ()):
                held.setdefault(check, []).append(f"`{rule.id}`")
        lines += [f"| {check} | {', '.join(dict.fromkeys(rules))} |" for check, rules in sorted(held.items())]
        lines += [f"| {check} | {why} |" for check, why in NOT_COVERED.get(tool, ())]
        lines.append("")
    return "\n".join(lines)


NOT_COVERED = {
    "postgresqltuner": (
        ("I/O scheduler, hypervisor, overcommit and swap of its own machine", "not covered: the auditor's machine is not the server's"),
        ("invalid indexes, unused indexes", "`pg.index-invalid`, `pg.index-unused`"),
        ("uptime below a day", "covered by the age of statistics, `pg.index-unused` (`min_days`)"),
        ("version is not the latest", "not covered: it changes with every release; `dbkit doctor` shows the version"),
        ("procedures with default cost", "not covered: a cost nobody knows is better left at its default"),
    ),
    "pghero": (
        ("slow_queries, suggested_indexes", "`dbkit query report` and `dbkit index advise`"),
        ("space, capture of history", "not covered: a monitoring system's work"),
    ),
}  # fmt: skip
POSTGRESQLTUNER = {
    "extension pg_stat_statements", "user account expiry", "password=username", "password_encryption",
    "current connections", "superuser_reserved_connections", "average connection age", "pre_auth_delay",
    "post_auth_delay", "Memory usage", "track_activity_query_size", "maintenance_work_mem", "shared_buffer is too big",
    "log_hostname", "log_min_duration_statement", "log_statement", "Two phase commit", "autovacuum",
    "checkpoint_completion_target", "fsync", "synchronize_seqscans", "wal_level", "modified costs",
    "disabled plan functions", "tablespaces in PGDATA", "shared buffer hit rate",
}  # fmt: skip
PGHERO = {
    "long_running_queries", "total_connections", "transaction_id_danger", "autovacuum_danger", "sequence_danger",
    "invalid_constraints", "invalid_indexes", "duplicate_indexes", "unused_indexes", "index_hit_rate", "table_hit_rate",
    "replication lag", "inactive replication slots", "query_stats_enabled", "settings",
}  # fmt: skip


@pytest.mark.parametrize(("tool", "checks"), [("postgresqltuner", POSTGRESQLTUNER), ("pghero", PGHERO)])
def test_every_check_of_the_other_tool_has_its_rule(tool, checks):
    ours = {check for rule in (*SETTING_RULES, *INDEX_RULES) for check in rule.equivalents.get(tool, ())}
    assert not checks - ours


def test_the_page_is_what_the_registry_says():
    if os.environ.get("WRITE_DOCS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()
