import pandas as pd
from sweeps import of_text

from prunekit.experiment.sweep.jobs import Outcome
from prunekit.experiment.sweep.sweep import SweepResult
from prunekit.plots.report import sweep_page


def test_a_page_shows_experiments_tickets_and_what_failed(tmp_path):
    found = of_text(tmp_path, "seeds = 2\n[training]\nlearning_rate = [0.1, 0.2]\n")
    short = [{"training.learning_rate": 0.1, "metric": "accuracy", "seeds": 2, "stopped": 0, "dense": 0.75}]
    ticket = dict(stage="", arm="", seed=0, round=0, status="done", tokens=20, pieces=320, density=1.0, steps=8)
    tickets = [{"directory": "r", "training.learning_rate": 0.1, **ticket, "test_accuracy": 0.75}]
    failed = [Outcome("k", "0.2", failed="its worker <died>")]
    result = SweepResult("rates", found, tuple(short), pd.DataFrame(tickets), tuple(failed), tmp_path)
    made = sweep_page.html(result)
    assert "The sweep rates" in made
    assert "1 of 2 experiments are finished, in 1 run directories." in made
    assert "Failed: 0.2: its worker &lt;died&gt;" in made
    assert "test accuracy" in made
    assert "the best of many is partly luck" in made
