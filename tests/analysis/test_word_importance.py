import pandas as pd
import pytest

from prunekit.analysis.word_importance import BY_TOKEN, by_token

# two examples; token 0 helps "a" wherever it stands, token 1 harms "b" and does nothing else
WORDS = pd.DataFrame(
    [
        (0, 0, 0, "a", 0.4), (0, 0, 1, "b", 0.1), (0, 0, 2, "a", 0.2), (1, 0, 0, "b", -0.3), (1, 0, 1, "a", 0.6),
        (0, 1, 0, "a", 0.0), (0, 1, 1, "b", -0.2), (0, 1, 2, "a", 0.0), (1, 1, 0, "b", -0.4), (1, 1, 1, "a", 0.0),
    ],
    columns=["example", "token", "position", "word", "difference"],
)  # fmt: skip


def test_words_add_up_to_the_cost_of_their_token_wherever_they_stand():
    table = by_token(WORDS)
    assert tuple(table) == BY_TOKEN
    first, second = table.to_dict("records")
    assert (first["token"], first["helps"], first["harms"]) == (0, "a", "b")
    assert [first[name] for name in ("cost", "helps_by", "harms_by")] == pytest.approx([0.5, 0.6, -0.1])
    assert (second["token"], second["harms"]) == (1, "b")
    assert second["cost"] == second["harms_by"] == pytest.approx(-0.3)
    assert pd.isna(second["helps"]) and pd.isna(second["helps_by"])  # no word is helped
