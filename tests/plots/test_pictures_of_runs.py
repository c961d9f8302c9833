"""Pictures of runs of every kind: no lone point, nothing empty, no words over words, nothing impossible."""

from functools import cache, partial

import pytest
import tiny
from long_run import changed_run, long_run
from picture_faults import faults
from roots import ROOT
from small import SMALL_RUN

from prunekit.analysis import tables
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import prepare
from prunekit.plots import style
from prunekit.plots.catalog import FIGURES
from prunekit.plots.figure import LackingError
from prunekit.plots.report.drawn_figures import NEED_MODEL
from prunekit.plots.run_choice import opened, unfinished

GOLDEN = ROOT / "tests" / "golden" / "0.1.0" / "run"


def trained(kind, folder, **more):
    return tiny.finished(kind, folder, folder / "runs", train_steps=4, **more)[0].path


def searched(kind, folder, **more):
    asked = tiny.experiment(kind, folder, train_steps=4, **more)
    return experiment.search(prepare(asked), folder / "runs", tiny.Quiet()).path


def equal(key, result):
    """Pruning, seeds and rounds change nothing, and everything is right."""
    return result | {name: {"accuracy": 1.0} for name in ("validation", "test")}


def diverging(key, result):
    """A seed ends in the dense round, another in the first round of pruning."""
    if (key.seed, key.round) not in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2)):
        return result
    return result | {"status": "diverged", "reason": "loss is nan at step 3", "test": {}}


def without_test(folder):
    """A data folder that has no file for the test split."""
    task = tiny.save_task(folder / "two-files")
    (task.parent / "test.jsonl").unlink()
    return trained("gpt2", folder, task=task, data=task.parent, seeds=2, prompt_tokens=6)


#: What is special about a run -> a function of a folder that makes it; the first one is soonest looked at.
KINDS = {
    "a search and a pruning": lambda folder: GOLDEN,
    "3 seeds": lambda folder: SMALL_RUN,
    "1 seed": lambda folder: changed_run(SMALL_RUN, folder / "run", lambda key, result: result, [1]).path,
    "all equal": lambda folder: changed_run(SMALL_RUN, folder / "run", equal).path,
    "seeds that diverged": lambda folder: changed_run(SMALL_RUN, folder / "run", diverging).path,
    "44 rounds": lambda folder: long_run(SMALL_RUN, folder / "run", seeds=4, rounds=10).path,
    "all diverged": partial(trained, "gpt2", learning_rate=1e30, seeds=2),
    "controls": partial(trained, "bert", controls=True, seeds=2),
    "prefix-kv": partial(trained, "llama", position="prefix-kv", pieces=None, seeds=2),
    "written answers": partial(trained, "t5", task="swap", seeds=2),
    "no test split": without_test,
    "a search alone": partial(searched, "gpt2", grid="paper", seeds=2, rounds=None, keep_tokens=None),
    "a search by written answers": partial(
        searched, "t5", task="swap", grid="token", seeds=1, rounds=None, keep_tokens=None
    ),
    "one token": partial(trained, "gpt2", prompt_tokens=1, pieces=1, keep_tokens=1, keep_pieces=1, seeds=1, rounds=1),
}
_AT_ONCE = list(KINDS)[:1]


def one_point(table, ax):
    ax.plot([1], [0.5], "o")


def nothing(table, ax):
    ax.axhline(0.5)


def words_over_words(table, ax):
    ax.plot([0, 1], [0, 1])
    for place in (0.5, 0.52):
        ax.text(place, 0.5, "a label")


def words_beyond_the_page(table, ax):
    ax.plot([0, 1], [0, 1])
    ax.figure.text(0.9, 0.5, "a long label")


def too_good(table, ax):
    ax.plot([0, 1], [0.5, 1.2])
    ax.set_ylabel("test accuracy")


def ticks_beyond(table, ax):
    ax.plot([0, 1], [0.5, 1])
    ax.set(ylabel="test accuracy", ylim=(0, 1.25))


@pytest.mark.parametrize(("draw", "words"), [
    (one_point, "a panel of 1 marks"), (nothing, "a panel of 0 marks"), (words_over_words, "overlap"),
    (words_beyond_the_page, "cut by the edge"), (too_good, "shows 1.2"), (ticks_beyond, "a tick at 1.2"),
])  # fmt: skip
def test_what_is_wrong_with_a_picture_is_seen(draw, words):
    with style.look():
        lines = faults(style.picture(draw, None, columns=1, height=2.4))
    assert any(words in line for line in lines), lines


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A run of a kind, made once."""
    return cache(lambda kind: opened([KINDS[kind](tmp_path_factory.mktemp("kind"))])[0])


def tables_of(figure, run):
    """What a figure shows of a run, of each of its prunings and searches where it shows one."""
    pruned = {key.stage for key in run.tickets()}.intersection(tables.prunings(run))
    for stage in sorted(pruned) if "stage" in figure.choices and pruned else [None]:
        try:
            yield figure.table([run], stage=stage)
        except LackingError as lack:
            assert str(run.path) in str(lack), figure.name  # the reason, and of which run


@pytest.mark.parametrize("kind", tiny.at_night(*KINDS, gate=len(_AT_ONCE)))
@pytest.mark.parametrize("columns", tiny.at_night(1, 2))
def test_no_picture_has_a_lone_point_an_empty_panel_words_over_words_or_what_cannot_be(kind, columns, run_of):
    run, seen = run_of(kind), {}
    for figure in FIGURES:
        if figure.name in NEED_MODEL and kind in _AT_ONCE:
            continue  # the others evaluate a model
        for table in tables_of(figure, run):
            with style.look(figure.name):
                height = figure.height(table, columns)
                picture = style.picture(figure.draw, table, columns=columns, height=height, note=unfinished([run]))
                seen.setdefault(figure.name, []).extend(faults(picture))
    assert {name: lines for name, lines in seen.items() if lines} == {}
    assert bool(seen) == (kind != "all diverged")
