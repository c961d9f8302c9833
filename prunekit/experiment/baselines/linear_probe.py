"""The base line of an encoder's frozen features."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunekit.engine.evaluate import Evaluation
from prunekit.engine.text_states import text_states
from prunekit.experiment.baselines.base import Answers, BaseLine, unseen
from prunekit.experiment.prepare import Prepared
from prunekit.models import Encoded, Encoder
from prunekit.support.terminal import Tick

#: Inverse strengths of the regularisation that validation chooses from.
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
# below it a probability is taken for it, so that every loss is finite
_LEAST = 1e-12


class FrozenStates:
    """The states of an experiment's texts, read once for all probes on them; those of the last experiment are kept."""

    def __init__(self) -> None:
        self._of: Callable[[], Prepared | None] = lambda: None
        self._states: list[tuple[Tensor, Tensor]] = []

    def of(self, prepared: Prepared) -> Sequence[tuple[Tensor, Tensor]]:
        """Of train, validation and test the first states and the means, as of `text_states`."""
        assert isinstance(prepared.model, Encoder), "as a probe applies to"
        if self._of() is not prepared:
            self._states = [text_states(prepared.model, rows) for rows in prepared.rows]
            self._of = weakref.ref(prepared)
        return self._states


_STATES = FrozenStates()


class LinearProbe(BaseLine):
    """Logistic regression on states that a frozen encoder gives the texts alone, its strength chosen on validation."""

    def __init__(self, name: str, label: str, feature: int) -> None:
        self._name, self._label, self._feature = name, label, feature

    def folder(self, prepared: Prepared) -> str:
        """Nothing but the run decides it."""
        return self._name

    def label(self, prepared: Prepared) -> str:
        """How people read it."""
        return self._label

    def applies(self, prepared: Prepared) -> bool:
        """On an encoder, where all examples have the same answers and at least two of them are to be learned."""
        golds = {row.gold for row in prepared.training_data.train}
        return isinstance(prepared.model, Encoder) and prepared.task.choices is not None and len(golds) > 1

    def answers(self, prepared: Prepared, seed: int, tick: Tick = unseen) -> Answers:
        """One pass over train, validation and test, and a regression for each strength."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        train, validation, test = (states[self._feature].double().numpy() for states in _STATES.of(prepared))
        gold = [row.gold for row in prepared.training_data.train]
        best: tuple[float, float, Evaluation, Evaluation] | None = None
        for strength in STRENGTHS:
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(train, gold)
            chosen, tested = (
                _evaluation(probe.predict_proba(states), probe.classes_, rows)
                for states, rows in zip((validation, test), prepared.rows[1:], strict=True)
            )
            reached = next(iter(prepared.task.score(prepared.splits.validation, chosen.chosen.tolist()).values()))
            if best is None or reached > best[0]:
                best = (reached, strength, chosen, tested)
        assert best is not None
        return Answers(best[2], best[3], {"strength": best[1]})


def _evaluation(shares: NDArray[np.float64], labels: NDArray[np.int64], rows: Sequence[Encoded]) -> Evaluation:
    """Probabilities [N, labels that train has] as what answers are judged by."""
    logs = np.full((len(rows), max(len(row.choices) for row in rows)), np.log(_LEAST))
    logs[:, labels] = np.log(np.maximum(shares, _LEAST))
    best = torch.from_numpy(logs).float().max(dim=1)
    losses = -logs[np.arange(len(rows)), [row.gold for row in rows]]
    return Evaluation(torch.from_numpy(losses).float(), best.indices, best.values)
