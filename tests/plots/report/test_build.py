"""Run directories to a page, and the `report` verb."""

import shutil

import pytest
import tiny
from long_run import changed_run, long_run
from small import SHUFFLED_RUN, SMALL_RUN
from test_html import Reader

from prunekit.plots.report import build, html
from prunekit.runs.run import Run
from prunekit.support.errors import ArtifactError, ConfigError

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def whole():
    return build.build([SMALL_RUN], 0.01)


@pytest.fixture(scope="module")
def both(few):
    return build.build([SMALL_RUN, SHUFFLED_RUN], 0.01)


@pytest.fixture
def copy(tmp_path):
    """The small run where it may be harmed."""
    shutil.copytree(SMALL_RUN, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def controlled(tmp_path_factory):
    """A run of three seeds with controls, on a tiny random model."""
    folder = tmp_path_factory.mktemp("tiny")
    return tiny.finished("gpt2", folder, folder / "out", controls=True, seeds=3, rounds=1, train_steps=4)[0].path


def blocks(made, place=0):
    return {block.title: block for block in made.sections[place].blocks}


def block(made, words, place=0):
    (found,) = (one for title, one in blocks(made, place).items() if words in title)
    return found


CONTROL = "Is the change of lower rank than that of training on shuffled labels?"


def answers_of(made, place=0):
    (answers,) = block(made, "low rank", place).tables
    return {row[0].text: row[1].text for row in answers.rows}


# ---- a whole run


def test_every_part_is_there_in_order(whole):
    (section,) = whole.sections
    assert dict(section.request)["Task"] == "testbed/alike-mood"
    assert section.findings[0].startswith("The dense prompt")
    titles = [one.title for one in section.blocks]
    wanted = (
        "Rounds of prune-", "Density", "Which answers did prune-", "Controls", "How did training go", "Is the learned",
        "Which tokens", "Settings",
    )  # fmt: skip
    assert [title for title, start in zip(titles, wanted, strict=True) if not title.startswith(start)] == []


@pytest.mark.parametrize(("seeds", "rounds"), tiny.at_night((2, 4), (4, 10)))
def test_a_report_of_many_rounds_opens_each_file_once(seeds, rounds, few, opened_files, tmp_path):
    run = long_run(SMALL_RUN, tmp_path / "run", seeds=seeds, rounds=rounds)
    files = {path for path in run.path.rglob("*") if path.is_file() and path.name not in (".lock", ".holder")}
    opened_files.clear()
    page = build.build([run.path], 0.01)
    assert opened_files == dict.fromkeys(files, 1)
    assert len(run.rounds()) == len(block(page, "Rounds of").tables[1].rows) == seeds * (1 + rounds)


def test_the_rounds_are_those_of_the_run(whole):
    means, seeds = block(whole, "Rounds of").tables
    results = Run(SMALL_RUN).results()
    dense = results[(results["stage"] == "") & (results["round"] == 0)]
    labels = [column.label for column in means.columns]
    assert means.rows[0][labels.index("test")].key == pytest.approx(dense["test_accuracy"].mean())
    finished = results[results["stage"].str.fullmatch("(prune-.*)?")]
    assert len(seeds.rows) == len(finished)


def test_figures_are_drawn_and_their_numbers_stand_beside(whole):
    figures = [figure for one in blocks(whole).values() for figure in one.figures]
    assert {"Spectrum", "Token map", "Cost", "Learning curves"} <= {figure.title for figure in figures}
    assert whole.sections[0].opening.picture.title == "Density curve"
    assert all(figure.table.rows for figure in figures)


def test_what_is_missing_names_its_command(whole):
    lacks = {one.what: one for part in blocks(whole).values() for one in part.missing}
    assert lacks["Controls"].command.startswith("prunekit prune ")
    assert lacks["Controls"].command.endswith(" --controls")
    assert lacks["Functional rank"].command == f"prunekit report {SMALL_RUN} --with-model"


def test_answers_are_those_of_the_studies(whole):
    found = answers_of(whole)
    assert found["Is the functional rank of the change from its start low?"] == "not measured"
    assert found["Is the change from its start of lower rank than noise?"] in ("yes", "hardly", "no", "inconclusive")
    tokens = block(whole, "Which tokens")
    assert tokens.tables[0].rows[0][0].text == "Do few tokens matter?"
    assert any(table.caption.startswith("leave-one-out per token") for table in tokens.further)


def test_a_twin_on_shuffled_labels_answers_for_the_other(whole, both):
    found = [answers_of(whole), answers_of(both), answers_of(both, 1)]
    assert found[0][CONTROL] == "not measured"
    assert found[1][CONTROL] != "not measured"
    assert found[2][CONTROL] == "not measured"
    lacks = [
        [one.what for one in block(made, "low rank", place).missing]
        for made, place in ((whole, 0), (both, 0), (both, 1))
    ]
    assert ["Shuffled labels" in one for one in lacks] == [True, False, False]


def test_settings_and_environment_are_whole(whole):
    shown = {row[0].text: row[1].text for table in block(whole, "Settings").tables for row in table.rows}
    assert shown["prompt.method"] == "direct"
    assert shown["packages.torch"]
    assert shown["rounds"] == "2"


def test_the_same_run_gives_the_same_bytes(few):
    first, second = (html.render(build.build([SHUFFLED_RUN], 0.01)) for _ in range(2))
    assert first == second


def test_the_page_is_small_and_needs_nothing_else(whole):
    text = html.render(whole)
    assert len(text.encode()) < 5 * 2**20
    assert "://" not in text
    Reader(text).ids()


# ---- controls, several runs


def test_controls_are_shown_with_what_cannot_be_concluded(few, controlled):
    made = build.build([controlled], 0.01)
    found = block(made, "better than its controls?")
    assert any("units are needed" in sentence for sentence in found.sentences)
    described, compared = found.tables
    assert {"dense continued", "random mask", "most common answer"} <= {row[0].text for row in described.rows}
    assert compared.rows[0][1].text == "primary"
    assert [figure.title for figure in found.figures] == ["Controls"]


def test_several_runs_have_a_section_each_and_one_comparison(few, controlled, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(controlled, other)
    settings = Run(other).settings()
    Run(other).write_settings(settings | {"task": settings["task"] | {"name": "another"}})
    made = build.build([controlled, other], 0.01)
    assert [section.anchor for section in made.sections] == ["run-1", "run-2"]
    (across,) = made.across
    assert across.tables[0].caption.startswith("all tasks")
    Reader(html.render(made)).ids()


def test_runs_of_one_task_are_not_joined(both):
    assert both.across == []


# ---- runs that are not whole


def test_a_half_finished_run_and_an_interrupted_pruning_have_a_page_that_says_so(few, copy):
    shutil.rmtree(next(copy.glob("prune-*/seed=1/round=02")))
    made = build.build([copy], 0.01)
    assert any(line.startswith("This run is not finished: prune-") for line in made.sections[0].warnings)
    for left in copy.glob("prune-*/seed=*"):
        shutil.rmtree(left)
    made = build.build([copy], 0.01)
    assert any("no round is finished" in line for line in made.sections[0].findings)
    assert html.render(made)


def test_a_run_of_which_no_training_came_to_its_end_has_a_page_too(few, tmp_path):
    def diverged(key, result):
        return result | {"status": "diverged", "reason": "loss is nan at step 3", "test": {}, "validation": {}}

    made = build.build([changed_run(SMALL_RUN, tmp_path / "run", diverged).path], 0.01)
    assert made.sections[0].opening.verdict.startswith("No training came to its end")
    assert html.render(made)


@pytest.mark.parametrize("name", ["trained.safetensors", "predictions.parquet", "scores.safetensors", "log.parquet"])
def test_a_damaged_file_is_one_line_and_no_page(copy, tmp_path, name, capsys):
    tiny.flip(copy / "seed=1" / "round=00" / name)
    assert tiny.call("report", copy, "-o", tmp_path / "report.html") == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert name in said.err
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("name", ["experiment.toml", "environment.json"])
def test_a_damaged_settings_file_is_named(copy, name):
    (copy / name).write_text("{")
    with pytest.raises(ArtifactError, match=name):
        build.build([copy], 0.01)


def test_what_is_no_run_and_a_run_named_twice_are_refused(copy, tmp_path):
    with pytest.raises(ArtifactError, match="not a run directory"):
        build.build([tmp_path], 0.01)
    with pytest.raises(ConfigError, match="name each run once"):
        build.build([copy, copy], 0.01)


# ---- the verb


def test_the_verb_writes_the_page_and_repeats_the_warnings(few, tmp_path, capsys):
    out = tmp_path / "pages" / "report.html"
    assert tiny.call("report", SMALL_RUN, "-o", out) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[-1] == f"written to {out}"
    assert "Too few seeds" in said.out
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_hostile_settings_stay_text(few, copy):
    """What a browser makes of it is in test_report_browser.py; here it is only parsed."""
    payload = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    settings = Run(copy).settings()
    Run(copy).write_settings(settings | {"model": settings["model"] | {"name": payload}})
    read = Reader(html.render(build.build([copy], 0.01)))
    assert len(read.all("script")) == 1
    assert not read.all("img")
