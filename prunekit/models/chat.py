"""A task's template inside a tokenizer's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prunekit.support.errors import ConfigError
from prunekit.tasks.example import literal

# stands for the user's words while the rest is written; plain letters, which no chat template touches
_WORDS = "PRUNEKITWORDS"
_ROLES = ("user", "assistant")
# Llama 3.1's template would write today's date, and Qwen 3's leave room for thoughts: a run must read the same on
# another day, and the answer is scored right where it begins
_FIXED = {"date_string": "26 Jul 2024", "enable_thinking": False}


def written(tokenizer: Any, template: str, turns: Sequence[tuple[str, str]] = ()) -> str:
    """A conversation whose last words are a user's, those of `template`, up to where the assistant's answer begins.

    It is a template itself, with the fields of the other one. Special tokens that start a text are among its words.

    Args:
        turns: what was said before, by the user and by the assistant.

    Raises:
        ConfigError: where the tokenizer has no chat template, or its one writes no such conversation.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise ConfigError(
            "chat = true: the model's tokenizer has no chat template; leave chat out, or take the model's instruction "
            "version"
        )
    messages = [{"role": role, "content": words} for turn in turns for role, words in zip(_ROLES, turn, strict=True)]
    messages.append({"role": "user", "content": _WORDS})
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **_FIXED)
    except Exception as error:  # a template may raise what it likes
        raise ConfigError(
            f"chat = true: the tokenizer's chat template fails: {' '.join(str(error).split())}"
        ) from error
    opening, *closings = text.split(_WORDS)
    if len(closings) != 1:
        raise ConfigError("chat = true: the tokenizer's chat template does not write a user's words once, as they are")
    return literal(opening) + template.strip() + literal(closings[0])
