"""The two shapes of a column under random interleavings of both applications' writes with every step of the change.

The steps run as the revisions have them, straight on a connection, so that one example takes milliseconds.
"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbkit.postgres.migrate.changes import kinds

STEPS = ("expand", "fill", "fill", "rest", "prove", "contract")
VALUES = st.one_of(st.none(), st.integers(1, 50))
OPERATIONS = st.one_of(
    st.tuples(st.just("insert"), st.sampled_from(["old", "new"]), VALUES),
    st.tuples(st.just("default"), st.sampled_from(["old", "new"]), st.none()),
    st.tuples(st.just("update"), st.sampled_from(["old", "new"]), VALUES, st.integers(0, 30)),
    st.tuples(st.just("swap"), st.sampled_from(["old", "new"]), st.none(), st.integers(0, 30), st.integers(0, 30)),
    st.tuples(st.just("touch"), st.just("old"), st.none(), st.integers(0, 30)),
    st.tuples(st.just("delete"), st.just("old"), st.none(), st.integers(0, 30)),
    st.just(("step",)),
    st.just(("step",)),
)


class Run:
    """One example: the table, what each row has to hold, and which step of the change comes next."""

    def __init__(self, connection, definition, kind, words, more, default, show):
        self.connection, self.default = connection, default
        connection.execute("drop table if exists t cascade")
        connection.execute(f"create table t (id serial primary key, touched int not null default 0, n {definition})")
        self.model = {}
        for value in range(1, 8):
            self.write("insert into t (n) values (%s) returning id", show(value))
        self.design = kinds.make(connection, kinds.kind(kind), "public.t.n", words, more, [], [], ["ordering"])
        connection.execute("set search_path = public")
        self.steps = list(STEPS)
        self.verified = False

    def write(self, query, value):
        (key,) = self.connection.execute(query, [value]).fetchone()
        self.model[key] = value

    def column(self, who):
        """The name this application uses, where it may be at work now."""
        if who == "new" and (self.verified or not self.steps):
            return self.design.new[0]
        return "n" if self.steps else self.design.new[0]

    def blocks(self, blocks):
        for block in blocks:
            with self.connection.transaction():
                for line in block.lines:
                    self.connection.execute(line.sql.replace("concurrently ", "").replace("CONCURRENTLY ", ""))

    def step(self):
        if not self.steps:
            return
        step = self.steps.pop(0)
        fill = self.design.fills[0]
        if step == "expand":
            self.blocks(self.design.expand)
        elif step == "fill":
            self.connection.execute(
                f"update t set {fill.assignments} where id in (select id from t where {fill.pending} limit 2)"
            )
        elif step == "rest":
            self.connection.execute(f"update t set {fill.assignments} where {fill.pending}")
        elif step == "prove":
            self.connection.execute(f"alter table t validate constraint {fill.tie}")
            self.verified = True
        else:
            self.blocks(self.design.contract)

    def apply(self, operation, required):
        name = operation[0]
        if name == "step":
            self.step()
            return
        column, value = self.column(operation[1]), operation[2]
        if value is None and required and name in ("insert", "update"):
            return
        keys = sorted(self.model)
        at = [keys[i % len(keys)] for i in operation[3:]] if keys else []
        if name == "insert":
            self.write(f"insert into t ({column}) values (%s) returning id", value)
        elif name == "default":
            (key,) = self.connection.execute("insert into t default values returning id").fetchone()
            self.model[key] = self.default
        elif at and name == "update":
            self.connection.execute(f"update t set {column} = %s where id = %s", [value, at[0]])
            self.model[at[0]] = value
        elif at and name == "swap":
            self.connection.execute(
                f"update t set {column} = (select {column} from t o where o.id = %s) where id = %s", [at[1], at[0]]
            )
            self.model[at[0]] = self.model[at[1]]
        elif at and name == "touch":
            self.connection.execute("update t set touched = touched + 1 where id = %s", [at[0]])
        elif at and name == "delete":
            self.connection.execute("delete from t where id = %s", [at[0]])
            del self.model[at[0]]

    def check(self):
        for who in ("old", "new"):
            column = self.column(who)
            assert dict(self.connection.execute(f"select id, {column} from t").fetchall()) == self.model, column


def play(db, operations, definition, kind, words, more, default, show=lambda value: value):
    with db.connect() as connection:
        run = Run(connection, definition, kind, words, more, default, show)
        for name, *rest in operations:
            if len(rest) > 1 and rest[1] is not None:
                rest[1] = show(rest[1])
            run.apply((name, *rest), "not null" in definition)
            run.check()
        while run.steps:
            run.step()
            run.check()


PLAY = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PLAY
@given(st.lists(OPERATIONS, max_size=25))
def test_renamed_and_nullable(db, operations):
    play(db, operations, "int", "rename-column", ["m"], {}, None)


@PLAY
@given(st.lists(OPERATIONS, max_size=25))
def test_renamed_with_default(db, operations):
    play(db, operations, "int not null default 7", "rename-column", ["m"], {}, 7)


@PLAY
@given(st.lists(OPERATIONS, max_size=25))
def test_another_type_under_another_name(db, operations):
    play(db, operations, "int not null default 7", "change-type", ["bigint"], {"name": "m"}, 7)


@PLAY
@given(st.lists(OPERATIONS, max_size=25))
def test_an_enum_and_its_text(db, operations):
    with db.connect() as connection:
        labels = ", ".join(f"'{n}'" for n in range(1, 51))
        connection.execute(f"drop type if exists mood cascade; create type mood as enum ({labels})")
    play(db, operations, "mood", "enum-to-text", [], {"name": "m"}, None, str)
