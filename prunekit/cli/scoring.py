"""`prunekit score`: the importance of a finished ticket's tokens or pieces, by gradient or by leaving them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch

from prunekit.analysis import token_importance
from prunekit.cli import verbs
from prunekit.engine import ablation
from prunekit.engine.ablation import Level
from prunekit.engine.gradient_scores import NOT_FINITE, all_scores, scoring_batches
from prunekit.engine.gradient_scores import Kind as FirstOrder
from prunekit.experiment import environment, sameness
from prunekit.experiment.prepare import encode
from prunekit.models import Encoded, FrozenModel
from prunekit.pruning.ticket import Ticket
from prunekit.runs.paths import FACTS, IMPORTANCE, RunKey, Stage
from prunekit.runs.round_files import locate
from prunekit.runs.run import Files, Run
from prunekit.support import atomic, terminal
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError, DivergedError

Kind = Literal["leave-one-out", "shapley", "absolute", "signed", "squared", "magnitude", "random"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# the splits that a kind is measured on, where it is not train; test is looked at for what is negative alone
_SPLITS: dict[str, tuple[str, ...]] = {"leave-one-out": ("validation", "test"), "shapley": ("validation",)}
LEVELS: tuple[Level, ...] = get_args(Level)

# rows of the table that a terminal shows; the file holds all
_SHOWN = 40
# columns that it shows, and how it calls them
_COLUMNS = {
    "token": "token",
    "piece": "piece",
    "score": "score",
    "error": "std error",
    "low": "95 % low",
    "high": "high",
    "p_corrected": "p Holm",
    "negative": "negative",
    "test_cost": "on test",
    "test_p_corrected": "p Holm",
    "confirmed": "confirmed",
}


@dataclass(frozen=True)
class Wish:
    """What is to be scored, and how.

    Attributes:
        examples: at most so many of the split, None for all of it.
        permutations: orders drawn for Shapley values.
    """

    kind: Kind = "leave-one-out"
    level: Level = "token"
    examples: int | None = None
    permutations: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"--kind = '{self.kind}': use one of {', '.join(KINDS)}")
        if self.level not in LEVELS:
            raise ConfigError(f"--level = '{self.level}': use one of {', '.join(LEVELS)}")


@dataclass(frozen=True)
class Scored:
    """A table of units with their scores, and what is true of all of them."""

    table: pd.DataFrame
    facts: dict[str, Any]


def score(path: Path, wish: Wish, settings: dict[str, Any], *, json: bool, allow_changed: bool = False) -> None:
    """Score a ticket, or show its scores where they were measured before; written beside the run it belongs to.

    Raises:
        PrunekitError: in one line where ticket, model or task cannot be used, or are others than the ticket's own and
            that is not allowed.
    """
    use = verbs.in_use(path, settings, _SPLITS.get(wish.kind, ("train",)), allow_changed=allow_changed)
    found = locate(path)
    if found is None:
        _show(_measure(use, wish), json=json)
        return
    run, key = found
    # of another model, task or data than the run's own it is another measurement
    more: dict[str, Any] = {}
    if use.differences:
        more = {"changed": verbs.changed(run, settings), "differs": list(use.differences)}
        more["digests"] = sameness.digests(use.content)
    asked = asdict(wish) | more
    stage = Stage.of("score", identity(asked, 4))
    own = RunKey(stage.inside(key.stage), key.seed, key.round)
    with run.locked():
        run.write_stage(stage, {name: value for name, value in asked.items() if value is not None})
        if not run.done([own]):
            made = _measure(use, wish)
            about = (
                made.facts
                | {"rows": len(use.rows[made.facts["split"]])}
                | {"digests": sameness.digests(use.content)}
                | more
            )
            content = {IMPORTANCE: atomic.as_parquet(made.table), FACTS: atomic.as_json(about)}
            environment.record(run, [own], use.experiment.machine.device)
            run.commit([Files(own, content, {})])
    _show(_load(run, own), json=json)
    if not json:
        terminal.write(f"written to {run.folder(own)}")


def _load(run: Run, key: RunKey) -> Scored:
    return Scored(run.table(key, IMPORTANCE), run.facts(key, FACTS))


def _measure(use: verbs.Use, wish: Wish) -> Scored:
    ticket, model = use.ticket, use.model

    def encoded(split: str) -> list[Encoded]:
        return encode(model, use.task, use.rows[split][: wish.examples], len(ticket.mask.token))

    match wish.kind:
        case "leave-one-out":
            return _left_out(ticket, model, encoded, wish)
        case "shapley":
            return _shapley(ticket, model, encoded("validation"), wish)
        case kind:
            return _first_order(ticket, model, encoded("train"), kind, wish)


def _left_out(ticket: Ticket, model: FrozenModel, encoded: Any, wish: Wish) -> Scored:
    """Exact costs on `validation`; units that are negative there are looked at once more, on `test`."""
    screen = terminal.Screen()
    examples = encoded("validation")
    kept = _kept(ticket, wish.level)
    with screen.track(f"leave one {wish.level} out", int(kept.sum()), f"{wish.level}s") as tick:
        made = ablation.leave_one_out(ticket, model, examples, wish.level, tick=tick)
    right = torch.tensor([example.gold for example in examples])
    changes = (made.without_chosen == right).int() - (made.chosen == right).int()
    flat = kept.flatten().nonzero().flatten()
    units = flat.tolist()
    tested = token_importance.negative(
        made.costs.flatten(0, -2)[flat].numpy(),
        changes.flatten(0, -2)[flat].numpy(),
        units=units,
        seed=wish.seed,
    )
    chosen = [int(unit) for unit in tested.loc[tested["negative"], "unit"]]
    facts = _facts(wish, "validation", len(examples)) | {"loss": float(made.losses.mean()), "negative": len(chosen)}
    table = _units(ticket, wish.level).merge(tested.rename(columns={"cost": "score"}), how="left", on="unit")
    if chosen:
        facts["largest_gain"] = -float(tested["cost"].min())
        screen.say(f"{len(chosen)} negative on validation: one look at them on test")
        only = torch.zeros(kept.numel(), dtype=torch.bool)
        only[chosen] = True
        test = encoded("test")
        again = ablation.leave_one_out(ticket, model, test, wish.level, only=only.view(kept.shape))
        confirmed = token_importance.confirm(again.costs.flatten(0, -2)[chosen].numpy(), tested, seed=wish.seed)
        facts |= {"test_examples": len(test), "confirmed": int(confirmed["confirmed"].sum())}
        table = table.merge(confirmed, how="left", on="unit")
    return Scored(table.drop(columns="unit"), facts)


def _shapley(ticket: Ticket, model: FrozenModel, examples: Sequence[Encoded], wish: Wish) -> Scored:
    units = int(_kept(ticket, wish.level).sum())
    with terminal.Screen().track("Shapley values", ablation.most_subsets(units, wish.permutations), "subsets") as tick:
        made = ablation.shapley(
            ticket, model, examples, permutations=wish.permutations, level=wish.level, seed=wish.seed, tick=tick
        )
    facts = _facts(wish, "validation", len(examples)) | {
        "loss": made.full,
        "loss_without_prompt": made.empty,
        "sum": float(made.values.sum()),
        "permutations": made.permutations,
        "evaluations": made.evaluations,
    }
    return Scored(_with_scores(ticket, wish.level, made.values, made.error), facts)


def _first_order(
    ticket: Ticket, model: FrozenModel, examples: Sequence[Encoded], kind: FirstOrder, wish: Wish
) -> Scored:
    (found,) = all_scores([ticket], model, scoring_batches(model, examples))
    if not found:
        raise DivergedError(NOT_FINITE)
    scores = found[kind].token if wish.level == "token" else found[kind].piece
    return Scored(_with_scores(ticket, wish.level, scores), _facts(wish, "train", len(examples)))


def _facts(wish: Wish, split: str, examples: int) -> dict[str, Any]:
    return {"kind": wish.kind, "level": wish.level, "split": split, "examples": examples}


def _kept(ticket: Ticket, level: Level) -> torch.Tensor:
    return ticket.mask.token if level == "token" else ticket.mask.piece


def _units(ticket: Ticket, level: Level) -> pd.DataFrame:
    """Every unit of the prompt: its flat number, token, piece (at level "piece"), and whether it is kept."""
    kept = _kept(ticket, level)
    keys = np.indices(kept.shape).reshape(kept.dim(), -1)
    names = dict(zip(("token", "piece"), keys, strict=False))
    return pd.DataFrame({"unit": range(kept.numel()), **names, "kept": kept.flatten().tolist()})


def _with_scores(ticket: Ticket, level: Level, scores: torch.Tensor, error: torch.Tensor | None = None) -> pd.DataFrame:
    table = _units(ticket, level).drop(columns="unit").assign(score=scores.flatten().tolist())
    if error is not None:
        table["error"] = error.flatten().tolist()
    values = [name for name in ("score", "error") if name in table]
    table.loc[~table["kept"], values] = float("nan")  # a dropped unit has no score
    return table


def _show(scored: Scored, *, json: bool) -> None:
    table, facts = scored.table, scored.facts
    if json:
        terminal.write_json(facts | {"units": terminal.records(table)})
        return
    order = table[table["kept"]].sort_values("score", ascending=False, kind="stable")
    shown = order if len(order) <= _SHOWN else pd.concat([order.head(_SHOWN // 2), order.tail(_SHOWN // 2)])
    columns = [name for name in _COLUMNS if name in shown]
    cells = [[_cell(row[name]) for name in columns] for _, row in shown.iterrows()]
    if len(order) > _SHOWN:
        cells.insert(_SHOWN // 2, [""])
    title = f"{facts['kind']} per {facts['level']} on {facts['examples']} examples of {facts['split']}; larger = keep"
    terminal.show([_COLUMNS[name] for name in columns], cells, title=title)
    for line in _sentences(facts, len(order), len(shown)):
        terminal.write(line)


def _sentences(facts: Mapping[str, Any], units: int, shown: int) -> list[str]:
    lines = [] if shown == units else [f"the {shown // 2} best and the {shown // 2} worst of {units} are shown"]
    match facts["kind"]:
        case "leave-one-out":
            line = f"{facts['negative']} of {units} are negative: leaving them out lowers the loss (Holm, 5 %)"
            if facts["negative"]:
                line += f", by {facts['largest_gain']:.4f} at most"
                line += f"; {facts['confirmed']} of them also on {facts['test_examples']} examples of test"
            lines.append(line)
        case "shapley":
            before, after = facts["loss_without_prompt"], facts["loss"]
            orders = f"{facts['permutations']} permutations" if facts["permutations"] else "every subset: exact"
            lines.append(
                f"sum {facts['sum']:.4f}; loss {before:.4f} without the prompt, {after:.4f} with it, "
                f"{before - after:.4f} less ({orders}, {facts['evaluations']} subsets evaluated)"
            )
    return lines


def _cell(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or pd.isna(value):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
