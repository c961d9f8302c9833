"""What is told of each token, against the tables that it comes from."""

import pytest
import tiny
from small import SMALL_RUN

from prunekit.analysis import tables
from prunekit.plots import token_map
from prunekit.plots.report.token_details import as_hover, as_table, token_details
from prunekit.runs.snapshot import Snapshot

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def run():
    return Snapshot.open(SMALL_RUN)


@pytest.fixture(scope="module")
def cells(run):
    return token_map.table_of([run])


@pytest.fixture(scope="module")
def details(run, cells):
    return token_details(run, cells, with_model=False)


def test_each_token_has_its_pieces_its_end_and_what_leaving_it_out_costs(run, cells, details):
    measured = tables.measured([run]).query("kind == 'leave-one-out' and level == 'token' and seed == 0")
    assert details["left_out"].tolist() == pytest.approx(measured.sort_values("token")["score"].tolist())
    for row in details.itertuples():
        of_token = cells[cells["token"] == row.token]
        assert row.kept == of_token["kept"].sum()
        assert (row.dropped_in == of_token["dropped_in"].max()) or row.kept


def test_a_cell_tells_its_score_or_when_it_went(cells, details):
    hover = as_hover(details, cells)
    assert [len(row) for row in hover.cells] == [4] * 8
    for row in cells.itertuples():
        wanted = f"score {row.score:.3g}" if row.kept else f"dropped in round {row.dropped_in}"
        assert hover.cells[row.token][row.piece] == wanted
    assert all(text.startswith(f"token {place}; without it ") for place, text in enumerate(hover.rows))


def test_the_table_names_the_dearest_token_first(cells, details):
    table = as_table(details, cells)
    costs = [row[-1].key for row in table.rows]
    assert costs == sorted(costs, reverse=True)
    assert "seed 0" in table.caption
    assert "nearest words" not in [column.label for column in table.columns]


def test_keys_and_values_are_near_no_words(folder, tmp_path):
    run, _ = tiny.finished("llama", folder, tmp_path, position="prefix-kv", pieces=None)
    prefix = Snapshot.open(run.path)
    cells = token_map.table_of([prefix])
    details = token_details(prefix, cells, with_model=True)
    assert details["words"].isna().all()
    assert not any("near" in row for row in as_hover(details, cells).rows)
