"""A model is tried before it is believed (models/trial.py)."""

import copy
import math
from dataclasses import replace
from functools import lru_cache

import architectures
import pytest
import tiny
import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.modeling_outputs import BaseModelOutput

import prunekit as pk
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.models import Encoded, Head, PromptBatch, find_traits, trial, wrap
from prunekit.models.traits import Traits
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator

pytestmark = [
    # PEFT asks transformers 5.23 by a name that warns
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    # transformers 5.0 has ModernBERT and DeBERTa use what torch no longer likes
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
]

_COMMON = tiny.COMMON | tiny.ENDS | dict(pad_token_id=0, initializer_range=0.02)
_SEQ2SEQ = tiny.MODELS["bart"][2] | dict(decoder_start_token_id=0, scale_embedding=True, init_std=0.02)
_GEMMA = _COMMON | dict(
    num_key_value_heads=2, head_dim=8, vocab_size_per_layer_input=tiny.VOCABULARY, hidden_size_per_layer_input=8,
    num_hidden_layers=4, layer_types=["sliding_attention"] * 3 + ["full_attention"], num_kv_shared_layers=0,
    sliding_window=8,
)  # fmt: skip
_DEBERTA = _COMMON | dict(relative_attention=True, pos_att_type=["p2c", "c2p"], position_biased_input=False)
_MODERNBERT = _COMMON | dict(local_attention=6, global_attn_every_n_layers=2, cls_token_id=3, sep_token_id=1)
_GEMMA3N = _GEMMA | dict(laurel_rank=8, altup_num_inputs=2, activation_sparsity_pattern=[0.0] * 4)
# name -> how it is made
_STRANGERS = {
    "marian": (AutoModelForSeq2SeqLM, "marian", _SEQ2SEQ),
    "pegasus": (AutoModelForSeq2SeqLM, "pegasus", _SEQ2SEQ),
    "gemma3n": (AutoModelForCausalLM, "gemma3n_text", _GEMMA3N),
    "gemma4": (AutoModelForCausalLM, "gemma4_text", _GEMMA | dict(global_head_dim=8)),
    "modernbert": (AutoModel, "modernbert", _MODERNBERT),
    "deberta": (AutoModel, "deberta-v2", _DEBERTA),
    "mpnet": (AutoModel, "mpnet", _COMMON),
    "longformer": (AutoModel, "longformer", _COMMON | dict(attention_window=[8, 8])),
    "fnet": (AutoModel, "fnet", _COMMON),
    "roberta of another padding row": (AutoModel, "roberta", _COMMON | dict(pad_token_id=1)),
    "esm": (AutoModel, "esm", _COMMON | dict(token_dropout=True, mask_token_id=2, position_embedding_type="rotary")),
}


def stranger(name: str):
    """A random model, float32, eval mode, whose weights are wide enough that faults show."""
    loader, kind, settings = _STRANGERS[name]
    if kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {kind}")
    model = tiny.built(loader, kind, settings)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator("stranger", name)) * 0.15)
    return model


def tokenizer():
    return tiny.tokenizer("llama")


def positions(name):
    return ("after-cls", "first") if _STRANGERS[name][0] is AutoModel else ("first",)


def followed(name: str, position: str = "auto"):
    """A copy of a stranger that was wrapped once."""
    return tiny.copied(_wrapped(name, "auto" if position == positions(name)[0] else position))


@lru_cache
def _wrapped(name: str, position: str):
    return wrap(stranger(name), tokenizer(), position=position)


# ---- what the trial sees


@pytest.mark.parametrize(
    ("name", "traits"),
    [
        ("marian", Traits(scale=math.sqrt(32), together="rows")),
        ("pegasus", Traits(scale=math.sqrt(32), together="rows")),
        ("gemma3n", Traits(per_layer=True, first_position=0)),
        ("gemma4", Traits(per_layer=True, first_position=0)),
        ("modernbert", Traits(first_position=0, together="rows")),
        ("deberta", Traits(first_position=0, together="rows")),
        ("mpnet", Traits(first_position=2, together="rows")),
        ("fnet", Traits(first_position=0, together="lengths")),
        ("roberta of another padding row", Traits(first_position=2)),
    ],
)
def test_a_model_is_given_its_rows_as_the_trial_showed(name, traits):
    assert followed(name).traits == traits


@pytest.mark.parametrize("kind", [*architectures.KINDS])
def test_usual_models_need_nothing_and_rows_share_a_pass(kind):
    traits = architectures.frozen(kind).traits
    assert traits.scale == 1 and not traits.per_layer
    assert traits.together == ("rows" if kind == "bart" else "batch")


def test_a_model_that_cannot_be_followed_is_refused_with_what_was_seen():
    said = r"EsmModel: the model answers otherwise from embeddings than from token ids \(by"
    with pytest.raises(ConfigError, match=said):
        wrap(stranger("esm"), tokenizer())


def test_a_model_that_answers_otherwise_each_time_is_refused():
    model = copy.deepcopy(tiny.model("gpt2"))
    inner = model.transformer.h[0].mlp.forward
    model.transformer.h[0].mlp.forward = lambda hidden: inner(hidden) + torch.rand(hidden.shape)
    with pytest.raises(ConfigError, match="the same row is answered otherwise when it is asked again"):
        wrap(model, tokenizer())


def test_a_model_that_looks_ahead_is_no_decoder():
    settings = dict(vocab_size=tiny.VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=64, initializer_range=0.2)
    with pytest.raises(ConfigError, match="no causal language model: a token changes what the model says before it"):
        wrap(tiny.built(AutoModelForCausalLM, "xlnet", settings), tokenizer())


def test_a_model_without_its_head_is_told_how_to_be_loaded():
    bare = copy.deepcopy(tiny.model("gpt2")).transformer
    with pytest.raises(ConfigError, match="GPT2Model: the model has no language-modelling head; load it by Auto"):
        wrap(bare, tokenizer())


def test_an_encoder_whose_first_state_knows_nothing_of_its_row_is_refused():
    model = stranger("modernbert")

    def deaf(input_ids=None, inputs_embeds=None, attention_mask=None, position_ids=None):
        embeds = model.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        return BaseModelOutput(last_hidden_state=embeds.cumsum(dim=1))

    model.forward = deaf
    with pytest.raises(ConfigError, match="the state of a row's first token does not depend on the rest of the row"):
        wrap(model, tokenizer())


@pytest.mark.parametrize("kind", ["albert", "big_bird"])
def test_a_pooler_of_two_parts_is_read_as_the_model_reads_it(kind):
    model = tiny.built(AutoModel, kind, _COMMON | dict(embedding_size=32))
    assert isinstance(model.pooler, nn.Linear)
    bone = wrap(model, tokenizer(), position="first")
    prompt, text = [8, 9], (10, 11, 12, 13)
    weight = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    row = Encoded(0, text, ((), ()), 0)
    with torch.no_grad():
        answers = bone.logits(cohort_of_ids(bone, [prompt], weight), bone.batch([[row]], every_choice=True))[0, 0]
        wanted = model(input_ids=torch.tensor([[*prompt, *text]])).pooler_output[0] @ weight.T
    assert (answers - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_experts_of_an_encoder_decoder_get_the_output_of_their_own_encoder():
    loader, _, settings = tiny.MODELS["t5"]
    experts = dict(num_decoder_layers=2, num_experts=4, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1)
    assert wrap(tiny.built(loader, "switch_transformers", settings | experts), tokenizer()).traits == Traits()


@pytest.mark.filterwarnings("ignore")  # torch's own, of the quantising
def test_a_model_that_lets_no_gradient_through_is_refused_before_it_is_trained(tmp_path):
    tiny.save_task(tmp_path / "toy")
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(tiny.model("llama")), {nn.Linear}, torch.qint8)
    task, data = str(tmp_path / "toy" / "toy.toml"), str(tmp_path / "toy")
    with pytest.raises(ConfigError, match="no gradient reaches a prompt through this model"):
        pk.prune(quantised, tokenizer(), task, data=data, prompt_tokens=4, pieces=4, threads=1, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_model_that_takes_no_embeddings_is_refused_in_one_line():
    model = copy.deepcopy(tiny.model("gpt2"))
    inner = model.transformer.forward

    def ids_alone(*args, inputs_embeds=None, **more):
        if inputs_embeds is not None:
            raise NotImplementedError("no embeddings\nhere")
        return inner(*args, **more)

    model.transformer.forward = ids_alone
    said = r"cannot be given rows of embeddings.*NotImplementedError: no embeddings here"
    with pytest.raises(ConfigError, match=said):
        wrap(model, tokenizer())


# ---- answers, against the plain model and its ids


def by_ids(model, position, prompt, text, choices, weight, start=None):
    """Scores [C] of one unpadded row of ids; nothing but the Hugging Face model."""
    at = {"first": 0, "after-cls": 1, "suffix": len(text)}[position]
    row = [*text[:at], *prompt, *text[at:]]
    if weight is not None:
        state = model(input_ids=torch.tensor([row])).last_hidden_state
        first = state[:, 0]
        if position == "first" and getattr(model, "pooler", None) is not None:
            first = model.pooler(state)
        return (first @ weight.T)[0]
    scores = []
    for choice in choices:
        if model.config.is_encoder_decoder:
            begun = torch.tensor([[start, *choice[:-1]]])
            logits = model(input_ids=torch.tensor([row]), decoder_input_ids=begun).logits[0]
        else:
            logits = model(input_ids=torch.tensor([[*row, *choice[:-1]]])).logits[0, -len(choice) :]
        scores.append(sum(logits[n].log_softmax(-1)[token] for n, token in enumerate(choice)))
    return torch.stack(scores)


def cohort_of_ids(bone, prompts, weight):
    """Prompts that are the embeddings of ids, padded to the longest as a cohort is."""
    width = max(map(len, prompts))
    values = torch.stack([bone.embed(torch.tensor([p[0]] * (width - len(p)) + list(p))) for p in prompts])
    there = torch.tensor([[False] * (width - len(p)) + [True] * len(p) for p in prompts])
    head = None if weight is None else Head(weight.expand(len(prompts), -1, -1), torch.zeros(len(prompts), 2))
    return PromptBatch(values, there, there, there.long(), None, head)


def head_of(bone):
    """The weights [2, H] of a head, where the model answers by one."""
    return torch.randn(2, bone.hidden_width, generator=generator("head")) if bone.answers_by_head else None


CELLS = [(name, position) for name in _STRANGERS if name != "esm" for position in positions(name)]


@pytest.mark.parametrize(("name", "position"), CELLS)
def test_unequal_prompts_and_texts_side_by_side_are_answered_as_their_ids_alone(name, position):
    bone = followed(name, position)
    layered = bone.traits.per_layer  # a prompt token's own layers get the padding's embeddings
    prompts = [[0] * 8, [0] * 2, [0] * 5] if layered else [[*range(8, 16)], [21, 22], [*range(30, 35)]]
    texts = [tuple(range(10, 10 + length)) for length in (19, 4, 11)]
    choices = ((7,), (9, 8, 5))
    rows = [Encoded(n, text, choices, 0) for n, text in enumerate(texts)]
    weight = head_of(bone)
    with torch.no_grad():
        answers = bone.logits(cohort_of_ids(bone, prompts, weight), bone.batch([rows], every_choice=True))
        for member, prompt in enumerate(prompts):
            for number, text in enumerate(texts):
                start = None if weight is not None else getattr(bone.config, "decoder_start_token_id", None)
                wanted = by_ids(bone.model, position, prompt, text, choices, weight, start)
                assert (answers[member, number] - wanted).abs().max() <= 1e-5 * max(20.0, float(wanted.abs().max()))


@pytest.mark.parametrize("name", ["modernbert", "deberta", "mpnet", "longformer", "fnet", "marian", "gemma3n"])
def test_members_get_the_gradients_that_they_get_alone(name):
    bone = followed(name)
    rows = tiny.encoded(bone, tiny.examples(4))
    masks = [tiny.masked([True] * 4), tiny.masked([False, False, True, False])]
    gradients = []
    for together in (True, False):
        members = [Member(replace(tiny.ticket(bone, seed=seed), mask=mask)) for seed, mask in enumerate(masks)]
        for group in [members] if together else [[member] for member in members]:
            bone.losses(prompt_batch(group), bone.batch([rows], every_choice=False)).sum().backward()
        gradients.append([member.masked.prompt.values.grad for member in members])
    for beside, alone in zip(*gradients, strict=True):
        assert alone.abs().max() > 0
        assert (beside - alone).abs().max() <= 1e-5 * alone.abs().max()


@pytest.mark.parametrize("name", ["marian", "modernbert", "roberta of another padding row"])
def test_what_the_trial_would_have_let_pass_is_wrong_by_more_than_its_bar(name):
    """The same comparison with the traits that 0.1.0 took for granted: the check can fail."""
    bone = followed(name)
    weight = head_of(bone)
    choices, text = ((7,), (9, 8, 5)), tuple(range(10, 24))
    row = Encoded(0, text, choices, 0)
    bone.traits = Traits(first_position=bone.traits.first_position and 1)
    with torch.no_grad():
        answers = bone.logits(
            cohort_of_ids(bone, [[8, 9, 10, 11, 12, 13], [21]], weight), bone.batch([[row]], every_choice=True)
        )
        start = None if weight is not None else bone.config.decoder_start_token_id
        wanted = by_ids(bone.model, bone.position, [21], text, choices, weight, start)
    assert (answers[1, 0] - wanted).abs().max() > 1e-3 * wanted.abs().max()


# ---- lengths at which models begin to read otherwise


def test_longer_texts_are_tried_once_they_reach_a_window():
    settings = _MODERNBERT | dict(local_attention=200, max_position_embeddings=300)
    bone = wrap(tiny.built(AutoModel, "modernbert", settings), tokenizer(), max_input_tokens=32)
    assert bone.tried_tokens == 6
    find_traits(bone, 100)
    assert bone.tried_tokens == 6
    find_traits(bone, 201)
    assert bone.tried_tokens == 201


def test_a_window_is_met_at_load():
    assert followed("modernbert").tried_tokens == 7
    assert architectures.frozen("mistral").tried_tokens == 9


# ---- models in a wrapping


def lora(model):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["c_attn"], init_lora_weights=False, fan_in_fan_out=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return peft.get_peft_model(model, config).eval()


def test_a_lora_wrapped_model_answers_with_its_adapter():
    plain = tiny.model("gpt2")
    wrapped = lora(copy.deepcopy(plain))
    bone, bare = wrap(wrapped, tokenizer()), tiny.frozen("gpt2")
    rows, ticket = tiny.encoded(bare, tiny.examples(4)), tiny.ticket(bare)
    answers, without = (tiny.logits(each, rows, ticket)[0] for each in (bone, bare))
    with torch.no_grad():
        for row, scores in zip(rows, answers, strict=True):
            embeds = torch.cat([ticket.state["values"], wrapped.get_input_embeddings()(torch.tensor(row.text))])[None]
            logits = wrapped(inputs_embeds=embeds).logits[0, -1].log_softmax(-1)
            wanted = torch.stack([logits[choice[0]] for choice in row.choices])
            assert (scores - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert (answers - without).abs().max() > 1e-2


def test_a_lora_wrapped_model_is_pruned_and_left_as_it_was(tmp_path):
    tiny.save_task(tmp_path / "toy")
    wrapped = lora(copy.deepcopy(tiny.model("gpt2")))
    asking = [name for name, parameter in wrapped.named_parameters() if parameter.requires_grad]
    run = pk.prune(
        wrapped, tokenizer(), str(tmp_path / "toy" / "toy.toml"), data=str(tmp_path / "toy"), rounds=1, prompt_tokens=4,
        pieces=4, train_steps=4, evaluate_every=2, threads=1, quiet=True, out=tmp_path / "runs",
    )  # fmt: skip
    assert asking and [name for name, parameter in wrapped.named_parameters() if parameter.requires_grad] == asking
    ids = torch.tensor([[8, 9, 10]])
    with torch.no_grad():
        assert run.best.attach(wrapped).forward(ids).logits.isfinite().all()


def test_a_prompt_of_pefts_own_is_refused():
    peft = pytest.importorskip("peft")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    wrapped = peft.get_peft_model(copy.deepcopy(tiny.model("gpt2")), config)
    said = r"wrapped by PEFT \(PROMPT_TUNING\), and what the wrapping adds would be lost"
    with pytest.raises(ConfigError, match=said):
        wrap(wrapped, tokenizer())


# ---- ids


def test_any_id_pads_even_one_behind_the_embedding():
    longer = copy.deepcopy(tiny.tokenizer("gpt2"))
    longer.add_special_tokens({"pad_token": "[PAD]"})
    assert longer.pad_token_id == tiny.VOCABULARY
    bone, usual = wrap(copy.deepcopy(tiny.model("gpt2")), longer), tiny.frozen("gpt2")
    assert bone.pad == 0
    rows, ticket = tiny.encoded(bone, tiny.examples(4)), tiny.ticket(usual)
    assert torch.equal(tiny.logits(bone, rows, ticket), tiny.logits(usual, rows, ticket))


def test_hidden_tokens_are_refused_where_the_model_sees_them():
    bone = followed("fnet")
    assert not bone.can_hide
    ticket = replace(tiny.ticket(bone, dropped_as="hide"), mask=tiny.masked([True, False, True, True]))
    with pytest.raises(ConfigError, match="FNetModel reads prompt tokens that the attention mask hides"):
        tiny.logits(bone, tiny.encoded(bone, tiny.examples(2)), ticket)


# ---- tickets on the user's own model


@pytest.mark.parametrize(
    "name", ["marian", "pegasus", "gemma4", "gemma3n", "modernbert", "deberta", "roberta of another padding row"]
)
def test_an_attached_ticket_answers_as_the_code_that_trained_it(name):
    model, bone = stranger(name), followed(name)
    ticket = tiny.ticket(bone)
    rows = tiny.encoded(bone, tiny.examples(5))
    attached = pk.attach(model, ticket)
    ids = architectures.padded([torch.tensor(row.text) for row in rows], "right")
    wanted = tiny.logits(bone, rows, ticket)[0]
    with torch.no_grad():
        if bone.answers_by_head:
            answers = attached.forward(**ids).logits
        elif bone.config.is_encoder_decoder:
            begun = torch.tensor([[bone.start_id, row.choices[0][0]] for row in rows])
            logits = attached.forward(**ids, decoder_input_ids=begun).logits.log_softmax(-1)
            first, second = (torch.tensor([row.choices[0][n] for row in rows]) for n in (0, 1))
            each = torch.arange(len(rows))
            answers = (logits[each, 0, first] + logits[each, 1, second])[:, None]
            wanted = wanted[:, :1]
        else:
            last = ids["attention_mask"].sum(1) - 1
            logits = attached.forward(**ids).logits[torch.arange(len(rows)), last].log_softmax(-1)
            answers = torch.stack([logits[:, row[0]] for row in rows[0].choices], dim=1)
    assert (answers - wanted).abs().max() <= 1e-5 * max(20.0, float(wanted.abs().max()))


def test_rows_that_must_go_alone_are_refused_together_by_an_attached_model():
    attached = pk.attach(stranger("fnet"), tiny.ticket(followed("fnet")))
    ids = architectures.padded([torch.tensor([5, 6, 7]), torch.tensor([5, 6])], "right")
    with pytest.raises(ConfigError, match="FNetModel answers rows of unequal length otherwise when they share a batch"):
        attached.forward(**ids)
    assert attached.forward(torch.tensor([[5, 6, 7]])).logits.isfinite().all()


def test_an_embedding_of_another_kind_still_tells_its_rows():
    bone = tiny.frozen("gpt2")
    assert bone.embedding_rows == tiny.VOCABULARY
    bone.model.set_input_embeddings(nn.Embedding(70, 32))
    assert bone.embedding_rows == 70


def test_an_encoder_whose_states_are_wider_than_its_embeddings_is_pruned_and_its_ticket_read_again(tmp_path):
    model = tiny.built(AutoModel, "electra", _COMMON | dict(embedding_size=16))
    tiny.save_task(tmp_path / "toy")
    task, data = str(tmp_path / "toy" / "toy.toml"), str(tmp_path / "toy")
    more = dict(rounds=1, prompt_tokens=4, pieces=4, train_steps=4, evaluate_every=2, threads=1, quiet=True)
    run = pk.prune(model, tokenizer(), task, data=data, out=tmp_path / "runs", **more)
    ticket = run.ticket(round=1)
    assert ticket.head["weight"].shape == (2, 32)
    assert ticket.state["values"].shape[1] == 16
    assert pk.evaluate(ticket, model, tokenizer(), task, data=data)["accuracy"] == run.results["test_accuracy"][1]
    narrow = {"weight": ticket.head["weight"][:, :31], "bias": ticket.head["bias"]}
    with pytest.raises(ConfigError, match="the ticket's head is 31 wide, the model's states 32"):
        pk.attach(model, replace(ticket, head=narrow))


@pytest.mark.parametrize(("precision", "bar"), [("highest", trial.BARS[torch.float32]), ("high", trial.NARROW_BAR)])
def test_float32_is_tried_as_narrow_numbers_where_a_card_multiplies_in_tf32(precision, bar, monkeypatch):
    bone = tiny.frozen("gpt2")
    monkeypatch.setattr(type(bone), "device", torch.device("cuda"))
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)
    assert trial._bar(bone) == bar
