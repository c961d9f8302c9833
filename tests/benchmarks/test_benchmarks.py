"""What could silently be wrong in benchmarks/: counted work, unequal work, wrong statistics, an unreadable page."""

import json
import math
import mmap
import os
from dataclasses import replace
from pathlib import Path

import architectures
import pytest
import tiny
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import arithmetic, measure, page, presets, protocol, scaling
from benchmarks.ours import Ours
from benchmarks.presets import Job
from benchmarks.worker import OURS, OURS_FLOAT32, OURS_SUFFIX, PEER, RATE, SIDES, TUNED
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.prompts.mask import Mask

pytestmark = pytest.mark.gate

TOKENS = 4


def job_in(folder: Path, kind: str) -> Job:
    """The tiny task on a tiny model, as a job of a few updates."""
    tiny.save_model(kind, folder / "model")
    bone = tiny.frozen(kind)
    rows = [presets._row(one, bone) for one in tiny.examples(24)]
    (folder / "data.json").write_text(json.dumps({"train": rows[:16], "validation": rows[16:]}))
    draw = torch.Generator().manual_seed(0)
    save_file({"0": torch.randn(TOKENS, tiny.WIDTH, generator=draw) * 0.5}, folder / "start.safetensors")
    counts = dict(prompt_tokens=TOKENS, pieces=4, batch_size=4, train_examples=16, validation_examples=8)
    counts |= dict(evaluate_every=2, keep_tokens=(3, 2), keep_pieces=(2,), learning_rate=0.05, threads=1)
    return Job("tiny", str(folder / "model"), str(folder), **counts, max_length=16, answer_tokens=2)


@pytest.fixture(scope="module", params=tiny.at_night("llama", "t5", "bert"))
def job(request, tmp_path_factory) -> Job:
    return job_in(tmp_path_factory.mktemp(request.param), request.param)


def peer(job: Job, tuned: bool = False):
    pytest.importorskip("peft")
    from benchmarks.peer import Peer

    return Peer(job, measure.Stopwatch(), tuned=tuned)


def started(side, job: Job):
    """The side with its rows encoded, and its start with a head that lets the prompt be seen."""
    side.encode(job.rows())
    start = side.start()
    if start.head is None:
        return start
    draw = torch.Generator().manual_seed(1)
    return replace(start, head={name: torch.randn(one.shape, generator=draw) for name, one in start.head.items()})


# ---- arithmetic


def flops(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_the_arithmetic_of_an_encoder_is_what_torch_counts():
    model = tiny.model("bert").eval().requires_grad_(False)
    model.set_attn_implementation("eager")  # torch counts no fused attention on a CPU
    embeds = torch.randn(1, 9, tiny.WIDTH, requires_grad=True)
    work = arithmetic.row(model.config, 9)
    assert work.forward == flops(lambda: model(inputs_embeds=embeds))
    assert work.training == flops(lambda: model(inputs_embeds=embeds).pooler_output.sum().backward())
    layers = 2 * (9 * (4 * 32 * 32 + 2 * 32 * 64) * 2 + 4 * 9 * 9 * 32)  # by hand: two layers, and the pooler
    assert work.forward == layers + 2 * 32 * 32


def test_the_arithmetic_of_an_encoder_decoder_is_what_torch_counts():
    model = tiny.model("t5").eval().requires_grad_(False)
    model.set_attn_implementation("eager")
    embeds, answer = torch.randn(1, 9, tiny.WIDTH, requires_grad=True), torch.tensor([[5, 1]])
    work = arithmetic.row(model.config, 9, [2])
    assert work.forward == flops(lambda: model(inputs_embeds=embeds, labels=answer))
    counted = flops(lambda: model(inputs_embeds=embeds, labels=answer).loss.backward())
    # the decoder's first layer needs no gradient before it looks at the encoder: its self-attention, then its query
    spared = 2 * 2 * 4 * 32 * 32 + 2 * 4 * 2 * 2 * 32 + 2 * 2 * 32 * 32 + 2 * 2 * 9 * 32
    assert counted == work.training - spared


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
def test_the_arithmetic_of_a_decoder_is_what_torch_counts(kind):
    model = architectures.model(kind).eval().requires_grad_(False)
    model.set_attn_implementation("eager")
    embeds = torch.randn(1, 9, tiny.WIDTH, requires_grad=True)

    def last():
        return model(inputs_embeds=embeds, logits_to_keep=1).logits.sum()

    work = arithmetic.row(model.config, 9)
    assert work.forward == flops(last)
    assert work.training == flops(lambda: last().backward())


def test_the_arithmetic_behind_kept_texts_is_what_torch_counts():
    model = tiny.model("llama").eval().requires_grad_(False)
    model.set_attn_implementation("eager")
    text, embeds = torch.randn(1, 7, tiny.WIDTH), torch.randn(1, 4, tiny.WIDTH, requires_grad=True)
    read = model.base_model(inputs_embeds=text, use_cache=True)
    assert arithmetic.decoder(model.config, 7, answers=False).forward == flops(
        lambda: model.base_model(inputs_embeds=text, use_cache=True)
    )
    work = arithmetic.decoder(model.config, 4, behind=7)
    assert work.forward == flops(
        lambda: model(inputs_embeds=embeds, past_key_values=read.past_key_values, logits_to_keep=1)
    )


def test_an_uncounted_family_says_so():
    with pytest.raises(NotImplementedError, match="gpt2"):
        arithmetic.row(tiny.model("gpt2").config, 9)


# ---- statistics and clocks


def test_a_known_exponent_is_found_with_an_interval_that_holds_it():
    sizes = [10, 20, 40, 80]
    exact = measure.fit_exponent(sizes, [3 * size**1.5 for size in sizes])
    assert exact.exponent == pytest.approx(1.5)
    assert exact.high - exact.low < 1e-6
    noisy = measure.fit_exponent(sizes, [2.1, 3.7, 8.5, 15.6])
    assert noisy.low < 1 < noisy.high
    assert measure.fit_exponent([1, 2], [1, 2]).high == math.inf


def test_wilson_and_student_intervals_are_the_textbook_ones():
    assert measure.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert measure.mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 2.4841, 2 + 2.4841), abs=1e-4)
    assert measure.mean_interval([1.0])[1] == -math.inf


def test_no_second_is_counted_twice(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 3.5, 4.0, 9.0])  # train from 0 to 3.5, in it evaluate from 1 to 3
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(now))
    stopwatch = measure.Stopwatch()
    with stopwatch("train"), stopwatch("evaluate"):
        pass
    assert stopwatch.seconds == {"train": 1.5, "evaluate": 2.0}
    assert stopwatch.wrap("evaluate", lambda one: one)(7) == 7
    assert stopwatch.calls == {"train": 1, "evaluate": 2}
    assert stopwatch.total == 8.5


def test_points_take_turns_after_a_warm_up():
    seen = []
    found = measure.interleaved(["a", "b"], lambda point: float(len(seen.append(point) or seen)), repeats=2)
    assert seen == ["a", "b", "a", "b", "a", "b"]
    assert found == {"a": [3.0, 5.0], "b": [4.0, 6.0]}  # without the first round


def test_the_peak_is_seen_after_a_reset():
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("peaks are reset on Linux only")
    _held_and_given_back(64)
    held = measure.reset_peak()
    assert measure.peak() < held + 8
    _held_and_given_back(32)
    assert held + 24 < measure.peak() < held + 48


def _held_and_given_back(mib):
    """Memory of its own mapping: what the allocator hands out may be there already, left by earlier tests."""
    with mmap.mmap(-1, mib * 2**20) as memory:
        memory[:: mmap.PAGESIZE] = bytes(len(memory) // mmap.PAGESIZE)


def test_both_products_of_the_matrix_rate_are_products():
    left, right = torch.randn(8, 8), torch.randn(8, 8)
    torch.testing.assert_close(measure._onednn(left, right), left @ right)
    assert measure._rate(torch.mm, 64, torch.float32, "cpu", 0.01) > 0


# ---- the same work on all sides


def test_a_job_is_read_as_it_was_saved(job, tmp_path):
    job.save(tmp_path / "job.json")
    assert Job.read(tmp_path / "job.json") == job
    assert (job.dense_steps, job.updates, job.evaluations) == (4, 4 + 3 * 2, 3 + 3 * 2)


def test_a_preset_has_rows_and_a_start_for_every_seed(tmp_path):
    made = presets.prepare("testbed", tmp_path, Path("nowhere"), [0, 1], scale=0.1)
    assert [len(part) for part in made.rows().values()] == [made.train_examples, made.validation_examples]
    first, second = made.start(), replace(made, seed=1).start()
    assert first.shape == second.shape == (20, 128)
    assert not torch.equal(first, second)
    assert made.max_length >= max(row["tokens"] for part in made.rows().values() for row in part)
    assert made.answer_tokens == 2


@pytest.mark.filterwarnings("ignore")
def test_every_side_does_the_same_work_from_the_same_start(job):
    sides = {PEER: peer(job), TUNED: peer(job, tuned=True)}
    sides[OURS] = Ours(job, measure.Stopwatch(), "bfloat16")
    if sides[PEER].answers:  # a decoder
        sides[OURS_SUFFIX] = Ours(job, measure.Stopwatch(), "float32", "suffix")
    found = {side: protocol.perform(one, job).as_dict() for side, one in sides.items()}
    page.check_fairness(found)
    for outcome in found.values():
        assert (outcome["updates"], outcome["evaluations"]) == (job.updates, job.evaluations)
        assert set(outcome["seconds"]) == {"encode", "dense", "retrain", "evaluate", "score"}
        kept = list(outcome["accuracies"])
        assert kept[:3] == ["dense", "3 tokens x 4 pieces", "2 tokens x 4 pieces"]
        assert len(kept) == 4


@pytest.mark.filterwarnings("ignore")
def test_losses_and_scores_of_the_peer_and_prunekit_are_equal_at_the_same_values(job):
    theirs, ours = peer(job), Ours(job, measure.Stopwatch(), "float32")
    start, own = started(theirs, job), started(ours, job)
    assert torch.equal(start.values, own.values)
    theirs._put(start)
    theirs.model.eval()
    prompts = prompt_batch([Member(ours._ticket(own))])
    for place in (0, 1, 5):
        example = ours.training_data.train[place]
        loss = ours.model.losses(prompts, ours.model.batch([[example]], every_choice=False))
        labels = theirs.data["train"][place]["labels"]
        ids = theirs.data["train"][place]["input_ids"] if theirs.answers else example.text
        row = {"input_ids": torch.tensor([ids]), "labels": torch.tensor([labels])}
        other = theirs.model(**row, attention_mask=torch.ones_like(row["input_ids"])).loss
        assert float(loss) == pytest.approx(float(other), rel=1e-4)
    theirs_scored, scored = theirs.score(start), ours.score(own)
    assert theirs_scored.examples == scored.examples
    for level in ("token", "piece"):
        torch.testing.assert_close(getattr(theirs_scored, level), getattr(scored, level), rtol=1e-3, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_what_the_peer_pruned_stays_zero_and_the_rest_is_trained(job):
    side = peer(job)
    start = started(side, job)
    mask = tiny.masked([True, False, True, True], drop=[(0, 2)])
    learned = side.train([replace(start, mask=mask)], 2, "retrain")[0]
    keep = mask.expand(tiny.WIDTH)
    assert not learned.values[~keep].any()
    assert (learned.values[keep] != start.values[keep]).float().mean() > 0.9


@pytest.mark.filterwarnings("ignore")
def test_only_prompt_and_head_of_the_peer_move(job):
    side = peer(job, tuned=True)
    trained = {name for name, weight in side.model.named_parameters() if weight.requires_grad}
    assert all("prompt_encoder" in name or "classifier" in name for name in trained), trained
    dropouts = [one.p for one in side.model.modules() if isinstance(one, torch.nn.Dropout)]
    assert dropouts or side.answers  # a Llama has no such module
    assert not any(dropouts)


# ---- the page


def outcomes(speed: float = 1.0) -> dict:
    """A made-up repeat in which prunekit takes half the peer's time."""
    pace = {PEER: 2.0, TUNED: 1.5, OURS: 1.0, OURS_FLOAT32: 1.25}
    phases = ("encode", "dense", "retrain", "evaluate", "score")
    same = dict(updates=10, evaluations=9, start_digest="s", rows_digest="r", held_mib=50.0, peak_mib=100.0)
    accuracies = dict(zip("abcd", (0.9, 0.8, 0.7, 0.6), strict=True))
    made = {side: {"seconds": dict.fromkeys(phases, pace[side] * speed), "accuracies": accuracies} for side in SIDES}
    return {side: found | same for side, found in made.items()} | {RATE: {"float32": 1e11, "bfloat16": 4e11}}


def test_the_page_renders_with_every_table_whole(job):
    config = tiny.model("t5" if "t5" in job.folder else "bert").config
    facts = measure.machine(1, "cpu")
    text = page.render(page.Report(job, config, [outcomes(), outcomes(1.5)], "python -m x", facts))
    for line in ("- command: `python -m x`", "| peer / prunekit | what a user gains | 2.00 [2.00, 2.00] |"):
        assert line in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 4
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1, lines
    assert "nan" not in text


def test_unequal_work_is_refused():
    found = outcomes()
    page.check_fairness(found)
    found[OURS]["updates"] = 9
    with pytest.raises(RuntimeError, match="updates"):
        page.check_fairness(found)


# ---- scaling


def test_a_point_keeps_what_it_says():
    bone = tiny.frozen("bert")
    point = scaling.Point(prompt=6, text=7, examples=5, members=2, kept=2)
    cohort, rows = point.cohort(bone), point.rows(bone)
    assert [ticket.mask.tokens for ticket in cohort] == [2, 2]
    assert prompt_batch([Member(ticket) for ticket in cohort]).values.shape == (2, 2, tiny.WIDTH)
    assert [len(row.text) for row in rows] == [7] * 5
    assert isinstance(cohort[0].mask, Mask)


def test_a_series_is_measured_and_fitted():
    bone = tiny.frozen("t5")
    sizes = (1, 2, 3)
    points = tuple(scaling.Point(prompt=2, text=4, examples=8, members=size, kept=2) for size in sizes)
    text = scaling.measured(bone, scaling.Series("S, members", sizes, points), repeats=1)
    last = text.splitlines()[-1].split("|")
    assert last[1].strip() == "arithmetic of an epoch, GFLOP"
    assert last[-2].strip().startswith("1.00 ")


def test_a_whole_training_is_made_of_its_updates_and_evaluations():
    points = {"2": scaling.Point(examples=218, kept=2)}
    (found,) = scaling._trainings({"update": {"2": [0.5]}, "evaluation": {"2": [0.25]}}, points)["2"]
    assert found == 64 * 0.5 + 12 * 0.25


def test_densities_are_shown_beside_the_densest():
    bone = tiny.frozen("t5")
    points = tuple(scaling.Point(prompt=4, text=4, examples=8, kept=size) for size in (1, 4))
    rows = scaling.measured(bone, scaling.Series("tokens kept of 4", (1, 4), points, fitted=False), 1).splitlines()
    assert rows[0].split("|")[-2].strip() == "first / last"
    training = next(row for row in rows if "a training" in row).split("|")
    assert float(training[-2].split()[0]) == pytest.approx(float(training[2]) / float(training[3]), abs=0.02)
