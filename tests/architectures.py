"""Tiny random models of more architectures than tiny.py has, and tickets for them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import lru_cache

import tiny
import torch
from transformers import AutoModel, AutoModelForCausalLM

from prunekit.engine.cohort import prompt_batch
from prunekit.models import FrozenModel, wrap
from prunekit.prompts import methods
from prunekit.prompts.init.values import from_array
from prunekit.prompts.mask import Mask
from prunekit.prompts.options import Options
from prunekit.pruning.ticket import Ticket
from prunekit.support.seeding import generator

DECODERS = ("gpt2", "llama", "opt", "neox", "gemma", "gemma2", "gemma3", "qwen2", "qwen3", "mistral", "phi3", "bloom")
ENCODER_DECODERS = ("t5", "bart")
ENCODERS = ("bert", "roberta", "xlm-roberta")
KINDS = DECODERS + ENCODER_DECODERS + ENCODERS
#: Those that the gate tries where it tries no more; under PEFT it tries all.
BY_DAY = ("gpt2", "llama", "gemma3", "bloom", "t5", "bart", "bert", "roberta")
TOKENS, PIECES = 5, 4

_COMMON = tiny.COMMON | tiny.ENDS | dict(pad_token_id=0)
_GROUPED = _COMMON | dict(num_key_value_heads=2, head_dim=8)
# a window shorter than the texts, so that what it sees is tried too
_WINDOW = dict(sliding_window=8)
_MODELS = tiny.MODELS | {
    "gemma": (AutoModelForCausalLM, "gemma", _GROUPED),
    "gemma2": (AutoModelForCausalLM, "gemma2", _GROUPED | _WINDOW),
    "gemma3": (AutoModelForCausalLM, "gemma3_text", _GROUPED | _WINDOW),
    "qwen2": (AutoModelForCausalLM, "qwen2", _COMMON | dict(num_key_value_heads=2)),
    "qwen3": (AutoModelForCausalLM, "qwen3", _GROUPED),
    "mistral": (AutoModelForCausalLM, "mistral", _GROUPED | _WINDOW),
    "phi3": (AutoModelForCausalLM, "phi3", _COMMON),
    "bloom": (AutoModelForCausalLM, "bloom", dict(
        vocab_size=tiny.VOCABULARY, hidden_size=tiny.WIDTH, n_layer=2, n_head=4, initializer_range=0.2, bos_token_id=3,
        eos_token_id=1, pad_token_id=0)),
    "xlm-roberta": (AutoModel, "xlm-roberta", _COMMON),
}  # fmt: skip


@lru_cache
def model(kind: str):
    return tiny.built(*_MODELS[kind])


def tokenizer(kind: str):
    return tiny.tokenizer({"xlm-roberta": "roberta", "mistral": "llama"}.get(kind, kind))


def frozen(kind: str, **options) -> FrozenModel:
    """A fresh copy of the wrapped model; encoders with the prompt first, as PEFT has it."""
    position = "first" if kind in ENCODERS else "auto"
    return tiny.copied(_wrapped(kind, **(dict(position=position) | options)))


@lru_cache
def _wrapped(kind: str, **options) -> FrozenModel:
    return wrap(deepcopy(model(kind)), tokenizer(kind), **options)


MASKS = {
    "dense": Mask.full(TOKENS, PIECES),
    "one token": tiny.masked([False, False, True, False, False], PIECES),
    "pieces": tiny.masked([True, False, True, True, False], PIECES, [(0, 0), (0, 3), (2, 1), (3, 2)]),
}


def ticket(bone: FrozenModel, method: str = "direct", mask: Mask = MASKS["dense"], seed: int = 0, **more) -> Ticket:
    """A ticket of random values, whose method's own numbers are moved off where they start."""
    draw = generator("architectures", method, seed)
    values = torch.randn(len(mask.token), bone.width, generator=draw) * bone.embedding_rms
    start = from_array(values)(draw, tuple(values.shape))
    options = Options(rank=3, bottleneck=8, input_tokens=64)
    state = methods.start(method, start, draw, options).state_dict()
    # what starts at zero would move nothing, and so show nothing
    state = {
        name: one + 0.05 * torch.randn(one.shape, generator=draw) * (one.abs().mean() if one.any() else 10.0)
        for name, one in state.items()
    }
    head = bone.new_head(2)
    if head is not None:
        head = {name: torch.randn(one.shape, generator=draw) for name, one in head.items()}
    return Ticket(mask, state, head, method=method, position=bone.position, seed=seed, **more)


def texts(count: int = 20, most: int = 17) -> list[torch.Tensor]:
    """Token ids of mixed length."""
    draw = generator("texts")
    lengths = [1 + (5 * number) % most for number in range(count)]
    return [torch.randint(4, tiny.VOCABULARY, (length,), generator=draw) for length in lengths]


def padded(rows: list[torch.Tensor], side: str) -> dict[str, torch.Tensor]:
    """Ids and mask of a batch, padded on one side."""
    pad = dict(batch_first=True, padding_side=side)
    ids = torch.nn.utils.rnn.pad_sequence(rows, **pad)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], **pad)
    return {"input_ids": ids, "attention_mask": mask}


def misread(module, monkeypatch) -> None:
    """As if the code of a module that trains and evaluates read another prompt than the one that is exported."""

    def other(members):
        prompts = prompt_batch(members)
        return replace(prompts, values=prompts.values * 9)

    monkeypatch.setattr(module, "prompt_batch", other)


def written(folder, files):
    """A folder of so many files, name -> bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder
