"""The page of trainings without evaluations: seconds, memory and accuracy of every side, and ratios pair by pair."""

from __future__ import annotations

import math
from itertools import combinations
from statistics import median

from benchmarks.measure import Spread
from benchmarks.page import padding_words, quotients, spread_of, table, training_work
from benchmarks.turns import Outcomes, Turns, check_same
from benchmarks.worker import OURS_FLOAT32, OURS_PREFIX, OURS_SUFFIX, PEER, PLACES, PRECISIONS, RATE

_SAME = ("updates", "rows_digest")
# how far the first losses of two sides may differ that read the same rows in float32
_LOSS = 1e-3
PAIRS = ((PEER, OURS_FLOAT32), (PEER, OURS_SUFFIX), (PEER, OURS_PREFIX), (OURS_FLOAT32, OURS_SUFFIX))


_PREFIX = (
    "prunekit float32 prefix-kv: trained keys and values before every text, which go through no layer; at its own auto "
    "rate, from the keys and values of the same words, so that its first loss and the size of its updates are its own."
)


class TrainingReport(Turns):
    """What the page is made from."""

    def seconds(self, side: str) -> list[float]:
        """Seconds of a training, by repeat; texts that are kept are read in it."""
        return [repeat[side]["seconds"]["dense"] for repeat in self.repeats]

    def updates(self, side: str) -> list[float]:
        """Median seconds of an update of the last epoch, by repeat."""
        return [median(repeat[side]["update_seconds"][-self.job.epoch_steps :]) for repeat in self.repeats]

    def scoring(self, side: str) -> str:
        """Seconds to score the training rows, in epochs of updates; a dash where a side scores them one by one."""
        if any("score" not in repeat[side]["seconds"] for repeat in self.repeats):
            return "-"
        seconds = [repeat[side]["seconds"]["score"] for repeat in self.repeats]
        epochs = [update * self.job.epoch_steps for update in self.updates(side)]
        return spread_of(quotients(seconds, epochs))

    def facts(self, side: str, name: str) -> list[float]:
        """A number of a side, by repeat."""
        return [repeat[side][name] for repeat in self.repeats]


def check_trainings(outcomes: Outcomes) -> None:
    """Every side made the same updates from the same start on the same rows, in float32 with the same first loss.

    A prefix of keys and values has a start of its own, and a suffix a first loss.

    Raises:
        RuntimeError: naming what differs.
    """
    sides = check_same(outcomes, _SAME)
    check_same({side: outcome for side, outcome in sides.items() if side != OURS_PREFIX}, ("start_digest",))
    exact = [side for side in sides if PRECISIONS[side] == "float32" and side not in PLACES]
    for side, other in combinations(exact, 2):
        losses = sides[side]["first_loss"], sides[other]["first_loss"]
        if not math.isclose(*losses, rel_tol=_LOSS):
            raise RuntimeError(f"not the same work: the first losses of {side} and {other} are {losses}")


def render(report: TrainingReport) -> str:
    """The whole page."""
    job = report.job
    facts = {
        "command": f"`{report.command}`",
        **report.machine,
        "data": f"{job.train_examples} training and {job.validation_examples} validation rows, batch {job.batch_size}",
        "prompt": f"{job.prompt_tokens} tokens, AdamW, rate {job.learning_rate}",
        "training": f"epochs: {job.epochs}, updates: {job.epochs * job.epoch_steps}; no evaluation before the end",
        "repeats": f"{len(report.repeats)}, sides interleaved, one process each, seeds 0 to {len(report.repeats) - 1}",
    }
    parts = [
        f"# {job.preset}: a training by PEFT with Trainer and by prunekit",
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        "## Sides",
        _sides(report),
        "## Ratios, repeat by repeat: median [lowest, highest]",
        _ratios(report),
        "## What differs between the sides",
        _differences(report),
    ]
    return "\n\n".join(parts) + "\n"


def _sides(report: TrainingReport) -> str:
    rows = [_side(report, side) for side in report.sides]
    return table(
        [
            "side", "precision", "seconds", "an update of the last epoch, ms", "peak memory, MiB",
            "of it before the training", "accuracy at the end", "first loss", "part of the matrix rate",
            "scoring the rows, epochs",
        ],
        rows,
    )  # fmt: skip


def _side(report: TrainingReport, side: str) -> list[str]:
    seconds, precision = report.seconds(side), PRECISIONS[side]
    work = training_work(report.job, report.config, side, report.job.epochs * report.job.epoch_steps)
    rates = [repeat[RATE][precision] for repeat in report.repeats]
    losses = Spread.of(report.facts(side, "first_loss"))
    return [
        side, precision, spread_of(seconds), f"{1000 * median(report.updates(side)):.0f}",
        f"{median(report.facts(side, 'peak_mib')):.0f}", f"{median(report.facts(side, 'held_mib')):.0f}",
        spread_of(report.facts(side, "accuracy"), 3), f"{losses.median:.4f}",
        spread_of(quotients([work / took for took in seconds], rates)), report.scoring(side),
    ]  # fmt: skip


def _ratios(report: TrainingReport) -> str:
    rows = []
    for above, below in PAIRS:
        if {above, below} <= set(report.sides):
            gains = zip(report.facts(below, "accuracy"), report.facts(above, "accuracy"), strict=True)
            rows.append([
                f"{above} / {below}",
                spread_of(quotients(report.seconds(above), report.seconds(below))),
                spread_of(quotients(report.updates(above), report.updates(below))),
                spread_of(quotients(report.facts(above, "peak_mib"), report.facts(below, "peak_mib"))),
                spread_of([gain - before for gain, before in gains], 3),
            ])  # fmt: skip
    return table(
        ["sides", "training", "an update of the last epoch", "peak memory", "accuracy, second less first"], rows
    )


def _differences(report: TrainingReport) -> str:
    job = report.job
    lines = [
        "peer: PEFT prompt tuning and the Trainer as documented, labels on the answer alone, texts padded "
        f"behind them, {padding_words(job)} (Gemma's tokenizer pads before them, which moves them away from PEFT's "
        "prompt: a row's loss would depend on its batch).",
        "prunekit float32: the prompt before every text, read once for all texts of a pass (on a CPU). prunekit "
        "float32 suffix: between text and answer; every text is read once, inside the seconds of the training, and its "
        "keys and values are kept.",
        *([_PREFIX] if OURS_PREFIX in report.sides else []),
        "The same on all: rows, starting prompt, AdamW and its rates, warm-up, clipping, batch size, number of "
        "updates; checked, and that the first losses of those whose prompt stands first differ by less than 0.1 %. "
        "Which rows share a batch is each side's own. Imports, loading, encoding and one warm-up update are outside "
        "all clocks.",
        "Scoring the rows: tokens' and pieces' scores on the training rows after the training, by the seconds of an "
        "epoch's updates; the peer's loop over single rows is not timed here.",
        "Part of the matrix rate: the arithmetic that a side needs (forward, and backward for activations only; no "
        "padding, prunekit's prompt once an update) by the seconds of the training, of the best rate of a large matrix "
        "product.",
    ]
    return "\n".join(f"- {line}" for line in lines)
