"""How texts and answers become ids: twelve kinds of tokenizer against plain log-probabilities of what is written."""

from functools import lru_cache

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from prunekit.backbones import wrap
from prunekit.backbones.soft import Soft
from prunekit.errors import ConfigError
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


def _bpe(**more):
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, show_progress=False, **more)
    return models.BPE(unk_token="<unk>"), trainer


def _byte_level(regex: bool, prefix: bool = False):
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=SPECIAL, initial_alphabet=BYTES, show_progress=False)
    raw.train_from_iterator(SENTENCES * 20, trainer)
    return raw


def _words():
    raw = Tokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.train_from_iterator(SENTENCES * 20, _bpe()[1])
    return raw


def _ends_of_words():
    raw = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.decoder = decoders.BPEDecoder()
    raw.train_from_iterator(SENTENCES * 20, _bpe(end_of_word_suffix="</w>")[1])
    return raw


def _sentencepiece_bpe():
    raw = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    raw.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training: no merges over blanks
    raw.train_from_iterator([one.replace("\n", "") for one in SENTENCES] * 20, _bpe()[1])
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
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    raw.train_from_iterator(SENTENCES * 20, trainer)
    return raw


def _wordpiece():
    raw = Tokenizer(models.WordPiece(unk_token="<unk>"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.decoder = decoders.WordPiece()
    raw.train_from_iterator(
        SENTENCES * 20, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    )
    return raw


def _word_level():
    words = sorted({word for one in SENTENCES for word in one.replace(":", " :").replace("?", " ?").split()})
    raw = Tokenizer(models.WordLevel({word: place for place, word in enumerate(SPECIAL + words)}, unk_token="<unk>"))
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
def llama(kind: str) -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer(kind)), hidden_size=16, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.2,
            pad_token_id=PAD, bos_token_id=BOS, eos_token_id=EOS,
        )  # fmt: skip
        return LlamaForCausalLM(config).eval()


@lru_cache
def t5(kind: str) -> T5ForConditionalGeneration:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=len(tokenizer(kind)), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
            pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=PAD, initializer_factor=3.0,
        )  # fmt: skip
        return T5ForConditionalGeneration(config).eval()


def examples(template, choices=ANSWERS, separator=" "):
    texts = ("the film was good", "the hotel was a film", "it was awful")
    return [
        Example(place, template, {"text": text}, choices, (0,), separator=separator) for place, text in enumerate(texts)
    ]


def scores(bone, some, own_choices=False):
    """[B, C], with the embeddings of PROMPT as the prompt."""
    rows = bone.encode(some, own_choices=own_choices, prompt_tokens=len(PROMPT))
    there = torch.ones(1, len(PROMPT), dtype=torch.bool)
    prompt = Soft(bone.embed(torch.tensor(PROMPT))[None], there, there, there.long())
    with torch.no_grad():
        return bone.logits(prompt, bone.batch([rows], every_choice=True))[0]


def plain_ids(kind, text):
    """What the tokenizer makes of a string, less the </s> that it may add behind it."""
    ids = tokenizer(kind)(text).input_ids
    return ids[:-1] if "</s>" in KINDS[kind][1] else ids


@torch.no_grad()
def plain_score(kind, place, text, rest):
    """Sum of log p of the tokens that `rest` adds to the text; None where the text's own tokens change by it."""
    head, whole = plain_ids(kind, text), plain_ids(kind, text + rest)
    if whole[: len(head)] != head:
        return None
    before = [*PROMPT, *head] if place == "first" else [*head, *PROMPT]
    row = [*before, *whole[len(head) :]]
    logprobs = llama(kind)(input_ids=torch.tensor([row])).logits[0].log_softmax(-1)
    return float(sum(logprobs[at - 1, row[at]] for at in range(len(before), len(row))))


def written(template, text, separator):
    """Text and what stands before the answer, by the rule of the docs."""
    whole = template.replace("{text}", text)
    cut = whole.rstrip()
    return cut, whole[len(cut) :] or separator


def plain_table(kind, place, ending, separator):
    rows = []
    for example in examples(ENDINGS[ending]):
        text, between = written(ENDINGS[ending], example.fields["text"], separator)
        rows.append([plain_score(kind, place, text, between + answer) for answer in ANSWERS])
    return rows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_every_answer_has_its_plain_log_probability_or_is_refused_in_one_line(kind, ending):
    for place in ("first", "suffix"):
        for separator in (" ", "\n", ""):
            bone = wrap(llama(kind), tokenizer(kind), place=place)
            wanted = plain_table(kind, place, ending, separator)
            try:
                found = scores(bone, examples(ENDINGS[ending], separator=separator))
            except ConfigError as error:
                assert "\n" not in str(error)
                assert 'the answer "' in str(error)
                assert any(None in row for row in wanted), f"{error}, and yet all could be scored: {separator!r}"
            else:
                assert (found - torch.tensor(wanted)).abs().max() <= 1e-5 * found.abs().max()
