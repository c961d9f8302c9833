"""What `search` and `--controls` say, through the command line on tiny models."""

import contextlib
import io
import json
from types import SimpleNamespace

import pandas as pd
import pytest
import tiny
from test_tables import Made

from prunekit.analysis import controls, tables
from prunekit.analysis.arm_comparison import compare_arms
from prunekit.analysis.search_summary import summarise_search
from prunekit.cli import main
from prunekit.cli.rounds import print_search
from prunekit.pruning.controls import controls_for
from prunekit.runs.run import Run

#: The folder of a search that holds its trials.
GRID = "grid"

pytestmark = pytest.mark.gate

SEARCH = dict(rounds=None, keep_tokens=None, train_steps=4, seeds=2)
#: Of a decoder and a task without a written instruction, where nothing costly is asked for.
LABELS = {
    arm: label
    for arm, label in controls.LABELS.items()
    if arm not in ("instruction", "shots", "probe-cls", "probe-mean", "lora")
    and arm not in {control.name for control in controls_for("directions")} - {controls.PRIMARY}
}
OF_CELLS = [control.name for control in controls_for("cells")]
MADE = ("ticket", "token-only", "piece-only", *OF_CELLS)


def call(verb, folder, out, *flags, **more):
    """Exit code, standard output and error of a command, and the runs in its folder."""
    arguments = [verb, *tiny.arguments("gpt2", folder, **more), f"--out={out}", *flags]
    said, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        main.main([str(one) for one in arguments])
    runs = [Run(path) for path in sorted(out.iterdir())] if out.exists() else []
    return SimpleNamespace(code=ended.value.code, out=said.getvalue(), err=errors.getvalue(), runs=runs)


def stage_of(run):
    (stage,) = (name for name in run.stages() if name)
    return stage


def table(text, title):
    """The rows, split at spaces, of the table under the first line that holds `title`."""
    lines = text.splitlines()
    start = next(place for place, line in enumerate(lines) if title in line)
    rows = []
    for line in lines[start + 3 :]:  # behind title, header and rule
        if not line.strip() or not line.startswith((" ", *(str(digit) for digit in range(10)))):
            break
        rows.append(line.split())
    return rows


@pytest.fixture(scope="module")
def found(folder, tmp_path_factory):
    """`search --controls --seeds 2` and the same again as JSON."""
    out = tmp_path_factory.mktemp("out")
    shown = call("search", folder, out, "--controls", **SEARCH)
    again = call("search", folder, out, "--controls", "--json", "--tolerance=0.25", **SEARCH)
    assert (shown.code, again.code) == (0, 0)
    assert len(again.runs) == 1
    return SimpleNamespace(shown=shown.out, json=again.out, run=again.runs[0], out=out)


# ---- one task


def test_the_grid_shows_the_mean_of_every_cell(found):
    stage = stage_of(found.run)
    tried = tables.trials(found.run, stage)
    assert set(tried["status"]) == {"done"}
    rows = table(found.shown, f"{stage}: validation accuracy by what is kept, mean of 2 seeds")
    means = tried.groupby(["tokens", "pieces"])["validation"].mean()
    shown = {int(row[0]): [float(value) for value in row[1:]] for row in rows}
    assert list(shown) == [4, 3, 2, 1]
    for tokens, values in shown.items():
        assert values == [round(means[tokens, left], 3) for left in (4, 3, 2, 1) if (tokens, left) in means.index]


def test_the_chosen_tickets_of_all_seeds_are_shown(found):
    arms = tables.arms(found.run, stage_of(found.run))
    rows = table(found.shown, "chosen on validation")
    wanted = arms[arms["arm"] == "ticket"].sort_values("seed")
    assert [[int(row[0]), int(row[1]), *map(float, row[2:])] for row in rows] == [
        [one.seed, one.tokens, round(one.density, 3), round(one.validation, 3), round(one.test, 3)]
        for one in wanted.itertuples()
    ]


def test_every_arm_stands_in_the_table_with_its_numbers(found):
    arms = tables.arms(found.run, stage_of(found.run))
    assert set(arms["arm"]) == set(LABELS)
    assert arms[arms["arm"].isin(MADE)]["updates"].eq(2 * 4).all()  # each trained as often as the ticket
    assert arms[arms["arm"] == "dense"]["updates"].eq(4).all()
    lines = found.shown.splitlines()
    start = next(place for place, line in enumerate(lines) if "test accuracy, 95 % intervals over seeds" in line)
    header, rows = lines[start + 1], lines[start + 3 : start + 3 + len(LABELS)]
    for column in ("arm", "n", "tokens", "density", "updates", "test", "ticket - arm", "p", "p Holm", "verdict"):
        assert column in header
    for (arm, label), row in zip(LABELS.items(), rows, strict=True):
        assert row.startswith(label), row
        mine = arms[arms["arm"] == arm]
        units, tokens, density, updates, test = row.removeprefix(label).split()[:5]
        assert (int(units), float(tokens), float(density), int(updates), float(test)) == (
            2, round(mine["tokens"].mean(), 1), round(mine["density"].mean(), 3), int(mine["updates"].mean()),
            round(mine["test"].mean(), 3),
        )  # fmt: skip
        compared = arm not in ("ticket", *controls.BASE_LINES)
        assert (
            any(verdict in row for verdict in ("holds", "other way", "equivalent within", "inconclusive", "equal"))
            == compared
        )
        assert ("primary" in row) == (arm == "dense-continued")


def test_conclusions_say_what_two_seeds_cannot_show(found):
    last = found.shown[found.shown.index(f"written to {found.run.path}") :]
    task = found.run.settings()["task"]["name"]
    assert f"{task}: ticket better than dense continued (primary): " in last
    assert "with 2 units the sign-flip test cannot go below p = 0.5" in last
    assert "example by example" in last
    assert "McNemar p < 0.05 in" in last


def test_halving_is_foretold_where_it_would_drop_from_one_line(found, folder, tmp_path):
    assert "successive halving" not in found.shown  # the grid of the paper halves each of its lines apart
    made = call("search", folder, tmp_path, "--grid=token", **(SEARCH | dict(seeds=1)))
    assert "successive halving (--halving) would have saved" in made.out


def test_json_holds_arms_and_comparisons(found):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    facts = json.loads(found.json, parse_constant=refuse)
    stage = stage_of(found.run)
    assert {"run", "tickets", "arms", "described", "comparisons", "per_example", "conclusions"} <= set(facts)
    assert facts["run"] == str(found.run.path)
    arms = tables.arms(found.run, stage)
    assert pd.DataFrame(facts["arms"]).equals(arms)
    assert {one["against"] for one in facts["comparisons"]} == set(LABELS) - {"ticket", *controls.BASE_LINES}
    for one in facts["comparisons"]:
        assert one["family"] == ("primary" if one["against"] == "dense-continued" else "corrected")
        assert (one["margin"], one["units"]) == (0.25, 2)  # --tolerance
        assert (one["p_corrected"] is None) == (one["family"] == "primary")
        assert all(isinstance(one[name], int | float) for name in ("difference", "p", "units_needed"))
    assert {one["arm"] for one in facts["described"]} == set(LABELS)
    assert {(one["against"], one["seed"]) for one in facts["per_example"]} == {
        (arm, seed) for arm in ("dense", *MADE[1:]) for seed in (-1, 0, 1)
    }
    assert any("primary" in sentence for sentence in facts["conclusions"])
    assert {one["stage"] for one in facts["tickets"]} == {"", "untrained", stage}


def test_runs_show_compares_the_arms_too(found, capsys):
    assert tiny.call("runs", "show", found.run.path, "--tolerance=0.01") == 0
    said = capsys.readouterr().out
    assert "chosen on validation" in said
    assert all(label in said for label in LABELS.values())


def test_a_pruning_is_compared_with_its_controls_too(folder, tmp_path):
    made = call("prune", folder, tmp_path, "--controls", "--json", seeds=2, train_steps=2, rounds=1)
    assert made.code == 0
    facts = json.loads(made.out)
    searched = {"token-only", "piece-only"}
    assert {one["arm"] for one in facts["arms"]} == set(LABELS) - searched
    assert facts["rounds"][-1]["stage"] == stage_of(made.runs[0])
    shown = call("prune", folder, tmp_path, "--controls", seeds=2, train_steps=2, rounds=1)
    assert all(label in shown.out for arm, label in LABELS.items() if arm not in searched)
    assert "seeds" in shown.out


def test_without_controls_nothing_is_compared(folder, tmp_path):
    made = call("search", folder, tmp_path, "--grid=token", **(SEARCH | dict(seeds=1)))
    assert made.code == 0
    assert "chosen on validation" in made.out
    assert "ticket - arm" not in made.out
    again = call("search", folder, tmp_path, "--grid=token", "--json", **(SEARCH | dict(seeds=1)))
    assert "comparisons" not in json.loads(again.out)


# ---- two tasks


@pytest.fixture(scope="module")
def other(folder):
    """Another task with its data."""
    return tiny.save_task(folder / "other", rows=(16, 10, 10))


def test_two_tasks_in_one_command_are_compared_over_both(folder, other, found):
    """The first was done before; the table over all tasks comes first."""
    toy = folder / "toy"
    both = dict(task=f"{toy / 'toy.toml'},{other}", data=f"{toy},{other.parent}")
    made = call("search", folder, found.out, "--controls", **(SEARCH | both))
    assert made.code == 0
    assert "finished ticket(s) were there already" in made.err
    titles = [line.split(": test")[0] for line in made.out.splitlines() if "95 % intervals over seeds" in line]
    assert titles == ["all tasks", str(other), str(toy / "toy.toml")]
    assert "all tasks: ticket better than dense continued (primary): " in made.out
    assert "with 4 units" in made.out
    facts = compare_arms([(run, stage_of(run)) for run in made.runs], 0.01).facts
    assert {one["task"] for one in facts["arms"]} == set(titles[1:])
    whole = [one for one in facts["comparisons"] if one["scope"] == "all tasks"]
    assert {one["units"] for one in whole} == {4}
    assert {one["task"] for one in facts["per_example"]} == set(titles[1:])
    assert len({run.settings()["id"] for run in made.runs}) == 2


@pytest.mark.parametrize(("folders", "counts"), [("{0}", "1 folders for 2 tasks"), ("{0},{0},{0}", "3 folders")])
def test_folders_that_do_not_pair_up_with_tasks_are_refused_in_one_line(folders, counts, folder, other, tmp_path):
    toy = folder / "toy"
    both = dict(task=f"{toy / 'toy.toml'},{other}", data=folders.format(toy))
    made = call("search", folder, tmp_path / "runs", "--controls", **(SEARCH | both))
    assert (made.code, made.out, made.runs) == (2, "", [])
    (line,) = made.err.splitlines()
    assert line.startswith("prunekit: --data = ")
    assert counts in line


@pytest.mark.parametrize(("second", "said"), [(None, "--task names toy twice"), ("nosuch", "nosuch")])
def test_one_task_twice_and_a_wrong_second_one_are_found_before_the_first_is_trained(second, said, folder, tmp_path):
    toy = folder / "toy"
    wrong = dict(task=f"{toy / 'toy.toml'},{second or toy / 'toy.toml'}", data=f"{toy},{toy}")
    made = call("search", folder, tmp_path / "runs", "--controls", **(SEARCH | wrong))
    assert (made.code, made.out, made.runs) == (2, "", [])
    assert said in made.err.splitlines()[-1]


# ---- settings of a search


AGAIN = "rescore_pieces goes with grid = paper"
UNKNOWN = "--grid = 'all': use 'paper', 'full', 'token', 'piece' or 'rank'"


@pytest.mark.parametrize(("grid", "said"), [("full", AGAIN), ("token", AGAIN), ("piece", AGAIN), ("all", UNKNOWN)])
def test_an_unknown_grid_and_scoring_again_on_another_than_the_papers_are_refused(grid, said, folder, tmp_path):
    made = call("search", folder, tmp_path / "runs", "--rescore-pieces", f"--grid={grid}", **SEARCH)
    assert (made.code, made.out, made.runs) == (2, "", [])
    (line,) = made.err.splitlines()
    assert said in line


def test_halving_prints_what_it_saved(folder, tmp_path):
    made = call("search", folder, tmp_path, "--halving", "--grid=full", **(SEARCH | dict(evaluate_every=1, seeds=1)))
    assert made.code == 0
    (run,) = made.runs
    tried = tables.trials(run, stage_of(run))
    # 16 cells make one update (an eighth and a quarter of four), 8 a second, 4 the other two
    assert sorted(tried["steps"]) == [1] * 8 + [2] * 4 + [4] * 4
    assert "successive halving: 32 updates for 16 trials, 50% less than 4 each; 12 dropped" in made.out
    assert "would have saved" not in made.out
    results = run.results()
    dropped = results[results["status"].str.startswith("dropped")]
    assert set(dropped["arm"].str.partition("/")[0]) == {GRID}


def test_a_seed_that_stopped_ends_with_code_1_and_a_table_of_what_there_is(folder, tmp_path):
    wild = SEARCH | dict(learning_rate=1e25, clip_norm=1e30)
    made = call("search", folder, tmp_path, "--controls", **wild)
    assert made.code == 1
    assert "no finished trial yet" in made.out
    assert "no unit has both, so the ticket cannot be called better" in made.out
    assert "no pair of ticket and dense continued to compare example by example" in made.out
    assert made.err.splitlines()[-1].startswith("prunekit: 2 training(s) stopped, the first is seed 0 in round 0")


def test_a_search_all_of_whose_cells_diverged_can_be_shown(tmp_path, capsys):
    made = Made(tmp_path).add("", 0)
    made.run.write_settings(made.run.settings() | {"training": {"train_steps": 8, "evaluate_every": 2}})
    cell = dict(tokens=2, pieces=1, test=None, status="diverged", validation={})
    made.add(f"search-1/{GRID}/tokens=2-pieces=1", 1, **cell)
    print_search(summarise_search(made.run, "search-1"), "search-1", "accuracy")
    assert "search-1" in capsys.readouterr().out
