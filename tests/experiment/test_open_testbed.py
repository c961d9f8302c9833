"""The testbed of written answers: a pruned prompt makes its model write both animals in reverse order."""

import pytest

import prunekit as pk

pytestmark = pytest.mark.slow  # the gate has answers to write of tiny models, and the testbed's digest


def test_a_pruned_prompt_has_answers_of_several_words_written_right(tmp_path):
    run = pk.prune(
        task="testbed/reverse-animals",
        rounds=1,
        train_steps=40,
        evaluate_every=40,
        train_examples=64,
        validation_examples=16,
        test_examples=40,
        threads=1,
        out=tmp_path,
        quiet=True,
    )
    results = run.results
    ticket = results[results["round"] == 1].iloc[0]
    assert (ticket["tokens"], ticket["pieces"]) == (5, 8)
    assert ticket["test_exact_string"] >= 0.95
    assert "testbed-open" in run.path.name
    base_lines = run.baselines.set_index("name")
    assert base_lines.loc["untrained", "test"] < 0.2
    assert base_lines.loc["no-prompt", "test"] < 0.2
