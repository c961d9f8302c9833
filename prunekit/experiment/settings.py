"""Every setting, in small frozen models without torch; `Experiment` composes them.

"auto" values are resolved once, from the model and the task, and written to the run.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from prunekit.experiment.whole_numbers import LARGEST, Epochs, Examples, Factor, Seed, Updates, whole, within
from prunekit.prompts import Method
from prunekit.prompts.init import Init
from prunekit.pruning.schedule import RATIOS, Grid, Keep, Schedule, Unit, ranks
from prunekit.pruning.scores import ROUND_SCORES, SCORES, Score
from prunekit.pruning.scores.own import check, own_score, recorded
from prunekit.support import names
from prunekit.support.errors import nearest
from prunekit.tasks import Columns, InMemory

SCHEMA = 1
_MOST_SEEDS = 1_000


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

    name: str = Field(
        "testbed",
        description="Hub name or local folder of the frozen model; testbed and testbed-open: the embedded ones",
    )
    revision: str | None = Field(None, description="Hub revision")
    position: Literal["auto", "first", "suffix", "after-cls", "prefix-kv"] = Field(
        "auto",
        description="where the prompt goes; suffix: between text and answer, whose text is then read once; prefix-kv: "
        "trained keys and values before a decoder's text in every layer, as prefix tuning has them",
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
    data: str | Annotated[InstanceOf[InMemory], PlainSerializer(str)] | None = Field(
        None,
        description="CSV, TSV, Parquet, JSON or JSONL file, folder of {train,validation,test}.*, save_to_disk folder, "
        "or Hub data set (org/name, org/name:config); default: the task's own",
    )
    revision: str | None = Field(None, description="Hub revision of the data set")
    text: tuple[str, ...] | None = Field(
        None, description="column of the data that holds the text, or several: premise,hypothesis"
    )
    label: str | None = Field(None, description="column of the data that holds the label")
    target: str | None = Field(
        None, description="column of the data that holds the answer which the model is to write, in place of --label"
    )
    label_words: dict[str, str] | None = Field(
        None, description="words that answer, by label: 0=bad,1=good; default: labels.json, or the labels themselves"
    )
    train_examples: Examples | None = Field(
        None, description="train on one subset of this size, the same for all seeds"
    )
    validation_examples: Examples | None = Field(
        None, description="choose on a subset of this size; default: as many as trained on, from 128 to 512"
    )
    test_examples: Examples | None = Field(None, description="test on a subset of this size")
    data_seed: Annotated[int, within(-LARGEST, LARGEST, "files hold whole numbers of 64 bits")] = Field(
        0, description="which subset is drawn"
    )
    chat: bool = Field(False, description="write texts and answers as a chat, by the tokenizer's chat template")
    judge: Literal["score", "generate"] = Field(
        "score", description="generate: the model writes its answer, which counts where it is the right word exactly"
    )
    labels: Literal["given", "shuffled"] = Field(
        "given", description="shuffled: the answers of train and validation are dealt out anew, a null of training"
    )

    def __hash__(self) -> int:
        """By all settings but label words: a table has no hash, and tells tasks apart by equality alone."""
        return hash(tuple(value for name, value in self.__dict__.items() if name != "label_words"))

    @property
    def columns(self) -> Columns:
        """Which columns of the data are read."""
        return Columns(self.text or (), self.label, self.label_words, self.target)

    @field_validator("data", mode="before")
    @classmethod
    def _rows_in_memory(cls, value: Any) -> Any:
        """Rows themselves are wrapped, so that they can travel with the settings."""
        return value if value is None or isinstance(value, str | InMemory) else InMemory(value)

    @field_validator("text", mode="before")
    @classmethod
    def _columns(cls, value: Any) -> Any:
        """A command line gives "premise,hypothesis"."""
        return names.parted(value) if isinstance(value, str) else value

    @field_validator("label_words", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        """A command line gives "0=bad,1=good", or a JSON object; Python a dict, whose keys may be numbers."""
        if not isinstance(value, str):
            return {_label(key): word for key, word in value.items()} if isinstance(value, dict) else value
        if value.lstrip().startswith("{"):
            return json.loads(value)
        pairs = [part.partition("=") for part in value.split(",")]
        if not all(equal for _, equal, _ in pairs):
            raise ValueError('give label=word pairs, such as "0=bad,1=good"')
        return {label.strip(): word.strip() for label, _, word in pairs}

    @field_validator("label_words")
    @classmethod
    def _different_words(cls, words: dict[str, str] | None) -> dict[str, str] | None:
        plain = {word.strip() for word in (words or {}).values()}
        if words is not None and (len(words) < 2 or "" in plain or len(plain) < len(words)):
            raise ValueError("at least two labels are needed, each with a word of its own")
        return words

    @model_serializer(mode="wrap")
    def _without_columns(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What nobody set is left out where it came later, so that settings from before there was any stay the same."""
        unset = {name for name in ("text", "label", "target", "label_words") if getattr(self, name) is None}
        unset |= {"judge"} if self.judge == "score" else set()
        return {name: value for name, value in dump(self).items() if name not in unset}


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
    frozen_tokens: Annotated[int, within(0, 10_000, "a prompt has no more tokens")] = Field(
        0,
        description="method = direct: so many first tokens, such as an attention sink, are neither trained nor pruned",
    )
    pieces: Factor = Field(
        16, description="pieces per token K; must divide the embedding width; of prefix-kv one per key-value head"
    )
    init: Init = Field("vocabulary", description="starting values")
    init_text: str | None = Field(
        None, description="the words of init = text; default: the task's instruction, where it has one"
    )
    init_from: str | None = Field(
        None, description="start from a finished ticket (round directory or file): prompt transfer"
    )
    start_from: str | None = Field(
        None, description="start exactly at what a finished ticket kept: its tokens, its head; such as an imported one"
    )

    @model_serializer(mode="wrap")
    def _without_default(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Nothing of frozen tokens where there are none, so that what is older than the setting keeps its identity."""
        settings: dict[str, Any] = written(self)
        return settings if self.frozen_tokens else {k: v for k, v in settings.items() if k != "frozen_tokens"}

    @field_validator("subspace_from", mode="before")
    @classmethod
    def _runs(cls, value: Any) -> Any:
        """A command line gives "RUN,RUN"."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class TrainingSettings(Settings):
    """How a prompt is trained; the same in every round."""

    train_steps: Updates | Literal["auto"] | Epochs = Field(
        "auto", description='optimiser updates per round, or "100 epochs"; auto: 10 epochs, 100 to 600'
    )
    evaluate_every: Updates | Literal["auto"] | Epochs = Field(
        "auto", description='updates between evaluations on validation, or "1 epoch"; auto: a tenth'
    )
    patience: Updates = Field(5, description="evaluations without a better one before a member stops")
    batch_size: Annotated[int, within(1, 65_536, "all of them are held in memory at once")] = Field(
        16, description="examples per update and member"
    )
    optimizer: Literal["adamw", "adafactor", "sgd"] = Field(
        "adamw", description="adafactor: as published for T5; sgd: plain, updates as large as gradients are"
    )
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


def _label(key: Any) -> str:
    """A label of a dict as text: true for True."""
    return str(key).lower() if isinstance(key, bool) else str(key)


def _count_or_fraction(value: Any) -> Any:
    """Command lines give text: digits alone are a count, anything with a point is a fraction."""
    if not isinstance(value, str):
        return value
    count = whole(value)
    if count is not None:
        return count
    try:
        return float(value)
    except ValueError:
        raise ValueError("give a count such as 5, or a fraction with a point such as 0.25") from None


_SCORES = {score.name: score for score in SCORES}


def _score(value: Any) -> Any:
    """A name as it is; module:Class as what it names."""
    if isinstance(value, Score):
        check(value)
        return value
    if value in _SCORES:
        return value
    if ":" not in str(value):
        raise ValueError(f"{nearest(str(value), _SCORES)}; or module:Class of your own")
    return own_score(value)


def _score_name(value: str | Score) -> str:
    return value if isinstance(value, str) else recorded(value)


PruningScore = Annotated[str | InstanceOf[Score], BeforeValidator(_score), PlainSerializer(_score_name)]
Keeping = Annotated[int | float, BeforeValidator(_count_or_fraction)]
# what is not pruned where directions are
_CELLS = {"keep_tokens", "keep_pieces"}


class PruningSettings(Settings):
    """What is pruned, by which score, and what the survivors are rewound to."""

    rounds: Annotated[int, within(0, 1_000, "each is a training of its own")] = Field(
        3, description="prunings after the dense round"
    )
    keep_tokens: Keeping = Field(0.25, description="tokens kept at the end: a count, or a fraction with a point")
    keep_pieces: Keeping = Field(0.5, description="pieces kept per token at the end: a count or a fraction")
    keep_rank: Keeping | None = Field(
        None,
        description="prune singular directions of the prompt instead of tokens and pieces: those kept at the end, a "
        "count or a fraction",
    )
    score: PruningScore = Field(
        "absolute",
        description="importance by which is pruned; "
        + "; ".join(f"{score.name}: {score.description}" for score in SCORES)
        + "; or module:Class of your own",
    )
    score_examples: Examples | None = Field(
        None, description="score on so many training examples, drawn once; default: on all of them"
    )
    rewind: (
        Annotated[int, within(0, 10_000_000, "no dense round has so many steps")] | Literal["trained", "init", "reinit"]
    ) = Field("trained", description="trained, init, a step of the dense round, or reinit (a control)")
    dropped_as: Literal["remove", "hide", "zero"] = Field(
        "remove", description="what stands for a dropped token; of prefix-kv hide, unless it is given"
    )

    @property
    def finder(self) -> Score:
        """The score that prunes."""
        return _SCORES[self.score] if isinstance(self.score, str) else self.score

    @property
    def finder_name(self) -> str:
        """The score that prunes, as runs record it."""
        return _score_name(self.score)

    @property
    def scored_apart(self) -> bool:
        """Whether the score that prunes is none of those that every round writes of its tokens and pieces."""
        return self.finder not in ROUND_SCORES or self.score_examples is not None

    @model_validator(mode="after")
    def _one_unit(self) -> PruningSettings:
        if self.keep_rank is not None and self.model_fields_set & _CELLS:
            raise ValueError("keep_rank prunes directions; leave out keep_tokens and keep_pieces")
        return self

    @model_serializer(mode="wrap")
    def _without_later(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What came later is left out at its default, so that prunings from before stay the same."""
        unset = {"score_examples"} if self.score_examples is None else set()
        unset |= {"keep_rank"} if self.keep_rank is None else _CELLS
        return {name: value for name, value in dump(self).items() if name not in unset}


class SearchSettings(Settings):
    """Which token and piece ratios, or ranks, a search tries."""

    grid: Grid = Field(
        "paper",
        description="paper: token ratios, then piece ratios at the best; full: every pair; token, piece: one line; "
        "rank: ranks, of singular directions of the prompt",
    )
    ratios: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        RATIOS, min_length=1, description="shares dropped of tokens, pieces or ranks, each tried beside none"
    )
    halving: bool = Field(False, description="train all, drop the worse half at 1/8, 1/4 and 1/2 of the updates")
    rescore_pieces: bool = Field(
        False, description="grid = paper: score pieces again once the chosen tokens are retrained"
    )

    @field_validator("ratios", mode="before")
    @classmethod
    def _shares(cls, value: Any) -> Any:
        """A command line gives "0.25,0.5"."""
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("ratios")
    @classmethod
    def _in_order(cls, ratios: tuple[float, ...]) -> tuple[float, ...]:
        """The order in which they are named makes no other search."""
        return tuple(sorted(set(ratios)))

    @model_serializer(mode="wrap")
    def _without_later(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The paper's ratios are left out, so that searches from before there were others stay the same."""
        settings: dict[str, Any] = dump(self)
        return settings if self.ratios != RATIOS else {k: v for k, v in settings.items() if k != "ratios"}

    @model_validator(mode="after")
    def _fit(self) -> SearchSettings:
        if self.rescore_pieces and self.grid != "paper":
            raise ValueError("rescore_pieces goes with grid = paper, the only one that chooses tokens before pieces")
        return self


class BaselineSettings(Settings):
    """Base lines that cost more than a pass. Not part of a run's identity: they stand beside its tickets."""

    shots: Annotated[int, within(0, 64, "rows would be too long for any model")] = Field(
        0, description="also judge the model with so many training examples in context, without a prompt"
    )
    ceiling: Literal["lora"] | None = Field(
        None, description="lora: also train LoRA with as many updates, what a prompt could reach at most (by PEFT)"
    )


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
    baselines: BaselineSettings = Field(default_factory=BaselineSettings)
    machine: MachineSettings = Field(default_factory=MachineSettings)
    seeds: tuple[Seed, ...] = Field((0,), description="seeds of initialisation and data order")

    def unit(self, verb: str) -> Unit:
        """What `prune`, or `search`, prunes."""
        of_directions = self.search.grid == "rank" if verb == "search" else self.pruning.keep_rank is not None
        return "directions" if of_directions else "cells"

    def scored_apart(self, verb: str) -> bool:
        """Whether the scores that prune are none of those that every round writes."""
        return self.pruning.scored_apart or self.unit(verb) == "directions"

    def keeps(self) -> tuple[Keep, ...]:
        """What each round after the dense one keeps, in counts: from the whole prompt down to the pruning's targets.

        Raises:
            ConfigError: where a count is zero or larger than what there is.
        """
        pruning, prompt = self.pruning, self.prompt
        if pruning.keep_rank is not None:
            return ranks(pruning.rounds, pruning.keep_rank, prompt.tokens, prompt.pieces)
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
        """A count N means seeds 0 to N-1; a list (or "3,5", or "5,") names them."""
        if isinstance(value, str) and "," in value:
            return [part.strip() for part in value.removesuffix(",").split(",")]
        if isinstance(value, list | tuple):
            return value
        count = whole(value)
        if count is None:
            raise ValueError("give a count such as 3, or the seeds themselves, such as 3,5")
        if count < 1:
            raise ValueError("a number is how many, and 1 is seed 0 alone; a comma behind it names the seed: 5,")
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
