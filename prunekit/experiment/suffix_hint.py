"""What a prompt behind the text would save a run whose prompt stands before it."""

from __future__ import annotations

from statistics import fmean

from prunekit.experiment.prepare import Prepared
from prunekit.models.decoder import Decoder
from prunekit.prompts.methods import kind

# so many times fewer tokens are worth a line
_WORTH = 2.0


def suffix_hint(prepared: Prepared) -> str | None:
    """One line where updates behind kept texts would read far fewer tokens; None elsewhere.

    It is said of models whose keys and values were found to be all that they keep of a row, as texts are kept in them.
    """
    model, tokens = prepared.model, prepared.experiment.prompt.tokens
    if not isinstance(model, Decoder) or not model.shares_prompts or _changes_texts(prepared):
        return None
    rows, size = prepared.training_data.train, prepared.plan.batch_size
    before = size * fmean(model.tokens_read(row, tokens) for row in rows) - model.tokens_spared(size, tokens)
    behind = size * (tokens + fmean(row.length - len(row.text) for row in rows))
    if before < _WORTH * behind:
        return None
    return (
        f"--position suffix would take {behind:.0f} tokens through the layers in an update, in place of {before:.0f}: "
        "texts are read once and kept; only --position first can become a PEFT adapter"
    )


def _changes_texts(prepared: Prepared) -> bool:
    """Whether what the model makes of a text changes from update to update, so that nothing can be kept."""
    return prepared.plan.model_dropout or kind(prepared.experiment.prompt.method).moves_input
