"""The sum for each physical server, by hand."""

import json

import pytest

from dbkit.capacity import ServerFacts
from dbkit.errors import UsageError
from dbkit.pgbouncer import demand, documents
from dbkit.pgbouncer.audit import Question, scene_of_file
from dbkit.pgbouncer.documents import Connections
from dbkit.pgbouncer.ini import parameters
from dbkit.policy import Policy


def sums(folder, text, *, servers=(), **figures):
    (folder / "p.ini").write_text(text)
    shipped = documents.connections().model_dump()
    connections = Connections.model_validate({**shipped, "drivers": (), **figures})
    question = Question(Policy(), connections=connections)
    scene = scene_of_file(folder / "p.ini", parameters.version("1.24"), question, servers)
    return {d.place: d for d in demand.demands(scene)}


BASE = "[pgbouncer]\ndefault_pool_size = 25\nreserve_pool_size = 5\n"


@pytest.mark.parametrize(
    ("databases", "more", "figures", "total", "bounded"),
    [
        ("a = host=x", "", {}, 30, False),
        ("a = host=x", "", {"poolers": {"users": 2}}, 60, True),
        ("a = host=x", "max_db_connections = 100", {}, 100, True),
        ("a = host=x", "max_db_connections = 100", {"poolers": {"users": 2}}, 60, True),
        ("a = host=x", "max_db_connections = 100", {"poolers": {"users": 9}}, 100, True),
        ("a = host=x user=u", "", {"poolers": {"users": 9}}, 30, True),
        ("a = host=x\nb = host=x", "max_db_connections = 100", {}, 200, True),
        ("a = host=x\nb = host=x", "max_db_connections = 100", {"poolers": {"processes": 2}}, 400, True),
        ("a = host=x pool_size=1 reserve_pool=0", "", {"poolers": {"users": 3}}, 3, True),
        ("a = host=x", "max_user_connections = 10", {"poolers": {"users": 2}}, 20, True),
        ("* = host=x", "", {"poolers": {"users": 1}}, 30, False),
        # Over several databases a user has max_user_connections once: 2 x 35 instead of 2 x 2 x 30.
        ("a = host=x\nb = host=x", "max_user_connections = 35", {"poolers": {"users": 2}}, 70, True),
        ("a = host=x\nb = host=x", "max_user_connections = 90", {"poolers": {"users": 2}}, 120, True),
        ("a = host=x pool_size=0", "max_user_connections = 40", {"poolers": {"users": 2}}, 80, True),
        # A forced user's own line: its pool, its limit, and 0 that gives way to the global limit.
        ("a = host=x user=u\n[users]\nu = pool_size=7 reserve_pool_size=0", "", {}, 7, True),
        ("a = host=x user=u\nb = host=x user=u\n[users]\nu = max_user_connections=12", "", {}, 12, True),
        ("a = host=x user=u\n[users]\nu = max_user_connections=0", "max_user_connections = 9", {}, 9, True),
        ("a = host=x user=u\n[users]\nu = max_user_connections=12", "", {"poolers": {"processes": 3}}, 36, True),
    ],
)
def test_a_servers_sum(tmp_path, databases, more, figures, total, bounded):
    (held,) = sums(tmp_path, f"[databases]\n{databases}\n{BASE}{more}\n", **figures).values()
    assert (held.total, held.bounded) == (total, bounded)


def test_users_of_auth_file_are_counted_by_name(tmp_path):
    """app 25 + 5, batch 3 of its own; boss and stats only use the console. With auth_query others may come."""
    (tmp_path / "users.txt").write_text('"app" "x"\n"batch" "x"\n"boss" "x"\n"stats" "x"\n')
    text = "[databases]\na = host=x\n[users]\nbatch = pool_size=3 reserve_pool_size=0\n" + BASE
    text += "auth_file = users.txt\nadmin_users = boss\nstats_users = stats\n"
    (held,) = sums(tmp_path, text).values()
    assert (held.total, held.bounded, held.parts[0].how) == (33, True, "30 for app + 3 for batch")
    (held,) = sums(tmp_path, text + "max_user_connections = 10\n").values()
    assert (held.total, held.by_user.how) == (13, "10 for app + 3 for batch")
    (held,) = sums(tmp_path, text + "auth_user = asker\n").values()
    assert not held.bounded


def test_entries_are_put_together_by_host_and_port(tmp_path):
    text = f"[databases]\na = host=x\nb = host=y\nc = host=x port=6000\nd = host=x,y\n{BASE}"
    assert {p: d.total for p, d in sums(tmp_path, text).items()} == {"x:5432": 60, "y:5432": 60, "x:6000": 30}


def test_direct_clients_and_reserves_count(tmp_path):
    drivers = [
        {"name": "batch", "pool": 10, "instances": 3, "through": "direct", "servers": ["x"], "origin": "ours"},
        {"name": "api", "pool": 10, "instances": 3, "origin": "ours"},
    ]
    text = f"[databases]\na = host=x\nb = host=y\n{BASE}"
    held = sums(tmp_path, text, drivers=drivers, poolers={"provider": "azure"})
    assert (held["x:5432"].total, held["y:5432"].total) == (60, 30)
    assert held["x:5432"].usable == 200 - 3 - 15


@pytest.mark.parametrize(
    ("limit", "band"),
    [
        (60, "good"),
        (43, "good"),
        (42, "high"),
        (40, "high"),
        (39, "scale"),
        (36, "scale"),
        (35, "over"),
        (32, "refused"),
    ],
)
def test_the_bands_of_s2(tmp_path, limit, band):
    facts = ServerFacts("s", (("x", 5432),), limit, 3)
    (held,) = sums(tmp_path, f"[databases]\na = host=x\n{BASE}", servers=[facts], poolers={"users": 1}).values()
    assert held.facts is facts
    assert held.band(documents.connections().servers.bands) == band


def test_a_provider_without_a_figure_is_an_error(tmp_path):
    file = tmp_path / "c.yaml"
    shipped = documents.connections().model_dump()
    shipped["poolers"]["provider"] = "nobody"
    file.write_text(json.dumps(shipped))
    with pytest.raises(UsageError, match="no entry in"):
        documents.connections(file)


@pytest.mark.parametrize(
    ("total", "band"),
    [(120, "good"), (140, "good"), (141, "high"), (150, "high"), (151, "scale"), (170, "scale"), (171, "over"),
     (197, "over"), (198, "refused")],
)  # fmt: skip
def test_the_documented_bands_begin_above_their_figure(tmp_path, total, band):
    """70, 75 and 85 % of 200 are 140, 150 and 170; 3 of the 200 are reserved."""
    (held,) = sums(tmp_path, f"[databases]\na = host=x\n{BASE}max_db_connections = {total}\n").values()
    assert (held.total, held.band(documents.connections().servers.bands)) == (total, band)
