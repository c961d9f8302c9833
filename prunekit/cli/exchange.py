"""`export` and `import`: finished tickets out to other tools, and other people's adapters in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from prunekit.cli.verbs import check_fit, check_same, opened
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import choice_scores
from prunekit.experiment import sameness
from prunekit.experiment.prepare import encode, model_of, task_of
from prunekit.experiment.settings import Experiment
from prunekit.export import (
    TicketInfo,
    Verified,
    adapter_files,
    embedding_files,
    prompt_embeds_files,
    read_adapter,
    readme_check,
)
from prunekit.export.embeddings import EMBEDDINGS, PROMPT_EMBEDS
from prunekit.export.peft import CARD
from prunekit.export.peft_format import CONFIG, TENSORS
from prunekit.export.readme_check import Agreement
from prunekit.export.side_file import SIDE
from prunekit.export.verify import check, measure, models, need_peft
from prunekit.models import FrozenModel
from prunekit.pruning.ticket import Ticket
from prunekit.runs import outputs
from prunekit.runs.round_files import locate
from prunekit.runs.ticket_file import ticket_bytes
from prunekit.support import atomic, terminal
from prunekit.support.errors import ConfigError, PrunekitError
from prunekit.tasks import Example, Task, load_task, read_rows
from prunekit.tasks.testbed import MODEL_PATH

Form = Literal["peft", "embeddings", "prompt-embeds"]
FORMS: tuple[Form, ...] = get_args(Form)

# what each form writes
_NAMES: dict[Form, tuple[str, ...]] = {
    "peft": (CONFIG, TENSORS, SIDE, CARD),
    "embeddings": (SIDE, EMBEDDINGS),
    "prompt-embeds": (SIDE, PROMPT_EMBEDS),
}


@dataclass(frozen=True)
class Wish:
    """What is to be written, and where.

    Attributes:
        out: a folder.
        verify: whether PEFT is asked for its logits.
        rows: the texts of prompt-embeds, a JSONL file.
        allow_changed: whether the model or task may be others than the ticket's own.
        overwrite: also files of the folder that prunekit did not write.
    """

    to: Form
    out: Path
    verify: bool = True
    rows: Path | None = None
    allow_changed: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.to not in FORMS:
            raise ConfigError(f"--to {self.to}: use one of {', '.join(FORMS)}")
        if (self.rows is None) == (self.to == "prompt-embeds"):
            raise ConfigError("--rows names the JSONL file of texts for --to prompt-embeds, and goes with it alone")
        if self.out.exists() and not self.out.is_dir():
            raise ConfigError(f"--out {self.out}: a file; name a folder")
        # before the model is loaded
        check_out(self.out, dict.fromkeys(_NAMES[self.to], b""), overwrite=self.overwrite)


@dataclass(frozen=True)
class Proof:
    """What was compared before an adapter was written.

    Attributes:
        logits: PEFT's beside those of the attached ticket, on made-up rows.
        answers: those of the README's lines beside those of `eval`, on rows of the test split; None where there are no
            such rows, and why they are `missing`.
    """

    logits: Verified
    answers: Agreement | None
    missing: str = ""

    @property
    def sentences(self) -> list[str]:
        """For the user."""
        if self.answers is None:
            return [self.logits.sentence, f"logits of made-up rows alone were compared, no answers: {self.missing}"]
        return [self.logits.sentence, self.answers.sentence]

    @property
    def facts(self) -> dict[str, Any]:
        """The same as numbers; null where there were no rows to answer."""
        told = self.answers
        return {
            "rows": self.logits.rows,
            "difference": self.logits.difference,
            "peft": self.logits.peft,
            "answers": None if told is None else told.rows,
            "different_answers": None if told is None else told.different,
            "score_difference": None if told is None else told.difference,
            "largest_score": None if told is None else told.largest,
        }


def export(path: Path, wish: Wish, settings: Mapping[str, Any], *, json: bool = False) -> None:
    """Write a finished ticket in another form, once it is proved to be the same where that can be asked.

    Raises:
        ConfigError: where the form cannot hold the ticket, with the reason; nothing is written then.
    """
    # the proof is of float32, whatever the run computed in
    ticket, experiment = opened(path, {**settings, "precision": settings.get("precision") or "float32"})
    found = locate(path)
    story = story_of(experiment, {} if found is None else found[0].result(found[1]).get("test", {}))
    # a precision that was chosen here and not asked for is no other model
    apart = () if settings.get("precision") else ("precision",)

    def compare(model: FrozenModel | None) -> None:
        now = {} if model is None else sameness.content(model)
        with suppress(PrunekitError):  # a task that is gone is left out, here as in the story
            now |= sameness.of_task(load_task(experiment.task.name, experiment.task.data))
        check_same(path, ticket, now, allow_changed=wish.allow_changed, apart=apart)

    files, proof = _made(ticket, experiment, story, wish, compare)
    write(wish.out, files, overwrite=wish.overwrite)
    facts = {"out": str(wish.out), "files": sorted(files), "to": wish.to, "tokens": ticket.mask.tokens}
    if json:
        terminal.write_json(facts | ({} if proof is None else proof.facts))
        return
    for sentence in [] if proof is None else proof.sentences:
        terminal.write(sentence)
    terminal.write(f"{', '.join(sorted(files))} written to {wish.out}")


def check_out(folder: Path, files: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Refuse to write files over others than those of an earlier export. Raises: ConfigError."""
    outputs.check_folder(folder, files, overwrite=overwrite, is_ours=lambda path: outputs.is_exported(path, SIDE))


def write(folder: Path, files: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Write an export's files, its README signed, so that a later export knows it. Raises: as `check_out`."""
    signed = {name: outputs.signed(content) if name == CARD else content for name, content in files.items()}
    check_out(folder, signed, overwrite=overwrite)
    for name, content in signed.items():
        atomic.replace(folder / name, content)


def adapter(
    ticket: Ticket,
    experiment: Experiment,
    loaded: FrozenModel | None,
    compare: Callable[[FrozenModel], None],
    *,
    verify: bool,
) -> dict[str, bytes]:
    """The files of a PEFT adapter; loaded: the model where it is in memory.  compare: as of `proved`.

    Raises:
        as `proved`, where it is to be verified.
    """
    story = story_of(experiment, {})
    if verify:
        need_peft()
        return proved(ticket, experiment, story, compare, loaded)[0]
    model = model_of(experiment) if loaded is None else loaded
    compare(model)
    return adapter_files(ticket, model, story)


def proved(
    ticket: Ticket,
    experiment: Experiment,
    story: TicketInfo,
    compare: Callable[[FrozenModel], None],
    loaded: FrozenModel | None = None,
) -> tuple[dict[str, bytes], Proof]:
    """The files of a PEFT adapter, and the proof that they answer as `eval` does.

    Args:
        compare: refuses a model other than the ticket's own.
        loaded: the model and tokenizer where they are in memory already; else they are loaded as the experiment names
            them, and once more by the README's lines.

    Raises:
        ConfigError: where PEFT cannot do what the ticket does.
        ArtifactError: where it would answer otherwise.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        files, asked = _asked(
            folder, ticket, experiment, story, compare, loaded
        )  # a model that was loaded for it is gone again
        agreement = None
        if asked.rows:
            given = {}
            if loaded is not None:
                given = {"tokenizer": loaded.tokenizer, "base": models(loaded, ticket)[1]}
            agreement = readme_check.compare(folder, asked.rows, asked.scores, **given)
            readme_check.check(agreement, asked.dtype)
        check(asked.logits)
    return files, Proof(asked.logits, agreement, asked.missing)


@dataclass(frozen=True)
class _Asked:
    """What a README's lines must answer: rows, and the scores [C] of their choices.

    Attributes:
        missing: why there are no rows.
        dtype: what the scores were computed in.
        logits: what PEFT gave for made-up rows.
    """

    rows: Sequence[Example]
    scores: Sequence[Tensor]
    missing: str
    dtype: torch.dtype
    logits: Verified


def _asked(
    folder: Path,
    ticket: Ticket,
    experiment: Experiment,
    story: TicketInfo,
    compare: Callable[[FrozenModel], None],
    loaded: FrozenModel | None,
) -> tuple[dict[str, bytes], _Asked]:
    """The adapter's files, written into a folder too, and what is asked of them."""
    task, rows, missing = _rows(experiment)
    model = model_of(experiment) if loaded is None else loaded
    check_fit(ticket, model)
    compare(model)
    files = adapter_files(ticket, model, story)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    scores: list[Tensor] = []
    if task is not None:
        with torch.no_grad():
            prompt = prompt_batch([Member(ticket, model.device)])
        encoded = encode(model, task, rows, len(ticket.mask.token))
        scores = [each[0] for each in choice_scores(prompt, model, encoded)]
    dtype = next(model.model.parameters()).dtype
    return files, _Asked(rows, scores, missing, dtype, measure(folder, ticket, model))


def _rows(experiment: Experiment) -> tuple[Task | None, list[Example], str]:
    """The task and rows of its test split, or why there are none."""
    try:
        task, splits = task_of(experiment)
    except PrunekitError as error:
        return None, [], str(error)
    return task, readme_check.sample(splits.test), ""


def import_adapter(
    source: str, out: Path | None, revision: str | None, pieces: int, *, overwrite: bool = False, json: bool = False
) -> None:
    """Write the ticket of a PEFT prompt-tuning adapter.

    Raises:
        ConfigError: where prunekit cannot do what the adapter does, or `out` holds something else.
    """
    ticket = read_adapter(source, revision=revision, pieces=pieces)
    target = out or Path(
        f"{Path(source).resolve().name if Path(source).is_dir() else source.rpartition('/')[2]}.ticket"
    )
    content = ticket_bytes(ticket)
    outputs.check(target, overwrite=overwrite, is_ours=lambda there: there == content)
    atomic.replace(target, content)
    mask, model = ticket.mask, ticket.origin.get("model")
    if json:
        facts = {"out": str(target), "tokens": mask.tokens, "pieces": mask.piece.shape[1], "model": model}
        terminal.write_json(facts)
        return
    terminal.write(f"{mask.tokens} tokens for the model {model or '(not named: give --model)'}, written to {target}")
    if "gemma" in str(model).lower() and "run" not in ticket.origin:
        terminal.write(
            "note: transformers 4 multiplied Gemma 1 and 2 prompts by the root of their width, transformers 5 does "
            "not: a prompt trained under 4 means something else here"
        )


def story_of(experiment: Experiment, metrics: Mapping[str, float]) -> TicketInfo:
    """What a side file tells of where a ticket was used; a task that is gone is left out."""
    model = experiment.model
    story = TicketInfo(
        model=str(MODEL_PATH) if model.name == "testbed" else model.name,
        revision=model.revision,
        task=experiment.task.name,
        ranking=model.ranking,
        max_input_tokens=model.max_input_tokens,
        metrics=dict(metrics),
    )
    try:
        task = load_task(experiment.task.name, experiment.task.data)
    except PrunekitError:
        return story
    return replace(
        story,
        task=task.name,
        template=task.template,
        choices=task.choices,
        labels=task.labels,
        separator=task.separator,
    )


def _made(
    ticket: Ticket, experiment: Experiment, story: TicketInfo, wish: Wish, compare: Callable[[FrozenModel | None], None]
) -> tuple[dict[str, bytes], Proof | None]:
    """The files, and what PEFT said of them.

    Args:
        compare: model and task with the ticket's own; of the model nothing where none is loaded.
    """
    if wish.to == "embeddings":
        compare(None)
        return embedding_files(ticket, story), None
    if wish.to == "peft" and wish.verify:
        need_peft()  # said before the model is loaded
        return proved(ticket, experiment, story, compare)
    model = model_of(experiment)
    check_fit(ticket, model)
    compare(model)
    if wish.rows is None:
        return adapter_files(ticket, model, story), None
    task = load_task(experiment.task.name, experiment.task.data)
    texts = _texts(task, wish.rows, model, len(ticket.mask.token))
    return prompt_embeds_files(ticket, story, model, texts), None


def _texts(task: Task, rows: Path, model: FrozenModel, tokens: int) -> list[tuple[int, ...]]:
    """Token ids of a file's texts, shortened where they are too long."""
    return [one.text for one in encode(model, task, read_rows(rows, task), tokens)]
