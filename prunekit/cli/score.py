"""`prunekit score`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunekit.cli.options import AllowChanged, Json, TicketPath
from prunekit.cli.table import Column, digits, print_table, words
from prunekit.experiment import settings_io
from prunekit.support import terminal

if TYPE_CHECKING:
    import pandas as pd

# rows of the table that a terminal shows; the file holds all
_MOST_ROWS = 40
_COLUMNS = {
    "token": Column("token"),
    "piece": Column("piece"),
    "layer": Column("layer"),
    "head": Column("head", lambda head: "" if head < 0 else str(head)),
    "part": Column("part"),
    "score": Column("score", digits(4)),
    "error": Column("std error", digits(4)),
    "low": Column("95 % low", digits(4)),
    "high": Column("high", digits(4)),
    "p_corrected": Column("p Holm", digits(4)),
    "negative": Column("negative", words),
    "test_cost": Column("on test", digits(4)),
    "test_p_corrected": Column("p Holm", digits(4)),
    "confirmed": Column("confirmed", words),
}


def _quoted(word: Any) -> str:
    """A word with the blanks around it to be seen; empty where there is none."""
    return repr(word) if isinstance(word, str) else ""


_BY_WORD = {
    "token": Column("token"),
    "cost": Column("cost", digits(4)),
    "helps": Column("helps most", _quoted),
    "helps_by": Column("by", digits(4)),
    "harms": Column("harms most", _quoted),
    "harms_by": Column("by", digits(4)),
}


@settings_io.with_settings("model", "task", "machine")
def score(
    ticket: TicketPath,
    kind: Annotated[str, typer.Option(help="shapley, or what else `prune --score` takes")] = "leave-one-out",
    level: Annotated[str, typer.Option(help="token or piece; of keys and values also layer, head, part")] = "token",
    examples: Annotated[int | None, typer.Option(min=2, help="at most so many; default: all of the split")] = None,
    permutations: Annotated[
        int, typer.Option(min=2, max=1_000_000, help="orders drawn for Shapley values, an even number")
    ] = 16,
    by_word: Annotated[bool, typer.Option("--by-word", help="leave-one-out: which token helps which word")] = False,
    allow_changed: AllowChanged = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Importance of a finished ticket's tokens or pieces; which of them are better left out."""
    from prunekit.analysis import measure

    importance = measure.score(
        ticket,
        kind=kind,
        level=level,
        examples=examples,
        permutations=permutations,
        by_word=by_word,
        allow_changed=allow_changed,
        **settings,
    )
    if json:
        rows = "words" if by_word else "units"
        terminal.write_json(importance.facts | {rows: terminal.records(importance.table)})
        return
    (print_words if by_word else print_scores)(importance.table, importance.facts)
    if importance.folder is not None:
        terminal.write(f"written to {importance.folder}")


def print_scores(table: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """The kept units, the most important first; of many the best and the worst."""
    import pandas as pd

    order = table[table["kept"]].sort_values("score", ascending=False, kind="stable")
    half, cut = _MOST_ROWS // 2, len(order) > _MOST_ROWS
    rows = pd.concat([order.head(half), order.tail(half)]) if cut else order
    title = f"{facts['kind']} per {facts['level']} on {facts['examples']} examples of {facts['split']}; larger = keep"
    print_table(rows, _COLUMNS, title, gap=half if cut else None)
    if cut:
        terminal.write(f"the {half} best and the {half} worst of {len(order)} are shown")
    for line in _sentences(facts, len(order)):
        terminal.write(line)


def print_words(table: pd.DataFrame, facts: Mapping[str, Any]) -> None:
    """What each token is worth, with the words of the right answers that it helps and harms most."""
    from prunekit.analysis.word_importance import by_token

    rows = by_token(table)
    title = f"leave-one-out by word on {facts['examples']} examples of {facts['split']}, in nats an example"
    print_table(rows.head(_MOST_ROWS), _BY_WORD, title)
    if len(rows) > _MOST_ROWS:
        terminal.write(f"the {_MOST_ROWS} dearest of {len(rows)} tokens are shown")


def _sentences(facts: Mapping[str, Any], units: int) -> list[str]:
    match facts["kind"]:
        case "leave-one-out":
            line = f"{facts['negative']} of {units} are negative: leaving them out lowers the loss (Holm, 5 %)"
            if facts["negative"]:
                line += f", by {facts['largest_gain']:.4f} at most"
            if "confirmed" in facts:
                line += f"; {facts['confirmed']} of them also on {facts['test_examples']} examples of test"
            return [line]
        case "shapley":
            before, after = facts["loss_without_prompt"], facts["loss"]
            orders = f"{facts['permutations']} permutations" if facts["permutations"] else "every subset: exact"
            return [
                f"sum {facts['sum']:.4f}; loss {before:.4f} without the prompt, {after:.4f} with it, "
                f"{before - after:.4f} less ({orders}, {facts['evaluations']} subsets evaluated)"
            ]
    lines = [f"as much work as {facts['epochs']:g} epochs of training on these examples"] if facts.get("epochs") else []
    if "completeness_gap" in facts:
        fall, gap = facts["loss_fall"], facts["completeness_gap"]
        lines.append(
            f"completeness gap: the sum over tokens is {gap:.4f} short of the {fall:.4f} that the prompt is worth"
        )
    return lines
