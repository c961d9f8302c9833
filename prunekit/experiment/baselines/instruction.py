"""The base line of what a person would write."""

from __future__ import annotations

from prunekit.experiment.baselines.base import Answers, BaseLine, answers_to, unseen
from prunekit.experiment.prepare import Prepared
from prunekit.support.digest import identity
from prunekit.support.terminal import Tick
from prunekit.tasks.example import instructed


class Instruction(BaseLine):
    """The task's written instruction before the text, a line of its own; in a chat the user says both."""

    def folder(self, prepared: Prepared) -> str:
        """Another instruction is another base line of the same run."""
        return f"instruction-{identity(prepared.task.instruction, 4)}"

    def label(self, prepared: Prepared) -> str:
        """How people read it."""
        return "written instruction"

    def applies(self, prepared: Prepared) -> bool:
        """Where the task has one and words answer."""
        return bool(prepared.task.instruction) and not prepared.model.answers_by_head

    def answers(self, prepared: Prepared, seed: int, tick: Tick = unseen) -> Answers:
        """One pass over both splits; texts have the room that they have without it."""
        words = prepared.task.instruction
        (ids,) = prepared.model.reader.ids([words], plain=True)
        room = len(ids) + 1  # the line's end
        return answers_to(prepared, lambda example: instructed(example, words), room, tick, {"instruction": words})
