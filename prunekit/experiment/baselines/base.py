"""What a base line is, and how one that answers with words is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from prunekit.engine.distributed import answer
from prunekit.engine.evaluate import Evaluation
from prunekit.experiment.prepare import Prepared
from prunekit.models import Encoded, find_traits
from prunekit.models.encoding import encode
from prunekit.support.terminal import Tick
from prunekit.tasks import Example

Kind = Literal["base line", "ceiling"]


def unseen(completed: int, note: str = "") -> None:
    """Progress that nobody looks at."""


@dataclass(frozen=True)
class Answers:
    """What a base line answers.

    Attributes:
        validation: its losses, choices and scores [N], or what it writes, on that split.
        test: the same on the split that is looked at once.
        facts: what else is to be known of it, such as how many texts were cut.
    """

    validation: Evaluation
    test: Evaluation
    facts: Mapping[str, Any] = field(default_factory=dict)


class BaseLine:
    """Something that answers a task without a trained prompt, on the rows that prompts are judged on.

    Attributes:
        kind: a base line is to be beaten by the dense prompt; a ceiling says what more training could reach.
        seeded: whether each seed has its own.
        bare: whether it is the task and nothing else; questions and references are then put on record too.
        share: of the updates of a dense round that it makes.
    """

    kind: ClassVar[Kind] = "base line"
    seeded: ClassVar[bool] = False
    bare: ClassVar[bool] = False
    share: ClassVar[float] = 0.0

    def folder(self, prepared: Prepared) -> str:
        """Where it lies among the base lines of a run; it names all that the run's own id does not say of it."""
        raise NotImplementedError

    def label(self, prepared: Prepared) -> str:
        """How people read it."""
        raise NotImplementedError

    def applies(self, prepared: Prepared) -> bool:
        """Whether it can be measured on this model and task, and is asked for."""
        raise NotImplementedError

    def texts(self, prepared: Prepared) -> int:
        """How many texts a row holds."""
        return 1

    def work(self, prepared: Prepared) -> tuple[int, str]:
        """How much there is to do, and of what: the examples of both splits."""
        return len(prepared.splits.validation) + len(prepared.splits.test), "examples"

    def answers(self, prepared: Prepared, seed: int, tick: Tick = unseen) -> Answers:
        """Measure it.

        Args:
            tick: called with how much of the `work` is done.
        """
        raise NotImplementedError


def both_alone(
    prepared: Prepared, validation: Sequence[Encoded], test: Sequence[Encoded], tick: Tick
) -> tuple[Evaluation, Evaluation]:
    """What the model answers to the rows of both splits without any prompt."""

    def alone(rows: Sequence[Encoded], before: int) -> Evaluation:
        model = prepared.model
        return answer(model.no_prompt(), model, rows, prepared.decoding, lambda count: tick(before + count))[0]

    return alone(validation, 0), alone(test, len(validation))


def answers_to(
    prepared: Prepared,
    reworded: Callable[[Example], Example],
    more_tokens: int,
    tick: Tick,
    facts: Mapping[str, Any] | None = None,
) -> Answers:
    """What the model answers, without a prompt, to the examples of both splits in other words.

    Args:
        reworded: an example -> the same with more before it.
        more_tokens: by how many the texts may be longer than those of the task.
    """
    model, splits = prepared.model, prepared.splits
    options = model.encoding_options(prepared.task.choices is None)
    options = replace(options, text_tokens=options.text_tokens + more_tokens)
    validation_rows, test_rows = (
        encode(model.reader, map(reworded, part), options) for part in (splits.validation, splits.test)
    )
    rows = [*validation_rows, *test_rows]
    find_traits(model, max(row.length for row in rows))
    cut = {"cut": sum(row.cut for row in rows)}
    with model.reading_whole_rows():
        validation, test = both_alone(prepared, validation_rows, test_rows, tick)
    return Answers(validation, test, {**cut, **(facts or {})})
