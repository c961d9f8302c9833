"""Is the learned prompt of low rank? From the tables of ranks to answers; empty tables are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from prunekit.analysis.conclusions import (
    Answer,
    Conclusion,
    capital,
    one_row,
    probability,
    refuse_several,
    rows,
    seeds,
    span,
    unmeasured,
)

#: A functional rank is called low where it is at most this share of all directions.
LOW_SHARE = 0.25

_WHAT = {
    "values": "the trained prompt",
    "values centred": "the trained prompt less its mean token",
    "change": "the change from its start",
}
#: A rank that is lower than its null beyond chance is "hardly" so where it is more than this share of the null's.
MARKED = 0.75
#: Matrices that the study is about.
MATRICES = tuple(_WHAT)
# by the answer on shuffled labels, what makes a prompt low that is low in both readings
_CAUSES = {
    "yes": "and shuffled labels do not give it: confirmed, and due to the task.",
    "no": "but shuffled labels give it too: confirmed, and due to training rather than to the task.",
}
_LOW_IN_USE = "Few directions do the work, but as a matrix it is no lower than noise, or hardly: low in use alone."
_REFUTED = "What training added is of low rank neither in its spectrum nor to the model: refuted on this run."
_UNCONFIRMED = "What training added is not of low rank in its spectrum, nor in every seed to the model: not confirmed."
# by the answers on the spectrum and on the functional rank of the change: the answer on the whole
_WHOLE: dict[tuple[Answer, Answer], tuple[Answer, str]] = {
    ("yes", "no"): ("no", "Its spectrum is low, yet the model needs many directions: refuted where it counts."),
    ("hardly", "yes"): ("hardly", _LOW_IN_USE),
    ("no", "yes"): ("hardly", _LOW_IN_USE),
    ("hardly", "no"): ("no", _REFUTED),
    ("no", "no"): ("no", _REFUTED),
    ("inconclusive", "no"): ("no", _REFUTED),
    ("hardly", "inconclusive"): ("no", _UNCONFIRMED),
    ("no", "inconclusive"): ("no", _UNCONFIRMED),
}
# of the verdicts, as `prunekit.analysis.ranks` has it
_ALPHA = 0.01


def rank_study(verdicts: pd.DataFrame, functional: pd.DataFrame, groups: pd.DataFrame) -> list[Conclusion]:
    """Is the prompt of low rank, does that matter to the model, and what explains it? The last one answers for all.

    Args:
        verdicts: of `ranks.verdicts`, one measure.
        functional: of `functional.ranks`.
        groups: of `ranks.groups`, true against shuffled labels. Empty tables are allowed: what was not measured is said
            to be so.
    """
    refuse_several(verdicts, "round", "stage", "arm", "measure")
    refuse_several(functional, "round", "stage", "arm")
    conclusions = [lower_than_noise(verdicts, matrix) for matrix in _WHAT]
    conclusions += [functional_rank(functional, of) for of in ("values", "change")]
    conclusions += [explained_by_start(verdicts), lower_than_shuffled(groups)]
    return [*conclusions, _low_rank(conclusions)]


def lower_than_noise(verdicts: pd.DataFrame, matrix: str) -> Conclusion:
    """Whether a matrix is of lower rank than the hardest of its noise nulls, over seeds."""
    question = f"Is {_WHAT[matrix]} of lower rank than noise?"
    row = one_row(verdicts, matrix=matrix, null="noise")
    if row is None or pd.isna(row["share"]):  # a change of nothing but zeros has no rank
        return unmeasured(question, f"the rank of {_WHAT[matrix]}")
    end = ": beyond chance, but of no size" if (answer := _lower(row)) == "hardly" else ""
    return Conclusion(question, answer, f"{capital(_WHAT[matrix])} has {_against(row, 'noise of its shape')}{end}.")


def explained_by_start(verdicts: pd.DataFrame) -> Conclusion:
    """Whether prompts that were never trained are of as low a rank as the trained one."""
    question = "Does the way it was started explain the rank of the trained prompt?"
    row = one_row(verdicts, matrix="values", null="initialisation")
    if row is None:
        return unmeasured(question, "the rank of other starts")
    sentence = f"the trained prompt has {_against(row, 'new prompts of the same initialiser')}"
    noise = one_row(verdicts, matrix="values", null="noise")
    if noise is not None and _lower(noise) != "yes":
        return Conclusion(
            question, "no", f"There is nothing to explain, its rank is not markedly low beyond chance; {sentence}."
        )
    match _lower(row):
        case "yes":
            return Conclusion(question, "no", f"Training took the rank well below that of its start: {sentence}.")
        case "inconclusive":
            return Conclusion(question, "inconclusive", f"The start may explain it: {sentence}.")
        case _:
            return Conclusion(question, "yes", f"The start is of as low a rank, or nearly: {sentence}.")


def lower_than_shuffled(groups: pd.DataFrame) -> Conclusion:
    """Whether the change is of lower rank than where the same training was given shuffled labels."""
    question = "Is the change of lower rank than that of training on shuffled labels?"
    row = one_row(groups, matrix="change")
    if row is None:
        return unmeasured(question, "a run on shuffled labels")
    sentence = (
        f"Its {row['measure']} rank is {row['value']:.2f} with the true labels ({seeds(row['seeds'])}) and "
        f"{row['control_value']:.2f} with shuffled ones ({seeds(row['control_seeds'])}), p = {probability(row['p'])}"
    )
    if row["low_rank"]:
        return Conclusion(question, "yes", f"{sentence}: the task makes it low.")
    if row["difference"] >= 0:
        return Conclusion(question, "no", f"{sentence}: training on shuffled labels ends as low.")
    few = f"; so few seeds cannot go below {probability(row['smallest_p'])}" if row["smallest_p"] > _ALPHA else ""
    return Conclusion(question, "inconclusive", f"{sentence}{few}.")


def functional_rank(functional: pd.DataFrame, of: str) -> Conclusion:
    """Whether few directions of a matrix, nothing retrained, do what all of them do."""
    question = f"Is the functional rank of {_WHAT[of]} low?"
    of_matrix = rows(functional, of=of, criterion="loss")
    singular = rows(of_matrix, directions="singular")
    ranks = singular["rank"].dropna() if len(singular) else pd.Series(dtype=float)
    if ranks.empty:
        return unmeasured(question, f"the functional rank of {_WHAT[of]}")
    full, tolerance = int(singular["full"].max()), singular["tolerance"].iloc[0]
    sentence = f"{span(ranks)} of {full} directions keep the loss within {tolerance:g} ({seeds(len(ranks))})"
    random = rows(of_matrix, directions="random")
    if len(random) and random["rank"].notna().any():
        sentence += f"; random directions need {span(random['rank'].dropna())}"
    if (ranks == 0).all():
        what = "the prompt changes nothing here" if of == "values" else "training changed nothing that the loss sees"
        return Conclusion(question, "inconclusive", f"No direction is needed at all: {what}.")
    shares = ranks / singular.loc[ranks.index, "full"]  # a search keeps another number of tokens for each seed
    if shares.max() <= LOW_SHARE:
        return Conclusion(question, "yes", f"{capital(sentence)}: at most {LOW_SHARE:.0%} in every seed.")
    if shares.min() > LOW_SHARE:
        return Conclusion(question, "no", f"{capital(sentence)}: more than {LOW_SHARE:.0%} in every seed.")
    return Conclusion(question, "inconclusive", f"{capital(sentence)}: the seeds lie on both sides of {LOW_SHARE:.0%}.")


def _low_rank(conclusions: Sequence[Conclusion]) -> Conclusion:
    """The claim as a whole: what was learned is low in its spectrum, and low for the model that reads it."""
    question = "Is the learned prompt of low rank?"
    answers = {conclusion.question: conclusion.answer for conclusion in conclusions}
    learned = answers[f"Is {_WHAT['change']} of lower rank than noise?"]
    used = answers[f"Is the functional rank of {_WHAT['change']} low?"]
    control = answers["Is the change of lower rank than that of training on shuffled labels?"]
    if (learned, used) == ("yes", "yes"):
        end = _CAUSES.get(
            control, "whether the task or training makes it so was not settled: confirmed as far as it goes."
        )
        return Conclusion(question, "yes", f"What training added is low in its spectrum and to the model, {end}")
    answer, sentence = _WHOLE.get(
        (learned, used), ("inconclusive", "A part of the evidence is missing or undecided: open.")
    )
    return Conclusion(question, answer, sentence)


def _lower(row: dict[str, Any]) -> Answer:
    """Lower beyond chance, and by a size that matters."""
    if row["share"] <= MARKED:
        return "yes" if row["low_rank"] else "inconclusive"
    return "hardly" if row["low_rank"] else "no"


def _against(row: dict[str, Any], null: str) -> str:
    return (
        f"{row['measure']} rank {row['value']:.2f} (mean of {seeds(row['seeds'])}), {row['share']:.1%} of the "
        f"{row['median']:.2f} of {null}; lower in {int(row['called'])} of {seeds(row['seeds'])}, "
        f"p = {probability(row['p'])} over all"
    )
