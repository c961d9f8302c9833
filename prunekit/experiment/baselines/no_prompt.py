"""The base line of the model as it is."""

from __future__ import annotations

from prunekit.experiment.baselines.base import Answers, BaseLine, both_alone, unseen
from prunekit.experiment.prepare import Prepared
from prunekit.support.terminal import Tick


class NoPrompt(BaseLine):
    """The task's template alone."""

    bare = True

    def folder(self, prepared: Prepared) -> str:
        """Nothing but the run decides it."""
        return "no-prompt"

    def label(self, prepared: Prepared) -> str:
        """How people read it."""
        return "no prompt"

    def applies(self, prepared: Prepared) -> bool:
        """An encoder's answer is a head's, and none is trained here."""
        return not prepared.model.answers_by_head

    def answers(self, prepared: Prepared, seed: int, tick: Tick = unseen) -> Answers:
        """One pass over both splits, on the rows as they are beside a prompt."""
        return Answers(*both_alone(prepared, prepared.training_data.validation, prepared.test, tick))
