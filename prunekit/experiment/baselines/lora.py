"""The ceiling of weights that move too."""

from __future__ import annotations

from prunekit.engine.lora import trained_lora
from prunekit.experiment.baselines.base import Answers, BaseLine, unseen
from prunekit.experiment.prepare import Prepared
from prunekit.support.terminal import Tick


class LoraCeiling(BaseLine):
    """LoRA by PEFT with as many updates of the same examples as the dense prompt; asked for by `--ceiling lora`."""

    kind = "ceiling"
    seeded = True
    share = 1.0

    def folder(self, prepared: Prepared) -> str:
        """Nothing but the run decides it."""
        return "lora"

    def label(self, prepared: Prepared) -> str:
        """How people read it."""
        return "LoRA (ceiling)"

    def applies(self, prepared: Prepared) -> bool:
        """Where it is asked for."""
        return prepared.experiment.baselines.ceiling == "lora"

    def work(self, prepared: Prepared) -> tuple[int, str]:
        """The updates of its training."""
        return prepared.plan.train_steps, "steps"

    def answers(self, prepared: Prepared, seed: int, tick: Tick = unseen) -> Answers:
        """One training; the adapters are gone from the model when it returns."""
        trained = trained_lora(
            prepared.model,
            prepared.training_data,
            prepared.test,
            prepared.plan,
            prepared.dense(seed),
            prepared.decoding,
            tick,
        )
        facts = {"parameters": trained.parameters, "kept_step": trained.step, "learning_rate": trained.learning_rate}
        return Answers(trained.validation, trained.test, facts)
