"""How written answers are judged: one file each. A new metric is a new file here and an entry in `TEXT_METRICS`.

All lie in [0, 1]: what libraries give out of 100 (BLEU, chrF) is divided by it. sacrebleu and rouge-score, the extra
`text`, are imported when a metric of theirs judges its first answer.
"""

from __future__ import annotations

from prunekit.tasks.text_metrics.base import TextMetric
from prunekit.tasks.text_metrics.bleu import Bleu
from prunekit.tasks.text_metrics.chrf import Chrf
from prunekit.tasks.text_metrics.exact_string import ExactString
from prunekit.tasks.text_metrics.number import Number
from prunekit.tasks.text_metrics.rouge import Rouge
from prunekit.tasks.text_metrics.squad_exact_match import SquadExactMatch
from prunekit.tasks.text_metrics.squad_f1 import SquadF1

_ALL: tuple[TextMetric, ...] = (
    SquadF1(),
    SquadExactMatch(),
    ExactString(),
    Number(),
    Bleu(),
    Chrf(),
    Rouge("rouge1"),
    Rouge("rouge2"),
    Rouge("rougeL"),
)
#: Key in task files -> metric, in the order of tables.
TEXT_METRICS: dict[str, TextMetric] = {metric.name: metric for metric in _ALL}


def judge_of(metric: str) -> TextMetric:
    """What judges written answers under a task's name of it; a task of choices calls exact strings its accuracy."""
    return TEXT_METRICS["exact_string" if metric == "accuracy" else metric]


__all__ = ["TEXT_METRICS", "TextMetric", "judge_of"]
