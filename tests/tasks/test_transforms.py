"""Row transforms on rows of the published data sets, in the official and in the Hub's form."""

import pytest

from prunekit.support.errors import DataError
from prunekit.tasks import load_task
from prunekit.tasks.transforms import flat_rows


def flat(name, row):
    return list(flat_rows(name, row, "here:1"))


def wsc(text, first, second, label=True):
    spans = {"span1_index": first[0], "span1_text": first[1], "span2_index": second[0], "span2_text": second[1]}
    return {"text": text, "target": spans, "label": label}


TERPSICHORE = (
    "The actress used to be named Terpsichore , but she changed it to Tina a few years ago, because she figured it "
    "was easier to pronounce."
)
MARKED = (
    "The actress used to be named Terpsichore , but she changed it to *Tina* a few years ago, because she figured #it# "
    "was easier to pronounce."
)


def test_wsc_marks_both_spans_in_both_forms():
    official = wsc(TERPSICHORE, (13, "Tina"), (21, "it"))
    hub = {"text": TERPSICHORE, **official["target"], "idx": 5, "label": 1}
    assert [row["text"] for row in flat("mark_spans", official)] == [MARKED]
    assert [row["text"] for row in flat("mark_spans", hub)] == [MARKED]
    first, second = (load_task("wsc").examples(row, 0)[0] for row in (official, hub))
    assert first.text == second.text == f"wsc text: {MARKED} does #it# refer to *Tina*? answer:"
    assert first.gold == second.gold == (1,)


def test_wsc_finds_a_span_inside_a_word_with_punctuation_and_with_another_case():
    row = wsc('Mark said "help him," to the others; The dog barked.', (5, "The others"), (3, "Him"))
    marked = flat("mark_spans", row)[0]
    assert marked["text"] == 'Mark said "help #him#," to *the others*; The dog barked.'
    assert marked["span2_text"] == "Him"


def test_wsc_marks_the_indexed_occurrence_and_not_a_part_of_a_word():
    row = wsc("it sits with it and it", (1, "sits"), (3, "it"))
    assert flat("mark_spans", row)[0]["text"] == "it *sits* with #it# and it"


def test_wsc_accepts_an_index_that_is_off_by_one_and_a_line_break_in_the_span():
    row = wsc("She could not learn how to use it , said\nthe man .", (9, "said\nthe man"), (6, "it"))
    assert flat("mark_spans", row)[0]["text"] == "She could not learn how to use #it# , *said\nthe man* ."


def test_wsc_marks_a_span_within_a_span():
    row = wsc("and their mothers are worried", (1, "their mothers"), (1, "their"))
    assert flat("mark_spans", row)[0]["text"] == "and *#their# mothers* are worried"


def test_wsc_refuses_a_span_that_is_not_there():
    row = wsc("a cat saw it", (1, "dog"), (3, "it"))
    with pytest.raises(DataError, match=r"^here:1: span1_text = 'dog' is not at word 1 of 'a cat saw it'$"):
        flat("mark_spans", row)
    far = wsc("it was a very long way from the cat", (8, "cat"), (7, "it"))
    with pytest.raises(DataError, match="span2_text = 'it' is not at word 7"):
        flat("mark_spans", far)


WIC = {
    "word": "feel",
    "sentence1": "You make me feel naked.",
    "sentence2": "She felt small and insignificant.",
    "start1": 12,
    "start2": 4,
    "end1": 16,
    "end2": 8,
}


@pytest.mark.parametrize("label", [True, 1, "true"])
def test_wic_marks_the_word_in_both_sentences(label):
    example = load_task("wic").examples({**WIC, "label": label}, 0)[0]
    assert example.text == (
        "wic sentence1: You make me *feel* naked. sentence2: She *felt* small and insignificant. word: feel "
        "same meaning? answer:"
    )
    assert example.gold == (1,)


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (12, 99), (5, 5), (3, 8)])
def test_wic_refuses_offsets_that_enclose_no_word(start, end):
    with pytest.raises(DataError, match=rf"^here:1: start1 = {start} and end1 = {end} do not enclose a word of"):
        flat("mark_spans", {**WIC, "start1": start, "end1": end})


def test_wic_names_a_missing_field():
    with pytest.raises(DataError, match=r'^here:1: no field "start2"; did you mean "start1"\?$'):
        flat("mark_spans", {key: value for key, value in WIC.items() if key != "start2"})


def answer(text, idx, label):
    return {"text": text, "idx": idx, "label": label}


MULTIRC = {
    "idx": 6,
    "passage": {
        "text": "A stranger meets Susan.",
        "questions": [
            {"question": "Who?", "idx": 56, "answers": [answer("Susan", 3, 1), answer("Bob", 4, 0)]},
            {"question": "Why?", "idx": 57, "answers": [answer("Chance", 5, 0)]},
        ],
    },
}


def test_multirc_gives_one_example_per_answer_in_both_forms():
    task = load_task("multirc")
    nested = task.examples(MULTIRC, 10)
    assert [(one.index, one.gold, one.group) for one in nested] == [
        (10, (1,), "6-56"),
        (11, (0,), "6-56"),
        (12, (0,), "6-57"),
    ]
    assert nested[1].text == "multirc paragraph: A stranger meets Susan. question: Who? answer: Bob is it right?"
    hub = {
        "paragraph": "A stranger meets Susan.",
        "question": "Who?",
        "answer": "Bob",
        "idx": {"paragraph": 6, "question": 56, "answer": 4},
        "label": 0,
    }
    assert task.examples(hub, 11) == [nested[1]]


def test_multirc_groups_by_content_where_there_is_no_idx():
    row = {"paragraph": "p", "question": "q", "answer": "a"}
    groups = [flat("flatten_multirc", {**row, **more})[0]["group"] for more in ({}, {"answer": "b"}, {"question": "r"})]
    assert groups[0] == groups[1] != groups[2]
    question = {"question": "q", "answers": [{"text": "a"}, {"text": "b"}]}
    bare = {"passage": {"text": "p", "questions": [question, question]}}
    groups = [item["group"] for item in flat("flatten_multirc", bare)]
    assert groups[0] == groups[1] != groups[2] == groups[3]


RECORD_TEXT = "By Hamish Goals from Costa. Costa won\n@highlight\nChelsea come back\n@highlight\nZouma scored!"
RECORD = {
    "passage": {
        "text": RECORD_TEXT,
        "entities": [
            {"start": 3, "end": 8},
            {"start": 21, "end": 25},
            {"start": 28, "end": 32},
            {"start": 49, "end": 55},
        ],
    },
    "qas": [
        {"query": "@placeholder scored", "answers": [{"start": 21, "end": 25, "text": "Costa"}]},
        {"query": "@placeholder came back", "answers": [{"text": "Chelsea"}, {"text": "Hamish"}, {"text": "Chelsea"}]},
    ],
}


def test_record_gives_one_example_per_query_in_both_forms():
    task = load_task("record")
    official = task.examples(RECORD, 0)
    assert [one.choices for one in official] == [("Chelsea", "Costa", "Hamish")] * 2
    assert [one.gold for one in official] == [(1,), (0, 2)]
    assert official[0].text == (
        "record passage: By Hamish Goals from Costa. Costa won. Chelsea come back. Zouma scored! "
        "query: @placeholder scored what is @placeholder? answer:"
    )
    hub = {
        "passage": RECORD_TEXT,
        "query": "@placeholder came back",
        "entities": ["Hamish", "Chelsea", "Costa", "Costa"],
        "answers": ["Chelsea", "Hamish"],
        "idx": {"passage": 0, "query": 1},
    }
    assert task.examples(hub, 1) == [official[1]]
    assert task.examples({**hub, "answers": []}, 1)[0].gold == ()


def test_record_refuses_entities_outside_and_answers_not_among_the_entities():
    passage = {**RECORD["passage"], "entities": [{"start": 5, "end": 999}]}
    with pytest.raises(DataError, match=r"^here:1: entity 5\.\.999 lies outside the passage of \d+ characters$"):
        flat("flatten_record", {**RECORD, "passage": passage})
    row = {**RECORD, "qas": [{"query": "q", "answers": [{"text": "Drogba"}]}]}
    with pytest.raises(DataError, match=r"^f:2: the answer \['Drogba'\] is not among the choices \['Chelsea', "):
        load_task("record").examples(row, 0, "f:2")


def test_copa_offers_the_choices_of_the_row():
    row = {"premise": "P.", "choice1": "A.", "choice2": "B.", "question": "cause", "idx": 3}
    for label, gold in ((0, (0,)), (1, (1,)), ("choice2", (1,)), (-1, ()), (None, ())):
        example = load_task("copa").examples({**row, "label": label}, 0)[0]
        assert (example.choices, example.gold) == (("A.", "B."), gold)
    assert example.text == "copa choice1: A. choice2: B. premise: P. what was the cause? answer:"
