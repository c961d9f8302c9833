"""The proof of an export's README: its very lines are run, and must answer rows of a task as `eval` answers them.

What `eval` answers comes from the code that trained the ticket; what the lines answer, from PEFT and transformers.
"""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Mapping, Sequence
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

# rows that are compared: so many of the longest, and others drawn by chance; answers to them at most
_ROWS, _LONGEST, _ANSWERS = 32, 8, 512
# by how much of the largest score the two may differ: rounding, where one reads rows in batches, the other one by one
_ROUNDING, _NARROW_ROUNDING = 1e-4, 5e-2


@dataclass(frozen=True)
class Agreement:
    """What was found over some rows.

    Attributes:
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
        """For the user."""
        share = self.difference / self.largest if self.largest else 0.0
        return (
            f"its README's lines against eval: {self.different} of {self.rows} answers differ, largest difference of "
            f"scores {self.difference:.2g} ({share:.1g} of the largest, {self.largest:.3g})"
        )


def sample(examples: Sequence[Example]) -> list[Example]:
    """The rows of a split that are compared: the longest, and some drawn by chance, the same each time."""
    order = sorted(examples, key=lambda example: (-len(example.text), example.index))
    longest, rest = order[:_LONGEST], order[_LONGEST:]
    drawn = torch.randperm(len(rest), generator=generator("export", "rows")).tolist()
    rows = [*longest, *(rest[position] for position in drawn[: _ROWS - len(longest)])]
    answers = accumulate(len(row.choices) for row in rows)
    return [row for row, count in zip(rows, answers, strict=True) if count <= _ANSWERS] or rows[:1]


def compare(folder: Path, examples: Sequence[Example], expected: Sequence[Tensor], **given: Any) -> Agreement:
    """Run the lines of the README in an adapter's folder on some rows.

    Args:
        expected: the [C] scores of each row's choices, as `eval` has them.
        given: what the lines are handed instead of loading it themselves, by its name there (`tokenizer` and `base`).

    Raises:
        ArtifactError: where the lines fail.
    """
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on how to load, for whoever loads it by hand
            lines = _defined(folder, {"folder": folder, **given})
            theirs = [lines["scores"](row.fields, row.choices) for row in examples]
            told = iter(theirs)
            lines["scores"] = lambda fields, choices: next(told)  # what `answer` asks is known
            chosen = [lines["answer"](row.fields, row.choices) for row in examples]
    except Exception as error:  # whatever PEFT, transformers and the model raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ArtifactError(f"not exported, since the lines of its README fail ({reason})") from error
    return _agreement(expected, [torch.tensor(scores) for scores in theirs], chosen)


def check(agreement: Agreement, dtype: torch.dtype) -> None:
    """Whether the lines of a README answer as `eval` does.

    Args:
        dtype: what the model of `eval` computes in.

    Raises:
        ArtifactError: saying how many answers differ and by how much.
    """
    rounding = _ROUNDING if dtype in (torch.float32, torch.float64) else _NARROW_ROUNDING
    bar = rounding * agreement.largest
    if agreement.different == 0 and agreement.difference <= bar:
        return
    raise ArtifactError(
        f"not exported: {agreement.sentence}; PEFT feeds the model other inputs than it was trained with here, so use "
        "--to embeddings"
    )


def _agreement(ours: Sequence[Tensor], theirs: Sequence[Tensor], chosen: Sequence[int]) -> Agreement:
    gaps = [float((own - other).abs().nan_to_num(torch.inf).max()) for own, other in zip(ours, theirs, strict=True)]
    different = sum(int(own.argmax()) != choice for own, choice in zip(ours, chosen, strict=True))
    return Agreement(len(ours), different, max(gaps), max(float(own.abs().max()) for own in ours))


def _defined(folder: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the code of the README that prunekit wrote into a folder defines, in a module of its own.

    Args:
        given: names that hold these values, in place of what the code assigns to them.
    """
    code = (folder / CARD).read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    tree = ast.parse(code)
    tree.body = [
        line for line in tree.body if not (isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) in given)
    ]
    path = folder / "lines.py"
    path.write_text(ast.unparse(tree), encoding="utf-8")
    spec = spec_from_file_location("lines_of_an_export", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    vars(module).update(given)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return vars(module)
