"""An independent reading of the same quantities: one example at a time, unpadded, straight from the Hugging Face model.

Nothing here comes from prunekit's models, cohorts or scores; only the tickets' tensors are read.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

SEQ2SEQ = ("t5", "bart")
DECODERS = ("gpt2", "llama", "opt", "neox")
ENCODERS = ("bert", "roberta")


def choice_scores(kind: str, bone, prompt: Tensor, example, head=None, there=None) -> tuple[Tensor, Tensor]:
    """Sum and mean over tokens of log p of each choice, [C] and [C]; for encoders both are the head's output.

    prompt: [n, H], every slot that takes up a position.  there: Bool[n], False where a slot is hidden.
    """
    if kind in ENCODERS:
        scores = _head_scores(bone, prompt, example, head, there)
        return scores, scores
    read = _seq2seq if kind in SEQ2SEQ else _causal
    each = [read(bone.model, prompt, example.text, choice, there) for choice in example.choices]
    return torch.stack([one.sum() for one in each]), torch.stack([one.mean() for one in each])


def loss(kind: str, bone, prompt: Tensor, example, head=None, there=None) -> Tensor:
    """Mean negative log-likelihood of the gold choice's tokens; for encoders cross-entropy of the head's scores."""
    if kind in ENCODERS:
        return -_head_scores(bone, prompt, example, head, there).log_softmax(0)[example.gold]
    read = _seq2seq if kind in SEQ2SEQ else _causal
    return -read(bone.model, prompt, example.text, example.choices[example.gold], there).mean()


def slots(ticket, gamma: Tensor | None = None, zeta: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The prompt vectors [n, H] that a ticket puts into the sequence, and Bool[n] which of them are attended to.

    gamma [P] and zeta [P, K] multiply the tokens and pieces, as in the paper.
    """
    values, (count, pieces) = ticket.state["values"], ticket.mask.piece.shape
    cells = values.reshape(count, pieces, -1) * ticket.mask.piece[:, :, None].to(values.dtype)
    if zeta is not None:
        cells = cells * zeta[:, :, None]
    whole = cells.reshape(count, -1)
    if gamma is not None:
        whole = whole * gamma[:, None]
    if ticket.dropped_as == "remove":
        kept = ticket.mask.token
        return whole[kept], torch.ones(int(kept.sum()), dtype=torch.bool)
    everyone = torch.ones(count, dtype=torch.bool)
    return whole, everyone if ticket.dropped_as == "zero" else ticket.mask.token


def scores(kind: str, bone, ticket, examples, form) -> tuple[Tensor, Tensor]:
    """Token [P] and piece [P, K]: mean over examples of form(dL/dgamma), form(dL/dzeta), one example at a time."""
    token, piece = slopes(kind, bone, ticket, examples)
    return form(token).mean(dim=0), form(piece).mean(dim=0)


def slopes(kind: str, bone, ticket, examples) -> tuple[Tensor, Tensor]:
    """dL/dgamma [N, P] and dL/dzeta [N, P, K] of each example."""
    count, pieces = ticket.mask.piece.shape
    dtype = ticket.state["values"].dtype
    token, piece = [], []
    for example in examples:
        gamma = torch.ones(count, dtype=dtype, requires_grad=True)
        zeta = torch.ones(count, pieces, dtype=dtype, requires_grad=True)
        prompt, there = slots(ticket, gamma, zeta)
        hidden = None if bool(there.all()) else there
        d_gamma, d_zeta = torch.autograd.grad(loss(kind, bone, prompt, example, ticket.head, hidden), (gamma, zeta))
        token.append(d_gamma.double())
        piece.append(d_zeta.double())
    return torch.stack(token), torch.stack(piece)


def attention(kind: str, bone, prompt: Tensor, example) -> list[float]:
    """What each prompt slot receives: summed over the positions that attend, the mean over layers and heads."""
    model = deepcopy(bone.model)
    model.set_attn_implementation("eager")
    text = list(example.text) if kind in SEQ2SEQ + ENCODERS else [*example.text, *example.choices[example.gold][:-1]]
    first = {"suffix": len(example.text), "after-cls": 1}.get(bone.position, 0)
    embedded = _embedded(bone.model, text)
    rows = torch.cat([embedded[:first], prompt, embedded[first:]])[None]
    reads = model.get_encoder() if kind in SEQ2SEQ else model
    layers = reads(inputs_embeds=rows, output_attentions=True).attentions
    received = [0.0] * len(prompt)
    for weights in layers:
        for head in weights[0]:
            for query in head:
                for slot in range(len(prompt)):
                    received[slot] += float(query[first + slot]) / len(layers) / len(weights[0])
    return received


def _embedded(model, ids) -> Tensor:
    return model.get_input_embeddings()(torch.tensor(list(ids), dtype=torch.long))


def _hiding(there: Tensor | None, before: int, after: int) -> dict[str, Tensor]:
    """The attention mask that hides prompt slots, or nothing; positions are always the model's own."""
    if there is None:
        return {}
    return {"attention_mask": torch.cat([torch.ones(before), there.float(), torch.ones(after)]).long()[None]}


def _seq2seq(model, prompt, text, choice, there) -> Tensor:
    embeds = torch.cat([prompt, _embedded(model, text)])[None]
    inputs = torch.tensor([[model.config.decoder_start_token_id, *choice[:-1]]])
    hiding = _hiding(there, 0, len(text))
    logits = model(inputs_embeds=embeds, decoder_input_ids=inputs, **hiding).logits[0]
    return logits.log_softmax(-1)[range(len(choice)), list(choice)]


def _causal(model, prompt, text, choice, there) -> Tensor:
    ids = (*text, *choice[:-1])
    embeds = torch.cat([prompt, _embedded(model, ids)])[None]
    hiding = _hiding(there, 0, len(ids))
    logits = model(inputs_embeds=embeds, **hiding).logits[0, -len(choice) :]
    return logits.log_softmax(-1)[range(len(choice)), list(choice)]


def _head_scores(bone, prompt, example, head, there) -> Tensor:
    if example.own_choices:
        rows = [example.text[:-1] + choice + example.text[-1:] for choice in example.choices]
        return torch.cat([_state(bone, prompt, ids, there) @ head["weight"].t() + head["bias"] for ids in rows])
    return _state(bone, prompt, example.text, there) @ head["weight"].t() + head["bias"]


def _state(bone, prompt, ids, there) -> Tensor:
    """[H], what the head reads: [CLS] before the prompt, or row 0 through the pooler where the prompt is first."""
    embedded = _embedded(bone.model, ids)
    if bone.position == "first":
        first = 0 if there is None else int(there.int().argmax())
        hiding = _hiding(there, 0, len(ids))
        states = bone.model(inputs_embeds=torch.cat([prompt, embedded])[None], **hiding).last_hidden_state
        return bone.model.pooler(states[:, first:])[0]
    hiding = _hiding(there, 1, len(ids) - 1)
    embeds = torch.cat([embedded[:1], prompt, embedded[1:]])[None]
    return bone.model(inputs_embeds=embeds, **hiding).last_hidden_state[0, 0]


def close(found: Tensor, wanted: Tensor, bar: float = 1e-5) -> None:
    """Equal to `bar` of the largest entry."""
    finite = wanted.isfinite()
    assert torch.equal(found.isfinite(), finite)
    assert float((found[finite] - wanted[finite]).abs().max()) <= bar * float(wanted[finite].abs().max())
