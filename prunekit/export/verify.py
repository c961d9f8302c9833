"""The proof of an export: PEFT loads it onto the very model, and the logits are compared bit for bit.

Rows go one by one and without padding: PEFT itself puts padding between prompt and text and drops position ids, so that
its padded batches differ from its own single rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from prunekit.export.attach import Attached
from prunekit.models import FrozenModel
from prunekit.models.load import family
from prunekit.models.trial import one_line_errors
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ArtifactError, ConfigError

# lengths of the texts that are tried
_LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34)
_ANSWER = 3


@dataclass(frozen=True)
class Verified:
    """What a comparison found.

    Attributes:
        difference: the largest of any two logits.
        largest: the largest logit.
        peft: the version that loaded the adapter.
        dtype: of the logits.
    """

    rows: int
    difference: float
    largest: float
    peft: str
    dtype: torch.dtype = torch.float32

    @property
    def sentence(self) -> str:
        """For the user."""
        return (
            f"largest difference of logits under PEFT {self.peft}: {self.difference:g} over {self.rows} made-up rows "
            f"(largest logit {self.largest:.3g}); PEFT's own padded batches differ from single rows"
        )


def verify(folder: Path, ticket: Ticket, model: FrozenModel) -> Verified:
    """Compare an adapter's logits under PEFT with prunekit's, on the same weights and made-up rows.

    Args:
        folder: holds the adapter.
        model: the model that it is for.

    Raises:
        ConfigError: where PEFT is not installed.
        ArtifactError: where any float32 logit differs.
    """
    found = measure(folder, ticket, model)
    check(found)
    return found


def check(found: Verified) -> None:
    """Raises ArtifactError where any float32 logit differs."""
    if found.difference > 0 and found.dtype == torch.float32:
        raise ArtifactError(f"not exported, since PEFT would answer otherwise: {found.sentence}")


def measure(folder: Path, ticket: Ticket, model: FrozenModel) -> Verified:
    """What `verify` compares, whatever it finds."""
    peft = _peft()
    attached = Attached(model.model, [ticket])
    # whatever transformers and PEFT raise where they do not go together
    with one_line_errors(model.model, "PEFT cannot put a prompt on this model, so use --to embeddings"):
        pairs = _compared(peft, folder, attached, ticket, model)
    differences = [float((one - other).abs().max()) for one, other in pairs]
    largest = max(float(one.abs().max()) for one, _ in pairs)
    return Verified(len(pairs), max(differences), largest, str(peft.__version__), pairs[0][0].dtype)


def _compared(
    peft: Any, folder: Path, attached: Attached, ticket: Ticket, model: FrozenModel
) -> list[tuple[Tensor, Tensor]]:
    """Logits of the attached ticket and of PEFT with the adapter in a folder, row by row."""
    _, theirs = models(model, ticket)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # notes on how to load, for whoever loads it by hand
        worn = peft.PeftModel.from_pretrained(theirs, str(folder)).eval()
        return list(_logits(attached, worn, model, len(ticket.mask.token)))


def need_peft() -> None:
    """Raises ConfigError where PEFT is not installed."""
    _peft()


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise ConfigError(
            "checking an export needs PEFT: pip install peft, or write it unchecked with --no-verify"
        ) from error
    return peft


def models(model: FrozenModel, ticket: Ticket) -> tuple[Any, Any]:
    """The model as prunekit reads it, and as PEFT expects it; both hold the same weights."""
    if family(model.config) != "encoder" or ticket.head is None:
        return model.model, model.model
    config = type(model.config).from_dict(model.config.to_dict() | {"num_labels": len(ticket.head["bias"])})
    with torch.device("meta"):
        classifier = AutoModelForSequenceClassification.from_config(config)
    setattr(classifier, classifier.base_model_prefix, model.model)
    classifier.classifier.to_empty(device=model.device)  # PEFT fills it from the adapter
    return model.model, classifier.eval()


def _logits(attached: Attached, worn: Any, model: FrozenModel, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits of both sides, row by row: all positions of a text, all of an answer, or all choices."""
    known = torch.tensor(model.ordinary_ids(), device=model.device)
    lengths = [length for length in _LENGTHS if length + tokens <= model.most_positions] or _LENGTHS[:1]
    for number, length in enumerate(lengths):
        ids = known[(torch.arange(length, device=model.device) * 7 + number) % len(known)]
        given: dict[str, Any] = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
        if attached.family == "encoder-decoder":
            given["decoder_input_ids"] = known[:_ANSWER][None]
        ours, theirs = attached.forward(**given).logits, worn(**given).logits
        if attached.family == "decoder":
            theirs = theirs[:, theirs.shape[1] - length :]  # PEFT's output has the prompt's slots too
        yield ours, theirs
