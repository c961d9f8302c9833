"""The picture of a study's effects."""

import pandas as pd

from analyses.studies import effects as study
from analyses.studies.effects import Question
from prunekit.plots import effects

# question, arms, their difference, and how far seeds are spread about it
ARMS = (
    ("primary", "ticket", "dense continued", 0.02, 1),
    ("rewind", "trained", "init", -0.03, 1),
    ("sign", "a", "b", 0.0, 5),
    ("coarse", "c", "d", 0.2, 1),
    ("close", "e", "f", 0.0, 0.1),
)
#: Of these the second arm is claimed to be the larger one.
SMALLER = {"sign"}


def table():
    """As a study makes it, of eight seeds each: two differences, and one each uncertain, undecided, small."""
    questions = [
        Question(
            name, "a claim", "a source", first, second, 0.1 if name == "coarse" else 0.01, -1 if name in SMALLER else 1
        )
        for name, first, second, *_ in ARMS
    ]
    rows = [
        (name, "m", "t", 0, seed, arm, 0.5 + (difference + wide * noise if arm == first else 0))
        for name, first, second, difference, wide in ARMS
        for seed, noise in enumerate((-0.006, 0.006, -0.004, 0.004, -0.009, 0.009, -0.001, 0.001))
        for arm in (first, second)
    ]
    return study.effects(questions, pd.DataFrame(rows, columns=list(study.UNITS)))


ROWS = table()


def test_every_comparison_and_verdict_is_named():
    picture = effects.render(ROWS, "study").decode()
    assert set(ROWS["verdict"]) == {"holds", "other way", "inconclusive", "no verdict", "equivalent within 0.01"}
    for text in (
        "m: primary: ticket less dense continued",
        "m: rewind: trained less init",
        "m: sign: a less b",
        "m: coarse: c less d",
        "m: close: e less f",
        *("holds", "other way", "inconclusive", "no verdict", "equivalent"),
    ):
        assert text in picture


def test_equal_tables_give_equal_bytes():
    assert effects.render(ROWS, "study") == effects.render(ROWS.copy(), "study")


def test_strata_and_intervals_are_drawn_in_smallest_differences_of_interest():
    from matplotlib.figure import Figure

    rows = ROWS.assign(
        low=[0.01, -0.05, -0.02, 0.1, 0], high=[0.03, -0.01, 0.02, 0.3, 0],
        least=[-0.02, -0.06, 0.0, 0.0, 0], most=[0.04, 0.0, 0.0, 0.4, 0],
    )  # fmt: skip
    ax = effects.draw(rows, Figure().add_subplot())
    assert [tuple(one.get_segments()[0][:, 0].round(6)) for one in ax.collections] == [
        (-2, 4), (1, 3), (-6, 0), (-5, -1), (0, 0), (-2, 2), (0, 4), (1, 3), (0, 0), (0, 0),
    ]  # fmt: skip


def test_a_mark_at_the_margin_points_to_the_side_that_is_claimed():
    from matplotlib.figure import Figure

    ax = effects.draw(ROWS, Figure().add_subplot())
    marks = [line for line in ax.lines if line.get_marker() in "<>"]
    assert [(*line.get_xydata()[0], line.get_marker()) for line in marks] == [
        (1, 0, ">"), (1, 1, ">"), (-1, 2, "<"), (1, 3, ">"), (1, 4, ">"),
    ]  # fmt: skip


def test_a_heading_has_a_line_of_its_own_above_the_rows_that_share_it():
    from matplotlib.figure import Figure

    rows = ROWS.assign(label=list("abcde"), heading=["first", "first", "second", "second", "second"])
    ax = effects.draw(rows, Figure().add_subplot())
    written = [(label.get_text(), label.get_fontweight()) for label in ax.get_yticklabels()]
    assert [text for text, _ in written] == ["first", "a", "b", "second", "c", "d", "e"]
    assert [text for text, weight in written if weight == "bold"] == ["first", "second"]
    assert [line.get_ydata()[0] for line in ax.lines if line.get_marker() in "<>"] == [1, 2, 4, 5, 6]
