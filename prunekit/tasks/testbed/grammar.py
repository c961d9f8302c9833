"""The tasks of the testbed and the seeded grammar that writes their examples.

Every task asks something of a passage. Passages come in two forms and each form serves several tasks, so that a
passage never tells what is asked of it: only the instruction does. An instruction is an operation and a field of the
passage (`first animal`), at times turned around (`opposite count mood`); every word of it is needed.

    facts   today anna loves owls in rome . ben fears foxes in oslo . food was awful .
    list    today anna loves red owls then blue hens finally green foxes in rome . food was awful .

The split of an example is a hash of its passage, whatever the task: a passage of `validation` or `test` is in no
task's `pretrain` or `train`.
"""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

from prunekit.support.errors import ConfigError, DataError, nearest
from prunekit.tasks.testbed import lexicon

SPLITS = ("pretrain", "train", "validation", "test")
# random streams keep the keys that the splits first had, so that every example stays what it was
_STREAMS = {"validation": "selection", "test": "report"}
#: Upper bounds of each split's share of the hash byte, out of 256: three quarters, then a twelfth each.
_BOUNDS = dict(zip(SPLITS, (192, 214, 235, 256), strict=True))
#: Draws allowed for one example before a split is called exhausted; some 40 are needed on average.
_PATIENCE = 20_000

Slots = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class TestbedTask:
    """One task: what is asked, in which words, and the closed set of its answers.

    Attributes:
        name: slug, the canonical instruction joined by hyphens.
        description: one line for a listing.
        instructions: the wordings that ask for it, the canonical one first.
        choices: the one-word answers, about equally frequent.
        held_out: True if pretraining never sees this composition.
        form: the passage form it reads, `facts` or `list`.
    """

    __test__ = False  # the name begins like a test class's; pytest must not collect it

    name: str
    description: str
    instructions: tuple[str, ...]
    choices: tuple[str, ...]
    held_out: bool
    form: str


def _wordings(name: str) -> tuple[str, ...]:
    """Every choice of synonyms for the words of a task's name, the canonical one first."""
    return tuple(" ".join(words) for words in product(*(lexicon.SYNONYMS[word] for word in name.split("-"))))


def _task(name: str, form: str, choices: tuple[str, ...], description: str, held_out: bool = False) -> TestbedTask:
    return TestbedTask(name, description, _wordings(name), choices, held_out, form)


TASKS: tuple[TestbedTask, ...] = (
    _task("first-animal", "list", lexicon.LISTED, "The animal that is listed first."),
    _task("last-animal", "list", lexicon.LISTED, "The animal that is listed last."),
    _task("first-colour", "list", lexicon.COLOURS, "The colour that is listed first."),
    _task("last-colour", "list", lexicon.COLOURS, "The colour that is listed last."),
    _task("copy-place", "list", lexicon.PLACES, "The place where it happens."),
    _task("alike-mood", "facts", lexicon.TRUTH, "Do both people like, or both dislike, their animals?"),
    _task("alike-kind", "facts", lexicon.TRUTH, "Are the two animals both birds, or both beasts?"),
    _task("count-mood", "facts", lexicon.NUMBERS, "How many of the two people like their animals?"),
    _task("count-kind", "facts", lexicon.NUMBERS, "How many of the two animals are birds?"),
    _task("opposite-count-mood", "facts", lexicon.NUMBERS, "How many of the two people dislike their animals?"),
    _task("copy-topic", "facts", lexicon.TOPICS, "What the closing opinion is about."),
    _task("judge-topic", "facts", lexicon.VERDICTS, "Whether the closing opinion is good or bad."),
    _task("opposite-alike-mood", "facts", lexicon.TRUTH, "Does one person like and the other dislike?", True),
    _task("opposite-judge-topic", "facts", lexicon.VERDICTS, "The reverse of the closing opinion.", True),
)
_BY_NAME = {task.name: task for task in TASKS}


def _opinion(rng: random.Random) -> tuple[str, str]:
    return rng.choice(lexicon.TOPICS), rng.choice(lexicon.PRAISE + lexicon.BLAME)


def _facts(rng: random.Random) -> tuple[str, Slots]:
    """Two facts and an opinion; what the slots hold is drawn independently."""
    names = rng.sample(lexicon.NAMES, 2)
    verbs = rng.choices(lexicon.LIKING + lexicon.DISLIKING, k=2)
    animals = rng.choices(lexicon.BIRDS + lexicon.BEASTS, k=2)
    places = rng.choices(lexicon.PLACES, k=2)
    topic, adjective = _opinion(rng)
    sentences = [f"{n} {v} {a} in {p} ." for n, v, a, p in zip(names, verbs, animals, places, strict=True)]
    text = f"{lexicon.OPENING} {' '.join(sentences)} {topic} was {adjective} ."
    return text, {"mood": tuple(verbs), "kind": tuple(animals), "topic": (topic, adjective)}


def _list(rng: random.Random) -> tuple[str, Slots]:
    """Three coloured animals, all different, and an opinion."""
    name, verb = rng.choice(lexicon.NAMES), rng.choice(lexicon.LIKING + lexicon.DISLIKING)
    colours, animals = rng.sample(lexicon.COLOURS, 3), rng.sample(lexicon.LISTED, 3)
    place = rng.choice(lexicon.PLACES)
    topic, adjective = _opinion(rng)
    first, second, third = (f"{colour} {animal}" for colour, animal in zip(colours, animals, strict=True))
    listed = f"{first} then {second} finally {third}"
    text = f"{lexicon.OPENING} {name} {verb} {listed} in {place} . {topic} was {adjective} ."
    return text, {"colour": tuple(colours), "animal": tuple(animals), "place": (place,)}


_FORMS: dict[str, Callable[[random.Random], tuple[str, Slots]]] = {"facts": _facts, "list": _list}
#: The words of a class that counts as one, or as good; all other words of the field count as zero.
_MARKED = frozenset(lexicon.LIKING + lexicon.BIRDS + lexicon.PRAISE)


def _marked(values: Sequence[str]) -> int:
    return sum(value in _MARKED for value in values)


_OPERATIONS: dict[str, Callable[[Sequence[str]], str]] = {
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
    "copy": lambda values: values[0],
    "judge": lambda values: lexicon.VERDICTS[_marked(values)],
    "count": lambda values: lexicon.NUMBERS[_marked(values)],
    "alike": lambda values: lexicon.TRUTH[_marked(values) != 1],
}


def _answer(task: TestbedTask, slots: Slots) -> str:
    """Do what the task's words say: an operation over a field of the passage, turned around after `opposite`."""
    *turn, operation, field = task.name.split("-")
    answer = _OPERATIONS[operation](slots[field])
    return task.choices[-1 - task.choices.index(answer)] if turn else answer


def split_of(passage: str) -> str:
    """Name the split a passage belongs to, from a hash of its text alone."""
    byte = hashlib.sha256(passage.encode()).digest()[0]
    return next(split for split in SPLITS if byte < _BOUNDS[split])


def find_task(name: str) -> TestbedTask:
    """Return the task of that name; where there is none, ConfigError names those that there are."""
    if name not in _BY_NAME:
        raise ConfigError(f'no testbed task is called "{name}"; {nearest(name, _BY_NAME)}')
    return _BY_NAME[name]


def examples(task_name: str, split: str, count: int, seed: int = 0) -> list[dict[str, str]]:
    """Draw distinct examples of a task, the same ones for the same arguments in every process.

    Args:
        task_name: one of the names in `TASKS`.
        split: one of `SPLITS`.
        count: examples to draw.
        seed: another seed draws other examples of the same split.

    Returns:
        `count` rows of `text` (the passage, without an instruction) and `label` (one of the task's choices).
    """
    task = find_task(task_name)
    if split not in SPLITS:
        raise ConfigError(f'no testbed split is called "{split}"; {nearest(split, SPLITS)}')
    rng = random.Random(f"{task_name}|{_STREAMS.get(split, split)}|{seed}")
    rows: dict[str, str] = {}
    while len(rows) < count:
        # The answer is drawn before the passage: this is what balances the classes.
        label = rng.choice(task.choices)
        rows[_passage(task, split, label, rows, rng)] = label
    return [{"text": text, "label": label} for text, label in rows.items()]


def _passage(task: TestbedTask, split: str, label: str, taken: dict[str, str], rng: random.Random) -> str:
    """Draw passages until one of the split has this answer and was not taken yet."""
    draw = _FORMS[task.form]
    for _ in range(_PATIENCE):
        text, slots = draw(rng)
        if _answer(task, slots) == label and text not in taken and split_of(text) == split:
            return text
    raise DataError(f'testbed/{task.name} has no further example in split "{split}" after {len(taken)}')


def instruction_words() -> tuple[str, ...]:
    """Every word that can occur in an instruction, synonyms included."""
    return tuple(word for words in lexicon.SYNONYMS.values() for word in words)


def filler_words() -> tuple[str, ...]:
    """Every word that may surround an instruction without changing it."""
    kept_out = {*instruction_words(), lexicon.OPENING}
    return tuple(word for word in vocabulary() if word not in kept_out)


def vocabulary() -> tuple[str, ...]:
    """All words of the testbed in a fixed order, each once."""
    groups: tuple[tuple[str, ...], ...] = (
        (lexicon.OPENING,), lexicon.GRAMMAR, lexicon.NAMES, lexicon.LIKING, lexicon.DISLIKING, lexicon.BIRDS,
        lexicon.BEASTS, lexicon.COLOURS, lexicon.PLACES, lexicon.TOPICS, lexicon.PRAISE, lexicon.BLAME,
        lexicon.TRUTH, lexicon.NUMBERS, lexicon.VERDICTS, instruction_words(), lexicon.PLAIN,
    )  # fmt: skip
    return tuple(dict.fromkeys(word for group in groups for word in group))
