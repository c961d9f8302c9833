"""What could be wrong in the benchmark of trainings alone: other work, an evaluation, a wrong loss, a wrong page."""

import json
from dataclasses import replace

import pytest
import tiny
import torch
from test_benchmarks import job_in, peer

from benchmarks import measure, page, presets, training_page
from benchmarks.ours import Ours
from benchmarks.training_protocol import perform_training
from benchmarks.worker import OURS_FLOAT32, OURS_PREFIX, OURS_SUFFIX, PEER, RATE

pytestmark = [pytest.mark.gate, pytest.mark.filterwarnings("ignore")]
SIDES = (PEER, OURS_FLOAT32, OURS_SUFFIX, OURS_PREFIX)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return replace(job_in(tmp_path_factory.mktemp("training"), "llama"), epochs=2, padding="longest")


@pytest.fixture(scope="module")
def built(job):
    ours = {name: Ours(job, measure.Stopwatch(), "float32", position) for name, position in
            ((OURS_FLOAT32, "first"), (OURS_SUFFIX, "suffix"), (OURS_PREFIX, "prefix-kv"))}  # fmt: skip
    return {PEER: peer(job), **ours}


@pytest.fixture(scope="module")
def outcomes(job, built):
    found = {name: perform_training(side, job).as_dict() for name, side in built.items()}
    return found | {RATE: {"float32": 1e9, "bfloat16": 2e9}}


def test_all_sides_make_the_same_updates_from_the_same_start_on_the_same_rows(job, outcomes):
    training_page.check_trainings(outcomes)
    for side in SIDES:
        found = outcomes[side]
        assert found["updates"] == job.epochs * job.epoch_steps == 8
        assert len(found["update_seconds"]) == 7
        assert 0 <= found["accuracy"] <= 1
        assert set(found["seconds"]) == {"encode", "dense", "evaluate"} | ({"score"} if side != PEER else set())
    assert outcomes[PEER]["first_loss"] == pytest.approx(outcomes[OURS_FLOAT32]["first_loss"], rel=1e-4)
    assert outcomes[OURS_SUFFIX]["first_loss"] != pytest.approx(outcomes[PEER]["first_loss"], rel=1e-4)


def test_a_prefix_starts_at_what_the_model_keeps_of_the_words_that_others_start_at(job, built):
    prefix, table = built[OURS_PREFIX].model, tiny.model("llama").get_input_embeddings().weight
    built[OURS_PREFIX].encode(job.rows())
    words = presets.starting_values(built[OURS_FLOAT32].model, job.seed, job.prompt_tokens)
    ids = torch.cdist(words.float(), table.detach()).argmin(dim=1)
    start = built[OURS_PREFIX].start()
    opened = torch.cat([torch.tensor(prefix.reader.opening, dtype=torch.long), ids])[: job.prompt_tokens]
    torch.testing.assert_close(start.values, prefix.prompt_vectors(opened))
    assert built[OURS_PREFIX].plan(1).learning_rate != job.learning_rate == built[OURS_SUFFIX].plan(1).learning_rate


def test_the_first_loss_is_that_of_the_bare_model(job, built, outcomes):
    model, tokenizer = tiny.model("llama"), tiny.tokenizer("llama")
    losses = []
    for row in job.rows()["train"][: job.batch_size]:
        text, whole = tokenizer([row["text"], f"{row['text']} {row['answer']}"])["input_ids"]
        assert len(whole) == len(text) + 1
        vectors = torch.cat([job.start(), model.get_input_embeddings()(torch.tensor(text))])
        with torch.no_grad():
            logits = model(inputs_embeds=vectors[None]).logits[0, -1]
        losses.append(-float(logits.log_softmax(-1)[whole[-1]]))
    assert outcomes[PEER]["first_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_the_peer_judges_as_prunekit_does(job, built):
    theirs, ours = built[PEER], built[OURS_FLOAT32]
    for side in (theirs, ours):
        side.encode(job.rows())
    start = theirs.start()
    for seed in range(3):
        values = torch.randn(start.values.shape, generator=torch.Generator().manual_seed(seed))
        assert theirs.accuracy(replace(start, values=values)) == ours.accuracy(replace(ours.start(), values=values))


def test_training_of_the_peer_moves_the_prompt_and_evaluates_nothing(job, built, monkeypatch):
    monkeypatch.setattr("benchmarks.peer._Watched.evaluate", tiny.refuse)
    _trains_three_updates(built[PEER], job)


@pytest.mark.parametrize("side", [OURS_FLOAT32, OURS_SUFFIX, OURS_PREFIX])
def test_training_of_ours_moves_the_prompt_and_reads_no_validation_row(side, job, built, monkeypatch):
    seen, inner = [], built[side].model.batch
    monkeypatch.setattr(
        built[side].model, "batch", lambda members, **more: seen.extend(members[0]) or inner(members, **more)
    )
    _trains_three_updates(built[side], job)
    assert seen
    assert {id(row) for row in seen} <= {id(row) for row in built[side].training_data.train}


def _trains_three_updates(side, job):
    side.encode(job.rows())
    start = side.start()
    learned = side.train_alone(start, 3, "dense")
    assert len(learned.moments) == learned.updates == 3
    assert not torch.equal(learned.values, start.values)


def test_other_work_and_another_first_loss_are_refused(outcomes):
    for fact, wrong in (("updates", 7), ("rows_digest", "x"), ("start_digest", "x"), ("first_loss", 99.0)):
        broken = outcomes | {OURS_FLOAT32: outcomes[OURS_FLOAT32] | {fact: wrong}}
        with pytest.raises(RuntimeError, match=fact.split("_")[0]):
            training_page.check_trainings(broken)


def test_the_page_divides_pair_by_pair(job):
    def outcome(seconds, memory):
        return dict(seconds={"dense": seconds, "score": 6.0}, update_seconds=[9.0] + [seconds / 8] * 7, accuracy=0.5,
                    first_loss=0.7, peak_mib=memory, held_mib=10.0)  # fmt: skip

    repeats = [
        {PEER: outcome(8.0, 300.0), OURS_FLOAT32: outcome(4.0, 200.0), OURS_SUFFIX: outcome(2.0, 100.0),
         RATE: {"float32": 1e9}},
        {PEER: outcome(12.0, 300.0), OURS_FLOAT32: outcome(4.0, 200.0), OURS_SUFFIX: outcome(2.0, 100.0),
         RATE: {"float32": 1e9}},
    ]  # fmt: skip
    config = tiny.model("llama").config
    text = training_page.render(training_page.TrainingReport(job, config, repeats, "python -m x", {}))
    assert f"| {PEER} / {OURS_FLOAT32} | 2.50 [2.00, 3.00] | 2.50 [2.00, 3.00] | 1.50 [1.50, 1.50] |" in text
    assert f"| {OURS_FLOAT32} / {OURS_SUFFIX} | 2.00 [2.00, 2.00] |" in text
    assert "| 6.00 [6.00, 6.00] |" in text.split(OURS_SUFFIX)[1]  # an epoch of its updates takes 1 s
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 2
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1
    assert "nan" not in text


def test_what_is_kept_counts_once(job):
    """Behind kept texts each text, and a prompt in front once an update."""
    config = tiny.model("llama").config
    peer, first, behind = (page.training_work(job, config, side, 8) for side in (PEER, OURS_FLOAT32, OURS_SUFFIX))
    longer = page.training_work(job, config, OURS_SUFFIX, 16)
    assert max(first, behind) < peer
    assert longer < 2 * behind
    assert page.training_work(job, config, OURS_PREFIX, 8) < first
    assert page.training_work(replace(job, device="cuda"), config, OURS_FLOAT32, 8) == peer


def test_answers_of_several_tokens_are_refused(job, tmp_path):
    from benchmarks.causal_answers import CausalAnswers

    rows = job.rows()
    rows["train"][0]["choices"] = ["good very", "bad"]
    (tmp_path / "data.json").write_text(json.dumps(rows))
    with pytest.raises(NotImplementedError, match="one token"):
        CausalAnswers.of(tiny.tokenizer("llama"), replace(job, folder=str(tmp_path)))


def test_no_text_of_a_preset_is_longer_than_every_side_reads():
    bone = tiny.frozen("llama")
    short, long = (replace(tiny.examples(1)[0], template=" ".join(["w1"] * count)) for count in (200, 300))
    assert presets._fits(short, bone)
    assert not presets._fits(long, bone)
