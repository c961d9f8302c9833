"""An instruction planted on a language model: what is taken for the truth, and who finds it."""

import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks.prunebench import instruction_page, language
from benchmarks.prunebench.__main__ import app
from benchmarks.prunebench.entry import Entry
from benchmarks.prunebench.instruction import PLANTED, RANKED, PlantedInstruction, Worth
from benchmarks.prunebench.language import planted_instruction
from benchmarks.prunebench.row_file import RowFile
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError
from prunekit.tasks import load_task
from tests import tiny

IDS, TOKENS = (5, 9, 12), 8


@pytest.fixture(scope="module")
def prompts():
    model = tiny.frozen("llama")
    rows = tiny.encoded(model, tiny.examples(12), TOKENS)
    return PlantedInstruction(model, IDS, TOKENS, rows, rows)


def mean_loss(prompts, ids):
    values = prompts.model.embedding.weight[list(ids)].detach()
    ticket = Ticket(Mask.full(len(ids), 1), {"values": values}, None)
    return float(evaluate(prompt_batch([Member(ticket)]), prompts.model, prompts.train).losses.mean())


def test_a_token_costs_what_the_instruction_loses_without_it(prompts):
    costs = prompts.worth.costs["cost"]
    whole = mean_loss(prompts, IDS)
    assert list(costs) == pytest.approx(
        [mean_loss(prompts, IDS[:place] + IDS[place + 1 :]) - whole for place in range(3)], abs=1e-5
    )


def test_an_instruction_helps_by_the_loss_that_it_saves(prompts):
    alone = evaluate(prompts.model.no_prompt(), prompts.model, prompts.validation).losses.mean()
    assert prompts.worth.gain[0] == pytest.approx(float(alone) - mean_loss(prompts, IDS), abs=1e-5)


def test_the_tokens_stand_in_order_at_other_places_for_each_seed(prompts):
    (ticket, places), (_, others) = prompts.planted(0), prompts.planted(1)
    assert places == sorted(places)
    assert places != others
    expected = prompts.model.embedding.weight[list(IDS)]
    assert ticket.state["values"][places].equal(expected.detach())
    assert len(ticket.state["values"]) == TOKENS


def table(*lows):
    return pd.DataFrame({"cost": [low + 0.1 for low in lows], "low": lows, "high": [low + 0.2 for low in lows]})


@pytest.mark.parametrize(
    ("gain", "lows", "truth"),
    [(0.1, (0.2, -0.1, 0.3), PLANTED), (-0.1, (0.2, -0.1, 0.3), RANKED), (0.1, (0.2, -0.1, -0.3), RANKED)],
    ids=["helps", "does not help", "a single token costs"],
)
def test_the_truth_is_planted_only_where_the_instruction_helps_and_two_tokens_cost(gain, lows, truth):
    judged = Worth(0.5, 0.7, (0.2, gain, 0.3), table(*lows))
    assert judged.truth == truth
    assert judged.needed == [place for place, low in enumerate(lows) if low > 0]
    assert instruction_page.helps(judged, 64).startswith(
        f"The instruction {'helps' if gain > 0 else 'is not shown to help'}: on 64 rows"
    )


def test_leave_one_out_on_the_same_rows_finds_all_that_it_ranks(prompts, tmp_path):
    assert prompts.worth.truth == RANKED  # a random model reads no instruction
    finders = [Entry("leave-one-out", "leave-one-out", 12), Entry("random", "random", 12)]
    file = RowFile(tmp_path / "rows.csv", language.COLUMNS)
    cell, lines = {"model": "tiny", "task": "t", "instruction": "a, b"}, []
    rows = language.measured_rows(prompts, finders, 2, file, cell, lines.append)
    exact = rows[rows["entry"] == "leave-one-out"]
    assert list(exact["found"]) == list(exact["words"]) == [2, 2]
    assert set(exact["passes"]) == {(TOKENS + 1) * 12}
    page = instruction_page.page(rows, prompts, finders, [("task", "t")])
    assert "Since the instruction is not shown to help, nothing is planted" in page
    assert "| leave-one-out | 1.000 [1.000, 1.000] | 2 of 2 | 12 |" in page
    assert len(lines) == 2
    again = language.measured_rows(prompts, finders, 2, file, cell, lines.append)
    assert len(lines) == 2
    assert len(again) == len(rows)


def test_the_page_names_what_is_to_be_found_by_chance(prompts):
    planted = PlantedInstruction(prompts.model, IDS, TOKENS, prompts.train, prompts.validation)
    planted.__dict__["worth"] = Worth(0.5, 0.7, (0.2, 0.1, 0.3), table(0.2, -0.1, 0.3))
    measured = planted.measure([Entry("random", "random", 4)], 0)
    assert list(measured["words"]) == [2]
    page = instruction_page.page(
        pd.concat([measured, measured.assign(seed=1)]), planted, [Entry("random", "random", 4)], []
    )
    assert "The 2 tokens that count are what is to be found: by chance 0.250 of them are." in page


def test_a_token_that_ends_a_line_stays_in_its_cell(prompts, monkeypatch):
    measured = prompts.measure([Entry("random", "random", 4)], 0)
    monkeypatch.setattr(prompts.model.tokenizer, "convert_ids_to_tokens", lambda ids: ["\n", "|", "a"])
    page = instruction_page.page(
        pd.concat([measured, measured.assign(seed=1)]), prompts, [Entry("random", "random", 4)], []
    )
    assert "| `\\n` |" in page
    assert "| `\\|` |" in page


def test_prompts_without_room_for_filler_and_models_with_heads_are_refused(prompts, tmp_path):
    with pytest.raises(ConfigError, match="--tokens 3: the instruction alone has 3"):
        PlantedInstruction(prompts.model, IDS, 3, prompts.train, prompts.validation)
    tiny.save_model("bert", tmp_path / "bert")
    with pytest.raises(ConfigError, match="it answers by a head"):
        planted_instruction(str(tmp_path / "bert"), load_task("sst2"), None, "a", tokens=4, sizes=(4, 4))


def test_the_command_says_whether_the_instruction_helps_and_writes_the_page(tmp_path):
    model, task = tiny.save_model("llama", tmp_path / "llama"), tiny.save_task(tmp_path / "toy")
    arguments = [
        "planted",
        "--model",
        model,
        "--task",
        task,
        "--data",
        task.parent,
        "--finders",
        "random",
        "--seeds",
        "2",
        "--out",
        tmp_path,
    ]
    arguments += ["--validation", "12", "--tokens", "6", "--threads", "1", "--instruction", "w3 w4"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert "on 12 rows of validation the loss is" in result.stderr
    assert (tmp_path / "prunebench-llama-toy.md").read_text() in result.stdout
    assert len(pd.read_csv(tmp_path / "prunebench-planted.csv")) == 2


def test_a_task_without_an_instruction_asks_for_one(tmp_path):
    task = str(tiny.save_task(tmp_path / "toy"))
    result = CliRunner().invoke(app, ["planted", "--model", "none", "--task", task])
    assert str(result.exception).endswith("it has no instruction; write one with --instruction")
