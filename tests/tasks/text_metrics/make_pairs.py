"""Makes the pairs that the metrics of prunekit's own code are held to, with what another implementation says of them.

    python tests/tasks/text_metrics/make_pairs.py evaluate-v1.1.py

writes squad_pairs.jsonl, scored by SQuAD's official script, which is named and stands elsewhere, and
number_pairs.jsonl, whose numbers are read letter by letter, as exact fractions and without any pattern, by `number_in`
below. The texts are of this file's words.
"""

import json
import random
import runpy
import sys
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).parent
COUNT = 500
LEXICON = (
    "the a an The AN owl fox river Zürich naïve theatre ana anthem over 7 1,024 3.5 U.S. don't well-known (north) "
    "“east” Ⅷ ß İstanbul 東京 e-mail co-op -- … ! the-a a.m. Æsir x_y 50% $9 rock'n'roll"
)
WORDS = LEXICON.split()
BLANKS = (" ", "  ", "\t", "\u00a0", "\n")
MINUS, CURRENCY = "-\u2212", "$€£¥"


def text(draw: random.Random, most: int) -> str:
    """A few words with all sorts of blanks between them; none at times."""
    count = draw.randint(1, most) if draw.random() < 0.97 else 0
    return draw.choice(BLANKS).join(draw.choice(WORDS) for _ in range(count))


def changed(draw: random.Random, reference: str) -> str:
    """A reference as a model might miss it."""
    words = reference.split(" ")
    change = draw.randrange(9)
    return [
        reference,
        reference.upper(),
        " ".join(words[: len(words) // 2]),
        f"{reference} {text(draw, 3)}",
        f"{text(draw, 2)} {reference}",
        f"the {reference}.",
        "".join(reference.split()),
        text(draw, 6),
        "",
    ][change]


def squad_pairs(official: dict) -> list[dict]:
    """Answers and references, with the official exact match and F1."""
    draw, pairs = random.Random(28), []
    for _ in range(COUNT):
        references = [text(draw, 6) for _ in range(draw.randint(1, 4))]
        answer = changed(draw, draw.choice(references))
        best = official["metric_max_over_ground_truths"]
        match = best(official["exact_match_score"], answer, references)
        f1 = best(official["f1_score"], answer, references)
        pairs.append({"answer": answer, "references": references, "exact_match": float(match), "f1": float(f1)})
    return pairs


def number(draw: random.Random) -> str:
    """A number as people write it, or nearly."""
    value = draw.choice([draw.randint(0, 12), draw.randint(0, 99_999), draw.randint(0, 10**9)])
    written = draw.choice([f"{value}", f"{value:,}", f"{value}.0", f"{value}.50", f"{value:,}.25", ".5"])
    sign = draw.choice(["", "", "", *MINUS, "+"])
    money = draw.choice(["", "", "$", "€", "£"])
    return draw.choice([sign + money + written, money + sign + written]) + draw.choice(
        ["", "", "%", ".", ",", " km", "kg"]
    )


def number_text(draw: random.Random) -> str:
    """A text with some numbers, and at times a marker."""
    words = ["so", "CO2", "covid-19", "10-3", "1,2,3", "(4)", "3/4", "v1.2", "x=", "3.14.15", "1,23", "共12", "1,2345"]
    parts = [draw.choice([*words, number(draw), number(draw)]) for _ in range(draw.randint(0, 4))]
    marker = draw.choice(["####", "####", "The answer is", "answer:", "the ANSWER is:", "answers", "###"])
    parts += draw.choice(
        [[], [marker, number(draw)], [marker, "none"], [marker, "x =", number(draw), "and", number(draw)]]
    )
    return draw.choice([" ", "", "\n"]).join(parts) + draw.choice(["", " bye 3", "!"])


def number_pairs() -> list[dict]:
    """Texts and the number that each comes to, as a fraction; null for none."""
    draw, pairs = random.Random(8), []
    for _ in range(COUNT):
        content = number_text(draw)
        value = number_in(content)
        pairs.append({"text": content, "number": None if value is None else str(value)})
    return pairs


def number_in(content: str) -> Fraction | None:
    """The first number behind the first marker, else the last of all."""
    values = numbers(content)
    ends = [
        position + len(marker)
        for marker in ("####", "answer is", "answer:")
        for position in range(len(content))
        if content[position : position + len(marker)].lower() == marker and stands_alone(content, position, marker)
    ]
    behind = [value for start, value in values if ends and start >= min(ends)]
    return behind[0] if behind else values[-1][1] if values else None


def stands_alone(content: str, position: int, marker: str) -> bool:
    """Whether a marker of letters is no part of a longer word."""
    end = position + len(marker)
    before = marker[0] == "#" or position == 0 or not wordlike(content[position - 1])
    return before and (marker[-1] != "s" or end == len(content) or not wordlike(content[end]))


def wordlike(letter: str) -> bool:
    """A letter, a digit or an underscore, of ASCII."""
    return letter.isascii() and (letter.isalnum() or letter == "_")


def numbers(content: str) -> list[tuple[int, Fraction]]:
    """Every number with where it begins."""
    values, start = [], 0
    while start < len(content):
        parts = None if begins_inside(content, start) else read(content, start)
        if parts is None:
            start += 1
            continue
        value, end = parts
        values.append((start, value))
        start = end
    return values


def begins_inside(content: str, start: int) -> bool:
    """Whether what stands there goes on with a word, a number or a bracket."""
    return start > 0 and (wordlike(content[start - 1]) or content[start - 1] == ")")


def read(content: str, start: int) -> tuple[Fraction, int] | None:
    """The number that begins there and where it ends."""
    position, negative = start, False
    for signs in (MINUS, CURRENCY, MINUS):
        if position < len(content) and content[position] in signs:
            negative |= signs is MINUS
            position += 1
    groups = [digits(content, position)]
    position += len(groups[0])
    while 1 <= len(groups[0]) <= 3 and content[position : position + 1] == ",":
        group = digits(content, position + 1)
        if len(group) != 3:
            break
        groups.append(group)
        position += 4
    decimals = digits(content, position + 1) if content[position : position + 1] == "." else ""
    if not groups[0] and not decimals:
        return None
    value = Fraction(int("".join(groups) + decimals), 10 ** len(decimals))
    return -value if negative else value, position + (len(decimals) + 1 if decimals else 0)


def digits(content: str, start: int) -> str:
    """The ASCII digits that stand there."""
    end = start
    while end < len(content) and content[end] in "0123456789":
        end += 1
    return content[start:end]


def write(name: str, pairs: list[dict]) -> None:
    """One JSON object a line."""
    lines = [json.dumps(pair, ensure_ascii=False) for pair in pairs]
    (HERE / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write("squad_pairs.jsonl", squad_pairs(runpy.run_path(sys.argv[1])))
    write("number_pairs.jsonl", number_pairs())
