"""Which tokens of a prompt help which words of the right answers: from costs by word to a row for each token."""

from __future__ import annotations

import pandas as pd

BY_TOKEN = ("token", "cost", "helps", "helps_by", "harms", "harms_by")


def by_token(words: pd.DataFrame) -> pd.DataFrame:
    """What leaving each token out costs, and the words that it helps and harms most.

    A word is every token of an answer with this text, wherever it stands; what it is helped by is summed over all of
    its places, so that the words of a token add up to its cost.

    Args:
        words: token, word, example, difference, of one prompt.

    Columns:
        token; cost (nats an example, summed over its words); helps, harms (word), helps_by, harms_by (nats an example;
            missing where no word is); a row for each token, the dearest first.
    """
    examples = words["example"].nunique()
    of_words = words.groupby(["token", "word"], sort=True)["difference"].sum() / examples
    rows = []
    for token, costs in of_words.groupby(level="token"):
        by_word = costs.droplevel("token")
        helps = (by_word.idxmax(), by_word.max()) if by_word.max() > 0 else (None, None)
        harms = (by_word.idxmin(), by_word.min()) if by_word.min() < 0 else (None, None)
        rows.append((token, by_word.sum(), *helps, *harms))
    return pd.DataFrame(rows, columns=list(BY_TOKEN)).sort_values("cost", ascending=False, ignore_index=True)
