"""Tiny random models of every family, built offline, and a separable task that a prompt alone can learn."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, product
from operator import getitem

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedTokenizerFast,
)

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.train import Plan, TrainingData
from prunekit.models import Encoded, FrozenModel, wrap
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.seeding import generator
from prunekit.tasks import Example

KINDS = ("t5", "bart", "gpt2", "llama", "opt", "neox", "bert", "roberta")
ENCODERS = ("bert", "roberta")
WIDTH = 32  # H
WORDS = [f"w{number}" for number in range(40)] + ["good", "bad", "very", ":", "[CLS]", "[SEP]"]
SPECIAL = ["<pad>", "</s>", "<unk>", "<s>"]


@lru_cache
def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    template = {"t5": "$A </s>", "bart": "<s> $A </s>", "bert": "[CLS] $A [SEP]", "roberta": "<s> $A </s>"}
    template |= {"llama": "<s> $A", "opt": "</s> $A"}
    if kind in template:
        names = ["</s>", "<s>", "[CLS]", "[SEP]"]
        raw.post_processor = processors.TemplateProcessing(
            single=template[kind], special_tokens=[(name, vocabulary[name]) for name in names]
        )
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


VOCABULARY = len(SPECIAL + WORDS)
_WIDE = dict(vocab_size=VOCABULARY, hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=4)
COMMON = _WIDE | dict(intermediate_size=64, max_position_embeddings=80, initializer_range=0.2)
_OPT = _WIDE | dict(word_embed_proj_dim=WIDTH, ffn_dim=64, max_position_embeddings=80, init_std=0.2, pad_token_id=0)
ENDS = dict(bos_token_id=3, eos_token_id=1)
#: kind -> how it is loaded, its name there, and settings; weights larger than default so that inputs matter.
MODELS = {
    "t5": (AutoModelForSeq2SeqLM, "t5", dict(
        vocab_size=VOCABULARY, d_model=WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4, pad_token_id=0,
        eos_token_id=1, decoder_start_token_id=0)),
    "bart": (AutoModelForSeq2SeqLM, "bart", ENDS | dict(
        vocab_size=VOCABULARY, d_model=WIDTH, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=80, pad_token_id=0,
        decoder_start_token_id=1, forced_eos_token_id=1, init_std=0.2)),
    "gpt2": (AutoModelForCausalLM, "gpt2", dict(
        vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=2, n_head=4, n_positions=80, initializer_range=0.2,
        bos_token_id=1, eos_token_id=1)),
    "llama": (AutoModelForCausalLM, "llama", COMMON | ENDS | dict(num_key_value_heads=2)),
    "opt": (AutoModelForCausalLM, "opt", _OPT | dict(bos_token_id=1, eos_token_id=1)),
    "neox": (AutoModelForCausalLM, "gpt_neox", COMMON | ENDS),
    "bert": (AutoModel, "bert", COMMON),
    "roberta": (AutoModel, "roberta", COMMON | ENDS | dict(pad_token_id=0)),
}  # fmt: skip


def built(loader, name: str, settings: dict, seed: int = 0):
    """A random model of an architecture, float32, eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return loader.from_config(AutoConfig.for_model(name, **settings)).float().eval()


@lru_cache
def model(kind: str, seed: int = 0):
    return built(*MODELS[kind], seed)


def frozen(kind: str, *, dtype: torch.dtype = torch.float32, **options) -> FrozenModel:
    """A fresh copy of the wrapped tiny model, so that no test sees another's settings; "llama-kv": behind a prefix."""
    kind, _, prefix = kind.partition("-")
    options |= {"position": "prefix-kv"} if prefix else {}
    return copied(_wrapped(kind, dtype, **options))


@lru_cache
def _wrapped(kind: str, dtype: torch.dtype, **options) -> FrozenModel:
    """Wrapped once, since what may be done with a model is tried at every wrap."""
    return wrap(deepcopy(model(kind)).to(dtype), tokenizer(kind), **options)


def copied(bone: FrozenModel) -> FrozenModel:
    """A model of its own, with the tokenizer of all."""
    return deepcopy(bone, {id(bone.tokenizer): bone.tokenizer})


def examples(count: int = 16, choices: tuple[str, ...] = ("good", "bad"), short: int = 3) -> list[Example]:
    """Texts of mixed length; the label is which of two marker words stands first."""
    made = []
    for index in range(count):
        gold = index % len(choices)
        draw = torch.randint(2, 40, (short + index % 5,), generator=generator("text", index)).tolist()
        text = " ".join([f"w{gold}", *[f"w{word}" for word in draw], ":"])
        made.append(Example(index, "{text}", {"text": text}, choices, (gold,)))
    return made


def open_examples(count: int = 16) -> list[Example]:
    """The same texts, each of whose answers is to be written: its first two words in reverse order, or a third one."""
    made = []
    for number, example in enumerate(examples(count)):
        first, second, third = example.fields["text"].split()[:3]
        references = (f"{second} {first}", third)
        made.append(
            replace(example, choices=references[:1], gold=(0,), references=references, target_tokens=2 + number % 3)
        )
    return made


def encoded(bone: FrozenModel, some: list[Example], tokens: int = 4) -> list[Encoded]:
    return bone.encode(some, own_choices=False, prompt_tokens=tokens)


def ticket(
    bone: FrozenModel,
    *,
    tokens: int = 4,
    pieces: int = 4,
    seed: int = 0,
    scale: float = 0.5,
    dtype=torch.float32,
    **more,
) -> Ticket:
    """A dense ticket with random values, and for encoders a random head (a zero one would silence the prompt)."""
    draw = generator("tiny", seed)
    values = (torch.randn(tokens, bone.width, generator=draw) * scale).to(dtype)
    head = bone.new_head(2)
    if head is not None:
        head = {name: torch.randn(value.shape, generator=draw).to(dtype) for name, value in head.items()}
    return Ticket(Mask.full(tokens, pieces), {"values": values}, head, seed=seed, position=bone.position, **more)


def draw(*shape: int) -> torch.Tensor:
    """Normal numbers in float64, the same for the same shape."""
    return torch.randn(*shape, generator=generator("draw", *shape), dtype=torch.float64)


def logits(bone: FrozenModel, rows: list[Encoded], *tickets: Ticket) -> torch.Tensor:
    """[S, B, C], what a cohort of tickets answers to the same rows."""
    with torch.no_grad():
        prompts = prompt_batch([Member(ticket) for ticket in tickets])
        return bone.logits(prompts, bone.batch([rows], every_choice=True))


def masked(tokens: list[bool], pieces: int = 4, drop: list[tuple[int, int]] = ()) -> Mask:
    token = torch.tensor(tokens)
    piece = token[:, None].repeat(1, pieces)
    for row, column in drop:
        piece[row, column] = False
    return Mask(token, piece)


def rows_of(mask: Mask) -> list[str]:
    """Kept pieces by token, such as "110"."""
    return ["".join(str(int(flag)) for flag in row) for row in mask.piece.tolist()]


def training_data(bone: FrozenModel, count: int = 16, tokens: int = 4) -> TrainingData:
    some = examples(count)
    rows = encoded(bone, some, tokens)

    def measure(chosen: list[int]) -> dict[str, float]:
        return {"accuracy": sum(c == e.gold[0] for c, e in zip(chosen, some, strict=True)) / len(some)}

    return TrainingData(rows, rows, measure)


def plan(**changes) -> Plan:
    defaults = dict(train_steps=20, evaluate_every=10, patience=100, batch_size=4, learning_rate=0.05)
    return Plan(**(defaults | dict(head_learning_rate=3e-3) | changes))


def pairs(*lists):
    """Every combination, for parametrize."""
    return list(product(*lists))


def at_night(*values, gate=1):
    """Values or rows for parametrize, of which the gate tries the first so many, and the nightly list all."""
    return by_day(values, values[:gate])


def by_day(values, few):
    """Values or rows for parametrize, of which the gate tries those among `few`, and the nightly list all."""
    marks = [() if value in few else pytest.mark.slow for value in values]
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*row, marks=mark) for row, mark in zip(rows, marks, strict=True)]


def in_turn(many, few, whole=(), day=None):
    """Every combination, for parametrize: the gate tries one of `few` in turn with each of `many`, all with `whole`.

    day: those of `many` that the gate tries; all by default.
    """
    tried = many if day is None else day

    def marks(one, place, turn):
        return () if one in whole or (one in tried and turn == place % len(few)) else pytest.mark.slow

    return [
        pytest.param(one, other, marks=marks(one, place, turn))
        for place, one in enumerate(many)
        for turn, other in enumerate(few)
    ]


def pairwise(*lists):
    """Every combination, for parametrize: the gate tries a few that hold every pair of values, the nightly list all."""
    lists = [list(values) for values in lists]
    rows = list(product(*(range(len(values)) for values in lists)))
    pairs = {row: set(combinations(enumerate(row), 2)) for row in rows}
    missing, few = set().union(*pairs.values()), set()
    while missing:
        row = max(rows, key=lambda row: len(pairs[row] & missing))
        few.add(row)
        missing -= pairs[row]
    return [pytest.param(*map(getitem, lists, row), marks=() if row in few else pytest.mark.slow) for row in rows]


# ---- the same on disk, for whole runs

OPEN_TASK = """
name = "swap"
template = "{sentence} :"
target = "{answers}"
max_target_tokens = 4
metrics = ["squad_f1", "squad_exact_match"]
instruction = "very good"
"""
TASK = """
name = "toy"
template = "{sentence} :"
metrics = ["accuracy"]
[choices]
good = "good"
bad = "bad"
"""


def save_model(kind: str, folder, seed: int = 0):
    """A tiny model and its tokenizer as a Hugging Face folder; of another seed, with other weights."""
    model(kind, seed).save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    return folder


def save_task(folder, rows=(24, 12, 12)):
    """The separable task as a task file with a data folder beside it; returns the task file."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    first = 0
    for split, count in zip(("train", "validation", "test"), rows, strict=True):
        some = examples(sum(rows))[first : first + count]
        first += count
        lines = [{"sentence": one.fields["text"], "label": one.choices[one.gold[0]]} for one in some]
        (folder / f"{split}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (folder / "toy.toml").write_text(TASK)
    return folder / "toy.toml"


def save_open_task(folder, rows=(24, 12, 12)):
    """The same texts, whose answers are to be written; returns the task file."""
    import json

    folder.mkdir(parents=True, exist_ok=True)
    examples_left = iter(open_examples(sum(rows)))
    for split, count in zip(("train", "validation", "test"), rows, strict=True):
        some = [next(examples_left) for _ in range(count)]
        lines = [{"sentence": one.fields["text"], "answers": list(one.references)} for one in some]
        (folder / f"{split}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (folder / "swap.toml").write_text(OPEN_TASK)
    return folder / "swap.toml"


def arguments(kind: str, folder, **more) -> list[str]:
    """Command-line flags of a small run: 4 tokens x 4 pieces, a few steps; task="swap" has answers that are written."""
    model_folder, task = folder / f"model-{kind}", folder / "toy" / "toy.toml"
    if not model_folder.exists():
        save_model(kind, model_folder)
    if not task.exists():
        save_task(folder / "toy")
    if more.get("task") in ("toy", "swap"):
        tasks = {"toy": (task, folder / "toy"), "swap": (folder / "swap" / "swap.toml", folder / "swap")}
        if more["task"] == "swap" and not tasks["swap"][0].exists():
            save_open_task(folder / "swap")
        more |= dict(zip(("task", "data"), tasks[more["task"]], strict=True))
    settings = dict(model=model_folder, task=task, data=folder / "toy", prompt_tokens=4, pieces=4, train_steps=6)
    settings |= dict(evaluate_every=2, batch_size=4, threads=1, learning_rate=0.05, rounds=2, keep_tokens=2) | more
    return [f"--{name.replace('_', '-')}={value}" for name, value in settings.items() if value is not None]


def experiment(kind: str, folder, **more):
    """The same as an Experiment."""
    from prunekit.experiment import settings_io

    given = dict(one[2:].split("=", 1) for one in arguments(kind, folder, **more))
    return settings_io.experiment(None, {name.replace("-", "_"): value for name, value in given.items()})


def finished(kind: str, folder, out, *, prune=True, controls=False, **more):
    """The run of such an experiment, and the experiment as it was prepared."""
    from prunekit.experiment import prepare, run

    prepared = prepare.prepare(experiment(kind, folder, **more))
    return run.run(prepared, out, Quiet(), prune=prune, controls=controls), prepared


def spied(patch, module, name, note):
    """What `note` makes of the arguments of each call of a function of a module, which is made all the same."""
    seen, real = [], getattr(module, name)

    def noting(*arguments, **more):
        seen.append(note(*arguments))
        return real(*arguments, **more)

    patch.setattr(module, name, noting)
    return seen


def flip(path, at: float = 0.5, bits: int = 1) -> None:
    """Change a byte of a file, `at` this part of it."""
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= bits
    path.write_bytes(content)


def refuse(*arguments, **more):
    """Stands for what must not be done again."""
    raise AssertionError("done again")


def call(*arguments):
    """The exit code of a command line."""
    from prunekit.cli import main

    with pytest.raises(SystemExit) as ended:
        main.main([str(one) for one in arguments])
    return ended.value.code


class Quiet:
    """A watch that keeps what was said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    def track(self, title, total, unit="updates"):
        from contextlib import nullcontext

        self.lines.append(title)
        return nullcontext(lambda completed, note="": None)


def contents(path) -> dict[str, bytes]:
    """Every file of a run that must be the same for the same run."""
    skipped = {"environment.json", "timing.json", ".lock", ".holder"}
    found = sorted(one for one in path.rglob("*") if one.is_file() and one.name not in skipped)
    return {str(one.relative_to(path)): one.read_bytes() for one in found}
