"""Where a sweep keeps its trials, when its making is broken off."""

from __future__ import annotations

import pytest

optuna = pytest.importorskip("optuna")
sqlalchemy = pytest.importorskip("sqlalchemy")

from chainrule.sweep.storage import embedded, open_study, quiet  # noqa: E402


@pytest.fixture
def ending_at():
    """Let the process end, as far as a test can tell, before a statement of so many."""
    state = {"left": -1}

    def count(*_):
        state["left"] -= 1
        if state["left"] == 0:
            raise KeyboardInterrupt

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", count)
    yield lambda n: state.update(left=n)
    sqlalchemy.event.remove(sqlalchemy.engine.Engine, "before_cursor_execute", count)


def indices(path):
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    found = {index["name"]: index["unique"] for index in sqlalchemy.inspect(engine).get_indexes("studies")}
    engine.dispose()
    return found


@pytest.mark.parametrize("n_statements", [1, 12, 24, 28, 31, 36, 44])
def test_tables_are_there_whole_or_not_at_all(tmp_path, ending_at, n_statements):
    """A file whose index of names was lacking let the next runs make one study after the other."""
    path = tmp_path / "sweep.db"
    ending_at(n_statements)
    with quiet(), pytest.raises(KeyboardInterrupt):
        open_study(embedded(tmp_path), "sweep")
    ending_at(-1)
    assert not path.exists() or indices(path)["ix_studies_study_name"]
    with quiet():
        for _ in range(2):
            study = open_study(embedded(tmp_path), "sweep")
    assert indices(path)["ix_studies_study_name"]
    assert [found.study_name for found in study._storage.get_all_studies()] == ["sweep"]
    assert [left.name for left in tmp_path.iterdir()] == ["sweep.db"]
