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
# Prune a prompt on your own data

Rows of texts and labels go in; a soft prompt that is as small as it can be comes out, with what it answers. All of it
takes half a minute on one core: the rows are made up, and the model is the tiny one that comes with prunekit. Put your
file and your model in the second cell, and nothing else changes.
"""

# %%
import os
import random
import tempfile
import warnings
from pathlib import Path

warnings.filterwarnings("ignore", message="IProgress not found")  # progress bars of others, which are not shown
import pandas as pd
from IPython.display import display

import prunekit as pk

pd.set_option("display.max_colwidth", 90)

# %% tags=["parameters"]
#: Your rows, a CSV file; by default some that are made up below.
ROWS = os.environ.get("PRUNEKIT_ROWS", "")
TEXT, LABEL = os.environ.get("PRUNEKIT_TEXT", "review"), os.environ.get("PRUNEKIT_LABEL", "verdict")
#: A model by name or folder, such as "HuggingFaceTB/SmolLM2-135M-Instruct".
MODEL = os.environ.get("PRUNEKIT_MODEL", "testbed")

# %% [markdown]
"""
## The rows

The tiny model knows 246 words, so that the reviews are made of these. Real rows need no such care.
"""


# %%
def made_up(count: int, seed: int = 0) -> pd.DataFrame:
    """Reviews of four things, good or bad by their last word."""
    draw = random.Random(seed)
    words = {"good": ["great", "lovely", "superb", "splendid"], "bad": ["awful", "dreadful", "terrible", "horrid"]}
    people, animals, things = ["anna", "ben", "dora", "gus"], ["owls", "hens", "foxes"], ["food", "music", "weather"]
    rows = []
    for _ in range(count):
        verdict = draw.choice(list(words))
        meeting = f"today {draw.choice(people)} likes {draw.choice(animals)} in {draw.choice(['rome', 'oslo', 'lima'])}"
        rows.append((f"{meeting} . {draw.choice(things)} was {draw.choice(words[verdict])} .", verdict))
    return pd.DataFrame(rows, columns=["review", "verdict"]).drop_duplicates(ignore_index=True)


rows = pd.read_csv(ROWS) if ROWS else made_up(400)
display(rows.head())

# %% [markdown]
"""
## Train and prune

A prompt of 8 vectors is trained, its worst are dropped, the rest is trained again, twice. A part of the rows is set
apart for validation, which chooses, and another for the test, which is looked at once per prompt. A run shows its
rounds, and the mask of its best ticket: the smallest prompt within a point of accuracy.
"""

# %%
run = pk.prune(
    MODEL, data=rows, text=TEXT, label=LABEL, rounds=2, prompt_tokens=8, train_steps=48, evaluate_every=8, threads=1,
    out=Path(tempfile.mkdtemp(prefix="prunekit-own-")), quiet=True,
)  # fmt: skip
display(run)

# %% [markdown]
"""
## Did the prompt learn?

Without a trained prompt one has these. Where the dense prompt beats them, there is something to prune.
"""

# %%
display(run.baselines[["label", "validation", "test", "beaten"]].round(3))
print(run.nothing_to_prune or "The dense prompt beats every base line on validation.")
axes = run.plot.curves()

# %% [markdown]
"""
## How small may it be?
"""

# %%
axes = run.plot.density()
display(run.rounds[["round", "tokens", "pieces", "density", "validation", "test"]].round(3))

# %% [markdown]
"""
## What is left

Rows are tokens, columns their pieces; grey ones were dropped. `run.scores` is the table behind it.
"""

# %%
axes = run.plot.token_map()
tokens = run.scores.query("kind == 'absolute' and level == 'token' and round == 0")
display(tokens[["token", "score", "dropped_in"]].nlargest(8, "score").round(6))

# %% [markdown]
"""
## Use it

On rows without labels; on your own copy of the model, `run.best.attach(model)` is called as the model is; and
`run.best.export("adapter", MODEL)` writes a PEFT adapter, once it is proved to answer alike.
"""

# %%
new = rows.sample(5, random_state=0, ignore_index=True) if ROWS else made_up(5, seed=1)
answers = pd.DataFrame(pk.predict(run.best, new[[TEXT]], quiet=True))
display(new[[TEXT, LABEL]].join(answers[["answer", "score"]].round(3)))

# %% [markdown]
"""
## What can be concluded
"""

# %%
best, dense = run.best.mask, run.rounds.iloc[0]
print(
    f"{best.tokens} of {len(best.token)} tokens and {best.density:.1%} of the numbers answer as the whole prompt: on "
    f"validation within {run.tolerance:g} of its {dense['validation']:.3f}. One seed on one set of rows says nothing "
    "of others: seeds=6 and controls=True tell whether it was the pruning."
)
