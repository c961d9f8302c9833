"""What a stranger asks of a finished run, each one line of Python; how runs and tickets look in a notebook."""

from xml.etree import ElementTree

import architectures as arch
import matplotlib
import matplotlib.pyplot as plt
import pytest
import small
from matplotlib.axes import Axes
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, pipeline

import prunekit as pk
from prunekit.plots.catalog import FIGURES
from prunekit.plots.run_plots import SHORT
from prunekit.prompts.mask import Mask
from prunekit.runs.snapshot import Snapshot
from prunekit.tasks.testbed import MODEL_PATH


@pytest.fixture(scope="module")
def run():
    return pk.load(small.SMALL_RUN)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_a_strangers_list_is_a_line_each(tmp_path):
    pytest.importorskip("peft")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(MODEL_PATH), AutoTokenizer.from_pretrained(MODEL_PATH)
    batch = tokenizer(["today anna loves owls", "ben fears foxes in oslo"], padding=True, return_tensors="pt")

    run = pk.load(small.SMALL_RUN)
    ticket = run.best
    mask = ticket.mask
    scores = run.scores
    picture = run.plot.density()
    comparison = run.compare(pk.load(small.SHUFFLED_RUN))
    answers = ticket.attach(model).generate(batch["input_ids"], batch["attention_mask"], max_new_tokens=2)
    ticket.export(tmp_path / "adapter", str(MODEL_PATH), quiet=True)

    assert mask == run.ticket(*(run.best_key.seed, run.best_key.round)).mask
    assert len(scores.query("kind == 'absolute' and level == 'token' and round == 0")) == 3 * 8
    assert isinstance(picture, Axes)
    assert picture.lines
    assert set(comparison.table["run"]) == {run.path.name, small.SHUFFLED_RUN.name}
    assert "task.labels" in set(comparison.settings["setting"])
    assert len(answers) == 2
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()


def test_tables_of_a_run_are_those_of_its_files(run):
    results = Snapshot.open(run.path).results()
    rounds = run.rounds
    assert rounds["round"].tolist() == [0, 1, 2]
    assert rounds["seeds"].tolist() == [3, 3, 3]
    of_last = results[(results["stage"] == run.stage) & (results["round"] == 2) & (results["arm"] == "")]
    assert rounds["test"].iloc[-1] == pytest.approx(of_last["test_accuracy"].mean())
    assert rounds["low"].isna().all()  # all seeds are equal
    answers = run.predictions.query("split == 'test' and round == 2 and arm == 'ticket'")
    assert answers.groupby("seed")["right"].mean().tolist() == pytest.approx(of_last["test_accuracy"].tolist())
    last = run.curves.query("split == 'validation' and metric == 'accuracy' and round == 0 and arm == 'dense'")
    dense = results[(results["stage"] == "") & (results["arm"] == "")]
    assert last.groupby("seed")["value"].max().tolist() == dense["validation_accuracy"].tolist()
    assert {"ticket", "dense", "majority"} <= set(run.controls["arm"])


def test_every_figure_that_a_run_allows_is_a_line_and_draws_on_axes_that_are_given(run):
    assert {"density", "importance", "token_map", "spectrum", "density_curve"} <= set(dir(run.plot))
    assert {figure.name for figure in FIGURES} <= set(dir(run.plot))
    axes = plt.figure().add_subplot()
    assert run.plot.token_map(ax=axes, seed=1) is axes
    assert axes.collections or axes.patches
    assert run.plot("spectrum").get_xlabel() == run.plot.spectrum().get_xlabel() != ""
    with pytest.raises(pk.ConfigError, match='no figure is called "densty"; did you mean "density'):
        run.plot("densty")
    with pytest.raises(AttributeError, match='no figure is called "densty"'):
        run.plot.densty()
    with pytest.raises(pk.ArtifactError, match="prunekit"):
        pk.load(small.SHUFFLED_RUN).plot.token_map()


def test_a_notebook_shows_every_picture_and_not_the_first_alone(run, monkeypatch):
    figure = plt.figure
    # the first picture loads a notebook's backend, which turns this on, and shows nothing without it
    monkeypatch.setattr(plt, "figure", lambda *args, **look: matplotlib.interactive(True) or figure(*args, **look))
    try:
        run.plot.token_map()
        assert matplotlib.is_interactive()
    finally:
        matplotlib.interactive(False)


def test_short_names_are_of_the_catalogue_or_of_a_figure_that_is_still_to_come():
    assert set(SHORT) == {"density", "curves", "search"}
    assert not set(SHORT) & {figure.name for figure in FIGURES}


def test_reprs_are_short_and_a_notebook_draws_the_mask(run):
    ticket = run.ticket(0, 2)
    assert repr(run) == f"Run({str(run.path)!r}, {run.stage!r})"
    assert repr(ticket.mask) == "Mask(2 of 8 tokens, 4 of 32 cells)"
    assert repr(ticket) == ("Ticket(round 2, 2 of 8 tokens, 4 of 32 cells, method direct, values trained of seed 0)")
    drawing = ElementTree.fromstring(ticket.mask._repr_html_())
    _, empty, filled = drawing
    assert (empty.get("d").count("z"), filled.get("d").count("z")) == (28, 4)
    page = run._repr_html_()
    assert page.count("<svg") == 1
    assert run.path.name in page
    assert page.count("<tr") == 1 + 3
    assert Mask.full(200, 16)._repr_html_().count('height="360"') == 1


def test_what_is_public_is_all_that_one_is_offered():
    assert dir(pk) == sorted(pk.__all__)
    assert not {"importlib", "TYPE_CHECKING", "annotations", "support"} & set(dir(pk))


def test_an_attached_model_is_run_by_a_pipeline(capsys):
    bone = arch.frozen("gpt2")
    attached = pk.attach(bone.model, arch.ticket(bone, "direct", arch.MASKS["dense"], 0))
    writer = pipeline("text-generation", model=attached, tokenizer=bone.tokenizer, device="cpu")
    text = writer("w1 w2 w3", max_new_tokens=4, do_sample=False, pad_token_id=0)[0]["generated_text"]
    ids = bone.tokenizer("w1 w2 w3", return_tensors="pt")["input_ids"]
    expected = attached.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0)
    assert text.removeprefix("w1 w2 w3").split() == bone.tokenizer.decode(expected[0, 3:]).split()
    assert expected.tolist() != bone.model.generate(ids, max_new_tokens=4, do_sample=False, pad_token_id=0).tolist()
    assert "not supported" not in capsys.readouterr().err
