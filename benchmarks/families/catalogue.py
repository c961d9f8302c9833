"""Every architecture of the installed transformers that reads text: which there are, and as what."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from transformers import CONFIG_MAPPING, MODEL_MAPPING
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

Family = Literal["decoder", "encoder-decoder", "encoder"]
FAMILIES: tuple[Family, ...] = ("decoder", "encoder-decoder", "encoder")

# what a model that is no text encoder asks for in its `forward`
_OTHER_INPUTS = {
    "past_key_values", "use_cache", "pixel_values", "pixel_values_videos", "image", "visual_feats", "input_features",
    "input_values", "spectrogram_labels", "speaker_id",
}  # fmt: skip


@dataclass(frozen=True)
class Architecture:
    """One model type of transformers, read as one family: kind is `model_type`, as "bert"."""

    kind: str
    family: Family

    @property
    def name(self) -> str:
        """What `--only` takes, as "decoder/bert"."""
        return f"{self.family}/{self.kind}"


def architectures() -> list[Architecture]:
    """All of them: causal language models, sequence-to-sequence models and text encoders, each in alphabetical order.

    What transformers lists as sequence-to-sequence but has no encoder of texts (Voxtral hears) counts as a decoder.
    """
    causal, listed = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES), set(MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES)
    both = {kind for kind in listed if CONFIG_MAPPING[kind]().is_encoder_decoder}
    kinds: dict[Family, list[str]] = {
        "decoder": sorted(causal | (listed - both)),
        "encoder-decoder": sorted(both),
        "encoder": sorted(_encoders()),
    }
    return [Architecture(kind, family) for family in FAMILIES for kind in kinds[family]]


def _encoders() -> Iterator[str]:
    """What has a masked-LM head, and whatever else reads ids alone and keeps no past."""
    for kind in MODEL_MAPPING_NAMES:
        masked = kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES
        causal = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not masked
        if causal or kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
            continue
        arguments = _forward_arguments(kind)
        if "input_ids" in arguments and (masked or not arguments & _OTHER_INPUTS):
            yield kind


def _forward_arguments(kind: str) -> set[str]:
    """What the `forward` of a kind's bare model takes; nothing where its class cannot be imported here."""
    try:
        entry: Any = MODEL_MAPPING[CONFIG_MAPPING[kind]]
        model = entry[0] if isinstance(entry, tuple) else entry
        return set(inspect.signature(model.forward).parameters)
    except (ImportError, ValueError, KeyError):  # a package that is not here, or a name without a class
        return set()
