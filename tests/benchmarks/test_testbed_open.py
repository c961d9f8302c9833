"""The open testbed's recipe gives the same bytes twice, and the shipped model writes what its table says."""

import json

import pytest
import torch
from testbed_digest import digests, rebuilds_open

from benchmarks.testbed.pretrain import MOST_FILLER
from benchmarks.testbed.recipe import SPECIAL
from benchmarks.testbed_open.measure import IGNORED, forced_match, generated_match, padded_labels, written_answers
from benchmarks.testbed_open.pretrain import SEEN, Mixture, build_tokenizer, incomplete_instructions, joined, main
from benchmarks.testbed_open.table import Instrument, markdown, measure
from prunekit.tasks.testbed import MODEL_PATH as FIRST_MODEL
from prunekit.tasks.testbed_open import MODEL_PATH
from prunekit.tasks.testbed_open.grammar import TASKS, examples, find_task, vocabulary
from prunekit.tasks.testbed_open.lexicon import SYNONYMS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shipped():
    return Instrument(MODEL_PATH)


@rebuilds_open
def test_three_steps_twice_give_the_same_bytes(tmp_path, capsys):
    for name in ("one", "two"):
        main(["--out", str(tmp_path / name), "--steps", "3"])
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert set(digests(tmp_path / "one")) == {path.name for path in MODEL_PATH.iterdir()} - {"README.md"}
    assert '"step": 3' in capsys.readouterr().out
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "one").iterdir()} == {0o644}


def test_the_tokenizer_gives_the_words_of_the_first_testbed_their_ids():
    tokenizer = build_tokenizer()
    assert len(tokenizer) == len(SPECIAL) + len(vocabulary())
    ids = json.loads((FIRST_MODEL / "tokenizer.json").read_text())["model"]["vocab"]
    assert ids.items() <= tokenizer.get_vocab().items()
    assert tokenizer("reverse animals").input_ids[-1] == tokenizer.eos_token_id


@rebuilds_open
def test_the_mixture_teaches_no_held_out_task_reads_its_own_split_and_ends_with_filler():
    held_out = [set(task.name.split("-")) for task in TASKS if task.held_out]
    canonical = {word: key for key, group in SYNONYMS.items() for word in group}
    reserved = {
        row["text"] for task in TASKS for split in ("validation", "test") for row in examples(task.name, split, 50)
    }
    mixture, lengths = Mixture(seed=0), []
    for _ in range(2000):
        front, _, passage = mixture.draw(1.0)[0].partition("today")
        asked = {canonical[word] for word in front.split() if word in canonical}
        assert asked not in held_out
        assert f"today{passage}" not in reserved
        lengths.append(len(front.split()) - len(asked))
    assert (min(lengths), max(lengths)) == (0, MOST_FILLER)
    assert all(len(mixture.draw(0.3)[0].split("today")[0].split()) <= 3 for _ in range(200))


def test_reversed_and_repeated_lists_join_later_and_no_part_of_an_instruction_asks_for_another_task():
    assert [joined("list-names", 0.0), joined("reverse-names", 0.0), joined("reverse-names", 0.3)] == [
        True,
        False,
        True,
    ]
    assert ("list", "colours") not in incomplete_instructions("list-colours-animals")
    assert ("colours", "animals") in incomplete_instructions("list-colours-animals")


def test_labels_end_every_answer_and_count_no_padding():
    labels = padded_labels(build_tokenizer(), ["owls foxes", "owls"]).tolist()
    assert labels[0][2] == labels[1][1] == 1
    assert labels[1][2] == IGNORED


def test_the_short_cut_of_one_forward_judges_as_greedy_decoding(shipped):
    """Of one instruction, on rows of two tasks: half of them are answered otherwise than it asks."""
    rows = [row for name in ("reverse-animals", "list-animals") for row in examples(name, "test", 20)]
    arguments = (shipped.model, shipped.tokenizer, rows, "reverse animals")
    assert forced_match(*arguments) == generated_match(*arguments) == pytest.approx(0.5, abs=0.05)


def test_the_shipped_model_is_small_loads_as_float32_and_says_how_it_was_made(shipped):
    files = {path.name: path.stat() for path in MODEL_PATH.iterdir()}
    assert sum(stat.st_size for stat in files.values()) <= 3_000_000
    assert all(stat.st_mode & 0o777 == 0o644 for stat in files.values())
    assert shipped.model.dtype == torch.float32
    assert len(shipped.tokenizer) == shipped.model.config.vocab_size == len(SPECIAL) + len(vocabulary())
    about = json.loads((MODEL_PATH / "pretrain_log.jsonl").read_text().splitlines()[0])
    assert about["parameters"] == shipped.model.num_parameters()


@rebuilds_open
def test_instructions_solve_the_seen_tasks_and_no_prompt_solves_none(shipped):
    for task in SEEN:
        rows = examples(task.name, "test", 40)
        assert shipped.match(rows, "") <= 0.1, task.name
        assert min(shipped.match(rows, wording) for wording in task.instructions[:2]) >= 0.95, task.name


def test_answers_end_where_they_should(shipped):
    rows = examples("double-animals", "test", 20)
    written = written_answers(shipped.model, shipped.tokenizer, [f"double animals {row['text']}" for row in rows])
    assert [len(answer.split()) for answer in written] == [len(row["answer"].split()) for row in rows]


@rebuilds_open
def test_the_table_has_a_row_per_task(shipped):
    row = measure(shipped, find_task("reverse-animals"), count=40)
    assert row["words"] == "2 or 3" and row["its instruction"] >= 0.95 and row["padded to 20"] >= 0.9
    assert markdown([row]).splitlines()[2].startswith("| reverse-animals |  | 2 or 3 |")
