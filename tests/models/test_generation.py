"""What a model writes: the same as its plain forward pass makes likeliest, whatever rows share a batch."""

from __future__ import annotations

from dataclasses import replace

import architectures
import pytest
import test_trial as strangers
import tiny
import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.models import Encoded, wrap
from prunekit.models.generation import _Draw, generate
from prunekit.support.errors import ConfigError
from prunekit.tasks.decoding import Decoding

DECODING = Decoding(max_tokens=7)


def _frozen(kind: str, position: str):
    if kind == "marian":
        bone = wrap(strangers.stranger("marian").double(), tiny.tokenizer("t5"))
    else:
        bone = architectures.frozen(kind, position=position)
        bone.model.double()
    return bone


def _naive(bone, prompt, before, most: int) -> tuple[int, ...]:
    """Greedy tokens by whole rows, one token at a time, with nothing but the model."""
    config = bone.model.generation_config
    written: list[int] = []
    while len(written) < most and (not written or written[-1] not in bone.end_ids):
        logits = _next(bone, prompt, before, written)
        for banned in config.bad_words_ids or []:
            logits[banned[0]] = -torch.inf
        forced = config.forced_eos_token_id if len(written) + 1 == most else None
        written.append(int(logits.argmax()) if forced is None else forced)
    return tuple(written)


def _next(bone, prompt, before, written):
    """[V], the logits behind a prompt, the embeddings of a text, and what was written."""
    model = bone.model
    if model.config.is_encoder_decoder:
        embeds = torch.cat([prompt, before])[None]
        inputs = torch.tensor([[model.config.decoder_start_token_id, *written]])
        return model(inputs_embeds=embeds, decoder_input_ids=inputs).logits[0, -1]
    after = _embedded(bone, written)
    parts = [before, prompt, after] if bone.position == "suffix" else [prompt, before, after]
    return model(inputs_embeds=torch.cat(parts)[None]).logits[0, -1]


def _embedded(bone, ids):
    return bone.model.get_input_embeddings()(torch.tensor(ids, dtype=torch.long)) * bone.traits.scale


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
    tiny.in_turn(architectures.DECODERS, ("first", "suffix"), whole=("gpt2", "llama"), day=("gpt2", "llama"))
    + tiny.by_day(tiny.pairs((*architectures.ENCODER_DECODERS, "marian"), ["first"]), [("t5", "first")]),
)
def test_a_batch_of_members_and_texts_is_answered_as_single_rows_are_by_hand(kind, position):
    bone = _frozen(kind, position)
    prompts, kept = _cohort(bone)
    written = generate(bone, prompts, _texts(), DECODING)
    with torch.no_grad():
        naive = [[_naive(bone, prompt, _embedded(bone, text), 7) for text in _texts()] for prompt in kept]
    assert written == naive
    # answers that differ can be told from each other; a Marian of random weights gives the same to all
    assert kind == "marian" or len({ids for member in written for ids in member}) > 1


@pytest.mark.parametrize("method", ["dept", "adept", "ept"])
@pytest.mark.parametrize(("kind", "position"), [("llama", "first"), ("gpt2", "suffix")])
def test_a_method_that_moves_texts_moves_no_answer_whether_it_is_scored_or_written(kind, position, method):
    bone = _frozen(kind, position)
    members = [Member(architectures.ticket(bone, method=method, seed=seed)) for seed in (0, 1)]
    with torch.no_grad():
        prompts = prompt_batch(members)
        rows = [[_moved(bone, member, text) for text in _texts()] for member in members]
        written = generate(bone, prompts, _texts(), DECODING)
        assert written == [[_naive(bone, *row, 7) for row in texts] for texts in rows]
        assert written != generate(bone, replace(prompts, embed_input=None), _texts(), DECODING)  # it does move them
        expected = [
            _said(bone, *row, ids)
            for texts, answers in zip(rows, written, strict=True)
            for row, ids in zip(texts, answers, strict=True)
        ]
    assert _logprob(bone, prompts, written) == pytest.approx(expected, abs=1e-4)


def _moved(bone, member, text):
    """The prompt, and the embeddings of a text as its method moves them, by nothing but the method."""
    embedded = _embedded(bone, text)[None].float()
    (moved,) = member.masked.prompt.embed_input(embedded, torch.ones(1, len(text), dtype=torch.bool))
    return member.masked()[0].double(), moved.double()


def _said(bone, prompt, before, ids) -> float:
    """The log-probability of an answer, each of its tokens by a row of its own."""
    steps = [_next(bone, prompt, before, list(ids[:place])).log_softmax(-1) for place in range(len(ids))]
    return sum(float(step[token]) for step, token in zip(steps, ids, strict=True))


def test_members_and_texts_that_may_not_share_rows_are_written_apart():
    bone = _frozen("gpt2", "first")
    prompts, _ = _cohort(bone)
    together = generate(bone, prompts, _texts(), DECODING)
    for apart in ("lengths", "alone"):
        bone.writes_together = apart
        assert generate(bone, prompts, _texts(), DECODING) == together


@pytest.mark.parametrize(("kind", "position"), [("llama", "first"), ("llama", "suffix"), ("t5", "first")])
def test_bans_and_forced_ends_of_a_model_are_followed(kind, position):
    bone = _frozen(kind, position)
    prompts, kept = _cohort(bone)
    plain = generate(bone, prompts, _texts(), DECODING)
    bone.model.generation_config.bad_words_ids = [[plain[0][0][0]]]
    bone.model.generation_config.forced_eos_token_id = 1
    written = generate(bone, prompts, _texts(), DECODING)
    with torch.no_grad():
        assert written == [[_naive(bone, prompt, _embedded(bone, text), 7) for text in _texts()] for prompt in kept]
    assert written != plain
    assert all(ids[-1] == 1 and plain[0][0][0] not in ids for member in written for ids in member)


def test_how_a_model_would_search_by_itself_does_not_count():
    bone = _frozen("llama", "first")
    prompts, _ = _cohort(bone)
    plain = generate(bone, prompts, _texts(), DECODING)
    bone.model.generation_config.update(do_sample=True, temperature=9.0, top_k=64, top_p=0.9, num_beams=3, min_length=5)
    assert generate(bone, prompts, _texts(), DECODING) == plain


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_beams_find_answers_at_least_as_likely_and_draws_are_named(kind):
    bone = _frozen(kind, "first")
    prompts, _ = _cohort(bone)
    greedy, beams = (generate(bone, prompts, _texts(), replace(DECODING, beams=width)) for width in (1, 4))
    assert sum(_logprob(bone, prompts, beams)) > sum(_logprob(bone, prompts, greedy))
    drawn = [generate(bone, prompts, _texts(), replace(DECODING, temperature=1.5, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] != greedy


def test_draws_depend_on_the_text_alone_whoever_else_is_asked():
    bone = _frozen("gpt2", "first")
    prompts, _ = _cohort(bone)
    drawing = replace(DECODING, temperature=1.5, top_p=0.9)
    together = generate(bone, prompts, _texts(), drawing)
    assert [generate(bone, prompts.member(index), _texts(), drawing)[0] for index in range(3)] == together
    assert generate(bone, prompts, _texts()[4:1:-1], drawing) == [member[4:1:-1] for member in together]


def test_draws_come_as_often_as_they_are_likely():
    texts = [(number,) for number in range(4000)]
    logits = torch.tensor([0.1, 0.2, 0.7, 0.0]).log().repeat(len(texts), 1)
    drawn = _Draw(texts, len(texts), 0)(torch.zeros(len(texts), 1), logits).argmax(dim=1)
    shares = torch.bincount(drawn, minlength=4) / len(texts)
    assert shares.tolist() == pytest.approx([0.1, 0.2, 0.7, 0.0], abs=0.03)  # four standard errors
    assert shares[3] == 0


def _logprob(bone, prompts, written) -> list[float]:
    rows = [
        [Encoded(index, text, (ids,), 0) for index, (text, ids) in enumerate(zip(_texts(), member, strict=True))]
        for member in written
    ]
    with torch.no_grad():
        return bone.logits(prompts, bone.batch(rows, every_choice=True)).flatten().tolist()


@pytest.mark.parametrize("position", ["first", "suffix"])
def test_hidden_tokens_are_not_seen_and_what_stands_right_behind_one_is_refused(position):
    bone = _frozen("llama", position)
    ticket = architectures.ticket(bone, mask=architectures.MASKS["one token"], dropped_as="hide")
    with torch.no_grad():
        prompts = prompt_batch([Member(ticket)])
    if position == "suffix":
        with pytest.raises(ConfigError, match="nothing can be written behind a hidden token"):
            generate(bone, prompts, _texts(), DECODING)
        return
    (written,) = generate(bone, prompts, _texts(), DECODING)
    scored = [Encoded(0, text, ((ids[0],), (ids[0] - 1,)), 0) for text, ids in zip(_texts(), written, strict=True)]
    logits = bone.logits(prompts, bone.batch([scored], every_choice=True))[0]
    assert (logits[:, 0] > logits[:, 1]).all()


def test_a_model_that_cannot_write_is_refused_in_one_line():
    bone = architectures.frozen("bert")
    with pytest.raises(ConfigError, match="BertModel answers by a head and writes no text"):
        generate(bone, bone.no_prompt(), _texts(), DECODING)
