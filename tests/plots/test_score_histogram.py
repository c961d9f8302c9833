"""The histogram of scores of a pruning of many rounds."""

import figure_tables
import pandas as pd
import pytest

from prunekit.plots import score_histogram, style

pytestmark = pytest.mark.gate

KEPT = "kept to the end"


@pytest.mark.parametrize(
    ("rounds", "names"),
    [
        (6, ["dropped in round 1", *(f"round {number}" for number in range(2, 7)), KEPT]),
        (7, ["dropped in rounds 1 to 3", "rounds 4 to 5", "rounds 6 to 7", KEPT]),
        (43, ["dropped in rounds 1 to 15", "rounds 16 to 29", "rounds 30 to 43", KEPT]),
    ],
)
def test_many_rounds_are_joined_so_that_the_legend_has_room_and_every_token_stays(rounds, names):
    table = pd.concat([figure_tables.score_histogram()] * 2, ignore_index=True)
    numbers = [place % (rounds + 1) for place in range(len(table))]
    table = table.assign(fate=[f"dropped in round {number}" if number else KEPT for number in numbers])
    with style.look():
        (ax,) = style.picture(score_histogram.draw, table, columns=1, height=2.4).axes
    assert ax.get_legend_handles_labels()[1] == names
    assert sum(bar.get_height() for bar in ax.patches) == len(table)
