"""A finished ticket written for other tools, once it is proved to answer there as it does here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import choice_scores
from prunekit.engine.write import write
from prunekit.experiment import null_keys, provenance, whole_tokens
from prunekit.experiment.call import frozen_model, is_loaded
from prunekit.experiment.prepare import encode, model_of
from prunekit.experiment.reopen import OpenedTicket, check_fit, check_unchanged
from prunekit.experiment.round_runner import Progress
from prunekit.experiment.settings import Experiment
from prunekit.experiment.task_of import named_task, task_of
from prunekit.export import TicketInfo, Verified, adapter_files, embedding_files, prompt_embeds_files, readme_check
from prunekit.export.cache import CACHE, cache_files
from prunekit.export.embeddings import EMBEDDINGS, PROMPT_EMBEDS
from prunekit.export.peft import CARD
from prunekit.export.peft_format import CONFIG, TENSORS
from prunekit.export.readme_check import Agreement, TextAgreement
from prunekit.export.side_file import SIDE
from prunekit.export.verify import check, measure, measure_cache, models, need_peft
from prunekit.models import FrozenModel
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.pruning.ticket import Ticket
from prunekit.runs import outputs
from prunekit.support import atomic
from prunekit.support.errors import ConfigError, PrunekitError
from prunekit.tasks import Example, Task, read_rows
from prunekit.tasks.testbed_tasks import model_path

Form = Literal["peft", "cartridge", "cache", "embeddings", "prompt-embeds"]
FORMS: tuple[Form, ...] = get_args(Form)

# what keys and values become, by whether a cartridge is asked for
_PREFIX_KINDS = ("PREFIX_TUNING", "CARTRIDGE")
# rows whose written answers are compared
_WRITTEN = 16

# what each form writes
_NAMES: dict[Form, tuple[str, ...]] = {
    "peft": (CONFIG, TENSORS, SIDE, CARD),
    "cartridge": (CONFIG, TENSORS, SIDE, CARD),
    "cache": (SIDE, CACHE),
    "embeddings": (SIDE, EMBEDDINGS),
    "prompt-embeds": (SIDE, PROMPT_EMBEDS),
}


@dataclass(frozen=True)
class ExportRequest:
    """What is to be written, and where; refused at once where the folder holds what may not be replaced.

    Attributes:
        out: a folder.
        verify: whether PEFT is asked for its logits.
        rows: the texts of prompt-embeds, a file of rows.
        allow_changed: whether the model or task may be others than the ticket's own.
        overwrite: also files of the folder that prunekit did not write.
        whole: whether kept tokens that some heads alone do not see are exported whole, as another ticket.
    """

    to: Form
    out: Path
    verify: bool = True
    rows: Path | None = None
    allow_changed: bool = False
    overwrite: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        if self.to not in FORMS:
            raise ConfigError(f"--to {self.to}: use one of {', '.join(FORMS)}")
        if (self.rows is None) == (self.to == "prompt-embeds"):
            raise ConfigError("--rows names the file of texts for --to prompt-embeds, and goes with it alone")
        if self.out.exists() and not self.out.is_dir():
            raise ConfigError(f"--out {self.out}: a file; name a folder")
        # before the model is loaded
        _check_out(self.out, dict.fromkeys(_NAMES[self.to], b""), overwrite=self.overwrite)


@dataclass(frozen=True)
class Proof:
    """What was compared before an adapter was written.

    Attributes:
        logits: PEFT's beside those of the attached ticket, on made-up rows.
        answers: scores or texts of the README's lines beside those of `eval`, on rows of the test split; None where
            there are no such rows, and why they are `missing`.
    """

    logits: Verified
    answers: Agreement | TextAgreement | None
    missing: str = ""

    @property
    def sentences(self) -> list[str]:
        """For the user."""
        if self.answers is None:
            return [
                self.logits.sentence,
                f"logits of {self.logits.source} rows alone were compared, no answers: {self.missing}",
            ]
        return [self.logits.sentence, self.answers.sentence]

    @property
    def facts(self) -> dict[str, Any]:
        """The same as numbers; null where there were no rows to answer."""
        answers = self.answers
        return {
            "rows": self.logits.rows,
            "difference": self.logits.difference,
            "peft": self.logits.peft,
            "answers": None if answers is None else answers.rows,
            "different_answers": None if answers is None else answers.different,
            "score_difference": answers.difference if isinstance(answers, Agreement) else None,
            "largest_score": answers.largest if isinstance(answers, Agreement) else None,
        }


@dataclass(frozen=True)
class Exported:
    """What was written: names of files in a folder, the proof where one was asked for, and what else to know."""

    folder: Path
    to: Form
    files: tuple[str, ...]
    tokens: int
    proof: Proof | None
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as numbers and names."""
        facts: dict[str, Any] = {
            "out": str(self.folder),
            "files": list(self.files),
            "to": self.to,
            "tokens": self.tokens,
        }
        facts |= {"notes": list(self.notes)} if self.notes else {}
        return facts | ({} if self.proof is None else self.proof.facts)


#: Refuses a model other than the ticket's own; None where none is loaded.
Compare = Callable[[FrozenModel | None], None]


def export_ticket(
    source: OpenedTicket,
    request: ExportRequest,
    settings: Mapping[str, Any],
    *,
    progress: Progress,
    model: Any = None,
    tokenizer: Any = None,
    task: str | None = None,
) -> Exported:
    """Write a finished ticket in another form, once it is proved to be the same where that can be asked.

    Args:
        settings: those of the ticket's run that are to be others, by flag.
        model: a loaded model with its `tokenizer`, or a name; None for the ticket's own.

    Raises:
        ConfigError: where the form cannot hold the ticket, with the reason; nothing is written then.
        ArtifactError: where the adapter would answer otherwise.
    """
    # the proof is of float32, whatever the run computed in
    experiment = source.experiment({**settings, "precision": settings.get("precision") or "float32"}, model, task)
    metrics = {} if source.run is None or source.key is None else source.run.result(source.key).get("test", {})
    # a precision that was chosen here and not asked for is no other model
    ignored = () if settings.get("precision") else ("precision",)

    def compare(frozen: FrozenModel | None) -> None:
        content = {} if frozen is None else provenance.content(frozen)
        with suppress(PrunekitError):  # a task that is gone is left out, here as in the story
            content |= provenance.task_content(named_task(experiment.task))
        check_unchanged(source, content, progress, allow_changed=request.allow_changed, ignored=ignored)

    notes = []
    if request.whole:
        source = replace(source, ticket=whole_tokens.whole(source.ticket))
        before = metrics
        metrics = whole_tokens.evaluated(
            source,
            settings,
            progress=progress,
            allow_changed=request.allow_changed,
            model=model,
            tokenizer=tokenizer,
            task=task,
        )
        notes.append(whole_tokens.sentence(metrics, before))
    with _loaded(model, tokenizer, experiment) as loaded:
        contents = _contents(source.ticket, experiment, story_of(experiment, metrics), request, compare, loaded)
    _write(request.out, contents.files, overwrite=request.overwrite)
    names = tuple(sorted(contents.files))
    return Exported(
        request.out, request.to, names, source.ticket.mask.tokens, contents.proof, (*notes, *contents.notes)
    )


def story_of(experiment: Experiment, metrics: Mapping[str, float]) -> TicketInfo:
    """What a side file tells of where a ticket was used; a task that is gone is left out."""
    model = experiment.model
    story = TicketInfo(
        model=model_path(model.name),
        revision=model.revision,
        task=experiment.task.name,
        ranking=model.ranking,
        max_input_tokens=model.max_input_tokens,
        metrics=dict(metrics),
    )
    try:
        task = named_task(experiment.task)
    except PrunekitError:
        return story
    return replace(
        story,
        task=task.name,
        template=task.template,
        choices=task.choices,
        labels=task.labels,
        separator=task.separator,
        chat=task.chat,
        target=task.target,
        decoding=asdict(task.decoding) if task.open else None,
    )


@contextmanager
def _loaded(model: Any, tokenizer: Any, experiment: Experiment) -> Iterator[FrozenModel | None]:
    """The model where it is in memory; a named one is loaded where it is needed, and by the adapter's own lines too."""
    if not is_loaded(model):
        yield None
        return
    with frozen_model(model, tokenizer, experiment) as frozen:
        yield frozen


@dataclass(frozen=True)
class _Contents:
    """Files by name, what PEFT said of them where it was asked, and what else a user must know."""

    files: Mapping[str, bytes]
    proof: Proof | None = None
    notes: tuple[str, ...] = ()


def _contents(
    ticket: Ticket,
    experiment: Experiment,
    story: TicketInfo,
    request: ExportRequest,
    compare: Compare,
    loaded: FrozenModel | None,
) -> _Contents:
    """The files, proved where that is asked for."""
    _check_form(request.to, ticket)
    if request.to == "embeddings":
        compare(None)
        return _Contents(embedding_files(ticket, story))
    story = replace(story, prefix=_PREFIX_KINDS[request.to == "cartridge"])
    if request.to in ("peft", "cartridge") and request.verify:
        need_peft(story.prefix)  # said before the model is loaded
        return _proved(ticket, experiment, story, compare, loaded)
    model = model_of(experiment) if loaded is None else loaded
    check_fit(ticket, model)
    compare(model)
    if request.rows is None:
        return _unproved(ticket, experiment, story, request, model)
    task = named_task(experiment.task)
    rows = encode(model, task, read_rows(request.rows, task), len(ticket.mask.token))
    return _Contents(prompt_embeds_files(ticket, story, model, [row.text for row in rows]))


def _check_form(to: Form, ticket: Ticket) -> None:
    """Refuse a form that cannot hold what the ticket is. Raises: ConfigError."""
    prefix = ticket.position == "prefix-kv"
    if to in ("embeddings", "prompt-embeds") and prefix:
        raise ConfigError(f"--to {to} writes input vectors, and this ticket is keys and values; use --to peft")
    if to in ("cartridge", "cache") and not prefix:
        raise ConfigError(f"--to {to} writes keys and values, and this ticket is input vectors; use --to peft")


def _unproved(
    ticket: Ticket, experiment: Experiment, story: TicketInfo, request: ExportRequest, model: FrozenModel
) -> _Contents:
    """Files that PEFT is not asked about; a cache is tried in this process."""
    slots = null_keys.of_ticket(ticket, model, experiment)
    if request.to != "cache":
        return _Contents(adapter_files(ticket, model, story, slots.null_keys), notes=slots.notes)
    assert isinstance(model, PrefixDecoder), "as every ticket of keys and values has it"
    files = cache_files(ticket, model, story, slots.null_keys)
    if not request.verify:
        return _Contents(files, notes=slots.notes)
    comparison = measure_cache(files[CACHE], ticket, model, slots.texts)
    check(comparison)
    return _Contents(files, notes=(*slots.notes, comparison.sentence))


def _proved(
    ticket: Ticket, experiment: Experiment, story: TicketInfo, compare: Compare, loaded: FrozenModel | None
) -> _Contents:
    """The files of a PEFT adapter, and the proof that they answer as `eval` does.

    Args:
        loaded: the model where it is in memory already; else it is loaded as the experiment names it, and once more by
            the README's lines.

    Raises:
        ConfigError: where PEFT cannot do what the ticket does.
        ArtifactError: where it would answer otherwise.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        # a model that is loaded for it is gone again when it returns
        files, expected = _expected(folder, ticket, experiment, story, compare, loaded)
        values = {} if loaded is None else {"tokenizer": loaded.tokenizer, "base": models(loaded, ticket)[1]}
        agreement = _agreed(folder, expected, values)
        check(expected.logits)
    return _Contents(files, Proof(expected.logits, agreement, expected.missing), expected.notes)


def _agreed(folder: Path, expected: _Expected, values: Mapping[str, Any]) -> Agreement | TextAgreement | None:
    """How far the README's lines answer what is expected; None where nothing is. Raises: ArtifactError if not."""
    if not expected.rows:
        return None
    if expected.texts:
        written = readme_check.compare_texts(folder, expected.rows, expected.texts, **values)
        readme_check.check_texts(written)
        return written
    chosen = readme_check.compare(folder, expected.rows, expected.scores, **values)
    readme_check.check(chosen, expected.dtype)
    return chosen


@dataclass(frozen=True)
class _Expected:
    """What a README's lines must answer: rows, and the scores [C] of their choices or the texts that are written.

    Attributes:
        missing: why there are no rows.
        dtype: what the scores were computed in.
        logits: what PEFT gave for made-up rows, or for those that null keys were tried on.
        notes: what else a user must know.
    """

    rows: Sequence[Example]
    scores: Sequence[Tensor]
    texts: Sequence[str]
    missing: str
    dtype: torch.dtype
    logits: Verified
    notes: tuple[str, ...]


def _expected(
    folder: Path,
    ticket: Ticket,
    experiment: Experiment,
    story: TicketInfo,
    compare: Compare,
    loaded: FrozenModel | None,
) -> tuple[dict[str, bytes], _Expected]:
    """The adapter's files, written into a folder too, and what is expected of them."""
    task, rows, missing = _test_rows(experiment)
    model = model_of(experiment) if loaded is None else loaded
    check_fit(ticket, model)
    compare(model)
    slots = null_keys.of_ticket(ticket, model, experiment)
    files = adapter_files(ticket, model, story, slots.null_keys)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    scores, texts = ([], []) if task is None else _answers(ticket, task, rows, model)
    dtype = next(model.model.parameters()).dtype
    logits = measure(folder, ticket, model, slots.texts)
    return files, _Expected(rows, scores, texts, missing, dtype, logits, slots.notes)


def _answers(ticket: Ticket, task: Task, rows: Sequence[Example], model: FrozenModel) -> tuple[list[Tensor], list[str]]:
    """The scores of each row's choices, or the texts that are written."""
    with torch.no_grad():
        prompt = prompt_batch([Member(ticket, model.device)])
    encoded = encode(model, task, rows, len(ticket.mask.token))
    if task.open:
        (written,) = write(prompt, model, encoded, task.decoding)
        return [], [answer.text for answer in written]
    return [each[0] for each in choice_scores(prompt, model, encoded)], []


def _test_rows(experiment: Experiment) -> tuple[Task | None, list[Example], str]:
    """The task and rows of its test split, or why there are none."""
    try:
        task, splits = task_of(experiment)
    except PrunekitError as error:
        return None, [], str(error)
    if task.open and task.decoding.temperature:
        return None, [], "they are drawn, and PEFT draws others"
    rows = readme_check.sample(splits.test)
    return task, rows[:_WRITTEN] if task.open else rows, ""


def _write(folder: Path, files: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Write an export's files, its README signed, so that a later export knows it. Raises: as `_check_out`."""
    signed = {name: outputs.signed(content) if name == CARD else content for name, content in files.items()}
    _check_out(folder, signed, overwrite=overwrite)
    for name, content in signed.items():
        atomic.replace(folder / name, content)


def _check_out(folder: Path, files: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Refuse to write files over others than those of an earlier export. Raises: ConfigError."""
    outputs.check_folder(folder, files, overwrite=overwrite, is_ours=lambda path: outputs.is_exported(path, SIDE))
