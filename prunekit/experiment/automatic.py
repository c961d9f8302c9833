"""What "auto" stands for, on one model and so many examples."""

from __future__ import annotations

import math

import torch

from prunekit.engine.order import batches_per_epoch
from prunekit.experiment import prefix, prompt_method
from prunekit.experiment.settings import Experiment, TrainingSettings
from prunekit.models import FrozenModel
from prunekit.support.errors import ConfigError

# of the weights of a run, as its settings name them
_PRECISIONS = ("float32", "bfloat16")

# learning_rate = "auto" for Adafactor, whatever the method; for AdamW each method has its own
_ADAFACTOR_RATE = 0.3


def auto_steps(examples: int, batch_size: int) -> int:
    """`train_steps = "auto"`: ten epochs, from 100 to 600 updates."""
    return min(600, max(100, 10 * -(-examples // batch_size)))


def auto_every(steps: int) -> int:
    """`evaluate_every = "auto"`: ten times in so many updates."""
    return max(1, steps // 10)


def resolved(experiment: Experiment, model: FrozenModel, examples: int) -> Experiment:
    """The experiment with every "auto" replaced by its value.

    Args:
        examples: of `train`.

    Raises:
        ConfigError: where no good rate is known, or the weights are neither in float32 nor in bfloat16.
    """
    experiment = prefix.with_defaults(experiment, model)
    training = experiment.training
    epoch = batches_per_epoch(examples, training.batch_size)
    automatic = auto_steps(examples, training.batch_size)
    steps = automatic if training.train_steps == "auto" else _updates(training.train_steps, epoch)
    every = auto_every(steps) if training.evaluate_every == "auto" else _updates(training.evaluate_every, epoch)
    rate = training.learning_rate
    if rate == "auto":
        rate = _auto_rate(experiment, model)
    training_update = {"train_steps": steps, "evaluate_every": every, "learning_rate": rate}
    threads = experiment.machine.threads or torch.get_num_threads()
    model_update = {"position": model.position, "precision": _precision(model)}
    return experiment.model_copy(
        update={
            "model": experiment.model.model_copy(update=model_update),
            "training": TrainingSettings.model_validate(training.model_dump() | training_update),
            "machine": experiment.machine.model_copy(update={"threads": threads}),
        }
    )


def _precision(model: FrozenModel) -> str:
    """Raises: ConfigError where the weights are in one that no run is made in."""
    name = str(model.model.dtype).removeprefix("torch.")
    if name not in _PRECISIONS:
        raise ConfigError(
            f"{type(model.model).__name__}: its weights are in {name}, in which gradients are lost or no run "
            "can be read again; load it with dtype=torch.float32 or torch.bfloat16"
        )
    return name


def _auto_rate(experiment: Experiment, model: FrozenModel) -> float:
    """Raises: ConfigError where nothing is known of a good rate."""
    training, prompt = experiment.training, experiment.prompt
    adamw = prompt_method.auto_rate(prompt, prefix.rate_unit(model))
    match training.optimizer:
        case "adamw":
            return adamw
        case "adafactor":
            return _ADAFACTOR_RATE
        case "sgd" if prompt.method == "direct" and model.position != "prefix-kv":
            # AdamW moves each number by about its rate; the longest gradient there is moves the prompt as far in all
            return adamw * math.sqrt(prompt.tokens * model.width) / training.clip_norm
    raise ConfigError(
        "learning_rate = auto is known for sgd with method = direct alone, and not for prefix-kv; give --learning-rate"
    )


def _updates(number: int | str, epoch: int) -> int:
    """A number of updates, or of epochs of so many updates such as "100 epochs"."""
    return number if isinstance(number, int) else int(number.split()[0]) * epoch
