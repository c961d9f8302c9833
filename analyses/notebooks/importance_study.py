# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
"""
# Which tokens of a prompt matter?

XPrompt prunes by a gradient score: the mean over examples of |dL/dgamma|. It costs one backward pass and says how fast
the loss moves, not what happens when the token is gone. Leaving a token out says that exactly, one token at a time;
Shapley values say it averaged over all prompts that lack others too. This notebook sets them side by side:

1. Do few tokens carry the prompt, and do some do harm?
2. Does the gradient score rank tokens as the exact scores do?
3. Do prompts of different seeds keep the same tokens?

The last cell answers from the tables, not from this text.
"""

# %%
import os
import tarfile
import tempfile
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message="IProgress not found")  # progress bars of others, which are not shown
import pandas as pd
from IPython.display import SVG, display

from prunekit.analysis import importance_conclusions, model_access, overlap, tables, unit_scores
from prunekit.analysis.conclusions import as_table
from prunekit.plots import importance, mask_overlap, score_agreement, score_histogram, token_map
from prunekit.plots.figure import Figure, LackingError

# %% tags=["parameters"]
#: Run directory to be studied; by default a small one, packed beside this notebook.
RUN = os.environ.get("PRUNEKIT_RUN", "")

# %%
if not RUN:
    small = tempfile.mkdtemp(prefix="prunekit-small-")
    with tarfile.open("small_runs.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
        archive.extractall(small)
    RUN = f"{small}/true-labels"
run = tables.opened(Path(RUN))
print(f"{run.path.name}: seeds {', '.join(map(str, run.settings()['seeds']))}")
for gap in tables.gaps(run)["line"]:
    print(f"not finished: {gap}")


def show(figure: Figure) -> None:
    """The figure, or what the run lacks for it."""
    try:
        display(SVG(data=figure.render(figure.table_of([run]), "svg", columns=2)))
    except LackingError as lack:
        print(f"not drawn: {lack}")


# %% [markdown]
"""
## What pruning saw

How each kind of score ranks the tokens of the first seed's dense prompt, the largest first.
"""

# %%
stage = next(reversed(tables.prunings(run)), None)
scores = tables.scores([run], stage)
ranked = unit_scores.ranked(scores)
first = ranked[(ranked["stage"] == "") & (ranked["level"] == "token") & ranked["kept"]]
first = first[first["seed"] == first["seed"].min()]
display(first.pivot_table(index="token", columns="kind", values="rank").astype(int).sort_values("absolute").head(10))
show(score_histogram.FIGURE)
show(token_map.FIGURE)

# %% [markdown]
"""
## What leaving a token out costs

Bars are nats added per example on `validation`; a hatched one lowers the loss beyond chance (Holm over tokens), and is
looked at once more on `test`.
"""

# %%
measured = tables.measured([run])
beside = unit_scores.beside(scores, measured)
exact = [kind for kind in ("leave-one-out", "shapley") if kind in set(measured["kind"])]
print(f"measured exactly: {', '.join(exact) or f'nothing; run: prunekit score {RUN}/seed=0/round=00'}")
show(importance.FIGURE)
if exact:
    columns = ["seed", "token", *exact, "low", "high", "absolute", "negative", "confirmed"]
    display(beside[beside[exact[0]].notna()].nlargest(10, exact[0])[columns].round(4))

# %% [markdown]
"""
## Do cheap scores rank as exact ones do?
"""

# %%
agreement = unit_scores.agreement(beside)
against = agreement[agreement["first"].isin(exact) | agreement["second"].isin(exact)]
agreed = against.groupby(["first", "second"])[["spearman", "spearman_low", "spearman_high", "kendall"]].mean()
display(agreed.sort_values("spearman", ascending=False).head(10).round(2))
show(score_agreement.FIGURE)

# %% [markdown]
"""
## Do seeds keep the same tokens?

Two masks share tokens by chance; only what is above the band is agreement.
"""

# %%
mask_agreement = overlap.agreement(tables.subjects(run, stage)) if stage else pd.DataFrame()
last = (
    mask_agreement[mask_agreement["round"] == mask_agreement["round"].max()] if len(mask_agreement) else mask_agreement
)
display(last.iloc[:, -7:].head(10).round(3))
show(mask_overlap.FIGURE)

# %% [markdown]
"""
## Words nearby, as a hint

A prompt vector is no word. The nearest words of the vocabulary are shown beside what random vectors of the same length
come near to (`p`), and beside the word that the token started from: a prompt that began as words lies near them still.
"""

# %%
embedding, words = model_access.embedding(run)
prompt = tables.subjects(run)[0]
near = unit_scores.nearest_words(prompt.values, embedding, words, start=prompt.origin, top=1)
display(near.head(10).round(3))

# %% [markdown]
"""
## What can be concluded
"""

# %%
conclusions = importance_conclusions.importance_study(beside, agreement, last)
with pd.option_context("display.max_colwidth", None):
    display(as_table(conclusions))
for conclusion in conclusions:
    print(f"{conclusion.question} {conclusion.answer.upper()}. {conclusion.sentence}")
