"""Tasks as chats: against ids by the tokenizer's own chat template over the whole conversation, and the plain model."""

import copy
from functools import lru_cache

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from prunekit.models import wrap
from prunekit.models.chat import written
from prunekit.models.prompt_batch import PromptBatch
from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks import Example

# as many of them do, it writes the first special token itself and takes blanks off the words
TEMPLATE = (
    "{{ '<s> ' }}{% for message in messages %}{{ ('very ' if message['role'] == 'user' else 'w39 : ') }}"
    "{{ message['content'] | trim }}{{ ' </s> ' }}{% endfor %}{% if add_generation_prompt %}{{ 'w39 : ' }}{% endif %}"
)
ANSWERS = ("good", "very bad")
PROMPT = (9, 11, 13)


def talking(kind="llama", template=TEMPLATE):
    tokenizer = copy.deepcopy(tiny.tokenizer(kind))
    tokenizer.chat_template = template
    return tokenizer


def examples(turns=()):
    texts = ["w1 w2 w3", " w4 ", "w5 w6 w7 w8 w9"]
    return [
        Example(number, "{text} w20 :", {"text": text}, ANSWERS, (number % 2,), chat=True, turns=turns)
        for number, text in enumerate(texts)
    ]


def plain_losses(model, tokenizer, example, prompt, position):
    """Mean negative log-likelihood of each answer, from ids by `apply_chat_template` over the whole conversation."""
    said = [dict(role=role, content=words) for turn in example.turns for role, words in zip(ROLES, turn, strict=True)]
    said.append(dict(role="user", content=example.text))
    options = dict(tokenize=True, return_dict=False)
    asked = tokenizer.apply_chat_template(said, add_generation_prompt=True, **options)
    losses = []
    for answer in example.choices:
        whole = tokenizer.apply_chat_template([*said, dict(role="assistant", content=answer)], **options)
        assert whole[: len(asked)] == asked
        count = len(tokenizer(answer, add_special_tokens=False)["input_ids"])
        ids = torch.tensor(whole[: len(asked) + count])
        embeds = model.get_input_embeddings()(ids)
        place = 0 if position == "first" else len(asked)
        embeds = torch.cat([embeds[:place], prompt, embeds[place:]])
        with torch.no_grad():
            logprobs = model(inputs_embeds=embeds[None]).logits[0].float().log_softmax(-1)
        last = len(embeds) - count - 1
        losses.append(-logprobs[torch.arange(last, last + count), ids[-count:]].mean())
    return torch.stack(losses)


ROLES = ("user", "assistant")


def measured_losses(bone, some, prompt):
    """The same as prunekit computes it."""
    rows = bone.encode(some, own_choices=False, prompt_tokens=len(prompt))
    present = torch.ones(1, len(prompt), dtype=torch.bool)
    prompts = PromptBatch(prompt[None], present, present, present.long())
    with torch.no_grad():
        totals = bone.logits(prompts, bone.batch([rows], every_choice=True))[0]
    return -totals / torch.tensor([[len(choice) for choice in row.choices] for row in rows])


@pytest.mark.parametrize("position", ["first", "suffix"])
@pytest.mark.parametrize("turns", [(), (("w30 w31", "good"), ("w32", "very bad"))], ids=["one turn", "three"])
def test_losses_of_a_chat_are_those_of_the_plain_model_on_the_whole_conversation(position, turns):
    tokenizer = talking()
    bone = wrap(copy.deepcopy(tiny.model("llama")), tokenizer, position=position)
    some, prompt = examples(turns), bone.embed(torch.tensor(PROMPT))
    naive = torch.stack([plain_losses(bone.model, tokenizer, example, prompt, position) for example in some])
    torch.testing.assert_close(measured_losses(bone, some, prompt), naive, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("most", "words"), [
    (256, "<s> very w5 w6 w7 w8 w9 w20 : </s> w39 :"),
    (9, "<s> very w5 w6 w20 : </s> w39 :"),
])  # fmt: skip
def test_a_text_starts_with_its_token_once_and_one_that_is_cut_keeps_the_words_around_it(most, words):
    bone = wrap(copy.deepcopy(tiny.model("llama")), talking(), position="first", max_input_tokens=most)
    (row,) = bone.encode([examples()[2]], own_choices=False, prompt_tokens=0)
    assert row.cut == (most == 9)
    assert bone.tokenizer.decode(row.text) == words


def test_braces_of_the_conversation_are_no_fields():
    template = talking(template="{{ '{ ' + messages[0]['content'] + ' }' }}")
    assert written(template, "{text}:").format(text="w1") == "{ w1: }"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "has no chat template; leave chat out"),
        ("{{ raise_exception('no users here') }}", "chat template fails: no users here"),
        ("{{ messages[0]['content'] | lower }}", "does not write a user's words once"),
    ],
)
def test_what_writes_no_chat_is_said_in_one_line(template, reason):
    with pytest.raises(ConfigError, match=reason):
        written(talking(template=template), "{text}")


def test_a_row_that_says_a_special_token_of_the_chat_is_refused_by_name():
    bone = wrap(copy.deepcopy(tiny.model("llama")), talking(), position="first")
    row = Example(4, "{text} :", {"text": "w1 </s>"}, ANSWERS, (0,), chat=True)
    with pytest.raises(DataError, match='example 4: the field "text" says "</s>"'):
        bone.encode([row], own_choices=False, prompt_tokens=0)


@lru_cache
def smollm2(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@pytest.mark.slow
@pytest.mark.parametrize("position", ["first", "suffix"])
def test_losses_of_smollm2_in_its_chat_are_those_of_the_plain_model(position, shared):
    folder = shared / "models" / "smollm2-135m-instruct"
    if not folder.is_dir():
        pytest.skip("no smollm2-135m-instruct: python ../shared/models/make.py smollm2-135m-instruct")
    model, tokenizer = smollm2(folder)
    bone = wrap(model, tokenizer, position=position)
    texts = ["a stirring , funny film", "it 's a dull mess {of} braces", "neither good nor bad , but long ."]
    template = "Review: {text}\nIs it positive or negative?"
    some = [
        Example(number, template, {"text": text}, ("positive", "rather negative"), (0,), chat=True)
        for number, text in enumerate(texts)
    ]
    prompt = bone.embed(torch.tensor(tokenizer("Answer truly", add_special_tokens=False)["input_ids"]))
    naive = torch.stack([plain_losses(model, tokenizer, example, prompt, position) for example in some])
    torch.testing.assert_close(measured_losses(bone, some, prompt), naive, rtol=1e-5, atol=1e-5)
