"""A ticket that can be put to use: loaded, saved, attached to a model, exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from prunekit import export
from prunekit.experiment.export import Exported, ExportRequest, Form, export_ticket
from prunekit.experiment.progress import progress_of
from prunekit.experiment.reopen import opened
from prunekit.export.attach import Attached, attach
from prunekit.export.attach_prefix import AttachedPrefixes
from prunekit.pruning import ticket as tickets
from prunekit.runs.ticket_file import save_ticket


@dataclass(frozen=True, eq=False, repr=False)
class Ticket(tickets.Ticket):
    """A ticket that can be put to use.

    Attributes:
        mask: which of its P tokens and K pieces are kept.
        state: the prompt's parameters by name; for prompt tuning `values` [P, H].
        head: weight [C, H] and bias [C] of a trained head, or None.
        round: 0 is dense.
        method: how the vectors are made of the parameters.
        position: where in the input the prompt goes.
        seed: of its initialisation and data order.
        run_settings: the settings of model, task, prompt and machine that its run has, where it is of a run.
    """

    run_settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, ticket: tickets.Ticket, run_settings: Mapping[str, Any] | None = None) -> Self:
        """The same ticket, with the settings of its run."""
        values = {part.name: getattr(ticket, part.name) for part in fields(tickets.Ticket)}
        return cls(**values, run_settings=run_settings or {})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The ticket of a ticket file, or as a finished round's directory left it.

        Raises:
            ArtifactError: where the path is neither, or damaged.
        """
        source = opened(path)
        return cls.of(source.ticket, source.settings)

    def save(self, path: Path | str) -> None:
        """Write the ticket; the same ticket always gives the same bytes."""
        save_ticket(self, path)

    @classmethod
    def from_adapter(cls, source: str | Path, *, revision: str | None = None, pieces: int = 16) -> Self:
        """The ticket of a PEFT prompt-tuning adapter, a folder or Hub name (safetensors only).

        Args:
            pieces: K per token, of a ticket that is to be pruned further.

        Raises:
            ConfigError: where prunekit cannot do what the adapter does.
        """
        return cls.of(export.read_adapter(str(source), revision=revision, pieces=pieces))

    def attach(self, model: Any, *others: tickets.Ticket) -> Attached | AttachedPrefixes:
        """The model, which is neither copied nor changed, with this ticket on; call it or its `generate`.

        Args:
            others: more tickets, so that rows of one batch can wear different ones.
        """
        return attach(model, [self, *others])

    def export(  # noqa: PLR0913 (those of the command)
        self,
        folder: Path | str,
        model: Any = None,
        tokenizer: Any = None,
        task: str | None = None,
        *,
        to: Form = "peft",
        whole: bool = False,
        verify: bool = True,
        allow_changed: bool = False,
        overwrite: bool = False,
        quiet: bool = False,
        **settings: Any,
    ) -> Exported:
        """Write a PEFT adapter for the model that it was trained on, or vectors; what can be proved is proved before.

        Args:
            model: a loaded model with its `tokenizer`, or a name; None for the model of the ticket's run.
            to: "peft"; of a prefix also "cartridge" or "cache"; "embeddings".
            whole: of a prefix, keep tokens whole that some heads do not see: another ticket, evaluated anew.
            settings: those of the ticket's run that are to be others, such as `data`. Of a ticket that is of no run all
                must be given that are not the defaults.
            verify: whether PEFT is asked.
            allow_changed: also for another model than its own.
            overwrite: also over files that no export wrote.
            quiet: do not say what differs.

        Returns:
            The names of the files, what PEFT answered where it was asked, and notes.

        Raises:
            ConfigError: where PEFT cannot do what the ticket does, the model is another, or the folder holds files that
                no export wrote.
            ArtifactError: where it would answer otherwise. Nothing is written then.
        """
        if task is None and not self.run_settings:
            task = str(self.origin.get("task") or "testbed/first-animal")
        request = ExportRequest(to, Path(folder), verify, None, allow_changed, overwrite, whole)
        return export_ticket(
            opened(self),
            request,
            settings,
            progress=progress_of(quiet),
            model=model,
            tokenizer=tokenizer,
            task=task,
        )
