"""Which score PruneBench found to be better than the default, so that whoever prunes hears of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Better:
    """A score that finds more of the planted words than another, for no more than two epochs of training.

    Attributes:
        name: of the score.
        examples: that it was given.
        share: of the planted words that it finds.
        than: the other score, by which is pruned where nothing is said.
        than_share: of the planted words that the other one finds.
        tickets: whether its tickets, trained on, are better too.
    """

    name: str
    examples: int
    share: float
    than: str
    than_share: float
    tickets: bool

    @property
    def sentence(self) -> str:
        """One line, for who pruned by the other."""
        tickets = "better" if self.tickets else "not shown to be better"
        return (
            f"Another score to try: --score {self.name} --score-examples {self.examples} finds more planted words than "
            f"{self.than} ({self.share:.2f} against {self.than_share:.2f} in PruneBench); its tickets are {tickets}."
        )


#: The cheapest that reaches PruneBench's bar, as its page has it; None where no score does.
BETTER: Better | None = Better("leave-one-out", 8, 1.0, "absolute", 0.633, tickets=False)
