"""The functional rank, asked of models whose answer is known."""

import numpy as np
import pandas as pd
import pytest
import torch
from test_spectra import matrix

from prunekit.analysis import functional
from prunekit.analysis.functional import curve, ranks, truncated
from prunekit.analysis.subjects import KEYS, PromptRecord, plain
from prunekit.prompts.mask import Mask
from prunekit.support.seeding import generator

SHAPE = (16, 40)


def noise(seed=0, shape=SHAPE):
    return torch.randn(shape, generator=generator("functional", seed), dtype=torch.float64)


def reader(directions, seed=0, examples=50):
    """A model that looks at the prompt along `directions` [R, H] alone: its loss is what it misses there."""
    weight = torch.rand(examples, generator=generator("weights", seed), dtype=torch.float64) + 0.5

    def evaluate_against(whole):
        def evaluate(values):
            missed = ((values.double() - whole) @ directions.T).square().sum(dim=(1, 2))  # [S]
            losses = 0.5 + missed[:, None] * weight
            return losses, 1 / (1 + missed)

        return evaluate

    return evaluate_against


# ---- truncation


def test_a_cut_is_the_nearest_matrix_of_its_rank():
    values = noise()
    cuts = truncated(values, [0, 1, 5, 16])
    s = torch.linalg.svdvals(values)
    missed = (values - cuts).square().sum(dim=(1, 2))
    assert missed.tolist() == pytest.approx([s.square().sum().item(), s[1:].square().sum().item(),
                                             s[5:].square().sum().item(), 0], abs=1e-9)  # fmt: skip
    assert [torch.linalg.matrix_rank(one).item() for one in cuts] == [0, 1, 5, 16]
    assert truncated(values, []).shape == (0, *SHAPE)


# ---- must hold: a planted rank


@pytest.mark.parametrize("rank", [1, 2, 4, 8])
def test_a_planted_rank_in_noise_is_called_at_signal_to_noise_1_5(rank):
    """Directions 1.5 times as long as the largest of the noise; the model reads their space alone."""
    for seed in range(10):
        size = 1.5 * (SHAPE[0] ** 0.5 + SHAPE[1] ** 0.5)
        signal = matrix([size] * rank, *SHAPE, seed=seed)
        values = signal + noise(seed)
        directions = torch.linalg.svd(signal, full_matrices=False).Vh[:rank]
        found = ranks(curve(plain(values), reader(directions)(values), of=("values",)), tolerance=0.1 * size**2)
        assert (found.set_index("criterion").loc["loss", "rank"]) == rank


def test_a_model_that_reads_a_short_direction_has_a_high_functional_rank():
    """By length, 2 directions hold nearly all of it; what the model needs is the shortest."""
    values = matrix([100.0, 90, *[1.0] * 13, 0.5], *SHAPE)
    short = torch.linalg.svd(values, full_matrices=False).Vh[-1:]
    found = ranks(curve(plain(values), reader(short)(values), of=("values",)), tolerance=0.1)
    assert found.set_index("criterion").loc["loss", "rank"] == 16


def test_the_change_is_cut_and_added_to_the_start():
    origin, change = noise(1), matrix([50.0, 40, 30], *SHAPE)
    values = origin + change
    directions = torch.eye(40, dtype=torch.float64)
    found = ranks(curve(plain(values, origin=origin), reader(directions)(values)), tolerance=0.01)
    by = found[found["criterion"] == "loss"].set_index("of")
    assert (by.loc["change", "rank"], by.loc["values", "rank"]) == (3, 16)


def test_the_column_mean_stays_where_the_centred_part_is_cut():
    values = noise(2) * 0.01 + 7
    seen = []

    def evaluate(cohort):
        seen.append(cohort)
        return torch.zeros(len(cohort), 2), torch.zeros(len(cohort))

    curve(plain(values), evaluate, of=("values centred",), ks=[0])
    assert torch.allclose(seen[0][1], values.float().mean(dim=0).expand(SHAPE), atol=1e-5)
    assert torch.allclose(seen[0][0], values.float())


# ---- the tables


def test_the_columns_are_these_and_all_cuts_go_as_one_cohort():
    values = noise()
    asked = []

    def evaluate(cohort):
        asked.append(cohort.shape)
        return torch.zeros(len(cohort), 3) + cohort.abs().sum(dim=(1, 2))[:, None], torch.zeros(len(cohort))

    table = curve(plain(values), evaluate, random=2)
    assert list(table.columns) == list(functional.CURVE)
    assert asked == [(1 + 3 * 17, *SHAPE)] * 2
    assert table.groupby(["of", "directions", "draw"]).size().to_dict() == {
        (of, directions, draw): 17
        for of in ("values", "change") for directions, draw in (("singular", -1), ("random", 0), ("random", 1))
    }  # fmt: skip
    assert list(ranks(table).columns) == list(functional.RANKS)
    assert len(ranks(table)) == 3 * 6
    whole = table[(table["k"] == 16)]
    assert np.allclose(whole["difference"], 0, atol=1e-2)  # of sums of 640 float32 numbers


def test_the_interval_is_the_paired_one_by_hand():
    losses = {0: [3.0, 5.0, 4.0], 1: [1.0, 2.0, 3.0]}

    def evaluate(cohort):
        assert len(cohort) == 3  # the whole, k = 0 and k = 1
        return torch.tensor([losses[1], losses[0], losses[1]]), torch.tensor([0.9, 0.5, 0.9])

    zero, one = curve(plain(noise(0, (1, 4))), evaluate, of=("values",)).to_dict("records")
    assert (zero["k"], zero["loss"], zero["metric"]) == (0, 4, 0.5)
    assert zero["difference"] == pytest.approx(2)  # of 2, 3, 1
    assert (zero["low"], zero["high"]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-5)
    assert zero["metric_difference"] == pytest.approx(-0.4)
    assert (one["difference"], one["low"], one["high"], one["metric_difference"]) == (0, 0, 0, 0)


def test_random_directions_are_worse_than_the_longest():
    values = matrix([30.0, 20.0, *[0.1] * 14], *SHAPE)
    table = curve(plain(values), reader(torch.eye(40, dtype=torch.float64))(values), of=("values",), random=3)
    at_two = table[table["k"] == 2].set_index("draw")["difference"]
    assert (at_two[[0, 1, 2]] > 10 * at_two[-1]).all()
    found = ranks(table, tolerance=1.0)
    by = found[found["criterion"] == "loss"].set_index("draw")["rank"]
    assert by[-1] == 2
    assert (by[[0, 1, 2]] > 8).all()


def handmade(differences, highs, metrics):
    keys = dict.fromkeys(KEYS, "")
    return pd.DataFrame([
        keys | {"of": "values", "directions": "singular", "draw": -1, "k": k, "difference": d, "high": h,
                "metric_difference": m}
        for k, (d, h, m) in enumerate(zip(differences, highs, metrics, strict=True))
    ])  # fmt: skip


def test_a_k_that_is_good_by_luck_does_not_count():
    found = ranks(handmade([0.5, 0.0, 0.3, 0.005, 0.0], [0.9, 0.02, 0.4, 0.02, 0.01], [-0.2, 0, 0, -0.01, 0]))
    by = found.set_index("criterion")
    assert by["rank"].to_dict() == {"loss": 3, "loss interval": 4, "metric": 1}
    assert by.loc["loss", "share"] == 0.75
    never = ranks(handmade([0.5, 0.5], [0.6, 0.6], [0, 0])).set_index("criterion")
    assert np.isnan(never.loc["loss", "rank"])
    assert never.loc["metric", "rank"] == 0


# ---- masks and mistakes


def test_dropped_tokens_get_zeros_and_dropped_pieces_are_filled_by_a_cut():
    mask = Mask(torch.tensor([True, False, True]), torch.tensor([[True, False], [False, False], [True, True]]))
    values = noise(0, (3, 4))
    seen = []

    def evaluate(cohort):
        seen.append(cohort)
        return torch.zeros(len(cohort), 2), torch.zeros(len(cohort))

    table = curve(PromptRecord(plain(values).keys, values, values, values * 0, mask), evaluate, of=("values",))
    (cohort,) = seen
    assert cohort.dtype == torch.float32
    assert table["k"].tolist() == [0, 1, 2]
    assert bool((cohort[:, 1] == 0).all())
    assert bool((cohort[0, 0, 2:] == 0).all()) and bool((cohort[2, 0, 2:] != 0).any())
    assert torch.allclose(cohort[3], cohort[0], atol=1e-6)


def test_wrong_answers_of_the_model_are_refused():
    subject = plain(noise(0, (2, 4)))
    with pytest.raises(ValueError, match=r"want losses \[4, examples\]"):
        curve(subject, lambda cohort: (torch.zeros(len(cohort)), torch.zeros(len(cohort))), of=("values",))
    with pytest.raises(ValueError, match="not finite"):
        curve(subject, lambda cohort: (torch.full((len(cohort), 2), torch.nan), cohort[:, 0, 0]), of=("values",))
    with pytest.raises(ValueError, match='"start" is not cut'):
        curve(subject, lambda cohort: (cohort, cohort), of=("start",))
