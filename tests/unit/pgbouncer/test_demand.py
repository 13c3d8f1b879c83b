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
    ],
)
def test_a_servers_sum(tmp_path, databases, more, figures, total, bounded):
    (held,) = sums(tmp_path, f"[databases]\n{databases}\n{BASE}{more}\n", **figures).values()
    assert (held.total, held.bounded) == (total, bounded)


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
