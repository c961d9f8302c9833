import json
import signal
import time

import pytest
import tiny
from forks import ENDS
from tiny import call

from prunekit.runs.ticket_file import save_ticket


def refused(capsys, tmp_path, *arguments) -> str:
    """The one line that a refused command says; exit code 2, nothing on disk."""
    assert call(*arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = [line for line in said.err.splitlines() if line]
    assert len(lines) == 1
    assert lines[0].startswith("prunekit: ")
    assert not (tmp_path / "runs").exists()
    return lines[0]


@pytest.fixture
def prune(folder, tmp_path, capsys):
    """Call `prune` on the tiny GPT-2 with some flags changed, expect a refusal, return its line."""

    def refuse(verb="prune", kind="gpt2", **changed):
        return refused(capsys, tmp_path, verb, *tiny.arguments(kind, folder, **changed), f"--out={tmp_path / 'runs'}")

    return refuse


# ---- the main job


def test_prune_shows_a_table_a_sentence_and_a_path(folder, tmp_path, capsys, dense_wins):
    arguments = ["prune", *tiny.arguments("gpt2", folder, seeds=2), f"--out={tmp_path}", "--tolerance=1"]
    assert call(*arguments) == 0
    said = capsys.readouterr()
    header = next(line for line in said.out.splitlines() if "seed" in line)
    for column in ("round", "seed", "tokens", "pieces", "density", "params", "validation", "test", "ex/s"):
        assert column in header
    assert "Smallest ticket within 1.0 of dense on validation accuracy: round 2, 2 tokens x 2 pieces" in said.out
    base_lines = [
        line.rsplit(maxsplit=3) for line in said.out.splitlines() if line.rstrip().endswith(("  yes", "  no"))
    ]
    assert [line[0] for line in base_lines] == ["most common answer", "no prompt", "untrained prompt"]
    assert base_lines[0][1:3] == ["0.500", "0.500"]
    assert str(tmp_path) in said.out.splitlines()[-1]
    assert (
        "--score leave-one-out --score-examples 8 finds more planted words than absolute" in said.out.splitlines()[-2]
    )
    assert "round 1: 6 of 6 updates" in said.err
    assert call(*arguments) == 0
    assert "8 finished ticket(s) were there already" in capsys.readouterr().err


def test_json_holds_the_tickets_the_base_lines_and_the_best(folder, tmp_path, capsys, dense_wins):
    assert call("prune", *tiny.arguments("gpt2", folder), f"--out={tmp_path}", "--json", "--tolerance=1") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [one["tokens"] for one in facts["tickets"] if one["stage"] != "untrained"] == [4, 3, 2]
    assert facts["best"]["round"] == 2
    assert [one["name"] for one in facts["baselines"]] == ["majority", "no-prompt", "untrained"]


def test_what_beats_no_base_line_has_nothing_to_prune_and_no_smallest_ticket(folder, tmp_path, capsys):
    assert call("prune", *tiny.arguments("gpt2", folder), f"--out={tmp_path}", "--tolerance=1") == 0
    shown = capsys.readouterr().out
    assert "Nothing to prune yet: on validation the dense prompt" in shown
    assert "Smallest ticket" not in shown


def test_who_prunes_by_another_score_is_told_of_none(folder, tmp_path, capsys, dense_wins):
    arguments = tiny.arguments("gpt2", folder, score="magnitude")
    assert call("prune", *arguments, f"--out={tmp_path}", "--tolerance=1") == 0
    shown = capsys.readouterr().out
    assert "Smallest ticket" in shown
    assert "PruneBench" not in shown


def test_a_dry_run_counts_and_writes_nothing(folder, tmp_path, capsys):
    out = tmp_path / "runs"
    assert call("prune", *tiny.arguments("gpt2", folder), f"--out={out}", "--dry-run", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(one["title"], one["tokens"], one["pieces"]) for one in facts["parts"]] == [
        ("round 0", "4", "4"), ("untrained prompt", "4", "4"), ("round 1", "3", "3"), ("round 2", "2", "2"),
        ("no prompt", "", ""),
    ]  # fmt: skip
    assert facts["minutes"] > 0
    assert facts["memory_mb"] > 100
    assert not out.exists()


def test_tune_then_prune_shares_the_dense_round(folder, tmp_path, capsys):
    assert call("tune", *tiny.arguments("bert", folder, rounds=None, keep_tokens=None), f"--out={tmp_path}") == 0
    assert call("prune", *tiny.arguments("bert", folder), f"--out={tmp_path}") == 0
    assert "2 finished ticket(s) were there already" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


def test_settings_can_stand_in_a_file_and_flags_go_over_them(folder, tmp_path, capsys):
    given = dict(one[2:].split("=", 1) for one in tiny.arguments("gpt2", folder))
    file = tmp_path / "mine.toml"
    file.write_text(
        f'seeds = [3]\n[model]\nname = "{given["model"]}"\n[task]\nname = "{given["task"]}"\ndata = "{given["data"]}"\n'
        "[prompt]\ntokens = 4\npieces = 4\n[training]\ntrain_steps = 2\n[pruning]\nrounds = 9\n"
    )
    assert call("prune", "--experiment", file, "--rounds=1", f"--out={tmp_path}", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert [(one["seed"], one["stage"][:5], one["round"]) for one in facts["tickets"]] == [
        (3, "", 0), (3, "prune", 1), (3, "untra", 0),
    ]  # fmt: skip


# ---- eval, predict, runs


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    call("prune", *tiny.arguments("bert", folder, seeds=2), f"--out={out}")
    return next(out.iterdir())


def test_eval_of_a_round_gives_its_reported_metric(run, capsys):
    stage = next(run.glob("prune-*"))
    result = json.loads((stage / "seed=1" / "round=02" / "result.json").read_bytes())
    capsys.readouterr()
    assert call("eval", stage / "seed=1" / "round=02", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["accuracy"] == pytest.approx(result["test"]["accuracy"])
    assert call("eval", run / "seed=0" / "round=00", "--split=validation", "--json") == 0
    result = json.loads((run / "seed=0" / "round=00" / "result.json").read_bytes())
    assert json.loads(capsys.readouterr().out)["accuracy"] == pytest.approx(result["validation"]["accuracy"])


def test_a_ticket_file_on_its_own_knows_its_model_task_and_place(folder, tmp_path, capsys):
    from prunekit.runs.paths import RunKey
    from prunekit.runs.round_files import finished_ticket
    from prunekit.runs.run import Run

    call("tune", *tiny.arguments("bert", folder, position="first", rounds=None, keep_tokens=None), f"--out={tmp_path}")
    made = Run.open(next(tmp_path.iterdir()))
    save_ticket(finished_ticket(made, RunKey("", 0, 0)), tmp_path / "mine.safetensors")
    capsys.readouterr()
    assert call("eval", tmp_path / "mine.safetensors", f"--data={folder / 'toy'}", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["accuracy"] == pytest.approx(made.result(RunKey("", 0, 0))["test"]["accuracy"])


def test_predict_answers_every_row(run, folder, tmp_path, capsys):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"sentence": "w0 w3 w4"}\n{"sentence": "w1 w9"}\n')
    out = tmp_path / "answers.jsonl"
    assert call("predict", run / "seed=0" / "round=00", rows, f"--out={out}") == 0
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["index"] for one in answers] == [0, 1]
    assert all(one["answer"] in ("good", "bad") and one["label"] == one["answer"] for one in answers)
    assert call("predict", run / "seed=0" / "round=00", rows) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == out.read_text().splitlines()


def test_runs_can_be_listed_shown_verified_and_compared(run, capsys):
    assert call("runs", "list", f"--out={run.parent}") == 0
    assert run.name in capsys.readouterr().out.replace("\n", "")
    assert call("runs", "show", run) == 0
    assert "round" in capsys.readouterr().out
    assert call("runs", "verify", run) == 0
    assert "files match their manifests" in capsys.readouterr().out
    assert call("runs", "compare", run, run, "--json") == 0
    assert [one["settings"] for one in json.loads(capsys.readouterr().out)] == [{}, {}]


def test_a_damaged_file_ends_verify_with_its_name_and_code_1(folder, tmp_path, capsys):
    call("tune", *tiny.arguments("gpt2", folder, rounds=None, keep_tokens=None), f"--out={tmp_path}")
    path = next(tmp_path.glob("*/seed=0/round=00/log.parquet"))
    tiny.flip(path)
    capsys.readouterr()
    assert call("runs", "verify", path.parents[2]) == 1
    assert "log.parquet: damaged" in capsys.readouterr().out


def test_tasks_are_listed(capsys):
    assert call("tasks", "--json") == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)]
    wanted = {f"superglue/{name}" for name in ("boolq", "cb", "copa", "multirc", "record", "rte", "wic", "wsc")}
    assert wanted | {"sst2", "subj", "agnews"} <= set(names)


# ---- bad input: one line, exit code 2, nothing on disk


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "/nowhere/model"}, "/nowhere/model"),
        ({"task": "sst3"}, 'did you mean "sst2"?'),
        ({"method": "direkt"}, "--method = 'direkt'"),
        ({"pieces": 5}, "pieces = 5 does not divide the embedding width 32; use one of 1, 2, 4, 8, 16, 32"),
        ({"keep_tokens": 0}, "keep_tokens = 0 keeps 0 of 4 tokens"),
        ({"keep_tokens": "0.01"}, "keeps 0 of 4 tokens"),
        ({"data": "/nowhere/empty"}, "no such file or folder"),
        ({"device": "nosuch"}, "--device nosuch"),
    ],
)
def test_a_flag_that_cannot_be_is_said_with_what_can(changed, said, prune):
    assert said in prune(**changed)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("", ["train.jsonl"]),
        ('{"sentence": "w1", "label": "ugly"}\n', ["train.jsonl:1", "'ugly'"]),
        ('{"sentense": "w1", "label": "good"}\n', ["sentense"]),
    ],
    ids=["an empty split", "an unknown label", "a field that is not there"],
)
def test_data_that_does_not_go_with_its_task(rows, words, prune, tmp_path):
    data = tmp_path / "data"
    tiny.save_task(data)
    (data / "train.jsonl").write_text(rows)
    line = prune(data=data)
    assert all(word in line for word in words)


def test_a_misspelt_key_of_a_settings_file(folder, tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text('[model]\nname = "x"\n[task]\nname = "sst2"\n[training]\nlearningrate = 1\n')
    line = refused(capsys, tmp_path, "prune", "--experiment", file)
    assert 'unknown key "training.learningrate"; did you mean "learning_rate"?' in line


def test_a_misspelt_key_of_a_task_file(prune, folder, tmp_path):
    task = tmp_path / "mine.toml"
    task.write_text(tiny.TASK.replace("template", "templat"))
    assert 'did you mean "template"?' in prune(task=task)


@pytest.mark.parametrize(("flags", "said"), [
    (["--rouds=3"], "--rouds"),
    (["--task=sst2"], 'task "sst2" needs a model: add --model'),
    (["--model=x"], 'model "x" needs a task: add --task'),
    (["--model=x", "--task=\x1b[31mred\x07"], "\\x1b"),  # control characters do not reach the terminal
])  # fmt: skip
def test_an_unknown_flag_or_half_a_choice_of_model_and_task_is_refused(flags, said, capsys, tmp_path):
    line = refused(capsys, tmp_path, "prune", *flags)
    assert said in line
    assert "\x1b" not in line


def test_the_directory_of_another_experiment(folder, run, capsys):
    before = tiny.contents(run)
    assert call("prune", *tiny.arguments("bert", folder, train_steps=4), f"--out={run}") == 2
    assert "another experiment" in capsys.readouterr().err
    assert tiny.contents(run) == before


def test_a_ticket_that_is_none(capsys, tmp_path):
    assert call("eval", tmp_path) == 1
    assert "not a run, nor a finished round" in capsys.readouterr().err
    (tmp_path / "x.safetensors").write_bytes(b"no")
    assert call("eval", tmp_path / "x.safetensors", "--model=a", "--task=sst2") == 1
    assert "x.safetensors" in capsys.readouterr().err


# ---- ends


def test_a_loss_that_turns_nan_ends_with_code_1_and_keeps_the_last_good_state(folder, tmp_path, capsys):
    wild = tiny.arguments("gpt2", folder, learning_rate=1e25, clip_norm=1e30, rounds=1)
    assert call("prune", *wild, f"--out={tmp_path}") == 1
    said = capsys.readouterr()
    last = said.err.splitlines()[-1]
    assert "training(s) stopped, the first is seed 0 in round 0" in last
    assert "at step" in last
    assert "diverged" in said.out
    assert call("runs", "verify", next(tmp_path.iterdir())) == 0


@pytest.mark.gate
@pytest.mark.parametrize("number", tiny.at_night(*ENDS))
def test_a_signal_ends_with_one_line_and_its_code(number, forks, folder, tmp_path):
    code, word = ENDS[number]
    long = tiny.arguments("gpt2", folder, train_steps=100000, evaluate_every=50000)
    process = forks.start(["prune", *long, f"--out={tmp_path / 'runs'}"], tmp_path / "process")
    while not list(tmp_path.glob("runs/*/experiment.toml")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"prunekit: {word}; finished rounds are kept")
    assert "Traceback" not in errors


@pytest.mark.parametrize("number", ENDS)
def test_a_signal_of_which_a_library_makes_another_error_ends_the_same(number, monkeypatch, capsys):
    """As pydantic does with all that is raised where it calls a serializer of ours."""

    def wrapping(words):
        try:
            signal.raise_signal(number)
        except BaseException as error:
            raise ValueError("in a library") from error

    monkeypatch.setattr("prunekit.cli.main.build_app", wrapping)
    handlers = {each: signal.getsignal(each) for each in ENDS}
    try:
        code, word = ENDS[number]
        assert call("runs") == code
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    assert (
        capsys.readouterr().err == f"prunekit: {word}; finished rounds are kept, run the same command again to go on\n"
    )
