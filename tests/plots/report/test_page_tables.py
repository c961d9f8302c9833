import pandas as pd
from test_findings import row

from prunekit.plots.report import page_tables

NAN = float("nan")


def shown(table):
    """Column -> the texts in it."""
    return {column.label: [line[place].text for line in table.rows] for place, column in enumerate(table.columns)}


def test_rounds_are_means_over_seeds():
    results = pd.DataFrame(
        [row(seed=0, test_accuracy=0.8), row(seed=1, test_accuracy=0.9), row("prune-a", 1, test_accuracy=0.7)]
    )
    found = shown(page_tables.rounds(results, "prune-a", "accuracy"))
    assert found["round"] == ["0", "1"]
    assert found["test"] == ["0.850", "0.700"]
    assert found["95 % low"][1] == ""


def test_rounds_of_nothing_are_an_empty_table():
    assert page_tables.rounds(pd.DataFrame([row(status="diverged")]), "", "accuracy").rows == []


def test_seed_by_seed_leaves_out_what_is_the_same_for_all():
    rows = pd.DataFrame([{"round": number, "seed": 0, "head_parameters": 0, "status": "done"} for number in (1, 0)])
    assert shown(page_tables.seeds(rows, "accuracy")) == {"round": ["0", "1"], "seed": ["0", "0"]}
    assert shown(page_tables.seeds(rows.assign(status="diverged"), "accuracy"))["status"] == ["diverged", "diverged"]
    assert "head parameters" in shown(page_tables.seeds(rows.assign(head_parameters=770), "accuracy"))


def measured(kind, level, *scores):
    return pd.DataFrame(
        [
            {"kind": kind, "level": level, "token": token, "piece": -1 if level == "token" else 0, "seed": 0}
            | {"kept": score is not None, "score": score, "error": NAN, "negative": False if score else None}
            | {"split": "validation", "examples": 64}
            for token, score in enumerate(scores)
        ]
    )


def test_importance_is_sorted_and_split_by_kind_and_level():
    rows = pd.concat([measured("leave-one-out", "token", 0.1, None, 0.3), measured("shapley", "piece", 0.2)])
    first, second = page_tables.importance(rows)
    assert first.caption == "leave-one-out per token, on 64 examples of validation; larger = keep"
    assert shown(first)["token"] == ["2", "0"]
    assert shown(first)["negative"] == ["no", "no"]
    assert not {"piece", "std error"} & set(shown(first))
    assert "piece" in shown(second)


def test_numbers_of_a_figure_leave_out_what_never_changes_and_cut_what_is_long():
    table = pd.DataFrame({"task": "a", "dropped_in": range(300), "score": 0.123456})
    made = page_tables.drawn(table, "Token map")
    assert list(shown(made)) == ["dropped in"]
    assert len(made.rows) + made.left_out == 300
    assert made.left_out > 0
    assert list(shown(page_tables.drawn(table.head(1), "x"))) == ["task", "dropped in", "score"]


def test_settings_are_flat():
    found = shown(page_tables.settings({"prompt": {"tokens": 4}, "cohorts": [[0, 1], [2]], "on": True}, "all"))
    assert found["setting"] == ["prompt.tokens", "cohorts", "on"]
    assert found["value"] == ["4", "0, 1, 2", "True"]
