"""Tiny random models on disk, one for each architecture, beside a small fast tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchmarks.families.catalogue import Architecture, Family
from benchmarks.families.shrink import BOS, VOCABULARY, tiny_config

# spread of every matrix: at the usual 0.02 a tiny model hardly looks at its input, and faults hide
SPREAD = 0.2
# how far vectors (norms, biases, the rates of state spaces) are moved off where they start
_NUDGE = 0.1

SPECIAL = ("<pad>", "<row>", "<s>", "</s>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("good", "bad", "very", ":")
_TEMPLATES: dict[Family, str] = {"decoder": "<s> $A", "encoder-decoder": "$A </s>", "encoder": "[CLS] $A [SEP]"}


class NotBuiltError(Exception):
    """transformers itself cannot build or run the architecture here; the message is its own, in one line."""


def tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """One token a word, 512 of them. Its padding id is not the row that models keep for padding."""
    words = [*SPECIAL, *WORDS]
    words += [f"w{number}" for number in range(VOCABULARY - len(words))]
    ids = {word: number for number, word in enumerate(words)}
    raw = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(
        single=_TEMPLATES[family], special_tokens=[(word, ids[word]) for word in SPECIAL]
    )
    named = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>", mask_token="[MASK]")
    return PreTrainedTokenizerFast(tokenizer_object=raw, cls_token="[CLS]", sep_token="[SEP]", **named)


def build(architecture: Architecture, folder: Path, seed: int = 0) -> None:
    """A random model of an architecture and its tokenizer, saved as a Hugging Face folder.

    Raises:
        NotBuiltError: where transformers cannot make it, or where it cannot answer to plain ids.
    """
    try:
        model = _random(architecture, seed)
        check(architecture, model)
        model.save_pretrained(folder)
        check(architecture, loaded(architecture, folder))
    except Exception as error:  # whatever a class of transformers stumbles on
        raise NotBuiltError(one_line(error)) from error
    tokenizer(architecture.family).save_pretrained(folder)


def loaded(architecture: Architecture, folder: Path) -> Any:
    """The model of a folder as any user of transformers loads it, in eval mode."""
    return _loader(architecture).from_pretrained(folder, dtype=torch.float32).eval()


def check(architecture: Architecture, model: Any) -> None:
    """Ask a model for its answer to plain ids.

    Raises:
        ValueError: where it is not finite, or the same whatever the text is.
    """
    more = {"decoder_input_ids": torch.tensor([[BOS, 20]])} if architecture.family == "encoder-decoder" else {}
    with torch.no_grad():
        outputs = [model(input_ids=torch.tensor([ids]), **more) for ids in ([2, 30, 40, 50], [2, 31, 40, 50])]
    first, second = (output[0] if architecture.family == "encoder" else output.logits for output in outputs)
    if not bool(first.isfinite().all()):
        raise ValueError("the tiny model's answers are not finite")
    if float((first - second).abs().max()) < 1e-3 * float(first.abs().max()):
        raise ValueError("the tiny model answers the same to every text")


def one_line(error: BaseException) -> str:
    """An error as one short line: its first line that says something, and the next one where it announces that."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: {' '.join(lines[: 2 if lines[0].endswith(':') else 1])}"[:300]


def _loader(architecture: Architecture) -> Any:
    """The automatic class of transformers that knows the architecture."""
    if architecture.family == "encoder":
        return AutoModel
    causal = architecture.family == "decoder" and architecture.kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    return AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM


def _random(architecture: Architecture, seed: int) -> Any:
    config = tiny_config(architecture.kind, architecture.family)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _loader(architecture).from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                _draw(name, weight)
    return model.eval()


def _draw(name: str, weight: torch.Tensor) -> None:
    """Matrices anew; what is one number a channel, and the rates of state spaces, moved a little."""
    if not weight.is_floating_point():
        return
    if weight.dim() > 1 and "A_log" not in name:
        weight.normal_(0, SPREAD)
    else:
        weight.nan_to_num_(0.0, 0.0, 0.0).clamp_(-10, 10).add_(torch.randn_like(weight) * _NUDGE)
