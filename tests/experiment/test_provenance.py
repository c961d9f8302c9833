"""Every change of what a run was made with is noticed by whoever uses the run, and named."""

import json
import shutil

import pytest
import tiny
from tiny import call

from prunekit.experiment import environment, provenance
from prunekit.experiment.experiment_of import experiment_of
from prunekit.experiment.prepare import prepare
from prunekit.experiment.reopen import SPLITS, in_use, opened
from prunekit.experiment.run import directory_of, run
from prunekit.runs.round_files import open_ticket
from prunekit.runs.ticket_file import save_ticket
from prunekit.support.errors import ConfigError
from prunekit.support.terminal import Screen


@pytest.fixture(scope="module")
def made(folder):
    """A finished dense run on the tiny Llama, and the folder of its model, task and data."""
    return tiny.finished("llama", folder, folder / "runs", prune=False)[0], folder


class Position:
    """A copy of everything that a run was made with, to be edited."""

    def __init__(self, own, target):
        self.model = shutil.copytree(own / "model-llama", target / "model-llama")
        self.data = shutil.copytree(own / "toy", target / "toy")
        self.task = self.data / "toy.toml"
        self.settings = {"model": str(self.model), "task": str(self.task), "data": str(self.data)}

    def config(self, **fields):
        path = self.model / "config.json"
        known = json.loads(path.read_text())
        if "rope_theta" in fields:
            known["rope_parameters"] |= fields
        path.write_text(json.dumps(known | fields))

    def tokenizer(self, change):
        path = self.model / "tokenizer.json"
        known = json.loads(path.read_text())
        change(known)
        path.write_text(json.dumps(known))

    def tokenizer_config(self, **fields):
        path = self.model / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    def say(self, old, new):
        text = self.task.read_text()
        assert old in text
        self.task.write_text(text.replace(old, new))

    def more(self, line):
        self.task.write_text(f"{line}\n{self.task.read_text()}")

    def rows(self, split, change):
        path = self.data / f"{split}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("\n".join(json.dumps(row) for row in change(rows)))


@pytest.fixture
def place(made, tmp_path):
    return Position(made[1], tmp_path)


def used(made, place, **more):
    """The dense ticket on the edited copy, all its splits."""
    path, allowed = made[0].path / "seed=0" / "round=00", more.pop("allow_changed", False)
    return opened_on(path, place.settings | more, SPLITS, allow_changed=allowed)


def opened_on(path, settings, splits=("test",), allow_changed=False):
    with in_use(opened(path), settings, splits, progress=Screen(), allow_changed=allow_changed) as use:
        return use


def _weights(place):
    tiny.model("llama", seed=1).save_pretrained(place.model)


def _swapped(known):
    vocabulary = known["model"]["vocab"]
    vocabulary["w1"], vocabulary["w2"] = vocabulary["w2"], vocabulary["w1"]


def _first(**fields):
    return lambda rows: [rows[0] | fields, *rows[1:]]


WORDS = {"good": "bad", "bad": "good"}
CHOICES = 'good = "good"\nbad = "bad"'
SCALED = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}


def _other_label(rows):
    return _first(label=WORDS[rows[0]["label"]])(rows)


def _other_labels(rows):
    return [row | {"label": WORDS[row["label"]]} for row in rows]


#: name, what is edited, what the line then says
EDITS = [
    ("rope_theta", lambda at: at.config(rope_theta=100.0), "model configuration rope_parameters.rope_theta"),
    ("rope_scaling", lambda at: at.config(rope_parameters=SCALED), "rope_parameters.factor (its default) -> 2"),
    ("rms_norm_eps", lambda at: at.config(rms_norm_eps=0.1), "model configuration rms_norm_eps (its default) -> 0.1"),
    ("hidden_act", lambda at: at.config(hidden_act="relu"), 'hidden_act (its default) -> "relu"'),
    ("max_positions", lambda at: at.config(max_position_embeddings=90), "max_position_embeddings 80 -> 90"),
    ("dropout", lambda at: at.config(attention_dropout=0.5), "attention_dropout (its default) -> 0.5"),
    ("eos", lambda at: at.config(eos_token_id=3), "model configuration eos_token_id 1 -> 3"),
    ("undeclared field", lambda at: at.config(sliding_window=3), "configuration sliding_window (its default) -> 3"),
    ("weights", _weights, "model weights"),
    ("vocabulary", lambda at: at.tokenizer(_swapped), "tokenizer vocabulary"),
    ("normaliser", lambda at: at.tokenizer(lambda t: t.update(normalizer={"type": "Lowercase"})), "tokenizer rules"),
    ("marks", lambda at: at.tokenizer(lambda t: t.update(post_processor=None)), "tokenizer ids of a trial text"),
    ("pad token", lambda at: at.tokenizer_config(pad_token="w7"), "tokenizer special tokens"),
    ("eos token", lambda at: at.tokenizer_config(eos_token="w8"), "tokenizer special tokens"),
    ("template", lambda at: at.say("e} :", "e} very :"), 'task template "{sentence} :" -> "{sentence} very :"'),
    ("swapped words", lambda at: at.say(CHOICES, 'good = "bad"\nbad = "good"'), '["good","bad"] -> ["bad","good"]'),
    ("another word", lambda at: at.say('good = "good"', 'good = "very"'), 'choices ["good","bad"] -> ["very","bad"]'),
    ("order of labels", lambda at: at.say(CHOICES, 'bad = "bad"\ngood = "good"'), "task labels"),
    ("separator", lambda at: at.more('separator = "\\n"'), "task separator (its default) ->"),
    ("task name", lambda at: at.say('name = "toy"', 'name = "other"'), 'task name "toy" -> "other"'),
    ("metric", lambda at: at.say('["accuracy"]', '["macro_f1"]'), 'task metrics (its default) -> ["macro_f1"]'),
    ("second metric", lambda at: at.say('["accuracy"]', '["accuracy", "f1"]'), "task metrics"),
    ("aliases", lambda at: at.task.write_text(at.task.read_text() + "[aliases]\ngood = [1]\n"), "task aliases"),
    ("text of a test row", lambda at: at.rows("test", _first(sentence="w1 w9 w9")), "data test 12 rows"),
    ("label of a test row", lambda at: at.rows("test", _other_label), "data test 12 rows"),
    ("cut test", lambda at: at.rows("test", lambda rows: rows[:5]), "-> 5 rows"),
    ("order of test", lambda at: at.rows("test", lambda rows: rows[::-1]), "data test 12 rows"),
    ("one more test row", lambda at: at.rows("test", lambda rows: [*rows, rows[0]]), "-> 13 rows"),
    ("text of a validation row", lambda at: at.rows("validation", _first(sentence="w0 w9")), "data validation 12 rows"),
    ("cut validation", lambda at: at.rows("validation", lambda rows: rows[2:]), "-> 10 rows"),
    ("text of a train row", lambda at: at.rows("train", _first(sentence="w0 w9")), "data train 24 rows"),
    ("labels of train", lambda at: at.rows("train", _other_labels), "data train 24 rows"),
]
FLAGS = [
    ("precision", {"precision": "bfloat16"}, "precision float32 -> bfloat16"),
    ("ranking", {"ranking": "mean"}, "ranking sum -> mean"),
    ("max_input_tokens", {"max_input_tokens": "9"}, "max_input_tokens 256 -> 9"),
    ("fewer rows", {"test_examples": "5"}, "data test 12 rows"),
    ("shuffled labels", {"labels": "shuffled"}, "data train 24 rows"),
]
ENVIRONMENT = [
    ("torch", "packages", "2.0.0"),
    ("transformers", "packages", "5.0.0"),
    ("prunekit", "packages", "0.0.9"),
    ("tokenizers", "packages", "0.1"),
    ("instructions", None, "DEFAULT"),
    ("processor", None, "riscv"),
    ("threads", None, 64),
    ("device", None, "NVIDIA H100"),
    ("python", None, "3.99"),
]


CHANGES = {name: (change, said) for name, change, said in EDITS + FLAGS}


@pytest.mark.parametrize(("change", "said"), tiny.by_day(CHANGES.values(), [*CHANGES.values()][2::3]), ids=CHANGES)
def test_an_edit_of_model_task_or_data_or_a_flag_for_another_use_is_refused_by_name(change, said, made, place):
    """In one line that names the difference and the way on."""
    if callable(change):
        change(place)
    with pytest.raises(ConfigError) as error:
        used(made, place, **({} if callable(change) else change))
    line = str(error.value)
    assert said in line and "\n" not in line and "--allow-changed" in line


@pytest.mark.parametrize(("name", "inside", "value"), tiny.by_day(ENVIRONMENT, ENVIRONMENT[::3]))
def test_another_version_or_processor_is_said_and_not_refused(name, inside, value, made, place, monkeypatch, capsys):
    now = environment.current()
    now = now | ({inside: now[inside] | {name: value}} if inside else {name: value})
    monkeypatch.setattr(environment, "current", lambda device="cpu": now)
    assert used(made, place).differences == []
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "made with" in line]
    assert f"{name} " in line and f"(now {value})" in line


def test_the_same_model_task_and_data_elsewhere_are_the_same(made, place, capsys):
    assert used(made, place).differences == []
    place.config(transformers_version="4.0.0", _name_or_path="elsewhere", dtype="bfloat16")
    place.more('description = "said otherwise"')
    assert used(made, place, text_cache_mb="1").differences == []
    assert "made with" not in capsys.readouterr().err


def test_several_changes_are_told_in_one_line(made, place):
    place.config(rms_norm_eps=0.1)
    place.say('["accuracy"]', '["macro_f1"]')
    place.rows("test", lambda rows: rows[:5])
    with pytest.raises(ConfigError, match=r"rms_norm_eps .*; task metrics .*; data test 12 rows"):
        used(made, place)


def test_a_long_value_is_shown_where_it_begins_to_differ(made, place):
    place.say("{sentence} :", "a" * 90 + " {sentence} :")
    long = provenance.differences(
        {"task": {"template": "x" * 200 + "one"}}, {"task": {"template": "x" * 200 + "two and more"}}
    )
    assert len(long[0]) < 200 and "one" in long[0] and "two" in long[0]
    with pytest.raises(ConfigError) as error:
        used(made, place)
    assert len(str(error.value)) < 600


def test_other_splits_than_the_one_that_is_asked_for_may_have_changed(made, place):
    place.rows("train", lambda rows: rows[:8])
    path = made[0].path / "seed=0" / "round=00"
    assert opened_on(path, place.settings).differences == []


def test_new_rows_for_predict_are_no_other_data_and_another_template_is(made, place, tmp_path, capsys):
    rows, ticket = tmp_path / "rows.jsonl", made[0].path / "seed=0" / "round=00"
    rows.write_text(json.dumps({"sentence": "w1 w2"}))
    flags = [f"--{name}={value}" for name, value in place.settings.items()]
    place.rows("test", lambda found: found[:3])
    assert call("predict", ticket, rows, *flags) == 0
    place.say("{sentence} :", "{sentence}")
    assert call("predict", ticket, rows, *flags) == 2
    said = capsys.readouterr().err
    assert "task template" in said and "Traceback" not in said
    assert call("predict", ticket, rows, *flags, "--allow-changed") == 0
    assert "note: not what it was made with, and used all the same: task template" in capsys.readouterr().err


def test_eval_refuses_a_cut_test_file_and_says_it_where_it_may(made, place, capsys):
    ticket = made[0].path / "seed=0" / "round=00"
    place.rows("test", lambda rows: rows[:5])
    assert call("eval", ticket, f"--data={place.data}") == 2
    assert "data test 12 rows" in capsys.readouterr().err
    assert call("eval", ticket, f"--data={place.data}", "--json", "--allow-changed") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["examples"] == 5
    assert facts["differs"][0].startswith("data test 12 rows")


@pytest.mark.parametrize("to", ["peft", "embeddings"])
def test_export_refuses_another_task_or_model(to, made, place, tmp_path, capsys):
    ticket, out = made[0].path / "seed=0" / "round=00", tmp_path / "out"
    place.say('good = "good"', 'good = "very"')
    flags = [f"--{name}={value}" for name, value in place.settings.items()]
    assert call("export", ticket, f"--out={out}", f"--to={to}", *flags) == 2
    assert "task choices" in capsys.readouterr().err
    assert not out.exists()
    assert call("export", ticket, f"--out={out}", f"--to={to}", *flags, "--allow-changed", "--no-verify") == 0


def test_a_ticket_file_names_what_differs_as_its_run_does(made, place, tmp_path):
    file = tmp_path / "alone.safetensors"
    save_ticket(open_ticket(made[0].path / "seed=0" / "round=00"), file)

    def use(allow_changed=False):
        return opened_on(file, place.settings, allow_changed=allow_changed)

    assert use().differences == []
    place.config(rms_norm_eps=0.1)
    place.say("{sentence} :", "{sentence}")
    place.rows("test", lambda rows: rows[:5])
    with pytest.raises(
        ConfigError, match=r"alone.safetensors: .* rms_norm_eps .*; task template .*; data test 12 rows"
    ):
        use()
    assert len(use(allow_changed=True).differences) == 3


def test_a_ticket_from_elsewhere_says_nothing_and_is_used(made, place, tmp_path):
    from dataclasses import replace

    ticket = open_ticket(made[0].path / "seed=0" / "round=00")
    for number, origin in enumerate(
        ({}, {"content": 3}, {"content": {"task": 4, "data": {"test": 5}}}, {"model_digest": []})
    ):
        file = tmp_path / f"{number}.safetensors"
        save_ticket(replace(ticket, origin=origin), file)
        assert opened_on(file, place.settings).differences == []


def test_another_run_begins_and_says_why_where_the_model_was_edited(tmp_path):
    asked = tiny.experiment("gpt2", tmp_path, train_steps=2)
    first = run(prepare(asked), tmp_path / "runs", tiny.Quiet(), prune=False)
    path = tmp_path / "model-gpt2" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"n_head": 2}))
    quiet = tiny.Quiet()
    second = run(prepare(asked), tmp_path / "runs", quiet, prune=False)
    assert second.path != first.path
    with pytest.raises(
        ConfigError, match=r"another experiment .*; it was made with another: model configuration n_head 4 -> 2"
    ):
        directory_of(prepare(asked), first.path)
    assert (
        f"note: a new run, since {first.path.name} was made with another: model configuration n_head 4 -> 2"
        in quiet.lines
    )


def test_a_ticket_to_start_from_may_be_of_another_model_and_that_is_said(made, tmp_path):
    ticket = made[0].path / "seed=0" / "round=00"
    same = tiny.experiment("llama", made[1], init_from=ticket, train_steps=2)
    assert prepare(same).notes == []
    other = tiny.experiment("gpt2", tmp_path, init_from=ticket, train_steps=2)
    (line,) = prepare(other).notes
    assert line.startswith("note: the ticket to start from was made with another: model weights; model configuration")


def test_figures_that_need_the_model_are_refused_on_another(made, place, monkeypatch):
    from prunekit.analysis import model_access

    found = made[0]
    asked = experiment_of(found)
    model = asked.model.model_copy(update={"name": str(place.model)})
    task = asked.task.model_copy(update={"name": str(place.task), "data": str(place.data)})
    moved = asked.model_copy(update={"model": model, "task": task})
    monkeypatch.setattr(model_access, "experiment_of", lambda run: moved)
    model_access.evaluator(found)
    place.rows("validation", lambda rows: rows[:5])
    with pytest.raises(ConfigError, match="data validation 12 rows"):
        model_access.evaluator(found)
    place.config(rms_norm_eps=0.1)
    for function in (model_access.embedding, model_access.starts):
        with pytest.raises(ConfigError, match="rms_norm_eps"):
            function(found)
