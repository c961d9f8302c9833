"""The page of a run whose answers are written: what it says, and what it shows of the answers."""

import re

import pandas as pd
import pytest
import tiny

import prunekit as pk
from prunekit.analysis import search_summary, tables, written_answers
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import prepare
from prunekit.plots.report import build, html
from prunekit.plots.report.differences import marked
from prunekit.plots.report.page_parts import Piece
from prunekit.runs.paths import DENSE


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Pruned once, and searched along the line of tokens."""
    folder = tmp_path_factory.mktemp("answers")
    more = dict(task="swap", seeds=1, rounds=1, train_steps=4)
    pruned = experiment.run(prepare(tiny.experiment("t5", folder, **more)), folder / "runs", tiny.Quiet())
    searching = prepare(tiny.experiment("t5", folder, grid="token", **more))
    return experiment.search(searching, pruned.path.parent, tiny.Quiet())


@pytest.fixture(scope="module")
def by_word(run):
    return pk.score(run.path / "seed=0" / "round=00", by_word=True, quiet=True)


@pytest.fixture(scope="module")
def section(run, by_word):
    return build.build([run.path], 0.01).sections[0]


def stage_of(run, verb):
    return next(stage for stage in run.stages() if stage.verb == verb)


# ---- where two texts differ


@pytest.mark.parametrize(
    ("before", "after", "only_before", "only_after"),
    [
        ("the red fox", "the blue fox", ["red"], ["blue"]),
        ("the red fox", "the fox", ["red"], []),
        ("a b c d", "a x b c y", ["d"], ["x", "y"]),
        ("one", "", ["one"], []),
        ("same  words", "same\nwords", [], []),
        (" <b> ", "&", ["<b> "], ["&"]),
    ],
)
def test_words_that_only_one_text_has_are_marked_there(before, after, only_before, only_after):
    first, second = marked(before, after)
    assert ["".join(piece.text for piece in pieces) for pieces in (first, second)] == [before, after]
    assert [piece.text for piece in first if piece.only == "del"] == only_before
    assert [piece.text for piece in second if piece.only == "ins"] == only_after
    assert {piece.only for piece in first} <= {"", "del"}
    assert {piece.only for piece in second} <= {"", "ins"}


# ---- the page


def test_every_pruning_has_a_block_with_its_table_over_rows_and_its_worst_answers(run, section):
    for verb in ("prune", "search"):
        stage = stage_of(run, verb)
        (block,) = (block for block in section.blocks if block.title == f"Answers of {stage}")
        over_rows, every, worst = block.tables
        assert [column.label for column in every.columns] == ["prompt", "squad_f1", "squad_exact_match"]
        assert [row[1].key for row in every.rows] == [row[2].key for row in over_rows.rows]
        exact = written_answers.over_rows(run, stage, "squad_exact_match")
        assert [row[2].key for row in every.rows] == pytest.approx(list(exact["metric"]))
        wanted = written_answers.over_rows(run, stage)
        assert [row[0].text for row in over_rows.rows] == list(wanted["label"])
        assert [row[2].key for row in over_rows.rows] == pytest.approx(list(wanted["metric"]))
        assert worst.texts
        assert [column.label for column in worst.columns[:4]] == ["input", "right answers", "no prompt", "dense"]
        values = [row[-1].key for row in worst.rows]
        assert values == sorted(values)
        assert len(values) == min(20, 12)
        (sentence,) = block.sentences
        assert sentence.lower().startswith(written_answers.loss_sentence(wanted).lower())


def test_an_answer_that_pruning_changed_is_marked_against_dense(run, section):
    stage = stage_of(run, "prune")
    (block,) = (block for block in section.blocks if block.title == f"Answers of {stage}")
    changed = 0
    for *_, dense, pruned, _ in block.tables[2].rows:
        assert bool(dense.pieces) == bool(pruned.pieces) == (dense.text != pruned.text)
        changed += bool(dense.pieces)
        assert all("".join(piece.text for piece in cell.pieces) in ("", cell.text) for cell in (dense, pruned))
    table = written_answers.side_by_side(run, stage, 1, most=20)
    assert changed == (table["dense"] != table["ticket"]).sum()


def test_the_page_says_how_answers_are_made_and_judged(section):
    request = dict(section.request)
    assert request["Answers"] == "written (greedy, at most 4 tokens); right is {answers}"
    assert request["Judged by"].startswith("squad_f1 of what is written; the loss on validation chooses")
    assert any("no prompt by its loss" in finding for finding in section.findings)
    said = " ".join([*section.findings, *section.warnings, *request.values()])
    assert not re.search(r"accuracy|majority|nan\b", said)


def test_marks_can_be_read_aloud_and_strangers_words_stay_text(section):
    cell = marked("a <b>", "a <i>")
    block = next(block for block in section.blocks if block.title.startswith("Answers of prune"))
    worst = block.tables[2]
    assert cell[0] == [Piece("a"), Piece(" "), Piece("<b>", "del")]
    row = [*worst.rows[0]]
    row[3] = type(row[3])("a <b>", "", cell[0])
    hostile = type(worst)(worst.caption, worst.columns, [row], worst.numeric, texts=True)
    hostile_block = type(block)(block.title, block.anchor, tables=[hostile])
    page = html.render(build.Page("t", "l", [type(section)("n", "a", [], [], [], [hostile_block])], [], "f"))
    assert '<del><span class="unseen">[only here: </span>&lt;b&gt;<span class="unseen">]</span></del>' in page


def test_the_first_screen_has_the_interval_over_rows_that_one_seed_has(run, section):
    dense, *_ = section.opening.numbers
    low, high, number = written_answers.row_interval(run, DENSE, 0)
    wanted = (
        f"95 % interval {low:.3f} to {high:.3f} over the {number} rows" if low < high else f"the same for all {number}"
    )
    assert wanted in dense.detail


# ---- a search


def test_trials_are_told_by_the_loss_that_chose(run, section):
    stage = stage_of(run, "search")
    trials = tables.trials(run, stage)
    assert trials["validation"].notna().all()
    results = run.results().set_index(["stage", "arm", "seed"])["validation_loss"]
    assert set(trials["validation"]) == set(results[results.index.get_level_values("arm").str.startswith("grid/")])
    summary = search_summary.summarise_search(run, stage)
    assert summary.chosen_by == "loss"
    best = trials.loc[trials.groupby("seed")["validation"].idxmin()].set_index("seed")["tokens"]
    pd.testing.assert_series_equal(
        summary.chosen.set_index("seed")["tokens"], best, check_dtype=False, check_names=False
    )
    regret = float(re.search(r"a regret of (-?[\d.]+)", summary.halving).group(1))
    assert regret >= 0
    (block,) = (block for block in section.blocks if block.title == f"Trials of {stage}")
    assert "validation loss" in block.tables[0].caption
    losses = [row[-1].key for row in block.tables[0].rows]
    assert losses == sorted(losses)


# ---- which token helps which word


def test_by_word_lies_beside_the_run_and_stays_out_of_other_tables(run, by_word):
    assert by_word.folder.is_relative_to(run.path)
    assert tables.measured([run]).empty
    words = tables.words([run])
    pd.testing.assert_frame_equal(words[list(by_word.table)], by_word.table)
    assert set(words["token"]) == set(range(4))
    assert set(words.groupby("example")["position"].max() + 1) <= {2, 3, 4}
    assert words["word"].eq("</s>").any()


def test_what_is_measured_in_part_gives_way_to_what_is_measured_on_all(run, by_word):
    pk.score(run.path / "seed=0" / "round=00", by_word=True, examples=3, quiet=True)
    assert tables.words([run])["example"].nunique() == 12


def test_the_terminal_names_the_words_that_a_token_helps(run, by_word, capsys):
    assert tiny.call("score", run.path / "seed=0" / "round=00", "--by-word") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "leave-one-out by word on 12 examples of validation, in nats an example"
    assert lines[1].split("  ")[0] == "token"
    assert tiny.call("score", run.path / "seed=0" / "round=00", "--by-word", "--kind=shapley") == 2
    assert "--by-word" in capsys.readouterr().err


def test_the_page_draws_words_that_were_measured(section):
    (block,) = (block for block in section.blocks if block.title == "Which tokens matter?")
    assert "Word map" in [figure.title for figure in block.figures]
