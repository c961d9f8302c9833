"""Whole runs of position prefix-kv on a tiny decoder."""

from dataclasses import replace

import pytest
import tiny
import torch
from matplotlib.figure import Figure

from prunekit.analysis.request_cost import request_cost
from prunekit.cli.rounds import print_run
from prunekit.experiment import run as experiment
from prunekit.experiment.import_adapter import import_adapter
from prunekit.experiment.prepare import prepare
from prunekit.export import TicketInfo, adapter_files
from prunekit.export.prefix_tuning import compacted
from prunekit.plots import cost
from prunekit.pruning.lottery import find_tickets
from prunekit.runs import round_files
from prunekit.runs.paths import RunKey
from prunekit.runs.ticket_file import load_ticket, save_ticket
from prunekit.support.errors import ConfigError


def prepared(folder, kind="llama", **more):
    return prepare(tiny.experiment(kind, folder, **({"position": "prefix-kv"} | more)))


def test_a_piece_is_a_head_and_hidden_unless_something_else_is_asked_for(folder):
    made = prepared(folder, pieces=None)
    assert (made.experiment.prompt.pieces, made.experiment.pruning.dropped_as) == (4, "hide")
    asked = prepared(folder, pieces=2, dropped_as="zero")
    assert (asked.experiment.prompt.pieces, asked.experiment.pruning.dropped_as) == (2, "zero")
    assert (made.dense(0).dropped_as, asked.dense(0).dropped_as) == ("hide", "zero")


def test_scores_of_another_act_are_another_run_and_removing_is_hiding(folder):
    ids = {act: prepared(folder, dropped_as=act).id for act in ("hide", "remove", "zero")}
    assert ids["hide"] == ids["remove"] != ids["zero"]


def test_a_run_killed_after_each_round_ends_in_the_same_bytes_and_tells_its_cost(folder, tmp_path, monkeypatch, capsys):
    def run(out):
        return experiment.run(prepared(folder, seeds=2, train_steps=2), out, tiny.Quiet(), prune=True)

    def stopping(dense, keeps, learn, rewinding):
        for turn in find_tickets(dense, keeps, learn, rewinding):
            yield turn
            if turn.number == 1:
                raise KeyboardInterrupt

    whole = run(tmp_path / "whole")
    monkeypatch.setattr(experiment, "find_tickets", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts")
    monkeypatch.undo()
    assert tiny.contents(run(tmp_path / "parts").path) == tiny.contents(whole.path)
    rounds = whole.results().query("stage != 'untrained'")
    assert list(rounds["cache_bytes"]) == [tokens * 64 * 4 for tokens in (4, 4, 3, 3, 2, 2)]
    costs = request_cost([whole.snapshot()], memory=1e-6)  # 1,000 bytes
    assert list(costs["requests"]) == [0, 1, 1]
    assert (costs.filter(like="_ms") > 0).all(axis=None)
    drawn = cost.table_of([whole.snapshot()])
    assert list(drawn["cache_mb"]) == [4 * 256 / 1e6, 3 * 256 / 1e6, 2 * 256 / 1e6]
    assert list(drawn["decode_share"]) == pytest.approx(list(drawn["decode_ms"] / drawn["dense_decode_ms"]))
    assert drawn["decode_share"].iloc[0] == 1.0  # dense beside itself
    assert cost.draw(drawn, Figure().add_subplot()).get_ylabel() == "cache of a\nrequest (MB)"
    print_run(whole.snapshot(), tolerance=0.0, memory=1e-6)
    assert "fit 1e-06 GB" in capsys.readouterr().out
    assert whole.verify() > 0
    ticket = round_files.starting_ticket(whole, RunKey(whole.stages()[-1], 0, 2))
    assert (ticket.position, ticket.dropped_as) == ("prefix-kv", "hide")


def test_frozen_tokens_are_neither_trained_nor_pruned_in_a_ticket_and_its_controls(folder, tmp_path, monkeypatch):
    more = {"frozen_tokens": 1, "keep_pieces": 2, "weight_decay": 0.9, "rounds": 1, "train_steps": 2}

    def run(out):
        return experiment.run(prepared(folder, **more), out, tiny.Quiet(), prune=True, controls=True)

    whole, start = run(tmp_path / "whole"), prepared(folder, **more).dense(0).state["values"]
    keys = [key for key in whole.tickets() if key.stage.verb in ("", "prune")]
    assert {key.stage.arm for key in keys} >= {"", "random", "complement", "reinit", "short-prompt", "dense-continued"}
    for key in keys:
        ticket = round_files.finished_ticket(whole, key)
        assert torch.equal(ticket.state["values"][0], start[0])
        assert not torch.equal(ticket.state["values"][1:], start[1:])
        assert ticket.mask.piece[0].all()
        assert load_ticket(whole.folder(key) / "ticket.safetensors").frozen == 1
    last = whole.results().query("stage.str.startswith('prune') and arm == '' and round == 1").iloc[0]
    assert (last["tokens"], last["pieces"], last["cells"], last["parameters"]) == (2, 2, 4 + 2, 2 * 64 // 4)

    def stopping(dense, keeps, learn, rewinding):
        for turn in find_tickets(dense, keeps, learn, rewinding):
            yield turn
            if turn.number == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "find_tickets", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts")
    monkeypatch.undo()
    assert tiny.contents(run(tmp_path / "parts").path) == tiny.contents(whole.path)


def test_without_frozen_tokens_settings_and_tickets_are_written_as_before_there_were_any(folder):
    plain, frozen = prepared(folder), prepared(folder, frozen_tokens=1)
    assert "frozen_tokens" not in plain.experiment.model_dump()["prompt"]
    assert "frozen" not in plain.dense(0).facts()
    assert plain.id == prepared(folder, frozen_tokens=0).id != frozen.id
    with pytest.raises(ConfigError, match="frozen_tokens = 1: a search tries ratios of all tokens; use prunekit prune"):
        experiment.search(prepared(folder, frozen_tokens=1), folder, tiny.Quiet())


def test_words_and_texts_start_a_prefix_at_what_the_model_keeps_of_them_as_a_row(folder):
    made = prepared(folder, init="text", init_text="w5 w6", pieces=None)
    words = made.model.tokenizer("w5 w6 w5", add_special_tokens=False)["input_ids"]
    row = torch.tensor([*made.model.reader.opening, *words])
    assert len(made.model.reader.opening) == 1  # where attention rests
    assert torch.equal(made.dense(0).state["values"], made.model.prompt_vectors(row))
    sampled, again = (prepared(folder, init="vocabulary").dense(seed).state["values"] for seed in (0, 1))
    assert torch.equal(sampled[0], again[0])
    assert not torch.equal(sampled[1], again[1])


@pytest.mark.parametrize("method", tiny.at_night("residual", "ulpt", "dpt", "structured", "singular"))
def test_methods_that_make_vectors_make_prefixes(method, folder, tmp_path):
    rank = 2 if method == "dpt" else None
    settings = {"method": method, "rank": rank, "rounds": 1, "train_steps": 2}
    made = experiment.run(prepared(folder, **settings), tmp_path, tiny.Quiet(), prune=True)
    assert set(made.results()["status"]) == {"done"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"method": "dept"}, "--method dept adds to the input embeddings too, .* use direct"),
        ({"method": "bilinear"}, "--method bilinear .* add --columns random"),
        ({"init": "labels"}, "init = labels: .* use --init vocabulary or text"),
        ({"pieces": 8}, r"pieces = 8: .* use --pieces 2 \(layers\) or 4 \(heads\), or --dropped-as zero"),
        ({"frozen_tokens": 2}, "frozen_tokens = 2: nothing else would be .* kept, .* use fewer, or more --keep-tokens"),
        ({"frozen_tokens": 1, "method": "ulpt"}, "frozen_tokens = 1: tokens of method ulpt share numbers"),
        ({"kind": "opt", "dropped_as": "remove"}, "dropped_as = remove: OPTForCausalLM counts .* hide or zero"),
    ],
)
def test_what_makes_no_prefix_is_refused_in_one_line(more, reason, folder):
    with pytest.raises(ConfigError, match=reason) as refused:
        prepared(folder, **more)
    assert "\n" not in str(refused.value)


def test_a_pruned_prefix_goes_on_from_its_kept_tokens_moved_together(folder, tmp_path):
    model = prepared(folder).model
    mask = tiny.masked([True, False, True, True])
    ticket = replace(tiny.ticket(model, dropped_as="hide"), mask=mask)
    path = tmp_path / "one.ticket"
    save_ticket(ticket, path)
    made = prepared(folder, from_=path, prompt_tokens=None)
    assert torch.equal(made.dense(0).state["values"], compacted(ticket, model).state["values"])
    save_ticket(replace(ticket, mask=tiny.masked([True] * 4, drop=[(0, 1)])), path)
    with pytest.raises(ConfigError, match=r"--from .*one.ticket: some of its tokens are hidden from some heads alone"):
        prepared(folder, from_=path, prompt_tokens=None)


def test_an_adapter_that_others_trained_is_pruned_and_written_again(folder, tmp_path):
    model = prepared(folder).model
    for name, content in adapter_files(tiny.ticket(model), model, TicketInfo(prefix="CARTRIDGE")).items():
        if name.startswith("adapter"):  # no side file: an adapter of others
            (tmp_path / name).write_bytes(content)
    ticket, file = import_adapter(str(tmp_path), tmp_path / "imported.ticket")
    assert (ticket.mask.tokens, ticket.mask.piece.shape[1]) == (4, 4)
    more = {"from_": file, "prompt_tokens": None, "keep_pieces": 1.0, "rounds": 1}
    made = experiment.run(prepared(folder, **more), tmp_path / "runs", tiny.Quiet(), prune=True)
    pruned = round_files.finished_ticket(made, RunKey(made.stages()[-1], 0, 1))
    assert (len(pruned.mask.token), pruned.mask.tokens, pruned.mask.cells) == (4, 2, 8)
    assert "adapter_config.json" in adapter_files(pruned, model, TicketInfo())
