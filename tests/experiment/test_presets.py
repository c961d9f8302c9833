"""Settings as published; the figures are those of the papers and their code, written down here once more."""

from pathlib import Path

import pytest
import tiny

from prunekit.experiment import presets, settings_io
from prunekit.experiment.prepare import prepare
from prunekit.support.errors import ConfigError

ADAFACTOR = {"training.optimizer": "adafactor", "training.learning_rate": 0.3, "training.weight_decay": 1e-5}
ADAMW = {"training.optimizer": "adamw", "training.learning_rate": 0.3, "model.name": "google-t5/t5-base"}
XPROMPT = ADAFACTOR | {
    "prompt.method": "direct", "prompt.tokens": 20, "prompt.pieces": 16, "prompt.init": "vocabulary",
    "training.train_steps": "100 epochs", "training.batch_size": 16, "pruning.score": "absolute",
    "pruning.rewind": "trained", "search.grid": "paper",
}  # fmt: skip
SIZES = ("base", "large", "xl", "xxl")
FIGURES = {
    **{f"xprompt-t5-{size}": XPROMPT | {"model.name": f"google/t5-{size}-lm-adapt"} for size in SIZES},
    "prompt-tuning-t5-large": ADAFACTOR | {
        "model.name": "google/t5-large-lm-adapt", "prompt.method": "direct", "prompt.tokens": 100,
        "prompt.init": "uniform", "training.warmup_fraction": 0.0,
    },
    "dpt-t5-base": ADAMW | {
        "prompt.method": "dpt", "prompt.tokens": 100, "prompt.rank": 10, "training.train_steps": "100 epochs",
        "training.batch_size": 16, "training.weight_decay": 1e-5, "training.warmup_fraction": 0.1,
        "training.clip_norm": 1.0, "model.max_input_tokens": 256,
    },
    "residual-t5-base": ADAMW | {
        "prompt.method": "residual", "prompt.tokens": 10, "prompt.bottleneck": 800, "training.train_steps": "20 epochs",
        "training.batch_size": 8, "training.weight_decay": 1e-5,
    },
    "dept-t5-base": ADAMW | {
        "prompt.method": "dept", "prompt.tokens": 40, "prompt.rank": 45, "training.train_steps": 40_000,
        "training.evaluate_every": 1000, "training.batch_size": 32, "training.weight_decay": 0.0,
        "training.warmup_fraction": 500 / 40_000, "model.max_input_tokens": 256,
    },
    "adept-t5-base": ADAMW | {
        "prompt.method": "adept", "prompt.tokens": 60, "prompt.rank": 19, "training.train_steps": 30_000,
        "training.batch_size": 32, "training.weight_decay": 0.0, "training.warmup_fraction": 500 / 30_000,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def stand_in(folder):
    """Flags that put a tiny T5 and a tiny task in the places of a published model and a real one."""
    tiny.save_task(folder / "toy")
    where = {"task": folder / "toy" / "toy.toml", "data": folder / "toy", "model": tiny.save_model("t5", folder / "t5")}
    return {name: str(path) for name, path in where.items()} | {"threads": "1", "model_revision": None}


def test_every_preset_has_its_figures_here():
    assert presets.names() == sorted(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_a_preset_says_the_published_figures(name):
    settings = settings_io.experiment(Path(name), {"task": "rte"}).model_dump(mode="json")
    values = {path: settings[path.split(".")[0]][path.split(".")[1]] for path in FIGURES[name]}
    assert values == FIGURES[name]


@pytest.mark.parametrize("name", FIGURES)
def test_a_preset_is_ready_on_a_model_of_the_same_class(name, stand_in):
    prepared = prepare(settings_io.experiment(Path(name), stand_in))
    plan, updates = prepared.plan, FIGURES[name].get("training.train_steps", 100)
    if isinstance(updates, str):  # of 24 examples, of which whole batches are taken
        updates = int(updates.split()[0]) * (24 // FIGURES[name]["training.batch_size"])
    assert plan.train_steps == updates
    assert (plan.optimizer, plan.learning_rate) == (FIGURES[name]["training.optimizer"], 0.3)
    assert len(prepared.dense(0).mask.token) == FIGURES[name]["prompt.tokens"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_a_preset_is_forecast_on_a_model_of_the_same_class(name, stand_in, capsys):
    flags = [f"--{key}={value}" for key, value in stand_in.items() if value is not None]
    verb = "search" if name.startswith("xprompt") else "tune"
    assert tiny.call(verb, "--experiment", name, *flags, "--dry-run") == 0
    assert "minutes and about" in capsys.readouterr().out


def test_a_file_is_a_file_and_a_name_that_is_neither_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert presets.file_of(Path("mine.toml")) == Path("mine.toml")
    Path("dpt-t5-base").write_text("[prompt]\ntokens = 3")
    assert settings_io.experiment(Path("dpt-t5-base"), {}).prompt.tokens == 3
    with pytest.raises(ConfigError, match='no published settings of this name; did you mean "xprompt-t5-large"'):
        presets.file_of(Path("xprompt-t5-lage"))


def test_presets_are_listed_and_shown(capsys):
    assert tiny.call("presets") == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in presets.names())
    assert tiny.call("presets", "xprompt-t5-large") == 0
    assert capsys.readouterr().out == presets.text("xprompt-t5-large")
    assert tiny.call("presets", "xprompt-t5") == 2
    assert 'no published settings "xprompt-t5"; did you mean' in capsys.readouterr().err
