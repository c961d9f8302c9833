"""The check of an export's README: its code is run, and must answer rows of a task as `prunekit eval` does.

`eval` answers by the code that trained the ticket, the README's code by PEFT and transformers alone.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prunekit.export.peft import CARD
from prunekit.models.load import quiet
from prunekit.support.errors import ArtifactError
from prunekit.support.seeding import generator
from prunekit.tasks import Example

# rows that are compared, how many of them are the longest, and how many answers they have at most
_ROWS, _LONGEST, _ANSWERS = 32, 8, 512
# of so many written answers one may differ
_SELDOM = 16
# how far the two may lie apart, as a part of the largest score: one reads rows in batches, the other one by one
_ROUNDING, _NARROW_ROUNDING = 1e-4, 5e-2


@dataclass(frozen=True)
class Agreement:
    """How far the README's code and `eval` agree over some rows.

    Attributes:
        rows: how many were compared.
        different: how many are answered otherwise.
        difference: the largest of any two scores.
        largest: the largest score.
    """

    rows: int
    different: int
    difference: float
    largest: float

    @property
    def sentence(self) -> str:
        """The comparison in one line for the user."""
        share = self.difference / self.largest if self.largest else 0.0
        return (
            f"its README's code against eval: {self.different} of {self.rows} answers differ, largest difference of "
            f"scores {self.difference:.2g} ({share:.1g} of the largest, {self.largest:.3g})"
        )


@dataclass(frozen=True)
class TextAgreement:
    """How far the README's code and `eval` write alike over some rows.

    Attributes:
        rows: how many were compared.
        different: to how many they write otherwise.
    """

    rows: int
    different: int

    @property
    def sentence(self) -> str:
        """The comparison in one line for the user."""
        return f"its README's code against eval: {self.different} of {self.rows} answers are written otherwise"


def sample(examples: Sequence[Example]) -> list[Example]:
    """The rows of a split that are compared: the longest, and some drawn by chance, the same each time."""
    order = sorted(examples, key=lambda example: (-len(example.text), example.index))
    longest, others = order[:_LONGEST], order[_LONGEST:]
    drawn = torch.randperm(len(others), generator=generator("export", "rows")).tolist()
    rows = [*longest, *(others[index] for index in drawn[: _ROWS - len(longest)])]
    answers = accumulate(len(row.choices) for row in rows)
    return [row for row, count in zip(rows, answers, strict=True) if count <= _ANSWERS] or rows[:1]


def compare(folder: Path, examples: Sequence[Example], expected: Sequence[Tensor], **values: Any) -> Agreement:
    """Run the code of the README in an adapter's folder on some rows.

    Args:
        folder: the adapter's.
        examples: the rows.
        expected: the [C] scores of each row's choices, as `eval` has them.
        values: what the code is given instead of loading it, by its name there (`tokenizer` and `base`).

    Raises:
        ArtifactError: where the code fails.
    """
    with _lines_of(folder, values) as names:
        scores = [names["scores"](row.fields, row.choices) for row in examples]
        computed = iter(scores)
        names["scores"] = lambda fields, choices: next(computed)  # `answer` need not compute them again
        chosen = [names["answer"](row.fields, row.choices) for row in examples]
    return _agreement(expected, [torch.tensor(scores) for scores in scores], chosen)


def compare_texts(folder: Path, examples: Sequence[Example], expected: Sequence[str], **values: Any) -> TextAgreement:
    """As `compare`, of answers that are written: expected are those that `eval` writes.

    Raises:
        ArtifactError: where the code fails.
    """
    with _lines_of(folder, values) as names:
        written = [names["write"](row.fields) for row in examples]
    return TextAgreement(len(expected), sum(ours != theirs for ours, theirs in zip(expected, written, strict=True)))


def check_texts(agreement: TextAgreement) -> None:
    """Refuse an export whose README writes otherwise than `eval`, but where two words are as likely up to rounding.

    Raises:
        ArtifactError: saying how many answers differ.
    """
    if agreement.different * _SELDOM > agreement.rows:
        raise ArtifactError(f"not exported: {agreement.sentence}; use --to embeddings")


def check(agreement: Agreement, dtype: torch.dtype) -> None:
    """Refuse an export whose README answers otherwise than `eval`.

    Args:
        agreement: of the comparison.
        dtype: what the model of `eval` computes in.

    Raises:
        ArtifactError: saying how many answers differ and by how much.
    """
    rounding = _ROUNDING if dtype in (torch.float32, torch.float64) else _NARROW_ROUNDING
    bar = rounding * agreement.largest
    if agreement.different == 0 and agreement.difference <= bar:
        return
    raise ArtifactError(
        f"not exported: {agreement.sentence}; PEFT feeds the model other inputs than the prompt was trained with; "
        "use --to embeddings"
    )


@contextmanager
def _lines_of(folder: Path, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the README's code defines, to be called inside. Raises: ArtifactError where it fails, there or here."""
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on how to load, for whoever loads it by hand
            yield _defined(folder, {"folder": folder, **values})
    except Exception as error:  # whatever PEFT, transformers and the model raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ArtifactError(f"not exported, since the code of its README fails ({reason})") from error


def _agreement(expected_scores: Sequence[Tensor], actual_scores: Sequence[Tensor], chosen: Sequence[int]) -> Agreement:
    gaps = [
        float((expected - actual).abs().nan_to_num(torch.inf).max())
        for expected, actual in zip(expected_scores, actual_scores, strict=True)
    ]
    different = sum(int(expected.argmax()) != choice for expected, choice in zip(expected_scores, chosen, strict=True))
    return Agreement(
        len(expected_scores), different, max(gaps), max(float(expected.abs().max()) for expected in expected_scores)
    )


def _defined(folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the code of the README that prunekit wrote into a folder defines, in a module of its own.

    Args:
        folder: where the README lies.
        values: name -> value, in place of what the code assigns to it.
    """
    code = (folder / CARD).read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    tree = ast.parse(code)
    tree.body = [
        line for line in tree.body if not (isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) in values)
    ]
    path = folder / "lines.py"
    path.write_text(ast.unparse(tree), encoding="utf-8")
    spec = spec_from_file_location("lines_of_an_export", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    vars(module).update(values)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return vars(module)
