"""Pruning of directions as a user runs it: rounds, controls, resuming, what is written, exported and refused."""

import json

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

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
from prunekit.pruning.controls import controls_for
from prunekit.runs import round_files, summary
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


def test_a_search_says_that_it_prunes_no_directions(folder, tmp_path):
    with pytest.raises(ConfigError, match="use prunekit prune"):
        experiment.search(prepare(tiny.experiment("gpt2", folder, **SETTINGS)), tmp_path, tiny.Quiet())


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
