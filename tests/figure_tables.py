"""Small tables of the kind that each figure draws, made by hand, with the very columns of the analyses."""

import numpy as np
import pandas as pd

from prunekit.analysis import controls, curves, functional, overlap, spectra, training, unit_scores
from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.logs import LOGS
from prunekit.analysis.tables.measured import MEASURED
from prunekit.analysis.tables.scores import SCORED
from prunekit.analysis.tables.words import COLUMNS as WORDS
from prunekit.plots.functional_rank import _LINES as LINES
from prunekit.pruning.controls import controls_for

NAN = float("nan")
SEEDS = range(3)


def keys(**more):
    facts = {
        "run": "r", "task": "toy", "model": "m", "method": "direct", "labels": "true", "stage": "", "arm": "dense",
        "seed": 0, "round": 0,
    }  # fmt: skip
    assert tuple(facts) == KEYS
    return facts | more


def over_seeds(**more):
    return {key: value for key, value in keys(**more).items() if key != "seed"}


def frame(rows, columns):
    """A table of exactly these columns; what a row leaves out is missing."""
    extra = {name for row in rows for name in row} - set(columns)
    assert not extra, f"the analysis has no column {extra}"
    return pd.DataFrame(rows).reindex(columns=list(columns))


def density_curve():
    rows = [
        over_seeds(stage="prune-1", arm="ticket", round=number) | dict(
            metric="accuracy", tokens=20 - 5 * number, pieces=16, density=1 / 2**number, parameters=1280 / 2**number,
            seconds=10 - number, seeds=3, test=0.8 - 0.02 * number, low=0.75 - 0.02 * number,
            high=0.85 - 0.02 * number, majority_test=0.5,
        )
        for number in range(4)
    ]  # fmt: skip
    untrained = over_seeds(stage="untrained", arm="untrained") | dict(
        metric="accuracy", density=1.0, seeds=3, test=0.52, majority_test=0.5
    )
    found = frame([*rows, untrained], curves.DENSITY)
    return found.assign(within=[True, True, True, False, NAN], non_inferior=True, best=[False, False, True, False, NAN])


def cost():
    return density_curve().query("arm == 'ticket'").reset_index(drop=True)


def control_arms():
    rows = [
        dict(scope="toy", against=arm, family="corrected", units=3 - (arm == "random"), difference=0.1 - 0.03 * place,
             low=0.05 - 0.03 * place, high=0.15 - 0.03 * place, margin=0.01, verdict="inconclusive")
        for place, arm in enumerate(control.name for control in controls_for("cells"))
    ]  # fmt: skip
    return frame(rows, controls.COMPARED).assign(metric="accuracy", task="toy", model="m")


def learning_curves():
    rows = [
        keys(seed=seed, round=number, stage="prune-1" if number else "", arm="ticket" if number else "dense") | dict(
            step=step, split=split, metric=metric, value=start + slope * step + 0.01 * seed + 0.02 * number,
        )
        for seed in SEEDS for number in range(3) for step in (0, 10, 20)
        for split, metric, start, slope in (
            ("validation", "accuracy", 0.5, 0.01), ("validation", "loss", 0.9, -0.02), ("train", "loss", 0.8, -0.03),
        )
    ]  # fmt: skip
    return frame(rows, LOGS).assign(kept_step=10)


def search_map():
    rows = [
        dict(run="r", task="toy", model="m", method="direct", labels="true", metric="accuracy", stage="search-1",
             tokens=tokens, pieces=pieces, validation=0.5 + 0.01 * tokens + 0.005 * pieces, seeds=3,
             chosen=int(tokens == pieces == 8), chosen_by="accuracy")
        for tokens in (16, 8, 4) for pieces in (16, 8, 4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def importance(count=12):
    cost_of = [0.3 - 0.05 * token for token in range(count)]
    rows = [
        keys() | dict(
            kind="leave-one-out", level="token", token=token, piece=-1, kept=True, score=cost_of[token],
            low=cost_of[token] - 0.04, high=cost_of[token] + 0.04, negative=cost_of[token] < -0.1,
            confirmed=True if cost_of[token] < -0.2 else None, split="validation", examples=50,
        )
        for token in range(count)
    ]  # fmt: skip
    rows += [
        keys() | dict(kind="shapley", level="token", token=token, piece=-1, kept=True, score=0.1, error=0.05)
        for token in range(count)
    ]
    return frame(rows, MEASURED)


def token_map(tokens=8, pieces=4):
    rows = []
    for token in range(tokens):
        for piece in range(pieces):
            left = -1 if token % 4 == 0 and piece < 2 else 1 + (token + piece) % 3
            rows.append(keys(stage="prune-1", arm="ticket", round=3) | dict(
                kind="absolute", level="piece", token=token, piece=piece,
                score=0.1 * token + piece if left < 0 else NAN, kept=left < 0, dropped_in=left, pruned_by=True,
            ))  # fmt: skip
    return frame(rows, SCORED)


def layers_heads(layers=6, heads=3):
    rows = [
        {key: value for key, value in keys(layer=layer, head=head).items() if key != "arm"}
        | dict(kind="absolute", part="", score=0.1 * layer + 0.05 * head, tokens=8, dropped=[0.0, 0.5, 1.0][head])
        for layer in range(layers)
        for head in range(heads)
    ]
    return pd.DataFrame(rows)


def score_histogram():
    random = np.random.default_rng(0)
    rows = [
        keys(seed=seed) | dict(
            kind="absolute", level="token", token=token, piece=-1, score=float(random.gamma(2)), kept=True,
            dropped_in=[-1, 1, 2, 3][token % 4], pruned_by=True,
        )
        for seed in SEEDS
        for token in range(12)
    ]  # fmt: skip
    found = frame(rows, SCORED)
    fate = ["kept to the end" if one < 0 else f"dropped in round {one}" for one in found["dropped_in"]]
    return found.assign(fate=fate)


def score_agreement():
    kinds = ("absolute", "signed", "squared", "magnitude", "random")
    pairs = [("leave-one-out", kind) for kind in (*kinds, "shapley")] + [("shapley", kind) for kind in kinds]
    rows = [
        keys() | dict(
            level="token", first=first, second=second, units=12, spearman=0.1 * place - 0.4, kendall=0.08 * place - 0.3,
            spearman_low=0.1 * place - 0.6, spearman_high=0.1 * place - 0.2,
        )
        for place, (first, second) in enumerate(pairs)
    ]  # fmt: skip
    return frame(rows, unit_scores.AGREEMENT)


def mask_overlap():
    rows = [
        dict(run="r", task="toy", model="m", method="direct", labels="true", stage="prune-1", arm="ticket",
             round=number, level=level, seeds=3, share=0.6**number, jaccard=0.6 / number, expected=0.4 / number,
             low=0.3 / number, high=0.5 / number, p=0.01)
        for level in ("token", "cell")
        for number in (1, 2, 3)
    ]  # fmt: skip
    return frame(rows, overlap.AGREEMENT)


def spectrum(size=8):
    rows = [
        keys(seed=seed) | dict(
            matrix=matrix, index=index, singular_value=4.0 * scale / index + 0.05 * seed, energy=1 / 2**index,
            null="gaussian",
            low=2.0 * scale - 0.1 * index, high=2.4 * scale - 0.1 * index,
        )
        for matrix, scale in (("values", 1.0), ("change", 0.7), ("values centred", 0.85))
        for seed in SEEDS
        for index in range(1, size + 1)
    ]  # fmt: skip
    return frame(rows, spectra.SPECTRUM)


def rank_while_training():
    rows = [
        keys(seed=seed) | dict(
            step=step, matrix=matrix, measure="entropy", value=base + 0.1 * seed - 0.02 * step, low=16.0, high=17.0
        )
        for matrix, base in (("values", 15.0), ("change", 9.0), ("values centred", 14.0))
        for seed in SEEDS
        for step in (0, 10, 20, 40)
    ]  # fmt: skip
    return frame(rows, training.PATH)


def functional_rank(size=6):
    rows = [
        keys(seed=seed) | dict(
            of=of, directions=directions, draw=draw, k=k, loss=2.0,
            difference=(size - k) ** 2 * (0.02 + 0.01 * (draw >= 0)),
            tolerance=0.01, rank=4.0 + seed, line=LINES[of, directions],
        )
        for of in ("values", "change")
        for directions, draw in (("singular", -1), ("random", 0), ("random", 1))
        for seed in SEEDS
        for k in range(size + 1)
    ]  # fmt: skip
    return frame(rows, (*functional.CURVE, "tolerance", "rank", "line"))


#: Figure -> a function that makes a table of it.
def word_map():
    words = ("w1", " and", "w2", "</s>")
    rows = [
        keys() | dict(
            example=3, token=token, position=place, word=word, difference=0.2 * token - 0.1 * place, split="validation",
        )
        for token in range(5) for place, word in enumerate(words)
    ]  # fmt: skip
    return frame(rows, WORDS)


MADE = {
    "density_curve": density_curve,
    "search_map": search_map,
    "controls": control_arms,
    "learning_curves": learning_curves,
    "importance": importance,
    "token_map": token_map,
    "score_histogram": score_histogram,
    "score_agreement": score_agreement,
    "mask_overlap": mask_overlap,
    "word_map": word_map,
    "spectrum": spectrum,
    "rank_while_training": rank_while_training,
    "functional_rank": functional_rank,
    "cost": cost,
    "layers_heads": layers_heads,
}
