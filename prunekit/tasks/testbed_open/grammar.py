"""The tasks of open answers and the seeded grammar that writes their examples.

A passage tells of two or three people; every task reads the same passages, so that only the instruction says what is
asked. An instruction is an order and the fields to write out in it: `reverse animals`, `first animal place`.

    today anna loves red owls in rome finally ben fears blue foxes in oslo .
    reverse animals      foxes owls
    double places        rome rome oslo oslo
    last name place      ben oslo

Splits are the first testbed's: a hash of the passage, whatever the task.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from prunekit.support.errors import ConfigError, nearest
from prunekit.tasks.testbed import grammar as words
from prunekit.tasks.testbed import lexicon as passages
from prunekit.tasks.testbed.grammar import SPLITS, split_of
from prunekit.tasks.testbed_open import lexicon

#: Words of the longest answer: a word for each of three people twice, or two words for each.
MOST_WORDS = 6

#: What a passage says of its people, in order: for each the word of each field.
Facts = Sequence[dict[str, str]]


@dataclass(frozen=True)
class OpenTask:
    """One task: what is asked, and in which words.

    Attributes:
        name: slug, the canonical instruction joined by hyphens.
        description: one line for a listing.
        instructions: the wordings that ask for it, the canonical one first.
        held_out: True if pretraining never sees this composition.
    """

    name: str
    description: str
    instructions: tuple[str, ...]
    held_out: bool


def _task(name: str, description: str, held_out: bool = False) -> OpenTask:
    synonyms = (lexicon.SYNONYMS[word] for word in name.split("-"))
    return OpenTask(name, description, tuple(" ".join(wording) for wording in product(*synonyms)), held_out)


TASKS: tuple[OpenTask, ...] = (
    _task("list-names", "The people, in order."),
    _task("list-colours", "The colours, in order."),
    _task("list-animals", "The animals, in order."),
    _task("list-places", "The places, in order."),
    _task("list-colours-animals", "Each colour and its animal, in order."),
    _task("list-animals-places", "Each animal and its place, in order."),
    _task("first-colour-animal", "The first animal and its colour."),
    _task("first-animal-place", "The first animal and its place."),
    _task("first-name-place", "The first person and their place."),
    _task("last-colour-animal", "The last animal and its colour."),
    _task("last-animal-place", "The last animal and its place."),
    _task("reverse-names", "The people, in reverse order."),
    _task("reverse-colours", "The colours, in reverse order."),
    _task("reverse-animals", "The animals, in reverse order."),
    _task("double-names", "The people, in order, each written twice."),
    _task("double-colours", "The colours, in order, each written twice."),
    _task("double-animals", "The animals, in order, each written twice."),
    _task("reverse-places", "The places, in reverse order.", held_out=True),
    _task("double-places", "The places, in order, each written twice.", held_out=True),
    _task("last-name-place", "The last person and their place.", held_out=True),
)
_BY_NAME = {task.name: task for task in TASKS}

_ORDERS: dict[str, Callable[[Facts], Facts]] = {
    "list": lambda facts: facts,
    "reverse": lambda facts: facts[::-1],
    "double": lambda facts: [fact for fact in facts for _ in range(2)],
    "first": lambda facts: facts[:1],
    "last": lambda facts: facts[-1:],
}


def draw_passages(split: str, rng: random.Random) -> Iterator[tuple[str, Facts]]:
    """Passages of a split with what they say, without end; one may come twice."""
    while True:
        facts = _facts(rng)
        text = _written(facts)
        if split_of(text) == split:
            yield text, facts


def answer(task: OpenTask, facts: Facts) -> str:
    """Do what the task's words say: write the fields of the people in the order that is asked for."""
    order, *fields = task.name.split("-")
    return " ".join(fact[field.removesuffix("s")] for fact in _ORDERS[order](facts) for field in fields)


def find_task(name: str) -> OpenTask:
    """Return the task of that name; where there is none, ConfigError names those that there are."""
    if name not in _BY_NAME:
        raise ConfigError(f'no open testbed task is called "{name}"; {nearest(name, _BY_NAME)}')
    return _BY_NAME[name]


def examples(task_name: str, split: str, count: int, seed: int = 0) -> list[dict[str, str]]:
    """Draw distinct examples of a task, the same ones for the same arguments in every process.

    Args:
        task_name: one of the names in `TASKS`.
        split: one of the first testbed's `SPLITS`.
        count: examples to draw.
        seed: another seed draws other examples of the same split.

    Returns:
        `count` rows of `text` (the passage, without an instruction) and `answer` (words with single blanks between).
    """
    task = find_task(task_name)
    if split not in SPLITS:
        raise ConfigError(f'no testbed split is called "{split}"; {nearest(split, SPLITS)}')
    drawn = draw_passages(split, random.Random(f"open|{task_name}|{split}|{seed}"))
    rows: dict[str, str] = {}
    while len(rows) < count:
        text, facts = next(drawn)
        rows[text] = answer(task, facts)
    return [{"text": text, "answer": words} for text, words in rows.items()]


def instruction_words() -> tuple[str, ...]:
    """Every word that can occur in an instruction, synonyms included."""
    return tuple(word for group in lexicon.SYNONYMS.values() for word in group)


def filler_words() -> tuple[str, ...]:
    """Every word that may surround an instruction without changing it."""
    kept_out = {*instruction_words(), passages.OPENING}
    return tuple(word for word in vocabulary() if word not in kept_out)


def vocabulary() -> tuple[str, ...]:
    """All words in a fixed order, each once: the first testbed's, so that these keep their ids, then new ones."""
    return tuple(dict.fromkeys((*words.vocabulary(), *instruction_words())))


def _facts(rng: random.Random) -> Facts:
    """Two or three people; no two words of a field are equal, verbs aside."""
    people = rng.randint(2, 3)
    fields = {
        "name": rng.sample(passages.NAMES, people),
        "verb": rng.choices(passages.LIKING + passages.DISLIKING, k=people),
        "colour": rng.sample(passages.COLOURS, people),
        "animal": rng.sample(passages.BIRDS + passages.BEASTS, people),
        "place": rng.sample(passages.PLACES, people),
    }
    return [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]


def _written(facts: Facts) -> str:
    """A passage, in which a word before each person says whether they are the first, the last, or between."""
    openings = [passages.OPENING, *["then"] * (len(facts) - 2), "finally"]
    parts = ("{name} {verb} {colour} {animal} in {place}".format_map(fact) for fact in facts)
    return " ".join(f"{opening} {part}" for opening, part in zip(openings, parts, strict=True)) + " ."
