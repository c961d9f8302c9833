"""How a model writes the answer to an open question."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Decoding:
    """Settings of Hugging Face `generate`; the default is greedy.

    Attributes:
        max_tokens: most tokens of an answer; targets are cut there too.
        stop: texts at which an answer ends; they are no part of it.
        beams: of a beam search; 1 is none.
        temperature: above 0, tokens are drawn; 0 takes the likeliest.
        top_p: drawn among the likeliest tokens of this probability together.
        seed: of what is drawn.
    """

    max_tokens: int = 32
    stop: tuple[str, ...] = ()
    beams: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    @property
    def in_words(self) -> str:
        """How is searched, how far, and what ends it, for people."""
        search = f"drawn at temperature {self.temperature:g}, seed {self.seed}" if self.temperature else "greedy"
        parts = [f"{self.beams} beams" if self.beams > 1 else search, f"at most {self.max_tokens} tokens"]
        return ", ".join([*parts, *(f"ending at {stop!r}" for stop in self.stop)])

    def cut(self, text: str) -> tuple[str, bool]:
        """What is written before the first stop text, and whether there was one; blanks around it do not count."""
        text = text.lstrip()
        ends = [place for stop in self.stop if (place := text.find(stop)) >= 0]
        return text[: min(ends, default=len(text))].strip(), bool(ends)
