"""Every setting, in small frozen models without torch; `Experiment` composes them.

"auto" values are resolved once, from the model and the task, and written to the run.
"""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from prunekit.prompts import Method
from prunekit.prompts.init import Init
from prunekit.pruning.schedule import Keep, Schedule
from prunekit.pruning.scores import PRUNING_SCORES

SCHEMA = 1

# seeds stand in tables and files, whose whole numbers have 64 bits
_LARGEST = 2**63 - 1
_MOST_SEEDS = 1_000
_WHOLE = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")


def within(least: int, most: int, why: str) -> BeforeValidator:
    """A whole number from `least` to `most`; anything else is refused with the bounds.

    Args:
        why: what forbids more, in a few words.
    """

    def check(value: Any) -> int:
        number = _whole(value)
        if number is None:
            raise ValueError(f"give a whole number from {least:,} to {most:,}, in digits alone")
        if number < least:
            raise ValueError(f"{least:,} is the least; give a whole number up to {most:,}")
        if number > most:
            raise ValueError(f"{most:,} is the most: {why}")
        return number

    return BeforeValidator(check)


def _whole(value: Any) -> int | None:
    """The whole number that is meant; None for text that is none, and for numbers with a point."""
    if isinstance(value, str):
        text = value.strip()
        if not _WHOLE.fullmatch(text):
            return None
        return int(text[:40])  # Python reads no more than some thousand digits; 40 are beyond every bound
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else None


Updates = Annotated[int, within(1, 10_000_000, "so many updates of a prompt take years")]
Examples = Annotated[int, within(1, 1_000_000_000, "no data set has more")]
# a factor wider than any model's embeddings
Factor = Annotated[int, within(1, 65_536, "no model is wider")]
Seed = Annotated[int, within(0, _LARGEST, "tables hold whole numbers of 64 bits")]


class Settings(BaseModel):
    """Frozen, and a misspelt key is an error. What checks them is built at the first use: help texts need none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """`true` is no number, though Python counts it as 1."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("true and false are for switches; give a value")
        return value


class ModelSettings(Settings):
    """The frozen language model."""

    name: str = Field("testbed", description="Hub name or local folder of the frozen model; testbed: the embedded one")
    revision: str | None = Field(None, description="Hub revision")
    position: Literal["auto", "first", "suffix", "after-cls"] = Field(
        "auto", description="where the prompt goes; suffix: between text and answer, whose text is then read once"
    )
    max_input_tokens: Annotated[int, within(1, 10_000_000, "no model reads more")] = Field(
        256, description="longer texts lose the end of their longest field"
    )
    ranking: Literal["sum", "mean"] = Field("sum", description="how a choice's token log-probabilities are joined")
    model_dropout: bool = Field(False, description="train with the frozen model's own dropout on")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the frozen weights; auto: bfloat16 where the machine is quicker in it"
    )
    quantize: Literal["8bit", "4bit"] | None = Field(
        None, description="frozen weights in whole numbers, by bitsandbytes; on CUDA alone"
    )
    text_cache_mb: Annotated[int, within(0, 1_048_576, "that is a tebibyte")] = Field(
        2048, description="position = suffix: memory for cached texts, in MiB; more goes to temporary files"
    )


class TaskSettings(Settings):
    """The task and how much of its data is used."""

    name: str = Field("testbed/first-animal", description="a name from `prunekit tasks`, or a task file")
    data: str | None = Field(
        None, description="folder of {train,validation,test}.jsonl; default: the task's Hub data set"
    )
    revision: str | None = Field(None, description="Hub revision of the data set")
    train_examples: Examples | None = Field(
        None, description="train on one subset of this size, the same for all seeds"
    )
    validation_examples: Examples | None = Field(None, description="choose on a subset of this size")
    test_examples: Examples | None = Field(None, description="test on a subset of this size")
    data_seed: Annotated[int, within(-_LARGEST, _LARGEST, "files hold whole numbers of 64 bits")] = Field(
        0, description="which subset is drawn"
    )
    labels: Literal["given", "shuffled"] = Field(
        "given", description="shuffled: the answers of train and validation are dealt out anew, a null of training"
    )


class PromptSettings(Settings):
    """The prompt and its start."""

    method: Method = Field("direct", description="parameterisation of the prompt")
    rank: Factor | None = Field(None, description="rank of the method's factors; default: as published")
    bottleneck: Factor = Field(400, description="method = residual: hidden width of its MLP")
    columns: Literal["whitening", "random"] = Field(
        "whitening", description="method = bilinear: columns that whiten what the first attention reads, or random ones"
    )
    subspace: Literal["decoder", "random"] = Field(
        "decoder", description="method = intrinsic: that of a prompt autoencoder, or a random one (its control)"
    )
    subspace_from: tuple[str, ...] | None = Field(
        None, description="method = intrinsic: finished runs, RUN,RUN, whose dense prompts the autoencoder is fitted to"
    )
    dimension: Factor | None = Field(
        None, description="method = intrinsic: of the subspace; default: 250, or two fewer than there are prompts"
    )
    tokens: Annotated[int, within(1, 10_000, "it would be longer than the texts it stands before")] = Field(
        20, description="prompt tokens P"
    )
    pieces: Factor = Field(16, description="pieces per token K; must divide the embedding width")
    init: Init = Field("vocabulary", description="starting values")
    init_text: str | None = Field(None, description="the words of init = text")
    init_from: str | None = Field(
        None, description="start from a finished ticket (round directory or file): prompt transfer"
    )
    start_from: str | None = Field(
        None, description="start exactly at what a finished ticket kept: its tokens, its head; such as an imported one"
    )

    @field_validator("subspace_from", mode="before")
    @classmethod
    def _runs(cls, value: Any) -> Any:
        """A command line gives "RUN,RUN"."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class TrainingSettings(Settings):
    """How a prompt is trained; the same in every round."""

    train_steps: Updates | Literal["auto"] = Field(
        "auto", description="optimiser updates per round; auto: 10 epochs, 100 to 600"
    )
    evaluate_every: Updates | Literal["auto"] = Field(
        "auto", description="updates between evaluations on validation; auto: a tenth"
    )
    patience: Updates = Field(5, description="evaluations without a better one before a member stops")
    batch_size: Annotated[int, within(1, 65_536, "all of them are held in memory at once")] = Field(
        16, description="examples per update and member"
    )
    optimizer: Literal["adamw", "adafactor"] = Field("adamw", description="adafactor: as published for T5")
    learning_rate: Annotated[float, Field(gt=0)] | Literal["auto"] = Field(
        "auto", description="of the prompt; auto: by method, such as 0.2 x RMS of the model's embeddings for direct"
    )
    head_learning_rate: Annotated[float, Field(gt=0)] = Field(3e-3, description="of an encoder's head")
    weight_decay: Annotated[float, Field(ge=0)] = Field(1e-5, description="decoupled, x learning rate")
    warmup_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        0.06, description="of train_steps, linear; then constant"
    )
    clip_norm: Annotated[float, Field(gt=0)] = Field(1.0, description="gradient norm bound per member")
    keep: Literal["best", "last"] = Field("best", description="values kept of a round: best on validation, or the last")


def _count_or_fraction(value: Any) -> Any:
    """Command lines give text: digits alone are a count, anything with a point is a fraction."""
    if not isinstance(value, str):
        return value
    count = _whole(value)
    if count is not None:
        return count
    try:
        return float(value)
    except ValueError:
        raise ValueError("give a count such as 5, or a fraction with a point such as 0.25") from None


if TYPE_CHECKING:
    PruningScore = str
else:  # a type checker cannot read a list; pydantic and the command line can
    PruningScore = Literal[*(score.name for score in PRUNING_SCORES)]
Keeping = Annotated[int | float, BeforeValidator(_count_or_fraction)]


class PruningSettings(Settings):
    """What is pruned, by which score, and what the survivors are rewound to."""

    rounds: Annotated[int, within(0, 1_000, "each is a training of its own")] = Field(
        3, description="prunings after the dense round"
    )
    keep_tokens: Keeping = Field(0.25, description="tokens kept at the end: a count, or a fraction with a point")
    keep_pieces: Keeping = Field(0.5, description="pieces kept per token at the end: a count or a fraction")
    score: PruningScore = Field(
        "absolute",
        description="importance by which is pruned; "
        + "; ".join(f"{score.name}: {score.description}" for score in PRUNING_SCORES),
    )
    rewind: (
        Annotated[int, within(0, 10_000_000, "no dense round has so many steps")] | Literal["trained", "init", "reinit"]
    ) = Field("trained", description="trained, init, a step of the dense round, or reinit (a control)")
    dropped_as: Literal["remove", "hide", "zero"] = Field("remove", description="what stands for a dropped token")


class SearchSettings(Settings):
    """Which token and piece ratios a search tries; the dropped shares are 0, 10, ..., 90 %."""

    grid: Literal["paper", "full", "token", "piece"] = Field(
        "paper",
        description="paper: token ratios, then piece ratios at the best; full: every pair; token, piece: one line",
    )
    halving: bool = Field(False, description="train all, drop the worse half at 1/8, 1/4 and 1/2 of the updates")
    rescore_pieces: bool = Field(
        False, description="grid = paper: score pieces again once the chosen tokens are retrained"
    )

    @model_validator(mode="after")
    def _fit(self) -> SearchSettings:
        if self.rescore_pieces and self.grid != "paper":
            raise ValueError("rescore_pieces goes with grid = paper, the only one that chooses tokens before pieces")
        return self


class MachineSettings(Settings):
    """Where it runs. Not part of a run's identity, but recorded and imposed again on resume."""

    device: str = Field("cpu", description="cpu, cuda, cuda:1, ...")
    device_map: Literal["auto"] | None = Field(
        None, description="auto: spread the frozen model over all devices, main memory and disk"
    )
    threads: Annotated[int, within(1, 1_024, "no machine here has more cores")] | None = Field(
        None, description="CPU threads; default: all cores at hand"
    )
    width: Annotated[int, within(1, 1_024, "all of them are held in memory at once")] | Literal["auto"] = Field(
        "auto", description="most members trained side by side; auto: by memory"
    )
    checkpointing: bool = Field(
        False, description="compute activations twice and keep few: slower; on by itself where not even one member fits"
    )
    processes: Annotated[int, within(1, 4_096, "one process takes one device")] = Field(
        1, description="processes that share every batch; torchrun must have started as many"
    )


class Experiment(Settings):
    """Everything that determines a run."""

    model: ModelSettings = Field(default_factory=ModelSettings)
    task: TaskSettings = Field(default_factory=TaskSettings)
    prompt: PromptSettings = Field(default_factory=PromptSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    pruning: PruningSettings = Field(default_factory=PruningSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    machine: MachineSettings = Field(default_factory=MachineSettings)
    seeds: tuple[Seed, ...] = Field((0,), description="seeds of initialisation and data order")

    def keeps(self) -> tuple[Keep, ...]:
        """What each round after the dense one keeps, in counts: from the whole prompt down to the pruning's targets.

        Raises:
            ConfigError: where a count is zero or larger than what there is.
        """
        pruning, prompt = self.pruning, self.prompt
        schedule = Schedule.geometric(pruning.rounds, pruning.keep_tokens, pruning.keep_pieces)
        return schedule.keeps(prompt.tokens, prompt.pieces)

    @model_validator(mode="after")
    def _alike_on_all_processes(self) -> Experiment:
        if self.machine.processes > 1 and self.model.model_dropout:
            raise ValueError("processes > 1 goes without model_dropout: each would draw its own")
        return self

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        """A count N means seeds 0 to N-1; a list (or "3,5") names them."""
        if isinstance(value, str) and "," in value:
            return [part.strip() for part in value.split(",")]
        if isinstance(value, list | tuple):
            return value
        count = _whole(value)
        if count is None:
            raise ValueError("give a count such as 3, or the seeds themselves, such as 3,5")
        if count < 1:
            raise ValueError("give at least one seed")
        if count > _MOST_SEEDS:
            raise ValueError(
                f"{_MOST_SEEDS:,} seeds are the most: each is a training of its own (a number alone is a count)"
            )
        return tuple(range(count))

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError("seeds must be distinct, at least one")
        if len(seeds) > _MOST_SEEDS:
            raise ValueError(f"{_MOST_SEEDS:,} seeds are the most: each is a training of its own")
        return seeds
