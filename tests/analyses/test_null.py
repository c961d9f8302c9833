"""What the tests of harmful tokens name where no token does harm."""

import pandas as pd
import pytest

from analyses.studies.negative_tokens import STUDY, null


def test_a_level_is_compared_with_its_worst_shape():
    table = null.table()
    assert set(table["level"]) == {"token", "piece"}
    for level, rows in table.groupby("level"):
        assert null.rate(level) == rows["share"].max() > 0
        # a few of many prompts have a unit that is named twice, far fewer than the level of one test
        assert null.rate(level) < 0.05


def test_the_arm_without_effect_has_that_rate_in_every_unit():
    units = STUDY.tables()["units"]
    null_units = units[units["arm"] == "no effect"]
    assert set(null_units["question"]) == {"tokens", "pieces"}
    for question, level in (("tokens", "token"), ("pieces", "piece")):
        values = null_units.loc[null_units["question"] == question, "value"]
        assert values.tolist() == pytest.approx([null.rate(level)] * len(values), rel=1e-5)


def test_a_prompt_whose_every_unit_does_harm_is_named_whole():
    def harmful(random, size):
        return random.normal(-1.0, 0.1, size)

    assert null._named(null.np.random.default_rng(0), harmful, (20, 50), seed=0) == (True, 1.0)


@pytest.mark.slow
def test_the_table_is_what_the_simulation_gives():
    pd.testing.assert_frame_equal(null.simulated(), null.table(), rtol=1e-5)
