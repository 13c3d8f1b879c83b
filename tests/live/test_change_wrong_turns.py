"""What a person does wrong between two deploys: files that are gone, a rollback of more than was meant."""

import pytest

from dbkit.errors import Refused

TABLE = "create table t (id int primary key, a text not null default 'v'); insert into t select 1"
PLAIN = """
from alembic import op

revision = "first"
down_revision = None


def upgrade():
    op.execute("create table kept (id int)")
    op.execute("create table empty (id int)")
    op.execute("alter table t add column note text")


def downgrade():
    op.execute("alter table t drop column note")
    op.execute("drop table empty, kept")
"""


@pytest.mark.pg(18)
def test_a_change_whose_contract_revision_is_gone_is_not_contracted(place):
    place.run(TABLE)
    place.change = place.new("rename-column", "t.a", "b")
    place.done("expand")
    place.fill(place.change)
    (file,) = (f for f in (place.folder / "versions").glob("*contract*.py"))
    text = file.read_text()
    file.unlink()
    (entry,) = place.status()
    assert (entry["phase"], entry["next"]) == ("verified", "contract")
    assert [b["what"] for b in entry["blocked_by"]] == ["no contract revision"]
    for name in (None, place.change):
        with pytest.raises(Refused, match="cannot be contracted") as raised:
            place.move("contract", name)
        assert f"`dbkit migrate rollback {place.change}`" in raised.value.hint
    file.write_text(text)
    place.done("contract")
    assert place.phase(place.change) == "contracted"


@pytest.mark.pg(18)
def test_a_plain_revision_is_not_taken_back_with_what_people_wrote(place):
    """`rollback` without a name, on a database whose last deploy was long ago."""
    place.run(TABLE)
    (place.folder / "versions" / "first.py").write_text(PLAIN)
    place.done("expand")
    place.run("insert into kept values (1)")
    with pytest.raises(Refused, match="would lose data; nothing was changed") as raised:
        place.move("rollback", accept=())
    assert raised.value.why == "its downgrade() drops kept, which holds rows"
    place.run("delete from kept; update t set note = 'written'")
    with pytest.raises(Refused) as raised:
        place.move("rollback", accept=())
    assert raised.value.why == "its downgrade() drops t.note, which holds values"
    process = place.cli("rollback", "--accept", "loss")
    out, told = process.communicate(timeout=60)
    assert process.returncode == 0, (out, told)
    assert place.db.execute("select to_regclass('kept')") == [(None,)]
