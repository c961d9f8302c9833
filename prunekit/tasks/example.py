"""One row as a model sees it: a text made from a template, and the answers it may choose from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from string import Formatter

# what may stand between a text and its answer
SEPARATORS = (" ", "\n", "")


@dataclass(frozen=True)
class Example:
    """One question with its possible answers.

    Attributes:
        index: position within its whole split after row transforms; kept when a subset is drawn.
        template: text with {name} placeholders for `fields`.
        fields: the text fields that the template names.
        choices: [C] the answers as written.
        gold: indices into `choices` of the right ones; empty when unlabelled, several in ReCoRD.
        group: rows with the same non-empty group are judged together (the answers of one MultiRC question).
        separator: stands between the text and an answer; a blank does where neither brings one of its own.
        chat: the tokenizer's chat template is still to be written around the text.
        turns: what was said before in that chat, a user's words and the assistant's answer each.
        whole: the template holds all that a model reads before the answer, special tokens and last newline included.
        target_tokens: most tokens of the answer that the model writes, 0 where answers are chosen. `choices` then holds
            the target that is trained on, or nothing where the example has no label.
        references: the right answers of an open question, whatever their number.
    """

    index: int
    template: str
    fields: Mapping[str, str]
    choices: tuple[str, ...]
    gold: tuple[int, ...] = ()
    group: str = ""
    separator: str = " "
    chat: bool = False
    turns: tuple[tuple[str, str], ...] = ()
    whole: bool = False
    target_tokens: int = 0
    references: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether the model writes the answer."""
        return self.target_tokens > 0

    @property
    def text(self) -> str:
        """The template with the fields filled in."""
        return self.template.format_map(self.fields)

    @property
    def before(self) -> str:
        """The text without the blanks and newlines that it ends in: an answer begins with those (not in a chat)."""
        return self.text if self.whole else self.text.rstrip()

    def joined(self, choice: str) -> str:
        """Text and answer as they are written together, which is how a model that continues texts reads them."""
        text = self.text
        blank = self.separator == " " and (text[-1:].isspace() or choice[:1].isspace())  # never two of them
        return text + ("" if blank else self.separator) + choice

    def shortened(self, fields: Mapping[str, str]) -> Example:
        """The same example with other (usually cut) field texts."""
        return replace(self, fields=fields)


def literal(text: str) -> str:
    """A text as it stands in a template, where braces name fields."""
    return text.replace("{", "{{").replace("}", "}}")


def instructed(example: Example, words: str) -> Example:
    """The same example with an instruction before its text, a line of its own."""
    return replace(example, template=f"{literal(words)}\n{example.template}")


def with_shots(example: Example, shots: Sequence[Example]) -> Example:
    """The same example behind others that show their right answers: an empty line between two, or turns of a chat."""
    answers = [shot.choices[shot.gold[0]] for shot in shots]
    if example.chat:
        turns = [(shot.text.strip(), answer.strip()) for shot, answer in zip(shots, answers, strict=True)]
        return replace(example, turns=tuple(turns))
    context = "".join(f"{shot.joined(answer)}\n\n" for shot, answer in zip(shots, answers, strict=True))
    return replace(example, template=literal(context) + example.template)


def literals(template: str) -> list[str]:
    """The pieces of a template between its fields."""
    return [piece for piece, *_ in Formatter().parse(template) if piece]


def is_field_name(name: str) -> bool:
    """Whether a name can stand in a template: none of . [ ] { } : ! in it, no blank at an end, and not digits alone."""
    return bool(name) and name == name.strip() and not set(name) & set(".[]{}:!") and _is_filled(name)


def _is_filled(name: str) -> bool:
    """Whether a field of this name gets its value: digits are taken for a place, and too many at its start for none."""
    try:
        return f"{{{name}}}".format_map({name: "x"}) == "x"
    except ValueError:
        return False


def placeholders(template: str) -> tuple[str, ...]:
    """The field names of a template, in order of first use.

    Only plain {name} is allowed, also with blanks in it ({{ and }} are literal braces): attribute and index access
    would let a task file reach into objects, and format specs or conversions would change the text unseen.

    Raises:
        ValueError: saying what is not allowed.
    """
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"not a template ({error}); write {{{{ and }}}} for literal braces") from error
    names: dict[str, None] = {}
    for _, name, spec, conversion in pieces:
        if name is None:
            continue
        if spec or conversion or not is_field_name(name):
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            raise ValueError(f"only plain {{name}} placeholders are allowed, not {{{written}}}")
        names[name] = None
    if not names:
        raise ValueError("a template needs at least one {name} placeholder")
    return tuple(names)
