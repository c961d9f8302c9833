import pytest
import tiny
import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate


def prompts(bone, count=2, **more):
    return prompt_batch([Member(tiny.ticket(bone, seed=seed, **more)) for seed in range(count)])


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_results_come_in_the_given_order_and_equal_one_example_at_a_time(kind):
    bone = tiny.frozen(kind)
    rows = tiny.encoded(bone, tiny.examples(11, choices=("good", "bad w3 w4")))
    made = evaluate(prompts(bone), bone, rows)
    assert made.losses.shape == made.chosen.shape == made.scores.shape == (2, 11)
    for place, row in enumerate(rows):
        with torch.no_grad():
            one = bone.forward(prompts(bone), bone.batch([[row]], every_choice=True))
        assert (made.losses[:, place] - one.losses[:, 0]).abs().max() <= 1e-5 * one.losses.max()
        assert (made.scores[:, place] - one.logits.max(-1).values[:, 0]).abs().max() <= 1e-5 * one.logits.abs().max()
        assert made.chosen[:, place].tolist() == one.logits[:, 0].argmax(-1).tolist()


def test_batches_are_cut_at_about_128_rows(monkeypatch):
    bone = tiny.frozen("gpt2")
    rows = tiny.encoded(bone, tiny.examples(150, choices=("good", "bad w3")))
    sizes = []
    inner = bone.forward
    monkeypatch.setattr(bone, "forward", lambda soft, batch: sizes.append(batch.size) or inner(soft, batch))
    evaluate(prompts(bone), bone, rows)
    assert sum(sizes) == 150
    assert max(sizes) * 2 * 2 <= 128  # members x rows per example
    assert len(sizes) == 5


def test_an_example_wider_than_a_batch_goes_alone():
    bone = tiny.frozen("gpt2")
    many = tuple(f"w{n} w1" for n in range(2, 40)) * 2
    rows = tiny.encoded(bone, tiny.examples(2, choices=tuple(f"{w} w{i % 40}" for i, w in enumerate(many))))
    made = evaluate(prompts(bone), bone, rows)
    assert made.losses.isfinite().all()


def test_nothing_needs_a_gradient_and_nothing_is_left_behind():
    bone = tiny.frozen("bert")
    made_of = prompts(bone)
    made = evaluate(made_of, bone, tiny.encoded(bone, tiny.examples(3)))
    assert not made.losses.requires_grad
    assert made_of.values.requires_grad


def test_no_examples_give_empty_results():
    bone = tiny.frozen("t5")
    assert evaluate(prompts(bone), bone, []).losses.shape == (2, 0)


def test_losses_of_unlabelled_examples_are_nan_and_choices_still_made():
    from dataclasses import replace

    bone = tiny.frozen("t5")
    rows = tiny.encoded(bone, [replace(example, gold=()) for example in tiny.examples(3)])
    made = evaluate(prompts(bone), bone, rows)
    assert made.losses.isnan().all()
    assert set(made.chosen.flatten().tolist()) <= {0, 1}
