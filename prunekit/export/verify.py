"""The check of an export: PEFT loads it onto the same model, and the logits are compared bit for bit.

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
from prunekit.export.prefix_tuning import text_logits
from prunekit.models import FrozenModel
from prunekit.models.load import family
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.models.trial import one_line_errors
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ArtifactError, ConfigError

# how far logits behind turned keys may lie apart, as a part of the largest
_TURNED = 1e-5
# lengths of the texts that are tried
_LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34)
_ANSWER = 3


@dataclass(frozen=True)
class Verified:
    """How far the logits of PEFT and prunekit agree.

    Attributes:
        rows: how many were compared.
        difference: the largest of any two logits.
        largest: the largest logit.
        peft: the version that loaded the adapter.
        dtype: of the logits.
        bar: how far they may lie apart, as a part of the largest; 0 where both sides compute the same.
    """

    rows: int
    difference: float
    largest: float
    peft: str
    dtype: torch.dtype = torch.float32
    bar: float = 0.0

    @property
    def sentence(self) -> str:
        """The comparison in one line for the user."""
        return (
            f"largest difference of logits under PEFT {self.peft}: {self.difference:g} over {self.rows} made-up rows "
            f"(largest logit {self.largest:.3g}); PEFT's own padded batches differ from single rows"
        )


def verify(folder: Path, ticket: Ticket, model: FrozenModel) -> Verified:
    """Compare an adapter's logits under PEFT with prunekit's, on the same weights and made-up rows.

    Args:
        folder: holds the adapter.
        ticket: what was exported.
        model: the model that it is for.

    Raises:
        ConfigError: where PEFT is not installed.
        ArtifactError: where any float32 logit differs.
    """
    comparison = measure(folder, ticket, model)
    check(comparison)
    return comparison


def check(comparison: Verified) -> None:
    """Refuse an export that PEFT answers otherwise.

    Raises:
        ArtifactError: where any float32 logit differs.
    """
    if comparison.difference > comparison.bar * comparison.largest and comparison.dtype == torch.float32:
        raise ArtifactError(f"not exported, since PEFT would answer otherwise: {comparison.sentence}")


def measure(folder: Path, ticket: Ticket, model: FrozenModel) -> Verified:
    """The comparison of `verify`, not yet judged."""
    peft = _peft()
    if isinstance(model, PrefixDecoder):
        return _prefix_measure(peft, folder, ticket, model)
    attached = Attached(model.model, [ticket])
    # whatever transformers and PEFT raise where they do not go together
    with one_line_errors(model.model, "PEFT cannot put a prompt on this model, so use --to embeddings"):
        pairs = _compared(peft, folder, attached, ticket, model)
    differences = [float((ours - theirs).abs().max()) for ours, theirs in pairs]
    largest = max(float(ours.abs().max()) for ours, _ in pairs)
    return Verified(len(pairs), max(differences), largest, str(peft.__version__), pairs[0][0].dtype)


def _prefix_measure(peft: Any, folder: Path, ticket: Ticket, model: PrefixDecoder) -> Verified:
    """The same of keys and values before the text; where tokens were deleted, keys were turned, which rounds."""
    pairs = []
    with one_line_errors(model.model, "PEFT cannot put a prefix on this model"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.PeftModel.from_pretrained(model.model, str(folder)).eval()
        for ids in _texts(model, len(ticket.mask.token)):
            inputs = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
            with torch.no_grad():
                pairs.append((text_logits(ticket, model, ids), adapted(**inputs).logits))
    difference = max(float((ours - theirs).abs().max()) for ours, theirs in pairs)
    largest = max(float(ours.abs().max()) for ours, _ in pairs)
    return Verified(len(pairs), difference, largest, str(peft.__version__), pairs[0][0].dtype, _TURNED)


def _compared(
    peft: Any, folder: Path, attached: Attached, ticket: Ticket, model: FrozenModel
) -> list[tuple[Tensor, Tensor]]:
    """Logits of the attached ticket and of PEFT with the adapter in a folder, row by row."""
    _, base = models(model, ticket)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # notes on how to load, for whoever loads it by hand
        adapted = peft.PeftModel.from_pretrained(base, str(folder)).eval()
        return list(_logits(attached, adapted, model, len(ticket.mask.token)))


def need_peft() -> None:
    """Check that PEFT is installed.

    Raises:
        ConfigError: where it is not.
    """
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


def _logits(attached: Attached, adapted: Any, model: FrozenModel, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits of both sides, row by row: of every token of a text or an answer, or of all choices."""
    vocabulary = torch.tensor(model.ordinary_ids(), device=model.device)
    for ids in _texts(model, tokens):
        length = len(ids)
        inputs: dict[str, Any] = {"input_ids": ids[None], "attention_mask": torch.ones_like(ids)[None]}
        if attached.family == "encoder-decoder":
            inputs["decoder_input_ids"] = vocabulary[:_ANSWER][None]
        ours, theirs = attached.forward(**inputs).logits, adapted(**inputs).logits
        if attached.family == "decoder":
            theirs = theirs[:, theirs.shape[1] - length :]  # PEFT's output has the prompt's slots too
        yield ours, theirs


def _texts(model: FrozenModel, tokens: int) -> Iterator[Tensor]:
    """Made-up texts Int[T] that fit beside a prompt of so many tokens."""
    vocabulary = torch.tensor(model.ordinary_ids(), device=model.device)
    lengths = [length for length in _LENGTHS if length + tokens <= model.most_positions] or _LENGTHS[:1]
    for index, length in enumerate(lengths):
        yield vocabulary[(torch.arange(length, device=model.device) * 7 + index) % len(vocabulary)]
