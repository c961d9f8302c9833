"""One architecture tried: every verb of prunekit on it, its answers compared with those of the plain model."""

from __future__ import annotations

import json
import re
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import logging

import prunekit as pk
from benchmarks.families.build import NotBuiltError, build, loaded, one_line, tokenizer
from benchmarks.families.catalogue import Architecture
from benchmarks.families.plain import Reader
from benchmarks.families.shrink import PAD
from prunekit.engine.ablation import leave_one_out
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.models import FrozenModel, load, wrap
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError, PrunekitError
from prunekit.tasks import Example

Outcome = Literal["works", "works one by one", "refused", "not tried", "WRONG", "CRASH"]
Fault = Literal["scale", "positions", "padding"]
FAULTS: tuple[Fault, ...] = ("scale", "positions", "padding")
PLACES = {"decoder": ("first", "suffix"), "encoder-decoder": ("first",), "encoder": ("after-cls", "first")}

# what a trial at load says of rows that may not share a forward pass, by `Traits.together`
_SEPARATE = {
    "rows": "prompts of unequal length go one by one",
    "lengths": "rows of unequal length go one by one",
    "alone": "every row goes by itself",
}
# part of the largest logit by which float32 answers may differ
BAR = 1e-5
# part of the largest score by which answers after a few updates may differ with what was trained beside them
_WIDTH_BAR = 1e-3
# ids of the words that the prompt is made of, and which of them the members of a cohort keep
_PROMPT = (101, 57, 333, 208)
_KEPT = ((True, True, True, True), (False, True, False, True), (False, False, False, False))
_PIECES = 4
# tokens of the texts: below and above the windows of the tiny models
_LENGTHS = (2, 5, 9, 17)
_CHOICES = ("good", "very bad w9")

_TASK = """
name = "toy"
template = "{sentence} :"
metrics = ["accuracy"]
[choices]
good = "good"
bad = "bad"
"""
_SETTINGS = dict(
    prompt_tokens=4, pieces=_PIECES, train_steps=2, evaluate_every=2, batch_size=4, threads=1, learning_rate=0.05,
    seeds=2, quiet=True, patience=9,
)  # fmt: skip


@dataclass
class Result:
    """What was found of one architecture.

    Attributes:
        reason: one line, why it is not simply right.
        differences: part of the largest logit, by what was compared.
        export: what an export into PEFT came to, in one line. positions: what each further place of the prompt came to.
        trace: of a crash, for whoever mends it.
        verbs: whether prune, search, score, attach and export were tried.
    """

    kind: str
    family: str
    outcome: Outcome = "works"
    reason: str = ""
    differences: dict[str, float] = field(default_factory=dict)
    positions: dict[str, str] = field(default_factory=dict)
    export: str = ""
    trace: str = ""
    seconds: float = 0.0
    verbs: bool = False

    @property
    def name(self) -> str:
        """As `Architecture.name`."""
        return f"{self.family}/{self.kind}"

    def fault(self, reason: str) -> None:
        """An answer that is silently wrong; the first one is told."""
        if self.outcome != "WRONG":
            self.outcome, self.reason = "WRONG", reason

    def line(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))


def measure(architecture: Architecture, fault: Fault | None = None, *, verbs: bool = True) -> Result:
    """Build an architecture's tiny model in a temporary folder and try it.

    Args:
        fault: one that is planted into what prunekit feeds the model, to see that it is noticed.
        verbs: whether prune, search, score, export and attach are tried after the comparison.
    """
    began, result = time.monotonic(), Result(architecture.kind, architecture.family)
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _try(architecture, Path(name), result, fault, verbs)
        except NotBuiltError as error:
            result.outcome, result.reason = "not tried", str(error)
        except PrunekitError as error:
            result.outcome, result.reason = "refused", _without_folder(error)
        except Exception as error:
            result.outcome, result.reason, result.trace = "CRASH", one_line(error), traceback.format_exc()
    result.seconds = round(time.monotonic() - began, 1)
    return result


def _try(architecture: Architecture, root: Path, result: Result, fault: Fault | None, verbs: bool) -> None:
    folder = root / "model"
    build(architecture, folder)
    model = loaded(architecture, folder)
    first, *others = PLACES[architecture.family]
    frozen_model = _loaded(folder, first, architecture)
    if frozen_model.traits.together != "batch":
        result.outcome, result.reason = "works one by one", _SEPARATE[frozen_model.traits.together]
    compared(frozen_model, model, architecture, result, fault)
    for position in others:
        try:
            other_model = _loaded(folder, position, architecture)
        except PrunekitError as error:
            result.positions[position] = f"refused: {_without_folder(error)}"
            continue
        compared(other_model, model, architecture, result, fault)
        result.positions[position] = _SEPARATE.get(other_model.traits.together, "works")
    result.verbs = verbs and result.outcome != "WRONG"
    if result.verbs:
        _verbs(architecture, root, model, result)


def _loaded(folder: Path, position: str, architecture: Architecture) -> FrozenModel:
    """The model of a folder, with the tokenizer that was saved there: of some kinds transformers makes another."""
    model = load(str(folder), position=position).model  # type: ignore[arg-type]
    return wrap(model, tokenizer(architecture.family), position=position)  # type: ignore[arg-type]


# ---- against the plain model


def compared(
    frozen_model: FrozenModel, model: Any, architecture: Architecture, result: Result, fault: Fault | None
) -> None:
    """Choice scores of prunekit against those of the plain model: a row alone, rows beside each other, members too."""
    if fault is not None:
        plant(frozen_model, architecture, fault)
    words = prompt_ids(model)
    tickets = [_worded(frozen_model, words, kept) for kept in _KEPT]
    examples = frozen_model.encode(_examples(), own_choices=False, prompt_tokens=len(_PROMPT))
    plain = reader(model, architecture, tickets[0])
    prompts = [[word for word, keeps in zip(words, kept, strict=True) if keeps] for kept in _KEPT]
    pairs = [[plain.scores(ids, example.text, example.choices) for example in examples] for ids in prompts]
    right = torch.stack([torch.stack([scores for scores, _ in row]) for row in pairs])  # [S, B, C]
    largest = max(size for row in pairs for _, size in row)

    def answers(members: Sequence[int], rows: Sequence[int]) -> Tensor:
        prompts = prompt_batch([Member(tickets[number], frozen_model.device) for number in members])
        with torch.no_grad():
            return frozen_model.logits(
                prompts, frozen_model.batch([[examples[row] for row in rows]], every_choice=True)
            )

    count = range(len(examples))
    checks: dict[str, Callable[[], Tensor]] = {
        "no prompt": lambda: answers([2], [3]) - right[2:, 3:],
        "one row": lambda: answers([0], [3]) - right[:1, 3:],
        "short row": lambda: answers([0], [0]) - right[:1, :1],
        "rows beside": lambda: answers([0], count) - right[:1],
        "members beside": lambda: answers([0, 1, 2], count) - right,
    }
    for name, difference in checks.items():
        gap = float(difference().abs().max()) / largest
        result.differences[f"{frozen_model.position}, {name}"] = gap
        if not gap <= BAR:
            result.fault(f"{frozen_model.position}, {name}: answers differ by {gap:.1e} of the largest logit")


def reader(model: Any, architecture: Architecture, ticket: Ticket) -> Reader:
    """The plain model, with the head of a ticket where it is an encoder."""
    head = None if ticket.head is None else (ticket.head["weight"], ticket.head["bias"])
    start = getattr(model.config, "decoder_start_token_id", None) or 0
    return Reader(model, architecture.family, ticket.position, head, start)


def plant(frozen_model: FrozenModel, architecture: Architecture, fault: Fault) -> None:
    """A fault in what the model is fed: embeddings of another scale, positions left out, padding that is seen."""
    model: Any = frozen_model.model
    fed = {
        "decoder": lambda: model.base_model,
        "encoder-decoder": lambda: model.get_encoder(),
        "encoder": lambda: model,
    }

    def spoiled(
        module: Any, positional: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named = dict(named)
        if fault == "scale" and named.get("inputs_embeds") is not None:
            named["inputs_embeds"] = named["inputs_embeds"] * 1.1
        if fault == "positions":
            named.pop("position_ids", None)
        if fault == "padding" and named.get("attention_mask") is not None:
            named["attention_mask"] = torch.ones_like(named["attention_mask"])
        return positional, named

    match architecture.family:
        case "decoder":
            fed = model.base_model
        case "encoder-decoder":
            fed = model.get_encoder()
        case "encoder":
            fed = model
    fed.register_forward_pre_hook(spoiled, with_kwargs=True)


def prompt_ids(model: Any) -> tuple[int, ...]:
    """The words that the prompt is made of.

    Where every layer has embeddings of its own, a vector has none: transformers gives it those of the padding id.
    Only a prompt of that id can be read by the plain model too.
    """
    config = model.config.get_text_config()
    if getattr(config, "hidden_size_per_layer_input", None):
        return (config.pad_token_id,) * len(_PROMPT)
    return _PROMPT


def _worded(model: FrozenModel, words: Sequence[int], kept: Sequence[bool]) -> Ticket:
    """A ticket whose prompt is the embeddings of words, so that a plain model can read the same."""
    values = model.embed(torch.tensor(words)).detach().clone()
    token = torch.tensor(kept)
    head = model.new_head(2)
    if head is not None:
        draw = torch.Generator().manual_seed(0)
        head = {name: torch.randn(part.shape, generator=draw) for name, part in head.items()}
    return Ticket(Mask(token, token[:, None].repeat(1, _PIECES)), {"values": values}, head, position=model.position)


def _text(number: int, length: int) -> str:
    return " ".join(f"w{(number * 37 + index * 11) % 480}" for index in range(length))


def _examples() -> list[Example]:
    """Texts of unequal length, with an answer of one token and one of three."""
    return [
        Example(number, "{text} :", {"text": _text(number, length)}, _CHOICES, (number % 2,))
        for number, length in enumerate(_LENGTHS)
    ]


# ---- the verbs


def _verbs(architecture: Architecture, root: Path, model: Any, result: Result) -> None:
    """Prune, search under two widths, score, attach and export."""
    task = _save_task(root / "toy")
    settings = _SETTINGS | dict(task=str(task), data=str(task.parent))
    loaded_model = (model, tokenizer(architecture.family))
    run = pk.prune(*loaded_model, rounds=1, keep_tokens=2, keep_pieces=2, out=root / "runs", **settings)
    settings |= dict(grid="token", seeds=1)
    _same_search(
        *(pk.search(*loaded_model, width=width, out=root / f"{width}", **settings) for width in (1, 8)), result
    )
    frozen_model = _loaded(root / "model", PLACES[architecture.family][0], architecture)
    examples = frozen_model.encode(_examples(), own_choices=False, prompt_tokens=len(_PROMPT))
    leave_one_out(run.ticket(seed=0, round=1), frozen_model, examples, "token")
    _attached(architecture, root, model, result)
    _exported(architecture, root, model, run, result)


def _same_search(narrow: pk.Run, wide: pk.Run, result: Result) -> None:
    """The same tickets chosen, and every row of every ticket answered the same, whatever stood beside it."""
    tables = [run.results.sort_values(["round", "arm"])[["round", "arm", "tokens", "pieces"]] for run in (narrow, wide)]
    if not tables[0].reset_index(drop=True).equals(tables[1].reset_index(drop=True)):
        result.fault("--width 1 and 8 choose other tickets")
    apart = 0.0
    for path in sorted(narrow.path.rglob("predictions.parquet")):
        first, second = (pd.read_parquet(run.path / path.relative_to(narrow.path)) for run in (narrow, wide))
        difference = (first["score"] - second["score"]).abs().max() / first["score"].abs().max()
        apart = max(apart, float(difference))
    result.differences["--width 1 and 8"] = apart
    if not apart <= _WIDTH_BAR:
        result.fault(f"--width 1 and 8 answer otherwise, by {apart:.1e} of the largest score")


def _attached(architecture: Architecture, root: Path, model: Any, result: Result) -> None:
    """A ticket of words on the user's model, rows padded beside each other, against plain ids."""
    words = tokenizer(architecture.family)
    for position in PLACES[architecture.family]:
        if result.positions.get(position, "").startswith("refused"):
            continue
        prompt = prompt_ids(model)
        ticket = _worded(_loaded(root / "model", position, architecture), prompt, _KEPT[0])
        rows = [words(f"{_text(number, length)} :")["input_ids"] for number, length in enumerate(_LENGTHS)]
        plain = reader(model, architecture, ticket)
        right = torch.stack([plain.next_logits(prompt, row) for row in rows])
        apart = float((_worn(architecture, model, ticket, rows) - right).abs().max() / right.abs().max())
        result.differences[f"{position}, attached"] = apart
        if not apart <= BAR:
            result.fault(f"{position}, attached: answers differ by {apart:.1e} of the largest logit")


def _worn(architecture: Architecture, model: Any, ticket: Ticket, rows: Sequence[Sequence[int]]) -> Tensor:
    """[B, V], what the attached model says follows each text; of an encoder [B, C]."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    more: dict[str, Any] = {}
    if architecture.family == "encoder-decoder":
        start = getattr(model.config, "decoder_start_token_id", None) or 0
        more["decoder_input_ids"] = torch.full((len(rows), 1), start)
    attached = pk.attach(model, ticket)
    with torch.no_grad():
        try:
            logits: Tensor = attached(ids, mask, **more).logits
        except ConfigError:  # rows that may not share a batch, as it says
            first = {name: value[:1] for name, value in more.items()}
            each = [attached(torch.tensor([row]), **first).logits[0] for row in rows]
            logits = pad_sequence(each, batch_first=True) if architecture.family == "decoder" else torch.stack(each)
    if architecture.family == "decoder":
        return torch.stack([line[len(row) - 1] for line, row in zip(logits, rows, strict=True)])
    return logits[:, -1] if architecture.family == "encoder-decoder" else logits


def _exported(architecture: Architecture, root: Path, model: Any, run: pk.Run, result: Result) -> None:
    """A pruned ticket as a PEFT adapter; of an encoder one that was trained with the prompt first."""
    words = tokenizer(architecture.family)
    try:
        if architecture.family == "encoder":
            task = str(root / "toy" / "toy.toml")
            more = _SETTINGS | dict(task=task, data=str(root / "toy"), position="first", out=root / "first")
            run = pk.prune(model, words, rounds=1, keep_tokens=2, keep_pieces=2, **more)
        run.ticket(seed=0, round=1).export(root / "adapter", model, words)
        result.export = "proved equal"
    except PrunekitError as error:
        result.export = f"refused: {_without_folder(error)}"


def _without_folder(error: PrunekitError) -> str:
    """What prunekit says, without the temporary folder of the model: "folder (Class): ..." becomes "Class: ..."."""
    return re.sub(r"\S*/model \((\w+)\)", r"\1", str(error))


def _save_task(folder: Path, rows: Sequence[int] = (6, 4, 4)) -> Path:
    """A task file with its rows beside it; which of two words stands first says the answer."""
    folder.mkdir()
    first = 0
    for split, count in zip(("train", "validation", "test"), rows, strict=True):
        lines = [_line(number) for number in range(first, first + count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines), encoding="utf-8")
        first += count
    (folder / "toy.toml").write_text(_TASK, encoding="utf-8")
    return folder / "toy.toml"


def _line(number: int) -> str:
    """One row of the task."""
    sentence = f"w{number % 2} {_text(number, 2 + number * 5 % 13)}"
    return json.dumps({"sentence": sentence, "label": ("good", "bad")[number % 2]})
