"""The jobs that all sides are given: model, data, starting prompts and the protocol's counts, written to one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from prunekit.experiment import prompt_method
from prunekit.experiment.prefix import rate_unit, starting_vectors
from prunekit.experiment.settings import PromptSettings
from prunekit.models import FrozenModel, load
from prunekit.models.encoding import TaskEncoder
from prunekit.prompts.init.vocabulary import from_vocabulary
from prunekit.support.seeding import generator
from prunekit.tasks import Example, load_splits, load_task
from prunekit.tasks.drawn import drawn
from prunekit.tasks.testbed import MODEL_PATH

Padding = Literal["max_length", "longest"]
Rows = dict[str, list[dict[str, Any]]]  # split -> rows
Name = Literal["minilm-sst2", "t5-small-shape", "testbed", "smollm2-sst2", "smollm2-boolq", "gemma3-sst2"]

# task and folder of data of the presets that have one on disk
_TASKS = {
    "minilm-sst2": ("sst2", "sst2"),
    "smollm2-sst2": ("sst2", "sst2"),
    "smollm2-boolq": ("boolq", "boolq_devcarve"),
    "gemma3-sst2": ("sst2", "sst2"),
}
# tokens that every text of a preset may have, so that no side cuts any
_MOST_TOKENS = 256

# PEFT's guides pad to a fixed length; the shortest one that cuts no text, in steps of this many tokens
_LENGTH_STEP = 8


@dataclass(frozen=True)
class Job:
    """One run of the protocol, the same for every side.

    Attributes:
        folder: holds data.json and start.safetensors.
        max_length: tokens that a text is padded to where padding is fixed.
        dense_evaluations: times `evaluate_every` updates are made on the dense prompt.
        retrain_evaluations: the same for each pruned prompt.
        keep_tokens: counts tried, first tokens alone, then pieces of the best of those.
        keep_pieces: counts tried, first tokens alone, then pieces of the best of those.
        answer_tokens: of the longest answer, end included.
        width: prompts that prunekit trains side by side, 0 for all.
        epochs: of a training without evaluations, 0 for the whole protocol.
    """

    preset: str
    model: str
    folder: str
    prompt_tokens: int = 20
    pieces: int = 16
    batch_size: int = 16
    train_examples: int = 256
    validation_examples: int = 872
    evaluate_every: int = 32
    dense_evaluations: int = 2
    retrain_evaluations: int = 1
    keep_tokens: tuple[int, ...] = (15, 10, 5)
    keep_pieces: tuple[int, ...] = (12, 8, 4)
    learning_rate: float = 0.0
    head_learning_rate: float = 3e-3
    weight_decay: float = 1e-5
    warmup_fraction: float = 0.06
    clip_norm: float = 1.0
    max_length: int = 0
    answer_tokens: int = 0
    padding: Padding = "max_length"
    seed: int = 0
    device: str = "cpu"
    threads: int = 2
    width: int = 0
    epochs: int = 0

    @property
    def epoch_steps(self) -> int:
        """Updates of an epoch."""
        return self.train_examples // self.batch_size

    @property
    def dense_steps(self) -> int:
        """Updates of the dense prompt."""
        return self.evaluate_every * self.dense_evaluations

    @property
    def retrain_steps(self) -> int:
        """Updates of each pruned prompt."""
        return self.evaluate_every * self.retrain_evaluations

    @property
    def candidates(self) -> int:
        """Pruned prompts that are retrained."""
        return len(self.keep_tokens) + len(self.keep_pieces)

    @property
    def updates(self) -> int:
        """Updates of the whole protocol."""
        return self.dense_steps + self.candidates * self.retrain_steps

    @property
    def evaluations(self) -> int:
        """Evaluations of the whole protocol, one before each training among them."""
        return self.dense_evaluations + 1 + self.candidates * (self.retrain_evaluations + 1)

    def start(self) -> Tensor:
        """The starting prompt [P, H] of this job's seed."""
        starts: dict[str, Tensor] = load_file(Path(self.folder) / "start.safetensors")
        return starts[str(self.seed)]

    def rows(self) -> Rows:
        """Of train and validation: text, its tokens (a count), answer, label and the choices of each row."""
        rows: Rows = json.loads((Path(self.folder) / "data.json").read_text())
        return rows

    def save(self, path: Path) -> None:
        """Write the job for a worker."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Job:
        """The job that `save` wrote."""
        facts = json.loads(path.read_text())
        lists = {name: tuple(facts[name]) for name in ("keep_tokens", "keep_pieces")}
        return cls(**(facts | lists))


def prepare(
    name: Name,
    folder: Path,
    shared: Path,
    seeds: Sequence[int],
    scale: float = 1.0,
    shape: Mapping[str, int] | None = None,
    models: Path | None = None,
) -> Job:
    """Write model (where it is random), data and starting prompts of a preset; returns its job, for the first seed.

    Args:
        scale: of the numbers of examples and of updates; 1 is the preset itself.
        shape: of a random T5, instead of small.
        models: folder of SmolLM2 and Gemma 3, default `models` in the shared one.
    """
    job = _sized(_preset(name, folder, shared, models or shared / "models"), scale)
    torch.manual_seed(0)
    if name == "t5-small-shape":
        save_t5(Path(job.model), **(shape or {}))
    model = load(job.model)
    splits = _random_rows(job) if name == "t5-small-shape" else _task_rows(name, job, shared, model)
    data = {part: [_row(example, model) for example in rows] for part, rows in splits.items()}
    (folder / "data.json").write_text(json.dumps(data))
    starts = {str(seed): starting_values(model, seed, job.prompt_tokens) for seed in seeds}
    save_file(starts, folder / "start.safetensors")
    first = splits["train"][0]
    answers = TaskEncoder(model.reader, first, model.encoding_options(own_choices=False)).alone(first.choices)
    return replace(
        job,
        seed=seeds[0],
        learning_rate=auto_rate(model),
        max_length=-(-max(row["tokens"] for rows in data.values() for row in rows) // _LENGTH_STEP) * _LENGTH_STEP,
        answer_tokens=max(map(len, answers)),
    )


def starting_values(model: FrozenModel, seed: int, tokens: int) -> Tensor:
    """Drawn words as a prompt [P, H]: their embeddings, or what the model keeps of them where it is a prefix."""
    draw = from_vocabulary(starting_vectors(model), model.ordinary_ids())
    return draw(generator("init", seed), (tokens, model.width))


def auto_rate(model: FrozenModel) -> float:
    """The rate that AdamW has by default, for a direct prompt."""
    return prompt_method.auto_rate(PromptSettings(), rate_unit(model))


def save_t5(folder: Path, **shape: int) -> None:
    """A random T5 of T5-small's shape, or of the given one, and a tokenizer of one id per word: w5, w6, ..."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    config = T5Config(**shape, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
    words = ["<pad>", "</s>", "<unk>", "yes", "no", *(f"w{number}" for number in range(5, config.vocab_size))]
    raw = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = dict(pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    PreTrainedTokenizerFast(tokenizer_object=raw, **special).save_pretrained(folder)
    T5ForConditionalGeneration(config).save_pretrained(folder)


def random_examples(count: int, tokens: int, vocabulary: int, name: str) -> list[Example]:
    """Texts of random words, `tokens` long with their end token; the labels alternate."""
    examples = []
    for index in range(count):
        ids = torch.randint(5, vocabulary, (tokens - 1,), generator=generator(name, index)).tolist()
        text = " ".join(f"w{number}" for number in ids)
        examples.append(Example(index, "{text}", {"text": text}, ("yes", "no"), (index % 2,)))
    return examples


def _preset(name: Name, folder: Path, shared: Path, models: Path) -> Job:
    match name:
        case "minilm-sst2":
            # at the usual 3e-3 of a head so few updates teach no side anything
            return Job(
                name, str(shared.resolve() / "models" / "all-minilm-l6-v2"), str(folder), head_learning_rate=3e-2
            )
        case "t5-small-shape":
            counts: dict[str, Any] = dict(train_examples=64, validation_examples=128, evaluate_every=4)
            return Job(name, str(folder / "model"), str(folder), **counts)
        case "smollm2-sst2":
            return Job(name, str(models.resolve() / "smollm2-135m-instruct"), str(folder), padding="longest")
        case "smollm2-boolq":
            counts = dict(train_examples=64, validation_examples=64, evaluate_every=4, padding="longest")
            return Job(name, str(models.resolve() / "smollm2-135m-instruct"), str(folder), **counts)
        case "gemma3-sst2":
            counts = dict(train_examples=64, validation_examples=128, evaluate_every=4, padding="longest")
            return Job(name, str(models.resolve() / "gemma3-270m"), str(folder), **counts)
        case "testbed":
            counts = dict(train_examples=256, validation_examples=200, evaluate_every=32)
            return Job(name, str(MODEL_PATH), str(folder), **counts)


def _sized(job: Job, scale: float) -> Job:
    counts = ("train_examples", "validation_examples", "evaluate_every")
    least = {"train_examples": job.batch_size, "validation_examples": 16, "evaluate_every": 2}
    return replace(job, **{name: max(least[name], round(scale * getattr(job, name))) for name in counts})


def _task_rows(name: Name, job: Job, shared: Path, model: FrozenModel) -> dict[str, list[Example]]:
    """So many rows of each split as the job has, none of them longer than every side reads whole."""
    task, data = _TASKS.get(name, ("testbed/first-animal", ""))
    long = name == "smollm2-boolq"
    splits = load_splits(
        load_task(task, None),
        data=str(shared / "data" / data) if data else None,
        train_examples=(4 if long else 1) * job.train_examples,
        validation_examples=(4 if long else 1) * job.validation_examples,
    )
    counts = {"train": job.train_examples, "validation": job.validation_examples}
    fitting = {part: [row for row in getattr(splits, part) if _fits(row, model)] for part in counts}
    return {part: list(drawn(rows, counts[part])) for part, rows in fitting.items()}


def _fits(example: Example, model: FrozenModel) -> bool:
    return len(model.tokenizer(example.text)["input_ids"]) <= _MOST_TOKENS


def _random_rows(job: Job) -> dict[str, list[Example]]:
    counts = {"train": job.train_examples, "validation": job.validation_examples}
    return {part: random_examples(count, 64, 32_128, part) for part, count in counts.items()}


def _row(example: Example, model: FrozenModel) -> dict[str, Any]:
    gold = example.gold[0]
    return {
        "text": example.text,
        "tokens": len(model.tokenizer(example.text)["input_ids"]),
        "choices": list(example.choices),
        "label": gold,
        "answer": example.choices[gold],
    }
