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
# Is the learned prompt of low rank?

A soft prompt is a matrix of tokens x width. That such prompts are of low *intrinsic* rank is often said and rarely
tested: a start from `U[0, 0.5)` is nearly of rank one before anything is learned, and a factored prompt cannot be of
higher rank than its factors. So every number here stands beside its null, and three questions are kept apart:

1. Is the trained prompt, and the **change** from its start, of lower rank than noise of the same shape?
2. Does the *model* need few directions (the **functional rank**), or do small directions count as well?
3. Does the **start**, or training on labels that mean nothing, explain it?

The measure is named beforehand: the entropy (effective) rank. The last cell answers from the tables, not from this
text.
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

from prunekit.analysis import functional, model_access, rank_conclusions, ranks, tables, tails, training
from prunekit.analysis.conclusions import as_table
from prunekit.plots import functional_rank, rank_while_training, spectrum

# %% tags=["parameters"]
#: Run directory to be studied; by default a small one, packed beside this notebook.
RUN = os.environ.get("PRUNEKIT_RUN", "")
#: The same run on shuffled labels (`--labels shuffled`), where there is one.
CONTROL = os.environ.get("PRUNEKIT_CONTROL", "")

# %%
if not RUN:
    small = tempfile.mkdtemp(prefix="prunekit-small-")
    with tarfile.open("small_runs.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
        archive.extractall(small)
    RUN, CONTROL = f"{small}/true-labels", f"{small}/shuffled-labels"
run = tables.opened(Path(RUN))
subjects = tables.subjects(run)
print(f"{run.path.name}: {len(subjects)} seeds, {subjects[0].values.shape[0]} tokens x {subjects[0].values.shape[1]}")
for gap in tables.gaps(run)["line"]:
    print(f"not finished: {gap}")

# %% [markdown]
"""
## What was trained

A prompt of which nothing was learned has a rank too; it means nothing. Look at `test` beside `majority_test`.
"""

# %%
rounds = tables.rounds([run])
means = rounds.groupby(["stage", "arm", "round"])[["tokens", "density", "validation", "test", "majority_test"]].mean()
display(means.head(10).round(3))

# %% [markdown]
"""
## The spectrum, beside noise

Lines are singular values, the band holds 95 % of Gaussian matrices of the same shape and energy.
"""

# %%
table = spectrum.table_of([run])
display(SVG(data=spectrum.FIGURE.render(table, "svg", columns=2)))

# %% [markdown]
"""
## Ranks, each beside its nulls

`noise` asks for lower than all three noise nulls (Gaussian, rows shuffled, columns shuffled); `initialisation` draws
prompts from this run's own initialiser. `value` is the rank, `share` its part of the null's; `p` joins the seeds.
"""

# %%
measured = ranks.table(
    subjects,
    matrices=rank_conclusions.MATRICES,
    against=(*ranks.NOISE, "initialisation"),
    starts=model_access.starts(run),
)
verdicts = ranks.verdicts(measured, of="entropy")
display(verdicts.pivot(index=["matrix", "value"], columns="null", values=["share", "p"]).round(3))

# %% [markdown]
"""
Another reading of "low": how many directions are longer than noise ever makes them. A heavy tail needs its null just
as much: a common fit finds exponents of 2.7 to 4.8 in pure noise.
"""

# %%
spikes = ranks.edges(subjects, matrices=rank_conclusions.MATRICES)
display(spikes.groupby("matrix")[["noise", "edge", "above", "noise_edge", "spikes"]].mean().round(3))
display(
    tails.exponents(subjects, matrices=rank_conclusions.MATRICES)
    .groupby(["matrix", "finding"])
    .size()
    .to_frame("prompts")
)

# %% [markdown]
"""
## While it is trained
"""

# %%
snapshots = [tables.snapshots(run, int(str(subject.keys["seed"]))) for subject in subjects]
path = training.path(snapshots, matrices=rank_conclusions.MATRICES, draws=99)
entropy = path[path["measure"] == "entropy"]
display(entropy.pivot_table(index="step", columns="matrix", values="value").tail(10).round(2))
display(SVG(data=rank_while_training.FIGURE.render(rank_while_training.table_of([run]), "svg", columns=2)))

# %% [markdown]
"""
DPT's own study counts positive entries of `ReLU(Sigma)`; it needs a run of `--method singular`.
"""

# %%
positive = training.positive(snapshots)
if positive.empty:
    print("no Sigma: this run was not made with --method singular")
else:
    display(positive.groupby("step")[["positive", "numerical"]].mean().tail(10))

# %% [markdown]
"""
## Functional rank: how many directions does the model need?

The prompt (and, apart from it, the change) is cut to its k longest directions and evaluated again on `validation`,
nothing retrained. Random directions of the same space stand beside it.
"""

# %%
curve = functional_rank.table_of([run])
display(SVG(data=functional_rank.FIGURE.render(curve, "svg", columns=2)))
needed = functional.ranks(curve)
print(f"directions that are needed, of {needed['full'].mean():g}; by three criteria, means over seeds")
display(needed.pivot_table(index=["of", "directions"], columns="criterion", values="rank").round(2))

# %% [markdown]
"""
## Training on labels that mean nothing

The same training on shuffled labels learns no task. What of the low rank remains is made by training itself.
"""

# %%
groups = pd.DataFrame()
if CONTROL:
    control = ranks.table(
        tables.subjects(tables.opened(Path(CONTROL))), matrices=rank_conclusions.MATRICES, against=("gaussian",)
    )
    groups = ranks.groups(measured, control)
    groups = groups[groups["measure"] == "entropy"]
    display(groups[["matrix", "seeds", "control_seeds", "value", "control_value", "p", "smallest_p"]].round(4))
else:
    print(
        "no run on shuffled labels; make one with the same command and --labels shuffled, name it in PRUNEKIT_CONTROL"
    )

# %% [markdown]
"""
## Before and after pruning
"""

# %%
for stage in [name for name in run.stages() if name.verb == "prune"]:
    pruned = training.pruning(tables.dense_and_pruned(run, stage), matrices=rank_conclusions.MATRICES, draws=99)
    pruned = pruned[pruned["measure"] == "entropy"]
    print(stage)
    display(pruned.pivot_table(index=["round", "when"], columns="matrix", values=["value", "median"]).tail(10).round(2))

# %% [markdown]
"""
## What can be concluded
"""

# %%
conclusions = rank_conclusions.rank_study(verdicts, needed, groups)
with pd.option_context("display.max_colwidth", None):
    display(as_table(conclusions))
print(conclusions[-1].question, "-", conclusions[-1].answer.upper())
print(conclusions[-1].sentence)
