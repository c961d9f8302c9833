"""Layers and heads of a prefix: which pieces are theirs, and what leaving them out costs, against attention by hand."""

from dataclasses import replace

import naive_prefix
import pandas as pd
import pytest
import tiny
import torch
from matplotlib.figure import Figure
from naive import close

import prunekit
from prunekit.analysis import tables
from prunekit.analysis.prefix_parts import GROUPS, Parts
from prunekit.engine import ablation
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import prepare
from prunekit.models.prefix import CacheShape
from prunekit.plots import layers_heads
from prunekit.plots.figure import LackingError
from prunekit.prompts.mask import Mask
from prunekit.support.errors import ArtifactError, ConfigError

HOLES = tiny.masked([True, False, True, True, True], drop=[(0, 1), (3, 0), (4, 1)])


@pytest.mark.parametrize("group", GROUPS)
def test_the_cells_of_a_group_are_the_numbers_that_it_has_of_a_token(group):
    shape, parts = CacheShape(layers=3, heads=2, size=4), Parts(3, 2)
    numbers = torch.arange(shape.width).view(3, 2, 2, 4)  # layer, head, key or value, coordinate
    pieces = 2 * parts.count("part")  # half a key
    cells = parts.cells(group, 5, pieces)
    for row, of_group in zip(parts.names(group).itertuples(), cells, strict=True):
        where = numbers[row.layer]
        where = where if row.head < 0 else where[row.head]
        where = where if not row.part else where[("key", "value").index(row.part)]
        expected = torch.zeros(shape.width, dtype=torch.bool).index_fill(0, where.flatten(), True)
        assert torch.equal(of_group.repeat_interleave(shape.width // pieces, dim=1), expected.expand(5, -1))


def test_what_a_piece_is_is_told_by_how_many_there_are():
    parts = Parts(3, 2)
    assert [parts.group_of(pieces) for pieces in (3, 6, 12, 2, 24)] == ["layer", "head", "part", None, None]
    with pytest.raises(ConfigError, match=r"--level head: .*K = 3.* are not as small as one of 6 heads; use --level l"):
        parts.cells("head", 5, 3)


@pytest.mark.parametrize(
    ("group", "pieces", "dropped_as"), [("layer", 4, "hide"), ("head", 4, "remove"), ("part", 8, "zero")]
)
def test_leaving_out_a_group_is_a_loop_over_masks_and_examples_in_one_cohort(group, pieces, dropped_as, monkeypatch):
    bone = tiny.frozen("llama", position="prefix-kv")
    rows = tiny.encoded(bone, tiny.examples(3), 5)
    mask = HOLES if pieces == 4 else Mask.full(5, 8)
    ticket = replace(tiny.ticket(bone, tokens=5, pieces=pieces, dropped_as=dropped_as), mask=mask)
    groups = Parts(2, 2).cells(group, 5, pieces)
    cohorts = tiny.spied(monkeypatch, ablation, "evaluate", lambda prompts, *rest: prompts.members)
    measured = ablation.leave_groups_out(ticket, bone, rows, groups)
    assert cohorts == [1 + len(groups)]
    for without, cells in zip(measured.without_losses, groups, strict=True):
        left = mask.piece & ~cells
        lesser = replace(ticket, mask=Mask(left.any(dim=1), left))
        close(without, torch.stack([naive_prefix.loss("llama", lesser, row).detach() for row in rows]))
    close(measured.losses, torch.stack([naive_prefix.loss("llama", ticket, row).detach() for row in rows]))


@pytest.fixture(scope="module")
def pruned(folder):
    settings = tiny.experiment("llama", folder, position="prefix-kv", pieces=None, rounds=1)
    return experiment.run(prepare(settings), folder / "runs", tiny.Quiet(), prune=True)


def test_scores_have_a_row_for_each_token_layer_and_head_and_the_figure_tells_what_was_dropped(pruned):
    snapshot = pruned.snapshot()
    scores = tables.heads([snapshot])
    flat = tables.scores([snapshot])
    flat = flat[flat["level"] == "piece"]
    dense = scores[(scores["round"] == 0) & scores["pruned_by"]]
    assert list(dense["piece"]) == list(2 * dense["layer"] + dense["head"])  # two heads
    assert list(scores["score"].fillna(-1)) == list(flat["score"].fillna(-1))
    table = layers_heads.table_of([snapshot])
    assert list(zip(table["layer"], table["head"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    by_hand = dense.pivot(index="token", columns="piece", values="score").mean()
    assert list(table["score"]) == pytest.approx(list(by_hand))
    last = scores[(scores["round"] == 1) & scores["pruned_by"]]
    share = 1 - last.pivot(index="token", columns="piece", values="kept").astype(float).mean()
    assert list(table["dropped"]) == pytest.approx(list(share))
    axes = layers_heads.draw(table, Figure(layout="constrained").add_subplot())
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0", "1"]


def test_layers_and_heads_are_left_out_of_a_run_and_found_there_again(pruned, capsys):
    by_head = prunekit.score(pruned.path, level="head", quiet=True)
    assert by_head.facts["level"] == "head"
    assert prunekit.score(pruned.path, level="head", quiet=True).folder == by_head.folder
    snapshot = pruned.snapshot()
    groups = tables.measured_groups([snapshot])
    pd.testing.assert_series_equal(groups["score"], by_head.table["score"])
    assert tables.measured([snapshot]).empty
    assert tiny.call("score", pruned.path, "--level", "layer") == 0
    printed = capsys.readouterr().out
    assert "leave-one-out per layer" in printed
    assert "are negative" in printed
    with pytest.raises(ConfigError, match="--level part: the pieces of this ticket"):
        prunekit.score(pruned.path, level="part", quiet=True)
    with pytest.raises(ConfigError, match="--level head: only leaving it out is measured; leave out --kind"):
        prunekit.score(pruned.path, level="head", kind="absolute", quiet=True)


def test_input_vectors_have_neither_layers_nor_heads(folder):
    settings = tiny.experiment("llama", folder, rounds=1)
    run = experiment.run(prepare(settings), folder / "runs", tiny.Quiet(), prune=True)
    assert not layers_heads.FIGURE.applies([run.snapshot()])
    with pytest.raises(LackingError, match="layers and heads have those of prefix-kv alone"):
        layers_heads.table_of([run.snapshot()])
    with pytest.raises(ArtifactError, match=r"are not keys and values \(--position prefix-kv\)"):
        tables.heads([run.snapshot()])
    with pytest.raises(ConfigError, match="--level: layers and heads are left out of prefixes"):
        prunekit.score(run.path, level="layer", quiet=True)
