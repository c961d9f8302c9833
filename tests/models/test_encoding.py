"""How texts and answers become ids: twelve kinds of tokenizer against plain log-probabilities of what is written."""

import copy
import json
import re
from functools import lru_cache

import pytest
import tiny
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

from prunekit.models import wrap
from prunekit.models.prompt_batch import PromptBatch
from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks import Example

SENTENCES = [
    "is it good? yes", "is it good? no", "answer: yes", "answer: no", "verdict=> yes", "verdict=> not at all",
    "answer: not at all", "the film was good", "the hotel was awful", "it was a good film\nyes", "the hotel was a film",
]  # fmt: skip
ANSWERS = ("yes", "no", "awful film")
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
PAD, BOS, EOS, UNK = range(4)
PROMPT = (5, 7)  # prompt vectors are these tokens' embeddings, so that plain input ids can say the same

# the text's end -> what stands before the answer by the rule of the docs: blanks of the text belong to the answer
ENDINGS = {
    "colon": "{text} answer:",
    "question": "{text} is it good?",
    "blank": "{text} answer: ",
    "newline": "{text} answer:\n",
    "field": "it was {text}",
    "arrow": "{text} verdict=>",
}
BYTES = pre_tokenizers.ByteLevel.alphabet()


def _trained(raw, sentences=SENTENCES, kind=trainers.BpeTrainer, vocab_size=420, **more):
    trainer = kind(vocab_size=vocab_size, special_tokens=SPECIAL, show_progress=False, **more)
    raw.train_from_iterator(sentences * 20, trainer)
    return raw


def _byte_level(regex: bool, prefix: bool = False):
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)
    raw.decoder = decoders.ByteLevel()
    return _trained(raw, initial_alphabet=BYTES)


def _words():
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return _trained(raw)


def _ends_of_words():
    raw = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.decoder = decoders.BPEDecoder()
    return _trained(raw, end_of_word_suffix="</w>")


def _sentencepiece_bpe():
    raw = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    raw.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training: no merges over blanks
    _trained(raw, [one.replace("\n", "") for one in SENTENCES])
    raw.pre_tokenizer = None
    return raw


def _unigram(scheme: str | None):
    raw = Tokenizer(models.Unigram())
    if scheme is None:
        raw.normalizer = normalizers.Replace(" ", "▁")
        raw.decoder = decoders.Replace("▁", " ")
    else:
        raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        raw.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return _trained(raw, kind=trainers.UnigramTrainer, vocab_size=120, unk_token="<unk>")


def _wordpiece():
    raw = Tokenizer(models.WordPiece(unk_token="<unk>"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    return _trained(raw, kind=trainers.WordPieceTrainer, vocab_size=200)


def _word_level():
    words = sorted({word for one in SENTENCES for word in one.replace(":", " :").replace("?", " ?").split()})
    raw = Tokenizer(
        models.WordLevel({word: position for position, word in enumerate(SPECIAL + words)}, unk_token="<unk>")
    )
    raw.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    return raw


# kind -> its rules, and what it adds around a text
KINDS = {
    "bpe": (_words, ""),
    "bpe, ends of words": (_ends_of_words, ""),
    "byte bpe": (lambda: _byte_level(regex=True), ""),
    "byte bpe without regex": (lambda: _byte_level(regex=False), ""),
    "byte bpe, bos": (lambda: _byte_level(regex=True), "<s> $A"),
    "byte bpe, bos and eos": (lambda: _byte_level(regex=True), "<s> $A </s>"),
    "byte bpe, blank before": (lambda: _byte_level(regex=True, prefix=True), ""),
    "byte bpe, added tokens": (lambda: _byte_level(regex=True), ""),
    "sentencepiece bpe, bos": (_sentencepiece_bpe, "<s> $A"),
    "unigram, dummy prefix, eos": (lambda: _unigram("always"), "$A </s>"),
    "unigram, no dummy prefix": (lambda: _unigram("never"), ""),
    "unigram over blanks": (lambda: _unigram(None), ""),
    "wordpiece, bos and eos": (_wordpiece, "<s> $A </s>"),
    "word level": (_word_level, ""),
}


@lru_cache
def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    build, around = KINDS[kind]
    raw = build()
    if around:
        raw.post_processor = processors.TemplateProcessing(
            single=around, special_tokens=[(name, SPECIAL.index(name)) for name in ("<s>", "</s>")]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    if "added" in kind:
        made.add_tokens(["=>", "awful film", AddedToken("yes", lstrip=True)])
    assert [made.convert_tokens_to_ids(name) for name in SPECIAL] == [PAD, BOS, EOS, UNK]
    return made


@lru_cache
def llama(kind: str):
    return tiny.built(AutoModelForCausalLM, "llama", dict(
        vocab_size=len(tokenizer(kind)), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.2,
        pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS))  # fmt: skip


@lru_cache
def t5(kind: str):
    return tiny.built(AutoModelForSeq2SeqLM, "t5", dict(
        vocab_size=len(tokenizer(kind)), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, pad_token_id=PAD,
        eos_token_id=EOS, decoder_start_token_id=PAD, initializer_factor=3.0)).double()  # fmt: skip


def closing(kind: str):
    """An encoder-decoder with such a tokenizer."""
    return wrap(t5(kind), tokenizer(kind))


def encoder(kind: str):
    sizes = dict(vocab_size=len(tokenizer(kind)), hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    return wrap(tiny.built(AutoModel, "bert", sizes), tokenizer(kind))


def examples(template, choices=ANSWERS, separator=" "):
    texts = ("the film was good", "the hotel was a film", "it was awful")
    return [
        Example(position, template, {"text": text}, choices, (0,), separator=separator)
        for position, text in enumerate(texts)
    ]


def scores(bone, some, own_choices=False):
    """[B, C], with the embeddings of PROMPT as the prompt."""
    rows = bone.encode(some, own_choices=own_choices, prompt_tokens=len(PROMPT))
    there = torch.ones(1, len(PROMPT), dtype=torch.bool)
    prompt = PromptBatch(bone.embed(torch.tensor(PROMPT))[None], there, there, there.long())
    with torch.no_grad():
        return bone.logits(prompt, bone.batch([rows], every_choice=True))[0]


def plain_ids(kind, text):
    """What the tokenizer makes of a string, less the </s> that it may add behind it."""
    ids = tokenizer(kind)(text).input_ids
    return ids[:-1] if "</s>" in KINDS[kind][1] else ids


@torch.no_grad()
def plain_score(kind, position, text, rest):
    """Sum of log p of the tokens that `rest` adds to the text; None where the text's own tokens change by it."""
    head, whole = plain_ids(kind, text), plain_ids(kind, text + rest)
    if whole[: len(head)] != head:
        return None
    before = [*PROMPT, *head] if position == "first" else [*head, *PROMPT]
    row = [*before, *whole[len(head) :]]
    logprobs = llama(kind)(input_ids=torch.tensor([row])).logits[0].log_softmax(-1)
    return float(sum(logprobs[at - 1, row[at]] for at in range(len(before), len(row))))


def written(template, text, separator):
    """Text and what stands before the answer, by the rule of the docs."""
    whole = template.replace("{text}", text)
    cut = whole.rstrip()
    blanks = whole[len(cut) :]
    return cut, blanks + ("" if blanks and separator == " " else separator)


def plain_table(kind, position, ending, separator):
    rows = []
    for example in examples(ENDINGS[ending]):
        text, between = written(ENDINGS[ending], example.fields["text"], separator)
        rows.append([plain_score(kind, position, text, between + answer) for answer in ANSWERS])
    return rows


@lru_cache
def decoder(kind, position, ranking="sum"):
    return wrap(llama(kind), tokenizer(kind), position=position, ranking=ranking)


# these join a mark, a blank and a word to one token
OVER_BLANKS = {"byte bpe without regex", "unigram over blanks"}


@pytest.mark.parametrize(
    ("reading", "text"),
    tiny.in_turn(tiny.pairs(KINDS, ("first", "suffix")), tiny.pairs(ENDINGS, (" ", "\n", ""))),
    ids=repr,
)
def test_every_answer_has_its_plain_log_probability_or_is_refused_in_one_line(reading, text):
    (kind, position), (ending, separator) = reading, text
    wanted = plain_table(kind, position, ending, separator)
    try:
        scored = scores(decoder(kind, position), examples(ENDINGS[ending], separator=separator))
    except ConfigError as error:
        assert any(None in row for row in wanted), f"{error}, and yet all could be scored"
        assert str(error).startswith('the answer "')
        assert "\n" not in str(error)
    else:
        assert (scored - torch.tensor(wanted)).abs().max() <= 1e-5 * scored.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_a_join_over_the_border_is_refused_with_a_separator_that_works(kind):
    refused = set()
    for ending, template in ENDINGS.items():
        try:
            scores(decoder(kind, "first"), examples(template))
        except ConfigError as error:
            refused.add(ending)
            (separator,) = re.findall(r'set separator = "(.*)" in the task file', str(error))
            separator = json.loads(f'"{separator}"')
            assert scores(decoder(kind, "first"), examples(template.rstrip(), separator=separator)).isfinite().all()
    assert refused == ({"colon", "question", "blank", "arrow"} if kind in OVER_BLANKS else set())


@pytest.mark.parametrize("kind", KINDS)
def test_answers_with_blanks_of_their_own_and_templates_that_end_in_one_get_no_second(kind):
    bone = decoder(kind, "first")
    try:
        plain = bone.encode(examples("{text} answer:"), own_choices=False, prompt_tokens=2)
    except ConfigError:
        plain = None
    for template, choices in (("{text} answer: ", ANSWERS), ("{text} answer:", tuple(f" {one}" for one in ANSWERS))):
        if plain is None:
            with pytest.raises(ConfigError, match="joins text and answer"):
                bone.encode(examples(template, choices), own_choices=False, prompt_tokens=2)
        else:
            assert bone.encode(examples(template, choices), own_choices=False, prompt_tokens=2) == plain


def test_a_language_without_blanks_sets_nothing_between_text_and_answer():
    bone = decoder("byte bpe", "first")
    (row,) = bone.encode(examples("{text}好吗:", ("是", "不"), "")[:1], own_choices=False, prompt_tokens=2)
    assert [tokenizer("byte bpe").decode(ids) for ids in row.choices] == ["是", "不"]


@pytest.mark.parametrize(
    ("ending", "kind"), tiny.in_turn(ENDINGS, [kind for kind, (_, around) in KINDS.items() if around.endswith("</s>")])
)
def test_an_encoder_decoder_reads_texts_and_answers_as_it_was_trained_to(kind, ending):
    model, read = t5(kind), tokenizer(kind)
    scored = scores(closing(kind), examples(ENDINGS[ending]))
    for row, example in zip(scored, examples(ENDINGS[ending]), strict=True):
        ids = torch.tensor([[*PROMPT, *read(example.text).input_ids]])
        for score, answer in zip(row, ANSWERS, strict=True):
            labels = torch.tensor([read(text_target=answer).input_ids])
            with torch.no_grad():
                plain = -model(input_ids=ids, labels=labels).loss * labels.shape[1]
            assert abs(score - plain) <= 1e-5 * abs(plain)


@pytest.mark.parametrize("kind", KINDS)
def test_own_choices_of_an_encoder_are_one_string_with_the_text(kind):
    bone, separator = encoder(kind), "\n" if kind in OVER_BLANKS else " "
    some = examples("{text} answer:", separator=separator)
    for example, row in zip(some, bone.encode(some, own_choices=True, prompt_tokens=2), strict=True):
        strings = [f"{example.text}{separator}{answer}" for answer in ANSWERS]
        assert bone.layout(row, every_choice=True).inputs == [tuple(tokenizer(kind)(one).input_ids) for one in strings]


# ---- a text that is cut


@pytest.mark.parametrize("template", ["{text} answer:", "answer: {text}"])
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - OVER_BLANKS))
def test_a_text_that_is_cut_is_joined_where_it_is_cut(kind, template):
    bone = wrap(llama(kind), tokenizer(kind), max_input_tokens=24)
    example = Example(0, template, {"text": "the hotel was a film " * 20}, ANSWERS, (0,))
    (row,) = bone.encode([example], own_choices=False, prompt_tokens=2)
    assert row.cut
    assert 12 < len(row.text) <= 24
    text = tokenizer(kind).decode(row.text, skip_special_tokens=True)
    for answer, ids in zip(ANSWERS, row.choices, strict=True):
        whole = tokenizer(kind).decode([*row.text, *ids], skip_special_tokens=True)
        assert whole.replace(" ", "") == (text + answer).replace(" ", "")


def test_text_and_answers_fit_the_models_positions_however_long_the_answers_are_behind_it():
    kind = "byte bpe"
    bone = wrap(llama(kind), tokenizer(kind), max_input_tokens=500)
    example = Example(0, "{text} answer:", {"text": "the hotel " * 99}, ("z " * 30, "q " * 40), (0,))
    (row,) = bone.encode([example], own_choices=False, prompt_tokens=20)
    assert 128 - 12 <= row.length + 20 <= 128


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_an_answer_of_a_decoder_of_its_own_takes_no_room_from_the_text(kind):
    bone = wrap(tiny.model(kind), tiny.tokenizer(kind), max_input_tokens=60)
    example = Example(
        0, "{text}", {"text": " ".join(["w1"] * 58)}, ("good",), (0,), target_tokens=30, references=("good",)
    )
    assert bone.most_positions >= 60 + 4
    (row,) = bone.encode([example], own_choices=False, prompt_tokens=4)
    assert not row.cut


def test_what_t5_was_pretrained_on_is_no_limit():
    loader, name, settings = tiny.MODELS["t5"]
    bone = wrap(tiny.built(loader, name, settings | {"n_positions": 16}), tiny.tokenizer("t5"))
    example = Example(0, "{text}", {"text": " ".join(["w1"] * 40)}, ("good", "bad"), (0,))
    (row,) = bone.encode([example], own_choices=False, prompt_tokens=4)
    assert (row.cut, bone.most_positions) == (False, 10**9)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_an_empty_text_is_refused_where_nothing_stands_before_an_answer(kind):
    bone = tiny.frozen(kind)
    examples = [
        Example(number, "{text}", {"text": text}, ("good", "bad"), (0,)) for number, text in enumerate(("w1", ""))
    ]
    if kind == "t5":  # its end of sentence
        assert len(tiny.encoded(bone, examples)[1].text) == 1
        return
    with pytest.raises(DataError, match="example 1: its text is empty"):
        tiny.encoded(bone, examples)


# ---- special tokens in what people write


def special_examples(template="{text} answer:", text="good </s> film", choices=ANSWERS):
    return [Example(3, template, {"text": text}, choices, (0,))]


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - OVER_BLANKS))
def test_a_special_token_in_a_rows_words_is_plain_text_or_refused_by_name(kind):
    bone = decoder(kind, "first")
    try:
        (row,) = bone.encode(special_examples(), own_choices=False, prompt_tokens=2)
    except DataError as error:
        assert 'example 3: the field "text" says "</s>"' in str(error)
        assert "\n" not in str(error)
        assert "unigram" in kind  # its vocabulary holds "</s>" as a word like any other
    else:
        assert EOS not in row.text
        assert EOS not in row.choices[0]
        if kind.startswith("byte"):
            assert tokenizer(kind).decode(row.text, skip_special_tokens=True).strip() == "good </s> film answer:"


@pytest.mark.parametrize("kind", ["byte bpe", "byte bpe, bos and eos", "sentencepiece bpe, bos"])
def test_a_special_token_of_the_template_is_meant_and_one_in_a_row_beside_it_is_refused(kind):
    bone = decoder(kind, "first")
    (row,) = bone.encode(special_examples("{text} </s> answer:", "good"), own_choices=False, prompt_tokens=2)
    assert row.text.count(EOS) == 1
    with pytest.raises(DataError, match='the field "text" says "</s>"'):
        bone.encode(special_examples("{text} </s> answer:"), own_choices=False, prompt_tokens=2)
    (row,) = bone.encode(special_examples(text="good", choices=("<s> yes", "no")), own_choices=False, prompt_tokens=2)
    assert [ids.count(BOS) for ids in row.choices] == [1, 0]


def test_a_word_or_mark_that_someone_made_special_is_read_as_what_it_is():
    padded = copy.deepcopy(tokenizer("byte bpe"))
    padded.add_special_tokens({"pad_token": "!", "eos_token": "\n"})
    bone = wrap(llama("byte bpe"), padded)
    assert bone.encode(special_examples(text="good!\nand well"), own_choices=False, prompt_tokens=2)


def test_special_tokens_of_a_rows_own_choices_are_plain_text():
    some = special_examples(choices=("</s>", "no"))
    (row,) = decoder("byte bpe", "first").encode(some, own_choices=True, prompt_tokens=2)
    assert all(EOS not in ids for ids in row.choices)
    some = special_examples(choices=("</s>", "no"))
    (row,) = closing("byte bpe, bos and eos").encode(some, own_choices=True, prompt_tokens=2)
    assert [ids.count(EOS) for ids in row.choices] == [1, 1]  # the closing ones


# ---- answers that cannot be told apart


def refusal(bone, choices, own_choices=False):
    with pytest.raises((ConfigError, DataError)) as caught:
        bone.encode(special_examples(text="good", choices=choices), own_choices=own_choices, prompt_tokens=2)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_answers_of_unknown_tokens_are_refused_by_name():
    for bone in (decoder("wordpiece, bos and eos", "first"), closing("wordpiece, bos and eos")):
        said = refusal(bone, ("数", "語", "yes"))
        assert said.startswith('the answers "数", "語": unknown to the model\'s tokenizer (<unk>)')
        assert refusal(bone, ("数", "yes")).startswith('the answer "数": unknown')
        bone.encode(special_examples(text="数", choices=("数 yes", "no")), own_choices=False, prompt_tokens=2)


def test_answers_of_no_tokens_are_refused_by_name():
    nothing = "\u200d"  # WordPiece's normaliser drops it
    bone = decoder("wordpiece, bos and eos", "first")
    assert "the model's tokenizer reads nothing of this" in refusal(bone, (nothing, "yes"))
    assert "example 3: " in refusal(decoder("byte bpe", "first"), ("", "yes"), own_choices=True)
    assert 'the answer ""' in refusal(closing("byte bpe, bos and eos"), ("", "no"))


def test_answers_of_the_same_tokens_are_refused_by_name():
    said = refusal(decoder("wordpiece, bos and eos", "first"), ("Yes", "no", "yes"))
    assert said == 'the answers "Yes", "yes": the same tokens (yes); use words that differ to this model'


def test_an_answer_that_begins_another_is_refused_where_the_sum_ranks_and_nothing_closes_it():
    kind, choices = "byte bpe, bos and eos", ("yes", "no", "yes no")
    said = refusal(decoder(kind, "first"), choices)
    assert said.startswith('the answer "yes" begins the answer "yes no" (Ġyes | Ġno)')
    assert "--ranking mean" in said
    some = special_examples(text="good", choices=choices)
    assert decoder(kind, "first", "mean").encode(some, own_choices=False, prompt_tokens=2)
    assert closing(kind).encode(some, own_choices=False, prompt_tokens=2), "</s> closes it"
    assert "begins" in refusal(closing("byte bpe"), choices), "nothing closes it"
    many = (*(f"film {position}" for position in range(50)), "film")
    assert '"film" begins the answer "film ' in refusal(decoder("byte bpe", "first"), many)


def test_a_head_tells_fixed_answers_apart_whatever_their_tokens():
    bone = encoder("word level")
    assert bone.encode(special_examples(choices=("数", "語")), own_choices=False, prompt_tokens=2)
    assert "unknown" in refusal(bone, ("数", "語"), own_choices=True)


def test_a_token_that_the_model_has_no_embedding_for_is_refused_by_name():
    kind = "byte bpe"
    longer = copy.deepcopy(tokenizer(kind))
    longer.add_tokens(["<tool>"])
    bone = wrap(llama(kind), longer)
    assert bone.encode(special_examples(text="good"), own_choices=False, prompt_tokens=2)
    said = refusal(bone, ("<tool>", "no"))
    assert said.startswith(f'example 3: the tokenizer reads "<tool>" as id {len(longer) - 1}')
