"""The studies: their files, pages that are made of the committed tables alone, and one that is run from end to end."""

import re
import shutil
import tomllib
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
import tiny
import tomli_w

from analyses.studies import __main__ as command
from analyses.studies import catalog, pages, performing, planning
from analyses.studies.effects import ACCURACY, POINT, Question, effects
from analyses.studies.effects import UNITS as UNITS_COLUMNS
from analyses.studies.study import PAGE, PARTS, PICTURE, PILOT, PLAN, POWER_TABLE, RESULTS, UNITS
from prunekit.experiment.sweep.sweep import read_grid
from prunekit.plots import effects as picture
from prunekit.support.errors import ConfigError, DataError
from prunekit.support.inference import FEWEST

STUDIES = {study.name: study for study in catalog.STUDIES}
every_study = pytest.mark.parametrize("name", STUDIES)
DONE = [name for name, study in STUDIES.items() if study.has_run()]
#: Studies that never had verdicts by another rule.
SINCE_THE_RULE = {"lm-harmful", "lm-pruning", "lm-rank"}
finished_study = pytest.mark.parametrize("name", tiny.at_night(*DONE))


@pytest.fixture(scope="module")
def effects_once():
    """`effects`, computed once for each table, whichever page shows them."""
    kept = {}

    def once(questions, units):
        key = (tuple(questions), units.to_csv())
        if key not in kept:
            kept[key] = effects(questions, units)
        return kept[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "effects", once)
        yield once


@pytest.fixture
def measured(effects_once):
    """The effects of a study's questions, from its committed tables."""
    return lambda study: effects_once(study.questions, study.tables()[UNITS])


@every_study
def test_its_file_is_a_grid_that_a_sweep_takes(name, tmp_path):
    wanted = performing.study_parts(STUDIES[name].folder)
    subsets = set()  # of a task, in whichever parts
    for part in wanted.parts:
        text = performing.filled(dict(part.table), {"{shared}": str(tmp_path)})
        file = tmp_path / "grid.toml"
        file.write_bytes(performing.toml.dump(text).encode())
        cells = read_grid(file, {}).grid
        assert cells.experiments
        subsets |= {(one.task.name, one.task.data_seed) for one in cells.experiments}
        assert all(one.machine.threads == 1 for one in cells.experiments)
        there = [cells.values(one) for one in cells.experiments]
        for one in part.scores:  # what it is measured on alone is there
            assert all(set(values) <= {each[name] for each in there} for name, values in one.only.items())
    assert len(wanted.seeds) * max(Counter(task for task, _ in subsets).values()) >= FEWEST


@every_study
def test_its_questions_have_names_of_their_own_and_its_plan_says_what_counts(name):
    study = STUDIES[name]
    names = [question.name for question in study.questions]
    assert len(set(names)) == len(names)
    plan = (study.folder / PLAN).read_text()
    for title in ("Question", "Measure", "Comparisons", "Smallest effect", "Units", "Stopping", "Yes", "No"):
        assert f"**{title}" in plan, title


@finished_study
def test_its_page_and_picture_are_what_its_tables_give(name, measured):
    study = STUDIES[name]
    assert (study.folder / PAGE).read_text() == pages.page(study)
    assert (study.folder / PICTURE).read_bytes() == picture.render(measured(study), salt=study.name)


@finished_study
def test_no_verdict_rests_on_few_units_or_a_coarse_margin(name, measured):
    study = STUDIES[name]
    found = measured(study)
    decided = found[~found["verdict"].isin(["inconclusive", "no verdict"])]
    assert (decided["units"] >= FEWEST).all()
    assert (decided["margin"][decided["measure"] == ACCURACY] <= POINT).all()
    power = pd.read_csv(study.folder / POWER_TABLE)
    assert set(power["question"]) == {question.name for question in study.questions}


@finished_study
def test_its_page_begins_with_its_picture_and_one_sentence_and_p_values_come_below(name, measured):
    title, picture, sentence, heading, *_ = (STUDIES[name].folder / PAGE).read_text().split("\n\n")
    assert title.startswith("# ")
    assert picture == f"![Each difference with its 95 % interval]({PICTURE})"
    assert heading == "## Each claim"
    primary = measured(STUDIES[name]).query("family == 'primary'")
    assert any(f"*{claim}*" in sentence for claim in primary["claim"])
    assert any(
        f"{first:z.3f} beside {second:z.3f}" in sentence
        for first, second in zip(primary["first"], primary["second"], strict=True)
    )
    assert "p = " not in sentence


@finished_study
def test_its_page_says_before_its_claims_what_the_rule_changed(name, measured):
    study = STUDIES[name]
    earlier = study.earlier()
    if name in SINCE_THE_RULE:
        assert not earlier
        return
    assert set(earlier) == {question.name for question in study.questions}
    first = (study.folder / PAGE).read_text().split("\n\n")[4]
    for question in study.questions:
        now = measured(study).query("question == @question.name")["verdict"]
        moved = set(now) != {earlier[question.name]}
        assert (f"*{question.claim}* was **{earlier[question.name]}**" in first) == moved


@pytest.mark.slow
def test_the_front_page_is_what_the_tables_give(measured):
    simulated = pd.read_csv(catalog.HERE / pages.ERROR_TABLE)
    assert (catalog.HERE / PAGE).read_text() == pages.front(catalog.STUDIES, simulated)


def planned(folder, *parts):
    """The folder of a study of such parts; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PARTS).write_text("".join(f'[[part]]\nname = "{part}"\n' for part in parts or ("all",)))
    return folder


def ran(folder, difference, margin, model="m"):
    """A study of one question whose eight units all have that difference."""
    rows = [("q", model, "t", 0, seed, arm, 0.5 + difference * (arm == "a")) for seed in range(8) for arm in ("a", "b")]
    planned(folder)
    (folder / RESULTS).mkdir()
    pd.DataFrame(rows, columns=list(UNITS_COLUMNS)).to_csv(folder / RESULTS / f"{UNITS}.csv", index=False)
    question = Question("q", "a is larger", "someone", "a", "b", margin)
    return replace(catalog.STUDIES[0], folder=folder, questions=(question,))


def test_the_front_page_keeps_apart_what_has_a_verdict_what_was_measured_and_what_has_not_run(tmp_path):
    decided, described = (ran(tmp_path / name, 0.2, margin) for name, margin in (("one", 0.01), ("two", 0.1)))
    artificial = ran(tmp_path / "four", 0.2, 0.01, "testbed")
    waiting = replace(decided, folder=planned(tmp_path / "three"))
    text = pages.front((waiting, described, artificial, decided))
    _, *sections = re.split(r"^## .*$", text, flags=re.MULTILINE)
    shown = (("one", "**holds**"), ("four", "**holds**"), ("two", "as claimed"), ("three", "not simulated"))
    for section, (folder, other) in zip(sections, shown, strict=True):
        assert section.count("a is larger") == 1
        assert f"({folder}/README.md)" in section
        assert other in section


@pytest.mark.parametrize(
    ("difference", "way"),
    [(0.2, "beyond chance, as claimed"), (-0.2, "beyond chance, the other way"), (0.0, "not beyond chance")],
)
def test_what_was_measured_without_a_verdict_says_which_way_it_went(tmp_path, difference, way):
    study = ran(tmp_path, difference, 0.1)
    (row,) = effects(study.questions, study.tables()[UNITS]).to_dict("records")
    assert (row["verdict"], pages.way_of(row)) == ("no verdict", way)
    said = pages.headline(pd.DataFrame([row]))
    assert "without a verdict" in said
    assert f"— {way} (" in said
    assert ("against someone: *a is larger*" in said) == (difference < 0)


@pytest.mark.parametrize(("margin", "said"), [(0.05, True), (0.1, False)])
def test_a_verdict_about_a_mean_that_hides_subsets_of_interest_says_so(margin, said):
    apart = [*[-0.06, 0.06] * 8, 0.0, 0.0]
    rows = [
        ("q", "m", "t", subset, seed, arm, 0.5 + apart[subset] * (arm == "a"))
        for subset in range(len(apart)) for seed in range(2) for arm in ("a", "b")
    ]  # fmt: skip
    question = Question("q", "a is larger", "someone", "a", "b", margin, measure="share")
    found = effects([question], pd.DataFrame(rows, columns=list(UNITS_COLUMNS)))
    assert found["verdict"].item() == f"equivalent within {margin:g}"
    assert "36 units on 18 training subsets, -0.060 to +0.060" in pages.headline(found)
    assert ("single training subsets go both ways" in pages.headline(found)) == said


def test_a_p_is_shown_on_the_side_of_the_bar_where_it_is():
    assert [pages._p(value) for value in (0.0496, 0.0504, 0.04999, 0.05, 0.0249, 0.0252, 0.31, 1e-9)] == [
        "0.0496", "0.05", "0.04999", "0.05", "0.0249", "0.025", "0.31", "1e-09",
    ]  # fmt: skip


def test_the_results_of_all_studies_are_small():
    assert sum(path.stat().st_size for path in catalog.HERE.rglob("*.csv")) < 5 * 2**20


def test_parts_that_ran_by_themselves_are_joined_and_nothing_is_looked_at_before_the_last(tmp_path):
    study = replace(ran(tmp_path, 0.2, 0.01), folder=planned(tmp_path / "parts", "first", "second"))
    units = pd.read_csv(tmp_path / RESULTS / f"{UNITS}.csv")
    for part, rows in (("first", units[:10]), ("second", units[10:])):
        assert not study.has_run()
        with pytest.raises(DataError, match=r"no results yet of (first, )?second"):
            study.tables()
        (study.folder / RESULTS / part).mkdir(parents=True)
        rows.to_csv(study.folder / RESULTS / part / f"{UNITS}.csv", index=False)
    assert study.has_run()
    pd.testing.assert_frame_equal(study.tables()[UNITS], units)


def test_a_page_says_which_parts_have_run(small):
    (small.folder / PARTS).write_text('[[part]]\nname = "sst2"\n[[part]]\nname = "subj"\n')
    (small.folder / RESULTS / "sst2").mkdir(parents=True)
    (small.folder / RESULTS / "sst2" / f"{UNITS}.csv").write_text("question\n")
    assert "*Not run yet to its end: sst2 of sst2, subj." in pages.page(small)


def test_a_part_that_there_is_not_is_named_with_the_nearest(tmp_path):
    (tmp_path / PARTS).write_text('seeds = 1\n[[part]]\nname = "sst2"\n[[part]]\nname = "subj"\n')
    wanted = performing.study_parts(tmp_path)
    assert [part.name for part in wanted.named("subj").parts] == ["subj"]
    assert wanted.named(None) == wanted
    with pytest.raises(ConfigError, match="subj"):
        wanted.named("sub")


def test_a_study_that_there_is_not_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match="rank-low"):
        catalog.named("rank-lo")


def test_names_in_a_file_are_filled_in_at_any_depth():
    known = {"{shared}": "/s", "{run source: a}": "/r"}
    given = {"task": {"data": "{shared}/d"}, "include": [{"init_from": "{run source: a}/x"}], "seeds": [1]}
    assert performing.filled(given, known) == {
        "task": {"data": "/s/d"}, "include": [{"init_from": "/r/x"}], "seeds": [1],
    }  # fmt: skip


def test_a_part_may_take_the_first_of_the_seeds_in_the_pilot_too(tmp_path):
    (tmp_path / PARTS).write_text(
        'seeds = 3\n[pilot]\nseeds = [100, 101]\nparts = ["few"]\n'
        '[[part]]\nname = "few"\nfirst_seeds = 1\n[[part]]\nname = "all"\n'
    )
    every = {part.name: part.table["seeds"] for part in performing.study_parts(tmp_path).parts}
    assert every == {"few": [0], "all": [0, 1, 2]}
    assert [part.table["seeds"] for part in performing.study_parts(tmp_path, pilot=True).parts] == [[100]]


def shrunk(text):
    """A study's file with few seeds, examples and updates, and on few of the testbed's tasks."""
    table = tomllib.loads(text)
    table["seeds"] = 2
    table["pilot"]["seeds"] = [100, 101]
    for part in table["part"]:
        several = part["name"] == "source"  # whose names others count on
        part["prompt"] = {"tokens": 3, "pieces": 2} | part.get("prompt", {})
        part.setdefault("training", {})
        shrink(part, several)
        part["sweep"]["include"] = [shrink(one, several) for one in part["sweep"].get("include", [])]
        for one in part.get("score", []):
            one["examples"] = 8
    return tomli_w.dumps(table)


def shrink(settings, several):
    """In place: the numbers of a part, or of a table that it includes."""
    if "tokens" in settings.get("prompt", {}) and "sweep" not in settings:
        settings["prompt"]["tokens"] = 4
    if isinstance(settings.get("prompt", {}).get("tokens"), list):  # tiny models have places for few
        settings["prompt"]["tokens"] = [tokens for tokens in settings["prompt"]["tokens"] if tokens <= 50]
    if settings.get("prompt", {}).get("method") in ("dpt", "bilinear"):
        settings["prompt"]["rank"] = 2  # the published ones are more than three tokens, or a tiny model, have
    for training in listed(settings.get("training", [])):
        training |= {"train_steps": 2, "evaluate_every": 1}
    for one in listed(settings.get("pruning", [])):
        if isinstance(one.get("rewind"), list):  # to a step that so few updates have
            one["rewind"] = [1 if isinstance(kind, int) else kind for kind in one["rewind"]]
        if isinstance(one.get("keep_tokens"), list):  # of three tokens at least one
            one["keep_tokens"] = [max(share, 0.4) for share in one["keep_tokens"]]
    if "task" in settings:
        shrink_task(settings["task"], several, settings.get("model", {}))
    return settings


def shrink_task(task, several, model):
    """In place: few rows of one task."""
    task |= {"train_examples": 16, "validation_examples": 20, "test_examples": 20}
    if not several and "name" in task:
        task["name"] = first(task["name"])
    if "smollm2" in model.get("name", ""):  # its stand-in knows other words
        folder = f"{{shared}}/words/{task['name']}"
        task |= {"name": f"{folder}/task.toml", "data": folder}


def listed(tables):
    return tables if isinstance(tables, list) else [tables]


def first(names):
    return names[0] if isinstance(names, list) else names


@pytest.fixture
def small(request, tmp_path, monkeypatch):
    """A study at a small size, in a folder of its own; it is the only one there is. What is shared is small too."""
    study = STUDIES[getattr(request, "param", "negative-tokens")]
    folder = tmp_path / study.folder.name
    folder.mkdir()
    shutil.copy(study.folder / PLAN, folder)
    (folder / PARTS).write_text(shrunk((study.folder / PARTS).read_text()))
    tiny.save_model("bert", tmp_path / "models" / "all-minilm-l6-v2")
    tiny.save_model("llama", tmp_path / "models" / "smollm2-135m-instruct")
    for name in ("sst2", "subj", "boolq"):
        task = tiny.save_task(tmp_path / "words" / name, rows=(24, 24, 24))
        (task.parent / "task.toml").write_text(task.read_text().replace("toy", name))
    for name in ("sst2", "subj"):
        tiny.save_task(tmp_path / "data" / name, rows=(24, 24, 24))
        for file in (tmp_path / "data" / name).glob("*.jsonl"):  # as those tasks write their labels
            file.write_text(
                file.read_text().replace('"label": "good"', '"label": 1').replace('"label": "bad"', '"label": 0')
            )
    made = replace(study, folder=folder)
    monkeypatch.setattr(catalog, "STUDIES", (made,))
    monkeypatch.setattr(catalog, "HERE", tmp_path)
    return made


def test_a_page_without_results_is_its_plan(small):
    text = pages.page(small)
    assert "not run yet" in text
    assert "**Question.**" in text
    assert "not run yet" in pages.front(catalog.STUDIES)


def test_power_without_a_pilot_is_refused_with_the_command_that_makes_one(small):
    with pytest.raises(DataError, match="studies pilot negative-tokens"):
        planning.simulated(small, 8)


def test_tasks_that_a_pilot_has_not_are_taken_to_spread_as_its_own():
    study = STUDIES["lm-pruning"]
    one, three = (planning.simulated(study, 2, 6, tasks, draws=40) for tasks in (None, 3))
    assert set(one["tasks"]) == {1}
    assert set(three["tasks"]) == {3}
    assert set(three["subsets"]) == {3 * 6}
    assert (three["difference"] >= one["difference"]).all()
    assert three["difference"].sum() > one["difference"].sum()


@pytest.mark.slow
def test_a_study_runs_from_pilot_to_pages_and_goes_on_where_it_was(small, tmp_path, capfd):
    runs = tmp_path / "runs"
    command.pilot([small.name], runs, tmp_path)
    assert set(pd.read_csv(small.folder / PILOT / f"{UNITS}.csv")["seed"]) == {100, 101}
    command.plan([small.name], 8)
    assert "Power" in (small.folder / PAGE).read_text()
    command.run([small.name], runs, tmp_path)
    assert set(small.tables()["counts"]["arm"]) == {"trained", "untrained", "shuffled"}
    page = (small.folder / PAGE).read_bytes()
    assert b"inconclusive" in page  # two units decide nothing
    answers = effects(small.questions, small.tables()[UNITS])  # one of each question and model
    assert (tmp_path / PAGE).read_text().count(f"({small.folder.name}/{PAGE})") == len(answers)
    capfd.readouterr()
    command.run([small.name], runs, tmp_path)
    said = re.findall(r"(\d+) experiments? \(tune\), (\d+) finished before", capfd.readouterr().err)
    assert len(said) == 1
    assert all(asked == finished for asked, finished in said)
    assert (small.folder / PAGE).read_bytes() == page


@pytest.mark.slow
@pytest.mark.parametrize("small", STUDIES, indirect=True)
def test_every_pilot_comes_to_units_of_its_own_seeds(small, tmp_path):
    command.pilot([small.name], tmp_path / "runs", tmp_path)
    units = small.pilot()
    assert set(units["seed"]) <= {100, 101}
    assert small.questions[0].name in set(units["question"])


@pytest.mark.slow
@pytest.mark.parametrize("small", STUDIES, indirect=True)
def test_every_study_comes_to_tables_that_its_page_shows(small, tmp_path):
    command.run([small.name], tmp_path / "runs", tmp_path)
    tables = small.tables()
    units = tables[UNITS]
    assert set(units["seed"]) == {0, 1}
    known = {question.name: question for question in small.questions}
    assert set(units["question"]) <= set(known)
    for name, rows in units.groupby("question"):
        assert set(rows["arm"]) == {known[name].first, known[name].second}
    # the arms of a question are of the same tasks and seeds
    assert (effects(small.questions, units)["units"] >= 2).all()
    page = (small.folder / PAGE).read_text()
    for title, _ in small.describe(tables):
        assert f"### {title}" in page
    assert all(question.claim in page for question in small.questions)
    if small.prompts is not None:
        prompts = small.prompts(tables)
        assert set(prompts["seed"]) == {0, 1}
        assert not prompts.duplicated(["task", "model", "seed"]).any()
