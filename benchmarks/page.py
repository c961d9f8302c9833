"""The page of a protocol run: Markdown tables from what the workers found."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks import arithmetic
from benchmarks.measure import Spread, mean_interval, wilson
from benchmarks.presets import Job
from benchmarks.turns import Outcomes, Turns, check_same
from benchmarks.worker import OURS, OURS_FLOAT32, OURS_PREFIX, OURS_SUFFIX, PEER, PRECISIONS, RATE, TUNED

# what is divided by what, and why
PAIRS = (
    (PEER, OURS, "what a user gains"),
    (TUNED, OURS, "equal precision, bfloat16"),
    (PEER, OURS_FLOAT32, "equal precision, float32"),
    (PEER, OURS_SUFFIX, "equal precision, texts read once"),
    (OURS_FLOAT32, OURS_SUFFIX, "what reading texts once gains"),
    (PEER, TUNED, "what tuning the peer gains"),
)
PHASES: dict[str, Callable[[Mapping[str, float]], float]] = {
    "encode": lambda seconds: seconds["encode"],
    "train, dense": lambda seconds: seconds["dense"],
    "train, pruned": lambda seconds: seconds["retrain"],
    "train": lambda seconds: seconds["dense"] + seconds["retrain"],
    "evaluate": lambda seconds: seconds["evaluate"],
    "score": lambda seconds: seconds["score"],
    "whole": lambda seconds: sum(seconds.values()),
}
_SAME = ("updates", "evaluations", "start_digest", "rows_digest")


class Report(Turns):
    """What the page of the whole protocol is made from."""

    def seconds(self, side: str, phase: str) -> list[float]:
        """Seconds of a phase, by repeat."""
        return [PHASES[phase](repeat[side]["seconds"]) for repeat in self.repeats]


def check_fairness(outcomes: Outcomes) -> None:
    """Every side made the same updates and evaluations, from the same start on the same rows.

    Raises:
        RuntimeError: naming what differs.
    """
    check_same(outcomes, _SAME)


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(header), ["---"] * len(list(header)), *[[str(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def command_line(name: str) -> str:
    """How a benchmark was called."""
    return shlex.join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])


def command(name: str) -> str:
    """The command line of a benchmark, to be written on its page."""
    return f"`{command_line(name)}`"


def publish(title: str, facts: Mapping[str, str], parts: Iterable[str], out: Path | None) -> None:
    """Print a page, and write it where asked."""
    _write(
        "\n\n".join([f"# {title}", "\n".join(f"- {name}: {value}" for name, value in facts.items()), *parts]) + "\n",
        out,
    )


def publish_with_numbers(page: str, report: Turns, out: Path | None) -> None:
    """Print the page of a report, and write it where asked, the raw numbers beside it as JSON."""
    _write(page, out)
    if out is not None:
        # where this machine keeps things is nobody's business
        facts = asdict(report.job) | {"model": Path(report.job.model).name, "folder": ""}
        raw = {"job": facts, "command": report.command, "repeats": report.repeats}
        out.with_suffix(".json").write_text(json.dumps(raw, indent=1), encoding="utf-8")


def _write(page: str, out: Path | None) -> None:
    print(page)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")


def render(report: Report) -> str:
    """The whole page."""
    parts = [
        f"# {report.job.preset}: the same protocol by PEFT with Trainer and by prunekit",
        _setting(report),
        "## Seconds, medians",
        _seconds(report),
        "## Ratios, repeat by repeat: median [lowest, highest]",
        _ratios(report),
        "## Parts of the matrix rate, scoring against training, memory",
        _limits(report),
    ]
    if report.job.preset != "t5-small-shape":
        parts += ["## Accuracy", _accuracy(report)]
    return "\n\n".join([*parts, "## What differs between the sides", _differences(report)]) + "\n"


def _setting(report: Report) -> str:
    job = report.job
    facts = {
        "command": f"`{report.command}`",
        **report.machine,
        "data": f"{job.train_examples} training and {job.validation_examples} validation rows, batch {job.batch_size}",
        "prompt": f"{job.prompt_tokens} tokens x {job.pieces} pieces, AdamW, rate {job.learning_rate} "
        f"(a head: {job.head_learning_rate})",
        "protocol": f"{job.dense_steps} updates dense; scores on the training rows; {_listed(job.keep_tokens)} tokens, "
        f"then {_listed(job.keep_pieces)} pieces of the best of them, {job.retrain_steps} updates each; in all "
        f"{job.updates} updates and {job.evaluations} evaluations by each side, checked",
        "repeats": f"{len(report.repeats)}, sides interleaved, one process each, seeds 0 to {len(report.repeats) - 1}",
    }
    return "\n".join(f"- {name}: {value}" for name, value in facts.items())


def _seconds(report: Report) -> str:
    rows = [[phase, *[f"{median(report.seconds(side, phase)):.2f}" for side in report.sides]] for phase in PHASES]
    per_update = [1000 * median(report.seconds(side, "train, dense")) / report.job.dense_steps for side in report.sides]
    per_look = [1000 * median(report.seconds(side, "evaluate")) / report.job.evaluations for side in report.sides]
    rows.append(["one dense update, ms", *[f"{value:.0f}" for value in per_update]])
    rows.append(["one evaluation of one prompt, ms", *[f"{value:.0f}" for value in per_look]])
    return table(["phase", *report.sides], rows)


def _ratios(report: Report) -> str:
    rows = []
    for above, below, why in PAIRS:
        if {above, below} <= set(report.sides):
            cells = [
                spread_of(quotients(report.seconds(above, phase), report.seconds(below, phase))) for phase in PHASES
            ]
            rows.append([f"{above} / {below}", why, *cells])
    return table(["sides", "", *PHASES], rows)


def _limits(report: Report) -> str:
    job = report.job
    rows = []
    for side in report.sides:
        useful = training_work(job, report.config, side, job.dense_steps)
        rates = [repeat[RATE][PRECISIONS[side]] for repeat in report.repeats]
        reached = [useful / seconds for seconds in report.seconds(side, "train, dense")]
        epoch = job.dense_steps * job.batch_size / job.train_examples
        scoring = [
            score / dense * epoch
            for score, dense in zip(report.seconds(side, "score"), report.seconds(side, "train, dense"), strict=True)
        ]
        peaks = [repeat[side]["peak_mib"] for repeat in report.repeats]
        held = [repeat[side]["held_mib"] for repeat in report.repeats]
        share = spread_of(quotients(reached, rates))
        row = [side, PRECISIONS[side], f"{median(rates) / 1e9:.0f}", f"{median(reached) / 1e9:.0f}", share]
        rows.append([*row, spread_of(scoring), f"{median(peaks):.0f}", f"{median(held):.0f}"])
    header = ["side", "precision", "matrix rate, GFLOP/s", "reached in dense training", "part of the rate"]
    header += ["scoring / a training epoch", "peak memory, MiB", "of it before the protocol, MiB"]
    return table(header, rows) + (
        "\n\nReached: the arithmetic of the rows without padding "
        f"({_row_work(job, report.config) / 1e9:.2f} GFLOP per row and update where the prompt stands first: forward, "
        "and backward for activations only), by the seconds of the dense updates."
    )


def training_work(job: Job, config: Any, side: str, updates: int) -> float:
    """FLOP of so many updates, as the side makes them.

    prunekit reads a decoder's prompt once for all texts of an update, a prefix never, and behind kept texts prompt and
    answer alone, each distinct text once, forward.
    """
    rows = job.rows()["train"]
    shared = side in (OURS, OURS_FLOAT32) and config.model_type in arithmetic.DECODERS and job.device == "cpu"
    if shared or side == OURS_PREFIX:
        texts = fmean(arithmetic.decoder(config, row["tokens"], behind=job.prompt_tokens).training for row in rows)
        prompt = arithmetic.decoder(config, job.prompt_tokens, answers=False).training if shared else 0.0
        return updates * (job.batch_size * texts + prompt)
    if side != OURS_SUFFIX:
        return updates * job.batch_size * _row_work(job, config)
    row = fmean(arithmetic.decoder(config, job.prompt_tokens, behind=row["tokens"]).training for row in rows)
    texts = {row["text"]: row["tokens"] for row in rows}
    read = sum(arithmetic.decoder(config, tokens, answers=False).forward for tokens in texts.values())
    return updates * job.batch_size * row + read


def _row_work(job: Job, config: Any) -> float:
    """FLOP of one training row whose prompt stands first, the mean over the training rows."""
    answers = [job.answer_tokens] if job.answer_tokens and config.is_encoder_decoder else []
    rows = job.rows()["train"]
    return fmean(arithmetic.row(config, row["tokens"] + job.prompt_tokens, answers).training for row in rows)


def _accuracy(report: Report) -> str:
    tokens, pieces = len(report.job.keep_tokens), len(report.job.keep_pieces)
    groups = {
        "dense": slice(0, 1),
        f"{tokens} token ratios, mean": slice(1, 1 + tokens),
        f"{pieces} piece ratios, mean": slice(1 + tokens, 1 + tokens + pieces),
        "all prompts, mean": slice(None),
    }
    rows = []
    for name, group in groups.items():
        for side in report.sides:
            accuracies = [_mean_accuracy(repeat[side], group) for repeat in report.repeats]
            count = report.job.validation_examples
            low, high = wilson(fmean(accuracies) * count, count)
            row = [name, side, f"{fmean(accuracies):.3f} [{low:.3f}, {high:.3f}]"]
            if PEER in report.sides and side != PEER:
                theirs = [_mean_accuracy(repeat[PEER], group) for repeat in report.repeats]
                gap, low, high = mean_interval([ours - their for ours, their in zip(accuracies, theirs, strict=True)])
                row.append(f"{gap:+.3f} [{low:+.3f}, {high:+.3f}]")
            else:
                row.append("")
            rows.append(row)
    header = ["prompts", "side", "accuracy [95 %, sampling of rows]", "less the peer's [95 %, over seeds]"]
    return table(header, rows) + "\n\nAfter the last update of each prompt, on the validation rows; nothing is chosen."


def _mean_accuracy(outcome: Mapping[str, Any], group: slice) -> float:
    return fmean(list(outcome["accuracies"].values())[group])


def _differences(report: Report) -> str:
    job = report.job
    lines = [
        f"peer: texts padded {padding_words(job)}, float32, train mode (dropout as the checkpoint sets it), evaluation "
        f"batches of {job.batch_size}, a new Trainer for every prompt; dropped cells are zeros, the sequence stays as "
        "long.",
        "tuned peer: padding to the longest of a batch, texts of like length together, bfloat16 weights, dropout zero, "
        "evaluation batches of 128 sorted by length.",
        "prunekit: eval mode, dropped tokens leave the sequence; pruned prompts are trained side by side, "
        + (f"{job.width} at a time." if job.width else "a whole stage at a time."),
        "The same on all: rows, starting prompt, zero head, AdamW and its rates, warm-up, clipping, batch size, "
        "numbers of updates and evaluations; which rows share a batch is each side's own. Imports, loading and one "
        "small warm-up are outside all clocks.",
    ]
    if OURS_SUFFIX in report.sides:
        lines.append(
            "prunekit float32 suffix: as prunekit, the prompt between text and answer; what the model makes of a text "
            "is kept, and computed inside the phase that reads it first."
        )
    if report.config.is_encoder_decoder:
        lines.append(
            f"Answers: the peers generate up to {job.answer_tokens} tokens and compare texts (the peer also computes a "
            "loss, as Seq2SeqTrainer does); prunekit scores every choice and gives the loss with it."
        )
    elif report.config.model_type in arithmetic.DECODERS:
        lines.append(
            "prunekit with the prompt first, on a CPU: it is read once for all texts of a pass, and its part of the "
            "matrix rate counts it once an update; the peer reads it with every text."
        )
        lines.append("Answers: all sides compare the one token that each choice has behind its text.")
    else:
        lines.append("Answers: all sides read row 0, the first prompt token, through the pooler and a linear head.")
    return "\n".join(f"- {line}" for line in lines)


def padding_words(job: Job) -> str:
    """How the untuned peer pads."""
    return f"to {job.max_length} tokens" if job.padding == "max_length" else "to the longest of the batch"


def quotients(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Repeat by repeat."""
    return [dividend / divisor for dividend, divisor in zip(above, below, strict=True)]


def spread_of(values: Sequence[float], digits: int = 2) -> str:
    """Median and range, for a cell."""
    spread = Spread.of(values)
    return f"{spread.median:.{digits}f} [{spread.low:.{digits}f}, {spread.high:.{digits}f}]"


def _listed(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts))
