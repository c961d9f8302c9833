"""What `prunekit VERB --help` shows of verbs with many flags: examples, and those that are used every day.

The settings, of which all flags are made, take longer to load than a reader waits; a test compares the two.
"""

from __future__ import annotations

from typing import NamedTuple


class Usual(NamedTuple):
    """The short help of a verb.

    Attributes:
        examples: a command and what it does, each on a line of 76 letters.
        flags: name of the parameter -> how it is written and what it does, on a line; none: all that
            are the verb's own.
    """

    examples: tuple[tuple[str, str], ...]
    flags: dict[str, tuple[str, str]] = {}  # noqa: RUF012 (of a tuple that nobody changes)


_DATA = {
    "model": ("--model NAME", "Hub name, folder, or testbed-open (default: testbed)"),
    "task": ("--task NAME", "of `prunekit tasks`, or a task file"),
    "data": ("--data FILE", "your rows: CSV, JSONL, Parquet, folder, Hub data set"),
    "text": ("--text COLUMN", "of your rows; also --label COLUMN, or --target COLUMN"),
}
_PROMPT = {"prompt_tokens": ("--prompt-tokens N", "tokens of the dense prompt (default: 20)")}
_SEEDS = {"seeds": ("--seeds N", "how many, or which: 0,3,7 (default: 0,)")}
_RUN = {
    "minutes": ("--minutes N", "a budget: what is not set is chosen to fit"),
    "dry_run": ("--dry-run", "say what would be done and how long it takes"),
    "out": ("--out FOLDER", "holds runs; the same command goes on there"),
}
_CONTROLS = {"controls": ("--controls", "also train what a ticket is compared with")}
_OWN = "--model NAME --data rows.csv --text review --label stars"

#: Of each verb whose help would not fit a screen; the others show all that is their own.
USUAL = {
    "prune": Usual(
        (
            ("prunekit prune", "# the embedded testbed, a minute or two"),
            (f"prunekit prune {_OWN}", ""),
            ("prunekit prune --task sst2 --data sst2/ --model NAME --dry-run", ""),
        ),
        _DATA
        | _PROMPT
        | {
            "rounds": ("--rounds N", "of pruning (default: 3)"),
            "keep_tokens": ("--keep-tokens N", "in the end, a count or a fraction (default: 0.25)"),
            "keep_rank": ("--keep-rank N", "instead: directions of the prompt, kept in the end"),
        }
        | _SEEDS
        | _CONTROLS
        | _RUN,
    ),
    "search": Usual(
        (("prunekit search", "# the embedded testbed"), (f"prunekit search {_OWN}", "")),
        _DATA
        | _PROMPT
        | {"grid": ("--grid NAME", "paper, token, piece, full or rank (default: paper)")}
        | _SEEDS
        | _CONTROLS
        | _RUN,
    ),
    "tune": Usual(
        (("prunekit tune", "# the embedded testbed"), (f"prunekit tune {_OWN}", "")),
        _DATA
        | {"method": ("--method NAME", "of `prunekit methods` (default: direct)")}
        | _PROMPT
        | {
            "train_steps": ("--train-steps N", "updates of a round (default: auto)"),
            "learning_rate": ("--learning-rate N", "of the prompt (default: auto)"),
        }
        | _SEEDS
        | _RUN,
    ),
    "compare": Usual(
        (("prunekit compare --methods direct,dpt", "# the embedded testbed"), (f"prunekit compare {_OWN}", "")),
        {
            "methods": ("--methods LIST", "such as direct,dpt; all where it is not given"),
            "learning_rates": ("--learning-rates LIST", "multiples of each method's own; 0.3,1,3"),
        }
        | _DATA
        | _PROMPT
        | _SEEDS
        | _RUN,
    ),
    "eval": Usual((("prunekit eval runs/sst2-...", "# its best ticket, on the test split"),)),
    "score": Usual((("prunekit score runs/sst2-...", ""), ("prunekit score RUN@dense --by-word", ""))),
    "predict": Usual((("prunekit predict runs/sst2-... rows.csv --out answers.csv", ""),)),
}
#: What newcomers call verbs by other names.
MEANT = {
    "train": ("tune", "trains a prompt; `prunekit prune` prunes it too"),
    "fit": ("tune", "trains a prompt; `prunekit prune` prunes it too"),
    "evaluate": ("eval", "judges a ticket"),
    "test": ("eval", "judges a ticket"),
    "generate": ("predict", "answers rows"),
    "plot": ("figures", "draws pictures of runs"),
    "list": ("runs list", "lists runs"),
    "show": ("runs show", "shows a run"),
}
