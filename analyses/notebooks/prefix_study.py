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
# What does a prefix of keys and values hold?

`--position prefix-kv` trains what a decoder keeps of a token: a key and a value for each head of each layer. A text
attends to such a token head by head. So one can ask of a trained prefix what one cannot ask of input vectors:

1. Which layers and heads carry it?
2. Is it the keys that were learned (who looks there) or the values (what one finds there)?
3. How few heads of how few tokens will do, and what does a request save?

The run is of a decoder of 260,000 weights that writes children's stories, and learned to tell whether a day was good or
bad. Any run of `--position prefix-kv` may stand in its place, and the last cell answers from the tables.
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

import prunekit as pk
from prunekit.analysis import request_cost, tables
from prunekit.plots import layers_heads

# %% tags=["parameters"]
#: Run directory to be studied; by default a small one, packed beside this notebook.
RUN = os.environ.get("PRUNEKIT_RUN", "")

# %%
if not RUN:
    small = tempfile.mkdtemp(prefix="prunekit-small-")
    with tarfile.open("prefix_run.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
        archive.extractall(small)
    RUN = f"{small}/prefix"
run, files = pk.load(RUN), tables.opened(Path(RUN))
parts, prefix = tables.parts_of(files), tables.subjects(files)[0]
assert isinstance(run, pk.Run)
assert parts is not None, "its prompts are input vectors; give a run of --position prefix-kv"
tokens, width = prefix.values.shape
print(f"{tokens} tokens of {parts.layers} layers x {parts.heads} heads, {width} numbers each")
print(run.nothing_to_prune or "The dense prefix beats every base line on validation.")
display(run.rounds[["round", "tokens", "pieces", "density", "validation", "test"]].tail(10).round(3))

# %% [markdown]
"""
## Which layers and heads carry it?

The score of each head, mean over tokens; a mark is the larger, the more tokens lost that head by pruning.
"""

# %%
display(SVG(data=layers_heads.FIGURE.render(layers_heads.FIGURE.table([files]), "svg", columns=2)))

# %% [markdown]
"""
Scores are estimates. Leaving a layer out of all tokens measures: `score` is what the loss gains (nats per example on
`validation`), `low` to `high` its 95 % interval over examples; `right_change` is what the accuracy gains.
"""

# %%
groups = tables.measured_groups([files])
by_layer = groups[groups["level"] == "layer"] if len(groups) else groups
if by_layer.empty:
    print(f"not measured; run: prunekit score {RUN}@dense --level layer")
else:
    display(by_layer[["layer", "score", "low", "high", "right_change"]].head(10).round(4))

# %% [markdown]
"""
## Keys or values?

How far training moved the keys and the values of each layer from their start, beside how large they were: root mean
squares over tokens, heads and coordinates. AdamW moves all numbers about as far; beside their size that is little for a
key, which decides who looks at the token, and much for a value, which is what is found there.
"""

# %%
shape = (tokens, parts.layers, parts.heads, 2, width // (2 * parts.layers * parts.heads))
start, change = prefix.origin.reshape(shape), (prefix.values - prefix.origin).reshape(shape)
sizes = {
    f"{of} of {part}": matrix[:, :, :, place].square().mean(dim=(0, 2, 3)).sqrt().tolist()
    for place, part in enumerate(("keys", "values"))
    for of, matrix in (("start", start), ("change", change))
}
moved = pd.DataFrame(sizes).rename_axis("layer")
display(moved.head(10).round(3))

# %% [markdown]
"""
## Which tokens?

What leaving out each token costs, and the first round without it (-1: never dropped).
"""

# %%
measured = tables.measured([files])
dropped = run.scores.query("level == 'token' and round == 0").groupby("token", as_index=False)["dropped_in"].first()
by_token = measured[(measured["level"] == "token") & (measured["round"] == 0)]
if by_token.empty:
    print(f"not measured; run: prunekit score {RUN}@dense")
else:
    columns = ["token", "score", "low", "high", "dropped_in"]
    display(by_token.merge(dropped, on="token").nlargest(10, "score")[columns].round(4))

# %% [markdown]
"""
## What does a request save?

A head that does not see a token reads nothing of it, but its slot is there for all heads: memory is saved by whole
tokens.
"""

# %%
cost = request_cost.request_cost([files])
display(cost[["round", "tokens", "density", "cache_bytes", "requests"]].tail(10).round(3))

# %% [markdown]
"""
## What can be concluded
"""

# %%
last = run.rounds.iloc[-1]
if len(by_layer):
    most, needed = by_layer.sort_values("score").iloc[-1], (by_layer["low"] > 0).sum()
    print(
        f"{needed} of {parts.layers} layers are needed (interval above 0), most of all layer {most['layer']}: without "
        f"it the loss is {most['score']:.2f} nats larger, of {by_layer['score'].sum():.2f} that all cost one at a time."
    )
ratio = (moved["change of values"] / moved["start of values"]) / (moved["change of keys"] / moved["start of keys"])
print(
    f"Beside their start, values moved {ratio.median():.1f} times as far as keys (median of layers, "
    f"{ratio.min():.1f} to {ratio.max():.1f})."
)
print(
    f"{last['tokens']:.0f} of {tokens} tokens with {last['density']:.1%} of the heads reach {last['test']:.3f} on "
    f"test, the whole prefix {run.rounds.iloc[0]['test']:.3f}; a request keeps {cost['cache_bytes'].iloc[-1]:,.0f} of "
    f"{cost['cache_bytes'].iloc[0]:,.0f} bytes."
)
