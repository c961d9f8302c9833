import pytest
from sweeps import of_text, read, written

from prunekit.experiment.sweep import jobs
from prunekit.experiment.sweep.jobs import Job, Outcome


def test_what_shares_a_run_directory_is_one_job(tmp_path):
    text = "[training]\nlearning_rate = [0.1, 0.2]\n[pruning]\nrounds = [1, 2]\n"
    found = of_text(tmp_path, text)
    made = jobs.jobs(found, tmp_path, found.experiments)
    assert [[task.label for task in job.tasks] for job in made] == [["0.1, 1", "0.1, 2"], ["0.2, 1", "0.2, 2"]]


def test_jobs_of_one_model_go_out_together(tmp_path):
    text = '[training]\nlearning_rate = [0.1, 0.2]\n[model]\nname = ["a", "b"]\n[task]\nname = "sst2"\n'
    found = of_text(tmp_path, text)
    made = jobs.jobs(found, tmp_path, found.experiments)
    assert [job.tasks[0].experiment["model"]["name"] for job in made] == ["a", "a", "b", "b"]


def test_a_job_comes_back_from_its_text(tmp_path):
    found = of_text(tmp_path, "[training]\nlearning_rate = [0.1, 0.2]\n")
    for job in jobs.jobs(found, tmp_path, found.experiments):
        assert Job.from_text(job.to_text()) == job


def test_a_job_keeps_the_order_of_label_words(tmp_path):
    text = '[model]\nname = "m"\n[task]\nname = "sst2"\nlabel_words = "1=good,0=bad"\n'
    found = of_text(tmp_path, text)
    (job,) = jobs.jobs(found, tmp_path, found.experiments)
    (task,) = Job.from_text(job.to_text()).tasks
    assert list(task.experiment["task"]["label_words"]) == ["1", "0"]


def test_a_changed_file_asks_for_another_look(tmp_path):
    file = written(tmp_path, rounds="1")
    one = read(file)
    before = jobs.key(one.experiments[0], one)
    assert jobs.key(one.experiments[0], one) == before
    data = tmp_path / "toy" / "train.jsonl"
    data.write_text(data.read_text() + "\n")
    assert jobs.key(one.experiments[0], one) != before


OWN = 'data = "rows.csv"\ntext = "text"\nlabel = "label"\n'


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ('[task]\nname = "task.toml"\n', "rows.csv"),
        ('[task]\nname = "task.toml"\n', "words.json"),
        (f"[task]\n{OWN}", "labels.json"),
        (f'[task]\n{OWN}[prompt]\nstart_from = "ticket"\n', "ticket/prompt.safetensors"),
        (f'[task]\n{OWN}[prompt]\nmethod = "intrinsic"\nsubspace_from = ["run", "ticket"]\n', "run/result.json"),
    ],
)
def test_what_a_run_reads_by_way_of_its_settings_asks_for_another_look(tmp_path, monkeypatch, settings, changed):
    (tmp_path / "task.toml").write_text(
        'name = "t"\ntemplate = "{text}"\nlabels_file = "words.json"\ndata = "rows.csv"\n'
    )
    (tmp_path / "rows.csv").write_text("text,label\na,0\nb,1\n")
    monkeypatch.chdir(tmp_path)
    found = of_text(tmp_path, f'[model]\nname = "m"\n{settings}')
    before = jobs.key(found.experiments[0], found)
    (tmp_path / changed).parent.mkdir(exist_ok=True)
    (tmp_path / changed).write_text("anew, and longer than it was")
    assert jobs.key(found.experiments[0], found) != before


def test_a_task_that_cannot_be_read_has_a_key_all_the_same(tmp_path):
    found = of_text(tmp_path, '[model]\nname = "m"\n[task]\nname = ["nowhere.toml", "sst2"]\n')
    assert len({jobs.key(one, found) for one in found.experiments}) == 2


def test_a_receipt_counts_as_long_as_its_rounds_are_there(tmp_path):
    (tmp_path / "r" / "seed=0" / "round=00").mkdir(parents=True)
    (tmp_path / "r" / "experiment.toml").write_text("")
    outcome = Outcome("abc", "label", "r", "", ("seed=0/round=00",))
    jobs.write_receipt(tmp_path, outcome)
    assert jobs.receipt(tmp_path, "abc") is None
    (tmp_path / "r" / "seed=0" / "round=00" / "MANIFEST.json").write_text("{}")
    assert jobs.receipt(tmp_path, "abc") == outcome
    (tmp_path / ".sweep" / "abc.json").write_text('{"key": "abc"')
    assert jobs.receipt(tmp_path, "abc") is None
