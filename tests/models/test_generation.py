"""What a model writes: the same as its plain forward pass makes likeliest, whatever rows share a batch."""

from __future__ import annotations

import architectures
import pytest
import test_trial as strangers
import tiny
import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.models import wrap
from prunekit.support.errors import ConfigError
from prunekit.tasks.decoding import Decoding

DECODING = Decoding(max_tokens=7)
FAMILIES = (*architectures.DECODERS, *architectures.ENCODER_DECODERS, "marian")


def _frozen(kind: str, position: str):
    if kind == "marian":
        bone = wrap(strangers.stranger("marian").double(), tiny.tokenizer("t5"))
    else:
        bone = architectures.frozen(kind, position=position)
        bone.model.double()
    return bone


def _naive(bone, prompt, text, most: int) -> tuple[int, ...]:
    """Greedy tokens by whole rows, one token at a time, with nothing but the model."""
    model, embed = bone.model, bone.model.get_input_embeddings()
    before = embed(torch.tensor(text)) * bone.traits.scale
    config = model.generation_config
    written: list[int] = []
    while len(written) < most and (not written or written[-1] not in bone.end_ids):
        if model.config.is_encoder_decoder:
            embeds = torch.cat([prompt, before])[None]
            inputs = torch.tensor([[model.config.decoder_start_token_id, *written]])
            logits = model(inputs_embeds=embeds, decoder_input_ids=inputs).logits[0, -1]
        else:
            after = embed(torch.tensor(written, dtype=torch.long))
            parts = [before, prompt, after] if bone.position == "suffix" else [prompt, before, after]
            logits = model(inputs_embeds=torch.cat(parts)[None]).logits[0, -1]
        for banned in config.bad_words_ids or []:
            logits[banned[0]] = -torch.inf
        forced = config.forced_eos_token_id if len(written) + 1 == most else None
        written.append(int(logits.argmax()) if forced is None else forced)
    return tuple(written)


def _cohort(bone, dropped_as="remove"):
    """Members of unequal length, the prompts that they come to."""
    masks = [architectures.MASKS[name] for name in ("dense", "one token", "pieces")]
    tickets = [
        architectures.ticket(bone, mask=mask, seed=seed, dropped_as=dropped_as) for seed, mask in enumerate(masks)
    ]
    with torch.no_grad():
        prompts = prompt_batch([Member(ticket) for ticket in tickets])
        kept = [values[present].double() for values, present in (Member(ticket).masked() for ticket in tickets)]
    return prompts, kept


def _texts():
    return [tuple(ids.tolist()) for ids in architectures.texts(6)]


@pytest.mark.parametrize(
    ("kind", "position"),
    [(kind, "first") for kind in FAMILIES] + [(kind, "suffix") for kind in architectures.DECODERS],
)
def test_a_batch_of_members_and_texts_is_answered_as_single_rows_are_by_hand(kind, position):
    bone = _frozen(kind, position)
    prompts, kept = _cohort(bone)
    written = bone.generate(prompts, _texts(), DECODING)
    with torch.no_grad():
        naive = [[_naive(bone, prompt, text, 7) for text in _texts()] for prompt in kept]
    assert written == naive
    assert len({ids for member in written for ids in member}) > 1, "answers that differ can be told from each other"
