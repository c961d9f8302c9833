"""Tasks of the literature, read from rows in the form in which their data is published."""

import pytest
from roots import ROOT

from prunekit.support.errors import DataError
from prunekit.tasks import list_tasks, load_splits, load_task
from prunekit.tasks.in_memory import InMemory

CHOICES = [
    (
        "winogrande",
        {"sentence": "Ann thanked Eve since _ had helped.", "option1": "Ann", "option2": "Eve", "answer": "2"},
        "winogrande sentence: Ann thanked Eve since _ had helped. option1: Ann option2: Eve the gap is:",
        "Eve",
    ),
    ("yelp_polarity", {"text": "Good soup.", "label": 1}, "yelp_polarity review: Good soup. sentiment:", "positive"),
    (
        "scitail",
        {"premise": "Ice melts.", "hypothesis": "Ice is hot.", "label": "neutral"},
        "scitail premise: Ice melts. hypothesis: Ice is hot. answer:",
        "no",
    ),
    (
        "paws",
        {"id": 1, "sentence1": "A beats B.", "sentence2": "B beats A.", "label": 0},
        "paws sentence1: A beats B. sentence2: B beats A. same:",
        "no",
    ),
    (
        "glue/stsb",
        {"sentence1": "A man sings.", "sentence2": "A man hums.", "label": 3.799999952316284, "idx": 0},
        "stsb sentence1: A man sings. sentence2: A man hums. similarity:",
        "3.8",
    ),
]
PASSAGE = {"context": "A fox sat.", "question": "Who sat?"}
READ = "context: A fox sat. question: Who sat? answer:"
WRITTEN = [
    (
        "squad",
        PASSAGE | {"id": "1", "answers": {"text": ["A fox", "fox"], "answer_start": [0, 2]}},
        f"squad {READ}",
        ("A fox", "fox"),
    ),
    ("squad", PASSAGE | {"id": "1", "answers": ["A fox", "fox"]}, f"squad {READ}", ("A fox", "fox")),
    ("mrqa", PASSAGE | {"subset": "SQuAD", "qid": "1", "answers": ["fox", "fox"]}, f"mrqa {READ}", ("fox",)),
    *(
        (f"mrqa/{name}", PASSAGE | {"key": "1", "labels": [], "answers": ["fox"]}, f"{name} {READ}", ("fox",))
        for name in ("nq", "hotpotqa", "searchqa", "newsqa")
    ),
    (
        "e2e",
        {"meaning": "name[Mill]", "references": ["It is a mill.", "A mill it is."]},
        "e2e facts: name[Mill] text:",
        ("It is a mill.", "A mill it is."),
    ),
    (
        "samsum",
        {"id": "1", "dialogue": "A: hi", "summary": "A greets."},
        "samsum dialogue: A: hi\nsummary:",
        ("A greets.",),
    ),
    (
        "xsum",
        {"id": "1", "document": "It rained.", "summary": "Rain fell."},
        "xsum document: It rained.\nsummary:",
        ("Rain fell.",),
    ),
    ("gsm8k", {"question": "2+2?", "answer": "4\n#### 4"}, "gsm8k question: 2+2?\nanswer:", ("4\n#### 4",)),
]


@pytest.mark.parametrize(("name", "row", "text", "answer"), CHOICES, ids=[name for name, *_ in CHOICES])
def test_a_row_becomes_a_text_and_its_right_answer(name, row, text, answer):
    task = load_task(name)
    (example,) = task.examples(row, 0)
    assert example.text == text
    assert [example.choices[gold] for gold in example.gold] == [answer]
    assert task.instruction


def test_winogrande_shows_both_options():
    (example,) = load_task("winogrande").examples(CHOICES[0][1], 0)
    assert example.choices == ("Ann", "Eve")
    assert example.text.count("Ann") == example.text.count("Eve") == 2


@pytest.mark.parametrize(
    ("name", "row", "text", "references"), WRITTEN, ids=[f"{name}-{n}" for n, (name, *_) in enumerate(WRITTEN)]
)
def test_a_row_becomes_a_text_and_its_references(name, row, text, references):
    task = load_task(name)
    (example,) = task.examples(row, 0)
    assert example.text == text
    assert example.references == references
    assert task.instruction
    assert set(task.score([example], [references[-1]]).values()) == {1.0}


@pytest.mark.parametrize(("label", "word"), [(0.0, "0.0"), (1.333, "1.4"), (3.75, "3.8"), (5, "5.0"), ("2.5", "2.4")])
def test_similarity_is_rounded_to_the_nearest_fifth(label, word):
    (example,) = load_task("stsb").examples(CHOICES[4][1] | {"label": label}, 0)
    assert example.choices[example.gold[0]] == word


def test_a_hidden_similarity_is_no_label_and_a_wrong_one_is_named():
    assert load_task("stsb").examples(CHOICES[4][1] | {"label": -1.0}, 0)[0].gold == ()
    with pytest.raises(DataError, match=r"^row: the label 'much' is not a number from 0 to 5$"):
        load_task("stsb").examples(CHOICES[4][1] | {"label": "much"}, 0)


def test_winogrande_without_labels_in_test_reports_its_validation():
    rows = [CHOICES[0][1] | {"sentence": f"{number} _ ran."} for number in range(12)]
    hidden = [row | {"answer": ""} for row in rows]
    data = InMemory({"train": rows, "validation": rows[:3], "test": hidden})
    splits = load_splits(load_task("winogrande"), data=data, train_examples=None, validation_examples=None)
    assert splits.origin["test"] == "data validation: 3 of 3 examples"


def test_e2e_is_trained_on_rows_of_one_reference_and_judged_by_all():
    rows = [{"meaning": f"name[{number}]", "reference": f"{number}."} for number in range(8)]
    judged = [{"meaning": "name[x]", "references": ["x.", "The x."]}, {"meaning": "name[y]", "references": ["y."]}]
    data = InMemory({"train": rows, "validation": judged, "test": judged})
    splits = load_splits(load_task("e2e"), data=data, train_examples=None, validation_examples=None)
    assert [example.references for example in splits.train] == [(f"{number}.",) for number in range(8)]
    assert [example.references for example in splits.test] == [("x.", "The x."), ("y.",)]


def test_the_page_of_the_suite_shows_what_the_task_files_hold():
    page = (ROOT / "docs" / "how-to" / "literature.md").read_text(encoding="utf-8")
    lines = [line.split(" | ") for line in page.splitlines() if line.startswith("| `") and line.count(" | ") == 3]
    tasks = {task.name: task for task in list_tasks()}
    shown = {line[0].strip("| `"): line for line in lines}
    assert {name for name, *_ in (*CHOICES, *WRITTEN)} < set(shown)
    for name, (_, hub, metrics, template) in shown.items():
        task = tasks[name]
        parts = [task.hub.path, *filter(None, [task.hub.name])] if task.hub else []
        assert hub == (", ".join(f"`{part}`" for part in parts) or "none")
        assert metrics == ", ".join(task.metrics)
        assert template.strip("| `") == task.template.replace("\n", "↵")
