"""The picture of a study's effects."""

import pandas as pd

from figures import effects

ROWS = pd.DataFrame(
    {
        "first": ["ticket", "trained", "signed"],
        "second": ["dense continued", "init", "absolute"],
        "difference": [0.02, -0.03, 0.001],
        "low": [0.01, -0.05, -0.02],
        "high": [0.03, -0.01, 0.02],
        "margin": [0.01, 0.01, 0.01],
        "verdict": ["holds", "does not hold", "cannot be said"],
    }
)


def test_every_comparison_and_verdict_is_named():
    picture = effects.render(ROWS, "study").decode()
    for text in ("ticket - dense continued", "trained - init", "signed - absolute", "holds", "does not hold"):
        assert text in picture


def test_equal_tables_give_equal_bytes():
    assert effects.render(ROWS, "study") == effects.render(ROWS.copy(), "study")


def test_intervals_are_drawn_in_smallest_differences_of_interest():
    from matplotlib.figure import Figure

    ax = effects.draw(ROWS, Figure().add_subplot())
    assert [tuple(one.get_segments()[0][:, 0].round(6)) for one in ax.collections] == [(1, 3), (-5, -1), (-2, 2)]
