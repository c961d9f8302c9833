"""Pruning of directions as a user runs it: rounds, controls, resuming, what is written, exported and refused."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from prunekit import search
from prunekit.analysis import curves, tables
from prunekit.cli import main
from prunekit.experiment import round_runner, settings_io
from prunekit.experiment import run as experiment
from prunekit.experiment.api.run import Run
from prunekit.experiment.prepare import prepare
from prunekit.experiment.pruned_levels import pruned_levels
from prunekit.experiment.settings import PruningSettings
from prunekit.plots.catalog import FIGURES
from prunekit.plots.figure import LackingError
from prunekit.plots.report.drawn_figures import NEED_MODEL
from prunekit.plots.report.report import report
from prunekit.pruning import ratio_search
from prunekit.pruning.controls import controls_for
from prunekit.pruning.schedule import Keep
from prunekit.runs import listing, round_files, summary
from prunekit.runs.address import Address
from prunekit.runs.paths import DENSE, RunKey
from prunekit.support.errors import ArtifactError, ConfigError

P, H = 4, tiny.WIDTH
SETTINGS = dict(keep_tokens=None, keep_rank=1, rounds=2, seeds=2, score="leave-one-out")
CONTROLS = [control.name for control in controls_for("directions")]


@pytest.fixture(scope="module", params=tiny.at_night("bert", "gpt2"))  # which has a head too
def pruned(request, folder, tmp_path_factory):
    """(run, prepared experiment) of two rounds down to rank 1, with controls."""
    return tiny.finished(request.param, folder, tmp_path_factory.mktemp("rank"), controls=True, **SETTINGS)


def vectors(ticket):
    return ticket.prompt().prompt().detach()


def test_every_round_keeps_the_directions_that_scored_best(pruned):
    run, prepared = pruned
    for seed in (0, 1):
        before = round_files.finished_ticket(run, RunKey(DENSE, seed, 0))
        for number, rank in ((1, 2), (2, 1)):
            (scores,) = round_files.load_scores(run, RunKey(prepared.stage.scored, seed, number - 1)).values()
            left, size, right = np.linalg.svd(vectors(before).double().numpy(), full_matrices=False)
            kept = sorted(range(len(scores.token)), key=lambda index: -float(scores.token[index]))[:rank]
            wanted = torch.from_numpy(sum(size[index] * np.outer(left[:, index], right[index]) for index in kept))
            start = round_files.starting_ticket(run, RunKey(prepared.stage, seed, number))
            assert (vectors(start) - wanted).abs().max() < 1e-6
            before = round_files.finished_ticket(run, RunKey(prepared.stage, seed, number))
            assert torch.linalg.matrix_rank(vectors(before), rtol=1e-5) == rank


def test_results_count_what_is_free(pruned):
    run, prepared = pruned
    table = run.results().query(f"stage == '{prepared.stage}'").set_index(["arm", "round", "seed"])
    for (arm, number, _), row in table.iterrows():
        rank = {"": {1: 2, 2: 1}[number], "random-subspace": {1: 2, 2: 1}[number]}.get(arm, 1)
        free = {"dense-continued": P * H, "fixed-subspace": P}.get(arm, rank * (P + H - rank))
        assert (row["parameters"], row["density"]) == (free, free / (P * H)), arm
        assert (row["tokens"], row["pieces"]) == (4, 4)
        assert np.isnan(row["rank"]) if arm == "dense-continued" else row["rank"] == rank
    assert set(table.index.get_level_values("arm")) == {"", *CONTROLS}
    assert table["test_accuracy"].notna().sum() == 2 * (2 + len(CONTROLS))


def test_a_table_says_what_became_of_each_direction(pruned):
    run, prepared = pruned
    table = tables.directions([run])
    assert len(table) == 2 * (P + 2)  # of two seeds: all of the dense round, then those of round 1
    for (seed, number), rows in table.groupby(["seed", "round"]):
        stage = prepared.stage if number else DENSE
        values = vectors(round_files.finished_ticket(run, RunKey(stage, seed, number)))
        assert torch.allclose(torch.tensor(rows["size"].to_numpy()), torch.linalg.svdvals(values.double())[: len(rows)])
        assert rows["share"].sum() == pytest.approx(1)
        best = rows["score"].nlargest({0: 2, 1: 1}[number]).index
        assert set(rows.index[rows["next_kept"]]) == set(best)
    assert set(table["kind"]) == {"leave-one-out"}
    assert Run(run.path, prepared.stage).directions.equals(table)
    assert list(Run(run.path, prepared.stage).rounds["rank"])[1:] == [2, 1]
    with pytest.raises(ArtifactError, match="prunings of directions are prune-"):
        tables.directions([run], "prune-0000")


def test_what_is_frozen_in_a_fixed_subspace_never_moves(pruned):
    run, prepared = pruned
    ticket = round_files.starting_ticket(run, RunKey(prepared.stage, 0, 2))
    for number in (1, 2):
        control = round_files.finished_ticket(run, RunKey(prepared.stage.inside("fixed-subspace"), 0, number))
        assert torch.equal(control.state["basis"], ticket.state["right"])
        assert not torch.equal(control.state["left"], ticket.state["left"])


def test_it_is_resumed_without_training_and_every_file_is_sound(pruned, monkeypatch):
    run, prepared = pruned
    before = tiny.contents(run.path)
    for name in ("train", "DirectionProbe"):
        monkeypatch.setattr(round_runner, name, tiny.refuse)
    experiment.run(prepared, run.path.parent, tiny.Quiet(), controls=True)
    assert tiny.contents(run.path) == before
    assert run.verify() > 0


def test_tables_compare_it_by_density_and_know_no_score_of_its_tokens_as_that_which_pruned(pruned):
    run, prepared = pruned
    arms = tables.arms(run, prepared.stage)
    assert set(CONTROLS) < set(arms["arm"])
    scores = tables.scores([run])
    assert not scores["pruned_by"].any()
    assert set(scores["token"]) == set(range(P))
    smallest = curves.smallest(tables.rounds([run]), tolerance=1.0)
    assert list(smallest.loc[smallest["best"], "round"]) == [2]
    best = summary.smallest(summary.summarise(run.results(), "accuracy"), 1.0)
    assert best.kept == "rank 1"


def test_a_whole_rank_starts_at_the_very_prompt_that_was_trained(folder, tmp_path):
    run, prepared = tiny.finished("gpt2", folder, tmp_path, **(SETTINGS | dict(keep_rank=1.0, rounds=1, seeds=1)))
    dense = round_files.finished_ticket(run, RunKey(DENSE, 0, 0))
    start = round_files.starting_ticket(run, RunKey(prepared.stage, 0, 1))
    assert (vectors(start) - vectors(dense)).abs().max() < 1e-6
    assert start.density == 1.0


def test_it_is_exported_as_plain_vectors(pruned, tmp_path):
    run, prepared = pruned
    with pytest.raises(SystemExit) as ended:
        main.main(["export", f"{run.path}@round=2,seed=1", "--to", "embeddings", "--out", str(tmp_path / "out")])
    assert ended.value.code == 0
    tensors = load_file(tmp_path / "out" / "prompt_embeddings.safetensors")
    wanted = vectors(round_files.finished_ticket(run, RunKey(prepared.stage, 1, 2)))
    assert torch.equal(tensors["prompt_embeddings"], wanted)


def test_it_is_pruned_from_the_command_line_and_said_in_words(folder, tmp_path, capsys):
    arguments = tiny.arguments("gpt2", folder, **(SETTINGS | dict(seeds=1, score="magnitude")))
    for more in (["--dry-run"], [], ["--json"]):
        with pytest.raises(SystemExit) as ended:
            main.main(["prune", *arguments, f"--out={tmp_path}", *more])
        assert ended.value.code == 0
        printed = capsys.readouterr().out
        if more == ["--dry-run"]:
            assert "4 at rank 2" in printed
        elif more == ["--json"]:
            assert {ticket["rank"] for ticket in json.loads(printed)["tickets"]} == {None, 1, 2}
        else:
            assert "kept directions" in printed


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (dict(method="dpt", rank=2), "directions are pruned of plain vectors, not of dpt"),
        (dict(frozen_tokens=1), "leave out --frozen-tokens"),
        (dict(prompt_tokens=40), "no more than 32 directions"),
        (dict(keep_rank=5), "keep_rank = 5 keeps 5 of 4 directions"),
        (dict(keep_rank=0), "keep_rank = 0 keeps 0 of 4 directions"),
        (dict(keep_tokens=2), "leave out keep_tokens and keep_pieces"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder, more, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        prepare(tiny.experiment("gpt2", folder, **(SETTINGS | more)))
    assert "\n" not in str(refused.value)


def test_a_score_of_tokens_alone_is_refused_before_anything_is_loaded(folder):
    asked = tiny.experiment("gpt2", folder, **(SETTINGS | dict(score="attention")))
    with pytest.raises(ConfigError, match="score = attention is of tokens, and keep_rank prunes directions"):
        pruned_levels(asked, "prune")


def test_settings_from_before_keep_their_identity_and_those_of_directions_come_back():
    assert "keep_rank" not in PruningSettings().model_dump(mode="json")
    settings = settings_io.experiment(None, {"keep_rank": "0.25"}).pruning
    written = settings.model_dump(mode="json")
    assert not {"keep_tokens", "keep_pieces"} & set(written)
    assert PruningSettings.model_validate(written) == settings


def test_every_figure_draws_it_or_says_what_it_lacks(pruned):
    run, prepared = pruned
    lacking = {}
    for figure in FIGURES:
        if figure.name not in NEED_MODEL and figure.applies([run]):
            try:
                assert len(figure.table_of([run])), figure.name
            except LackingError as lack:
                lacking[figure.name] = str(lack)
    of_cells = {name for name, reason in lacking.items() if f"{prepared.stage} pruned directions" in reason}
    assert of_cells == {"token_map", "score_histogram", "mask_overlap"}
    assert "density_curve" not in lacking


# ---- a search over ranks

SEARCH = dict(keep_tokens=None, rounds=None, grid="rank", seeds=2)
BY_NAME = {figure.name: figure for figure in FIGURES}


@pytest.fixture(scope="module")
def searched(folder, tmp_path_factory):
    """A search over ranks with controls: its run, stage and results by arm and seed."""
    prepared = prepare(tiny.experiment("gpt2", folder, **SEARCH))
    out = tmp_path_factory.mktemp("searched")
    run = experiment.search(prepared, out, tiny.Quiet(), controls=True)
    results = run.results().query(f"stage == '{prepared.search_stage}'").set_index(["arm", "seed"])
    return SimpleNamespace(run=run, prepared=prepared, stage=prepared.search_stage, results=results)


def chosen_rank(searched, seed):
    """By hand: the best on validation, of equals the fewest free numbers."""
    ranks = range(1, P + 1)
    reached = {rank: searched.results.loc[(f"grid/rank={rank}", seed), "validation_accuracy"] for rank in ranks}
    return min(ranks, key=lambda rank: (-reached[rank], rank * (P + H - rank)))


def test_a_search_tries_every_rank_and_trains_the_controls_of_what_it_chose(searched):
    arms = {arm for arm, _ in searched.results.index}
    assert arms == {"", *(f"grid/rank={rank}" for rank in range(1, P + 1)), *CONTROLS}
    for seed in (0, 1):
        rank = chosen_rank(searched, seed)
        assert rank < P  # of this run; another choice is below
        of_seed = searched.results.xs(seed, level="seed")
        assert of_seed.loc["", "chosen_from"] == f"{searched.stage}/grid/rank={rank}"
        for arm in ("", "random-subspace", "lowest-directions"):
            assert (of_seed.loc[arm, "rank"], of_seed.loc[arm, "parameters"]) == (rank, rank * (P + H - rank))
        for number in range(1, P + 1):
            row = of_seed.loc[f"grid/rank={number}"]
            assert (row["parameters"], row["cells"]) == (number * (P + H - number), P * 4)
            assert np.isnan(row["test_accuracy"])


def test_full_rank_is_the_trained_prompt_trained_on(searched, folder, tmp_path):
    """It is the control dense continued; where halving trains that by itself, it comes to the same values."""
    apart = prepare(tiny.experiment("gpt2", folder, **(SEARCH | dict(halving="true"))))
    run = experiment.search(apart, tmp_path, tiny.Quiet(), controls=True)
    for seed in (0, 1):
        key = RunKey(searched.stage.trial(Keep(P, 4, P)), seed, 1)
        ticket = round_files.finished_ticket(searched.run, key)
        continued = round_files.finished_ticket(run, RunKey(apart.search_stage.inside("dense-continued"), seed, 1))
        assert (vectors(ticket) - vectors(continued)).abs().max() < 1e-6
        assert ticket.mask.piece.all() and ticket.method == "direct"
        control = round_files.finished_ticket(searched.run, RunKey(searched.stage.inside("dense-continued"), seed, 1))
        assert control.tensors().keys() == ticket.tensors().keys()
        assert all(torch.equal(value, ticket.tensors()[name]) for name, value in control.tensors().items())


def test_tables_of_a_search_over_ranks(searched):
    tried = tables.trials(searched.run, searched.stage)
    assert list(tried)[:6] == ["seed", "tokens", "pieces", "cells", "rank", "parameters"]
    assert sorted(zip(tried["seed"], tried["rank"], strict=True)) == [
        (seed, k) for seed in (0, 1) for k in (1, 2, 3, 4)
    ]
    assert (tried["parameters"] == tried["rank"] * (P + H - tried["rank"])).all()
    chosen = tables.chosen(searched.run, searched.stage)
    assert list(chosen["rank"]) == [chosen_rank(searched, seed) for seed in (0, 1)]
    with pytest.raises(ArtifactError, match="tried ranks, and no token or piece"):
        tables.kept_shares(searched.run, searched.stage)
    directions = tables.directions([searched.run])
    for seed, rows in directions.groupby("seed"):
        best = rows["score"].nlargest(chosen_rank(searched, seed)).index
        assert set(rows.index[rows["next_kept"]]) == set(best)
    assert tables.gaps(searched.run).empty


def test_figures_and_report_of_a_search_over_ranks(few, searched):
    figure = BY_NAME["search_map"]
    table = figure.table_of([searched.run])
    tried = tables.trials(searched.run, searched.stage)
    for row in table.to_dict("records"):
        assert row["validation"] == pytest.approx(tried.loc[tried["rank"] == row["rank"], "validation"].mean())
        assert row["chosen"] == sum(chosen_rank(searched, seed) == row["rank"] for seed in (0, 1))
    ax = plt.figure().add_subplot()
    figure.draw(table, ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["4", "3", "2", "1"]
    assert (ax.get_xlabel(), ax.get_ylabel(), len(ax.get_yticks())) == ("directions kept", "", 0)
    ax = plt.figure().add_subplot()
    BY_NAME["density_curve"].draw(BY_NAME["density_curve"].table_of([searched.run]), ax)
    assert ax.get_xlabel() == "density (free numbers, log scale)"
    plt.close("all")
    page = report(searched.run.path)
    assert "search over ranks, of singular directions" in page
    assert "of 4 directions" in page
    (line,) = listing.list_runs(searched.run.path.parent)
    assert line.kept.startswith("rank ")


@pytest.mark.parametrize("arm", ["", "@random-subspace", "@grid/rank=3", "@grid/rank=4,seed=1"])
def test_its_tickets_have_addresses_and_are_exported_as_plain_vectors(arm, searched, tmp_path):
    address = f"{searched.run.path}{arm}"
    key = Address.parse(address).key()
    stage = searched.stage.inside(arm[1:].partition(",")[0])
    assert key == RunKey(stage, key.seed, 1)
    assert tiny.call("export", address, "--to", "embeddings", "--out", str(tmp_path / "out")) == 0
    tensors = load_file(tmp_path / "out" / "prompt_embeddings.safetensors")
    assert torch.equal(tensors["prompt_embeddings"], vectors(round_files.finished_ticket(searched.run, key)))


def test_full_rank_may_be_chosen_and_has_its_controls(folder, tmp_path, monkeypatch, capsys):
    """Nothing is pruned then: the ticket is plain vectors, without lowest directions to compare with."""
    monkeypatch.setattr(ratio_search, "best_of", lambda validation: max(validation, key=lambda trial: trial[1].size))
    prepared = prepare(tiny.experiment("gpt2", folder, **(SEARCH | dict(seeds=1))))
    run = experiment.search(prepared, tmp_path, tiny.Quiet(), controls=True)
    stage = prepared.search_stage
    results = run.results().query(f"stage == '{stage}'").set_index("arm")
    assert set(results.index) - {f"grid/rank={rank}" for rank in range(1, P + 1)} == {"", *CONTROLS} - {
        "lowest-directions"
    }
    assert (results.loc["", "density"], results.loc["fixed-subspace", "parameters"]) == (1.0, P * P)
    dense, fixed = (round_files.finished_ticket(run, key) for key in (
        RunKey(DENSE, 0, 0), RunKey(stage.inside("fixed-subspace"), 0, 1)))  # fmt: skip
    assert torch.linalg.matrix_rank(torch.cat([vectors(dense), vectors(fixed)]), rtol=1e-4) == P
    assert list(tables.chosen(run, stage)["rank"]) == [P]
    assert tables.directions([run])["next_kept"].all()
    assert tables.gaps(run).empty
    assert tiny.call("runs", "show", str(run.path)) == 0
    assert "rank" in capsys.readouterr().out


def test_the_same_search_in_python_and_on_the_command_line(searched, folder, capsys):
    out = searched.run.path.parent
    arguments = [*tiny.arguments("gpt2", folder, **SEARCH), f"--out={out}", "--controls"]
    assert tiny.call("search", *arguments, "--dry-run") == 0
    assert "tickets and base lines are finished" in capsys.readouterr().out
    assert tiny.call("search", *arguments) == 0
    shown = capsys.readouterr().out
    rows = [line.split() for line in shown.splitlines()]
    numbers = {int(row[0]): int(row[1]) for row in rows if len(row) == 3 and row[0].isdigit() and "." in row[2]}
    assert numbers == {rank: rank * (P + H - rank) for rank in (4, 3, 2, 1)}
    assert tiny.call("search", *arguments, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert {ticket["rank"] for ticket in facts["tickets"]} == {None, 1, 2, 3}
    given = dict(flag[2:].split("=", 1) for flag in tiny.arguments("gpt2", folder, **SEARCH))
    asked = {name.replace("-", "_"): value for name, value in given.items()}
    before = tiny.contents(searched.run.path)
    again = search(**asked, out=out, controls=True, quiet=True)
    assert (again.path, again.stage) == (searched.run.path, searched.stage)
    assert tiny.contents(again.path) == before


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (dict(method="dpt", rank=2), "grid = rank: directions are pruned of plain vectors, not of dpt"),
        (
            dict(frozen_tokens=1, prompt_tokens=8),
            "grid = rank: every token has some of each direction; leave out --frozen-tokens",
        ),
        (dict(prompt_tokens=40), "grid = rank: 40 prompt tokens have no more than 32 directions"),
        (dict(keep_tokens=2), "keep_tokens = 2: a search over ranks drops no token or piece; leave it out"),
        (dict(keep_rank=2), "keep_rank: a search tries several ranks itself"),
        (dict(grid="token", keep_rank=2), "keep_rank: a search tries several ranks itself"),
        (dict(score="attention"), "score = attention is of tokens, and grid = rank prunes directions"),
        (dict(rescore_pieces="true"), "rescore_pieces goes with grid = paper"),
    ],
)
def test_what_a_search_cannot_try_is_refused_in_one_line(more, reason, folder, tmp_path, capsys):
    asked = SEARCH | dict(out=tmp_path / "out") | more
    given = dict(flag[2:].split("=", 1) for flag in tiny.arguments("gpt2", folder, **asked))
    with pytest.raises(ConfigError, match=reason) as refused:
        search(**{name.replace("-", "_"): value for name, value in given.items()}, quiet=True)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("out/*"))
