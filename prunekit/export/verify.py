"""The check of an export: PEFT loads it onto the same model, and the logits are compared bit for bit.

Rows go one by one and without padding: PEFT itself puts padding between prompt and text and drops position ids, so that
its padded batches differ from its own single rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor
from transformers import AutoModelForSequenceClassification, DynamicCache

from prunekit.export.attach import Attached
from prunekit.export.prefix_tuning import text_logits
from prunekit.models import FrozenModel
from prunekit.models.batch import Ids
from prunekit.models.cache_argument import cache_argument
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
        peft: the version that loaded the adapter; empty where transformers alone loaded a cache.
        dtype: of the logits.
        bar: how far they may lie apart, as a part of the largest; 0 where both sides compute the same.
        source: of the rows, "test" or "made-up".
    """

    rows: int
    difference: float
    largest: float
    peft: str
    dtype: torch.dtype = torch.float32
    bar: float = 0.0
    source: str = "made-up"

    @property
    def sentence(self) -> str:
        """The comparison in one line for the user."""
        how = f"under PEFT {self.peft}" if self.peft else "behind the cache"
        padded = "; PEFT's own padded batches differ from single rows" if self.peft else ""
        return (
            f"largest difference of logits {how}: {self.difference:g} over {self.rows} {self.source} rows "
            f"(largest logit {self.largest:.3g}){padded}"
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
        reader = "PEFT" if comparison.peft else "transformers"
        raise ArtifactError(f"not exported, since {reader} would answer otherwise: {comparison.sentence}")


def measure(folder: Path, ticket: Ticket, model: FrozenModel, texts: Sequence[Ids] = ()) -> Verified:
    """The comparison of `verify`, not yet judged.

    Args:
        texts: what a prefix is compared behind, in place of made-up rows.
    """
    peft = _peft()
    if isinstance(model, PrefixDecoder):
        return _prefix_measure(peft, folder, ticket, model, texts)
    attached = Attached(model.model, [ticket])
    # whatever transformers and PEFT raise where they do not go together
    with one_line_errors(model.model, "PEFT cannot put a prompt on this model, so use --to embeddings"):
        pairs = _compared(peft, folder, attached, ticket, model)
    largest = max(float(ours.abs().max()) for ours, _ in pairs)
    return Verified(len(pairs), _difference(pairs), largest, str(peft.__version__), pairs[0][0].dtype)


def _difference(pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """The largest of any logits; what is no number is as far off as can be."""
    return max(float((ours - theirs).abs().nan_to_num(torch.inf).max()) for ours, theirs in pairs)


def _prefix_measure(peft: Any, folder: Path, ticket: Ticket, model: PrefixDecoder, texts: Sequence[Ids]) -> Verified:
    """The same of keys and values before the text; where tokens were deleted, keys were turned, which rounds."""
    with one_line_errors(model.model, "PEFT cannot put a prefix on this model"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.PeftModel.from_pretrained(model.model, str(folder)).eval()
        return _behind(
            lambda ids: adapted(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None]).logits,
            ticket,
            model,
            texts,
            str(peft.__version__),
        )


def measure_cache(content: bytes, ticket: Ticket, model: PrefixDecoder, texts: Sequence[Ids] = ()) -> Verified:
    """The same of a file of keys and values that a DynamicCache of transformers is filled with.

    Args:
        content: the file, layer by layer (`prunekit.export.cache`).
        texts: what is compared behind, in place of made-up rows.
    """
    tensors, like = load(content), next(model.model.parameters())

    def logits(ids: Tensor) -> Tensor:
        cache = DynamicCache()
        for layer in range(model.shape.layers):
            keys, values = (tensors[f"layers.{layer}.{part}"].to(like) for part in ("keys", "values"))
            cache.update(keys, values, layer)
        mask = torch.ones(1, cache.get_seq_length() + len(ids), dtype=torch.long, device=model.device)
        arguments = cache_argument(model.model, cache) | {"attention_mask": mask, "use_cache": True}
        output: Tensor = model.model(input_ids=ids[None], **arguments).logits
        return output

    return _behind(logits, ticket, model, texts, "")


@torch.no_grad()
def _behind(
    logits: Callable[[Tensor], Tensor], ticket: Ticket, model: PrefixDecoder, texts: Sequence[Ids], peft: str
) -> Verified:
    """Logits [1, T, V] of another reader beside those of a ticket, behind texts or made-up rows."""
    rows = [torch.tensor(text, device=model.device) for text in texts] or _texts(model, len(ticket.mask.token))
    pairs = [(text_logits(ticket, model, ids), logits(ids)) for ids in rows]
    largest = max(float(ours.abs().max()) for ours, _ in pairs)
    source = "test" if texts else "made-up"
    return Verified(len(pairs), _difference(pairs), largest, peft, pairs[0][0].dtype, _TURNED, source)


def _compared(
    peft: Any, folder: Path, attached: Attached, ticket: Ticket, model: FrozenModel
) -> list[tuple[Tensor, Tensor]]:
    """Logits of the attached ticket and of PEFT with the adapter in a folder, row by row."""
    _, base = models(model, ticket)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # notes on how to load, for whoever loads it by hand
        adapted = peft.PeftModel.from_pretrained(base, str(folder)).eval()
        return list(_logits(attached, adapted, model, len(ticket.mask.token)))


def need_peft(kind: str = "") -> None:
    """Check that PEFT is installed, and knows an adapter of a kind.

    Raises:
        ConfigError: where it is not, or does not.
    """
    peft = _peft()
    if kind == "CARTRIDGE" and not hasattr(peft, "CartridgeConfig"):
        raise ConfigError(
            f"PEFT {peft.__version__} knows no cartridges: pip install -U peft (0.19 or newer), or use --to peft, "
            "which writes the same numbers, or write it unchecked with --no-verify"
        )


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
