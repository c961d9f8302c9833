"""`export` and `import`: finished tickets out to other tools, and other people's adapters in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from prunekit import console, disk
from prunekit.backbones import Backbone
from prunekit.config import Experiment
from prunekit.errors import ConfigError, PrunekitError
from prunekit.export import (
    Story,
    Verified,
    adapter_files,
    check_exportable,
    embedding_files,
    prompt_embeds_files,
    read_adapter,
    verify,
)
from prunekit.export.flat import SIDE
from prunekit.export.peft import CONFIG
from prunekit.export.verify import need_peft
from prunekit.prepare import backbone_of, encode
from prunekit.records import locate
from prunekit.tasks import Task, load_task, read_rows
from prunekit.testbed import MODEL_PATH
from prunekit.tickets import Ticket
from prunekit.verbs import check_fit, opened

Form = Literal["peft", "embeddings", "prompt-embeds"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class Wish:
    """What is to be written, and where.

    out: a folder.  verify: whether PEFT is asked for its logits.  rows: the texts of prompt-embeds, a JSONL file.
    """

    to: Form
    out: Path
    verify: bool = True
    rows: Path | None = None

    def __post_init__(self) -> None:
        if self.to not in FORMS:
            raise ConfigError(f"--to {self.to}: use one of {', '.join(FORMS)}")
        if (self.rows is None) == (self.to == "prompt-embeds"):
            raise ConfigError("--rows names the JSONL file of texts for --to prompt-embeds, and goes with it alone")
        if self.out.exists() and not self.out.is_dir():
            raise ConfigError(f"--out {self.out}: a file; name a folder")
        if (self.out / CONFIG).exists() and not (self.out / SIDE).exists():
            raise ConfigError(f"--out {self.out}: holds an adapter that prunekit did not write; name another folder")


def export(path: Path, wish: Wish, settings: Mapping[str, Any], *, json: bool = False) -> None:
    """Write a finished ticket in another form, once it is proved to be the same where that can be asked.

    Raises: ConfigError where the form cannot hold the ticket, with the reason; nothing is written then.
    """
    # the proof is of float32, whatever the run computed in
    ticket, experiment = opened(path, {**settings, "precision": settings.get("precision") or "float32"})
    found = locate(path)
    story = story_of(experiment, {} if found is None else found[0].result(found[1]).get("report", {}))
    files, proof = _made(ticket, experiment, story, wish)
    for name, content in files.items():
        disk.replace(wish.out / name, content)
    facts = {"out": str(wish.out), "files": sorted(files), "to": wish.to, "tokens": ticket.mask.tokens}
    if proof is not None:
        facts |= {"rows": proof.rows, "difference": proof.difference, "peft": proof.peft}
    if json:
        console.write_json(facts)
        return
    if proof is not None:
        console.write(proof.sentence)
    console.write(f"{', '.join(sorted(files))} written to {wish.out}")


def import_adapter(source: str, out: Path | None, revision: str | None, pieces: int, *, json: bool = False) -> None:
    """Write the ticket of a PEFT prompt-tuning adapter.

    Raises: ConfigError where prunekit cannot do what the adapter does, or `out` holds something else.
    """
    ticket = read_adapter(source, revision=revision, pieces=pieces)
    target = out or Path(
        f"{Path(source).resolve().name if Path(source).is_dir() else source.rpartition('/')[2]}.ticket"
    )
    content = ticket.to_bytes()
    if target.exists() and (target.is_dir() or target.read_bytes() != content):
        raise ConfigError(f"--out {target}: is there already and holds something else; name another file")
    disk.replace(target, content)
    mask, model = ticket.mask, ticket.origin.get("model")
    if json:
        facts = {"out": str(target), "tokens": mask.tokens, "pieces": mask.piece.shape[1], "model": model}
        console.write_json(facts)
        return
    console.write(f"{mask.tokens} tokens for the model {model or '(not named: give --model)'}, written to {target}")
    if "gemma" in str(model).lower() and "run" not in ticket.origin:
        console.write(
            "note: transformers 4 multiplied Gemma 1 and 2 prompts by the root of their width, transformers 5 does "
            "not: a prompt trained under 4 means something else here"
        )


def story_of(experiment: Experiment, metrics: Mapping[str, float]) -> Story:
    """What a side file tells of where a ticket was used; a task that is gone is left out."""
    model = experiment.model
    story = Story(
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
    return replace(story, task=task.name, template=task.template, choices=task.choices, labels=task.labels)


def _made(ticket: Ticket, experiment: Experiment, story: Story, wish: Wish) -> tuple[dict[str, bytes], Verified | None]:
    """The files, and what PEFT said of them."""
    if wish.to == "embeddings":
        return embedding_files(ticket, story), None
    if wish.to == "peft" and wish.verify:
        need_peft()  # said before the model is loaded
    backbone = backbone_of(experiment)
    check_fit(ticket, backbone)
    if wish.rows is not None:
        task = load_task(experiment.task.name, experiment.task.data)
        texts = _texts(task, wish.rows, backbone, len(ticket.mask.token))
        return prompt_embeds_files(ticket, story, backbone, texts), None
    check_exportable(ticket, backbone)
    files = adapter_files(ticket, backbone, story)
    if not wish.verify:
        return files, None
    with TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        return files, verify(Path(folder), ticket, backbone)


def _texts(task: Task, rows: Path, backbone: Backbone, tokens: int) -> list[tuple[int, ...]]:
    """Token ids of a file's texts, shortened where they are too long."""
    return [one.text for one in encode(backbone, task, read_rows(rows, task), tokens)]
