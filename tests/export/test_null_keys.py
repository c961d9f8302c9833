"""Prefixes that some heads alone do not see, as PEFT adapters: null keys in their slots, or one line why not."""

from dataclasses import replace
from functools import lru_cache

import architectures as arch
import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load

from prunekit import export
from prunekit.export import TicketInfo, null_keys
from prunekit.export.cache import cache_files
from prunekit.export.null_keys import HeadQueries, separating_key
from prunekit.export.prefix_tuning import compacted, seen_by_head
from prunekit.export.verify import measure, measure_cache
from prunekit.models import wrap
from prunekit.models.prompt_batch import stack
from prunekit.models.queries import queries_of
from prunekit.support.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore")  # PEFT's and transformers' own, others in every version
TEXTS = [tuple(ids.tolist()) for ids in arch.texts(24)]
RAGGED = tiny.masked([True, False, True, True, False], drop=[(0, 1), (0, 2), (3, 0), (3, 3)])
LAYERS = tiny.masked([True, False, True, True, True], 2, drop=[(0, 1), (3, 0)])
# coordinates of a query that turn slowly, if at all
SLOW = {"llama": (2, 3, 6, 7), "gpt2": tuple(range(8))}


@lru_cache
def _biased(kind: str):
    """A model all of whose queries have one large part in common, as trained ones have."""
    loader, name, settings = tiny.MODELS[kind]
    model = tiny.built(loader, name, settings | ({"attention_bias": True} if kind == "llama" else {}))
    with torch.no_grad():
        for name, bias in model.named_parameters():
            if name.endswith(("q_proj.bias", "c_attn.bias")):
                bias[: tiny.WIDTH].view(4, 8)[:, list(SLOW[kind])] += 12.0
    return wrap(model, tiny.tokenizer(kind), position="prefix-kv")


def biased(kind: str):
    return tiny.copied(_biased(kind))


def ragged(bone, mask=RAGGED, **more):
    return replace(
        tiny.ticket(bone, tokens=5, pieces=mask.piece.shape[1], **({"dropped_as": "hide"} | more)), mask=mask
    )


def filled(bone, ticket, *, text_tokens=40):
    """The null keys of a ticket, made from some texts and tried on others."""
    compact, prompts = compacted(ticket, bone), stack([ticket.prompt()])
    keys = null_keys.find(compact, bone, queries_of(bone, prompts, TEXTS[:16]), len(compact.mask.token), text_tokens)
    return null_keys.verified(keys, compact, bone, queries_of(bone, prompts, TEXTS[16:]))


@pytest.mark.parametrize("mask", [RAGGED, LAYERS], ids=["heads", "layers"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_peft_answers_as_if_heads_did_not_see_what_they_must_not(kind, mask, tmp_path):
    bone = biased(kind)
    ticket = ragged(bone, mask)
    keys = filled(bone, ticket)
    folder = arch.written(tmp_path, export.adapter_files(ticket, bone, TicketInfo(), keys))
    agreement = measure(folder, ticket, bone, TEXTS[16:])
    assert agreement.difference <= 1e-5 * agreement.largest
    assert keys.share <= 1e-8
    zeros = replace(keys, keys=torch.zeros_like(keys.keys))  # zero is not absent
    arch.written(tmp_path, export.adapter_files(ticket, bone, TicketInfo(), zeros))
    assert measure(folder, ticket, bone, TEXTS[16:]).difference > 1e-3 * agreement.largest


def test_what_is_exported_says_how_far_it_holds_and_comes_back_as_the_ticket(tmp_path):
    bone = biased("llama")
    ticket = ragged(bone)
    keys = filled(bone, ticket)
    folder = arch.written(tmp_path, export.adapter_files(ticket, bone, TicketInfo(), keys))
    about = export.adapters.read_stamped(folder / "prunekit.json", "")["about"]
    assert about["null_keys"] == {"heads": 4, "text_tokens": 40, "largest_share": keys.share}
    assert about["beside_prompt"] == 40
    restored, compact = export.read_adapter(str(folder)), compacted(ticket, bone)
    assert torch.equal(restored.mask.piece, compact.mask.piece)
    assert torch.equal(restored.state["values"], compact.state["values"])


def test_a_cache_file_answers_alike_in_transformers(tmp_path):
    bone = biased("llama")
    ticket = ragged(bone)
    keys = filled(bone, ticket)
    content = cache_files(ticket, bone, TicketInfo(), keys)["cache.safetensors"]
    tensors = load(content)
    assert tensors["layers.1.values"].shape == (1, 2, 3, 8)
    hidden = ~seen_by_head(compacted(ticket, bone).mask, bone.shape)[:, 1, 0]
    assert torch.equal(tensors["layers.1.keys"][0, 0, hidden][0], keys.keys[1, 0])
    assert not tensors["layers.1.values"][0, 0, hidden].any()
    agreement = measure_cache(content, ticket, bone, TEXTS[16:])
    assert agreement.difference <= 1e-5 * agreement.largest
    bone.model.to(torch.bfloat16)
    narrow = measure_cache(content, ticket, bone, TEXTS[16:])
    assert narrow.difference <= 0.1 * narrow.largest  # keys and values of 8 bits


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("llama", r"4 of the 4 heads that .* \(2 of layer 0, 2 of layer 1\)"),
        ("neox", r"8 of the 8 heads that .* \(4 of layer 0, 4 of layer 1\)"),
        ("gpt2", r"\d of the 8 heads that .* \(\d of layer 0, \d of layer 1\)"),
    ],
)
def test_random_heads_have_no_such_key_and_the_line_says_how_many_of_which_layers(kind, line):
    bone = tiny.frozen(kind, position="prefix-kv")
    with pytest.raises(ConfigError, match=f"^{line}, and PEFT shows a token to all heads; use --whole"):
        filled(bone, ragged(bone))


def test_a_cap_on_scores_that_leaves_too_much_is_refused():
    bone = biased("llama")
    ticket = ragged(bone)
    compact, prompts = compacted(ticket, bone), stack([ticket.prompt()])
    queries = [replace(layer, cap=4.0) for layer in queries_of(bone, prompts, TEXTS)]
    with pytest.raises(ConfigError, match=r"of the 4 heads .* no key that all their queries turn away from far enough"):
        null_keys.find(compact, bone, queries, 3, 40)


def test_null_keys_that_other_texts_look_at_are_refused():
    bone = biased("llama")
    ticket = ragged(bone)
    keys = filled(bone, ticket)
    turned_over = replace(keys, keys=-keys.keys)
    compact, queries = compacted(ticket, bone), queries_of(bone, stack([ticket.prompt()]), TEXTS[16:])
    with pytest.raises(ConfigError, match="4 of the 4 heads"):
        null_keys.verified(turned_over, compact, bone, queries)


def test_a_key_points_away_from_queries_at_all_positions_and_there_is_none_where_the_origin_lies_among_them():
    draw = torch.Generator().manual_seed(0)
    pairs, slow = torch.tensor([[0, 2], [1, 3]]), torch.tensor([1.0, 0.001])
    states = torch.randn(50, 4, generator=draw)
    steps = -slow * torch.arange(100)[:, None]
    assert separating_key(HeadQueries(states, pairs, steps)) is None
    states = states + torch.tensor([0.0, 9.0, 0.0, 0.0])
    key = separating_key(HeadQueries(states, pairs, steps))
    angles = np.arange(100)[:, None] * np.array([1.0, 0.001])
    numbers = (states[:, :2] + 1j * states[:, 2:]).numpy()[:, None] * np.exp(1j * angles)  # [N, n, 2]
    products = (numbers * (key[:2] - 1j * key[2:]).numpy()).real.sum(-1)
    assert products.max() < 0
    every_way = torch.cat([states, states * torch.tensor([1.0, -1.0, 1.0, -1.0])])
    assert separating_key(HeadQueries(every_way, pairs, steps)) is None
