"""The page of an instruction that was planted on a language model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmarks.page import table
from benchmarks.prunebench.entry import Entry
from benchmarks.prunebench.instruction import FEWEST_WORDS, PLANTED, RANKED_ROWS, PlantedInstruction, Worth
from benchmarks.prunebench.page import EPOCH_EXAMPLES, finder_table, table_of


def page(
    measured: pd.DataFrame, prompts: PlantedInstruction, entries: Sequence[Entry], facts: Sequence[tuple[str, str]]
) -> str:
    """The page as Markdown.

    Args:
        measured: of `PlantedInstruction.measure`, all seeds.
        facts: name and value of what stands above the tables, such as the model and the command.
    """
    worth, rows, tokens = prompts.worth, len(prompts.validation), prompts.tokens
    words = prompts.model.tokenizer.convert_ids_to_tokens(list(prompts.ids))
    return _PAGE.format(
        facts="\n".join(f"- {name}: {value}" for name, value in facts), helps=helps(worth, rows),
        words=table(["token", "cost, nats", "counts"], _word_rows(worth, words)), truth=_truth(worth, tokens, rows),
        tokens=tokens, seeds=measured["seed"].nunique(), epoch=EPOCH_EXAMPLES,
        table=finder_table(table_of(measured, entries), entries, "share found"),
    )  # fmt: skip


def helps(worth: Worth, rows: int) -> str:
    """A sentence: whether the instruction helps.

    Args:
        rows: of validation, on which that was measured.
    """
    gain, low, high = worth.gain
    verdict = "helps" if worth.helps else "is not shown to help"
    return (
        f"The instruction {verdict}: on {rows} rows of validation the loss is smaller with it than without a prompt by "
        f"{gain:.3f} nats [{low:.3f}, {high:.3f}]. Of the answers {worth.right:.3f} are right with it and "
        f"{worth.without:.3f} without."
    )


def _word_rows(worth: Worth, words: Sequence[str]) -> list[list[str]]:
    return [
        [f"`{_in_a_cell(word)}`", f"{cost:+.3f} [{low:+.3f}, {high:+.3f}]", "yes" if low > 0 else ""]
        for word, (cost, low, high) in zip(words, worth.costs.to_numpy(), strict=True)
    ]


def _in_a_cell(word: str) -> str:
    """A token in a cell of a table, which a line's end or a bar would break."""
    return word.replace("\n", "\\n").replace("|", "\\|")


def _truth(worth: Worth, tokens: int, rows: int) -> str:
    """What finders are compared with, and what chance finds of it."""
    if worth.truth == PLANTED:
        count = len(worth.needed)
        return f"The {count} tokens that count are what is to be found: by chance {count / tokens:.3f} of them are."
    why = f"fewer than {FEWEST_WORDS} of its tokens cost" if worth.helps else "the instruction is not shown to help"
    return (
        f"Since {why}, nothing is planted: what is to be found is the quarter of all tokens, filler or not, that exact "
        f"leave-one-out ranks highest on {min(rows, RANKED_ROWS)} rows of validation; the finder of that name sees "
        "rows of the training split."
    )


_PAGE = """# PruneBench: an instruction among random words

{facts}

{helps}

What leaving out each of its tokens costs, from the instruction alone on those rows, with 95 % intervals over rows; a
token counts where the whole interval lies above 0.

{words}

{truth} The instruction's tokens stand in their order among random words of the vocabulary, {tokens} tokens in all,
{seeds} seeds of other words in other places. A finder keeps as many tokens as are to be found, by rows of the training
split. Shares are means over seeds with 95 % intervals over them; costs are passes forward and backward through the
model, in epochs of training on {epoch} examples.

{table}"""
