"""Base lines: what there is without training a prompt. One file each; one of your own is a file and an entry here."""

from prunekit.experiment.baselines.base import Answers, BaseLine
from prunekit.experiment.baselines.instruction import Instruction
from prunekit.experiment.baselines.linear_probe import LinearProbe
from prunekit.experiment.baselines.lora import LoraCeiling
from prunekit.experiment.baselines.no_prompt import NoPrompt
from prunekit.experiment.baselines.shots import Shots

#: All of them, in the order of tables; each says itself on what it can be measured.
BASE_LINES: tuple[BaseLine, ...] = (
    NoPrompt(),
    Instruction(),
    Shots(),
    LinearProbe("probe-cls", "linear probe on [CLS]", 0),
    LinearProbe("probe-mean", "linear probe on mean states", 1),
    LoraCeiling(),
)

__all__ = ["BASE_LINES", "Answers", "BaseLine"]
