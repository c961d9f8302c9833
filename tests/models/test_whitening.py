import math

import pytest
import tiny
import torch
from torch import nn
from transformers import AutoModelForCausalLM, Gemma3Config

from prunekit.models import wrap
from prunekit.models.whitening import MOST_TEXTS, _first_attention, query_key_moment
from prunekit.support.errors import ConfigError


def exact(kind):
    return tiny.frozen(kind, dtype=torch.float64)


def texts(bone, count=6):
    return [one.text for one in tiny.encoded(bone, tiny.examples(count))]


# ---- X and the weights of each family, by hand


def first_block(model, kind):  # noqa: C901 (a case a family)
    """Function from ids [T] to X [T, H]; W_q, W_k as [head, size, H] of the first attention."""
    heads = 4

    def split(weight, count=heads):
        return weight.view(count, -1, weight.shape[1])

    match kind:
        case "t5":
            layer = model.encoder.block[0].layer[0]
            own = layer.SelfAttention
            return lambda ids: layer.layer_norm(model.shared.weight[ids]), split(own.q.weight), split(own.k.weight)
        case "bart":
            part = model.model.encoder
            scale = math.sqrt(tiny.WIDTH) if model.config.scale_embedding else 1.0

            def read(ids):
                positions = part.embed_positions.weight[2 : 2 + len(ids)]
                return part.layernorm_embedding(part.embed_tokens.weight[ids] * scale + positions)

            own = part.layers[0].self_attn
            return read, split(own.q_proj.weight), split(own.k_proj.weight)
        case "gpt2":
            part = model.transformer
            queries, keys, _ = part.h[0].attn.c_attn.weight.T.chunk(3)  # of [3 H, H]
            read = lambda ids: part.h[0].ln_1(part.wte.weight[ids] + part.wpe.weight[: len(ids)])  # noqa: E731
            return read, split(queries), split(keys)
        case "llama":
            part, layer = model.model, model.model.layers[0]
            keys = split(layer.self_attn.k_proj.weight, 2).repeat_interleave(2, dim=0)  # two heads of queries share one
            read = lambda ids: layer.input_layernorm(part.embed_tokens.weight[ids])  # noqa: E731
            return read, split(layer.self_attn.q_proj.weight), keys
        case "opt":
            part = model.model.decoder

            def read(ids):
                positions = part.embed_positions.weight[2 : 2 + len(ids)]
                return part.layers[0].self_attn_layer_norm(part.embed_tokens.weight[ids] + positions)

            own = part.layers[0].self_attn
            return read, split(own.q_proj.weight), split(own.k_proj.weight)
        case "neox":
            part = model.gpt_neox
            by_head = part.layers[0].attention.query_key_value.weight.view(heads, 3, -1, tiny.WIDTH)
            return lambda ids: part.layers[0].input_layernorm(part.embed_in.weight[ids]), by_head[:, 0], by_head[:, 1]
        case _:
            first = 1 if kind == "roberta" else 0
            part = model.embeddings

            def read(ids):
                positions = part.position_embeddings.weight[first : first + len(ids)]
                return part.LayerNorm(
                    part.word_embeddings.weight[ids] + part.token_type_embeddings.weight[0] + positions
                )

            own = model.encoder.layer[0].attention.self
            return read, split(own.query.weight), split(own.key.weight)


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_sigma_is_the_naive_sum_over_tokens_and_heads(kind):
    bone = exact(kind)
    read, queries, keys = first_block(bone.model, kind)
    total, count = torch.zeros(tiny.WIDTH, tiny.WIDTH, dtype=torch.float64), 0
    with torch.no_grad():
        for text in texts(bone):
            for x in read(torch.tensor(text)):
                g = sum(queries[head].T @ (keys[head] @ x) for head in range(len(queries)))
                total += torch.outer(g, g)
                count += 1
    found = query_key_moment(bone, texts(bone))
    assert found.dtype == torch.float64
    assert torch.allclose(found, total / count, rtol=0, atol=1e-10 * float(found.abs().max()))
    assert (torch.linalg.eigvalsh(found) > -1e-9 * found.abs().max()).all()


@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_it_is_the_same_every_time_and_texts_count_by_their_tokens(kind):
    bone = exact(kind)
    some = texts(bone)
    before = bone.digest()
    found = query_key_moment(bone, some)
    assert torch.equal(found, query_key_moment(bone, some))
    assert bone.digest() == before
    sizes = torch.tensor([len(text) for text in some]).double()
    each = torch.stack([query_key_moment(bone, [text]) for text in some])
    assert torch.allclose(found, torch.einsum("n,nhk->hk", sizes / sizes.sum(), each), rtol=1e-10, atol=0)


def test_the_rest_of_the_model_does_not_run_and_no_hook_stays():
    bone = exact("t5")
    bone.model.encoder.block[0].layer[1].register_forward_pre_hook(lambda *given: 1 / 0)
    query_key_moment(bone, texts(bone, 2))
    assert not bone.model.encoder.block[0].layer[0].SelfAttention.q._forward_pre_hooks


def test_no_more_texts_are_read_than_it_says(monkeypatch):
    monkeypatch.setattr("prunekit.models.whitening.MOST_TEXTS", 3)
    bone = exact("gpt2")
    assert torch.equal(query_key_moment(bone, texts(bone)), query_key_moment(bone, texts(bone)[:3]))
    assert MOST_TEXTS == 1000


def test_a_model_that_it_cannot_read_is_named_with_the_way_out():
    bone = exact("bert")
    own = bone.model.encoder.layer[0].attention.self
    for layer in bone.model.encoder.layer:
        layer.attention.self.query, layer.attention.self.other = nn.Identity(), layer.attention.self.query
    with pytest.raises(ConfigError, match=r"is unknown to this version of prunekit; .*--no-whiten"):
        query_key_moment(bone, texts(bone))
    own.query = nn.Linear(8, 8)
    own.key = nn.Linear(8, 8)
    with pytest.raises(ConfigError, match="its attention is 8 wide and its embeddings 32"):
        query_key_moment(bone, texts(bone))


def test_of_a_model_that_also_sees_the_layers_that_read_text_are_taken():
    text = dict(
        vocab_size=tiny.VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=80, pad_token_id=0, eos_token_id=1, bos_token_id=3,
    )  # fmt: skip
    sight = dict(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    config = Gemma3Config(
        text_config=text, vision_config=sight, mm_tokens_per_image=4, boi_token_index=1, eoi_token_index=1,
        image_token_index=2,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).float().eval()
    query, weights, keys = _first_attention(wrap(model, tiny.tokenizer("llama")))
    layers = model.get_decoder().layers
    assert query is layers[0].self_attn.q_proj
    assert torch.equal(weights, query.weight.double())
    assert len(keys) == len(weights) == 4 * 8
