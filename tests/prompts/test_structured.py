import torch
from tiny import draw

from prunekit.prompts.options import Options
from prunekit.prompts.structured import StructuredPrompt
from prunekit.support.seeding import generator


def test_the_prompt_is_a_linear_map_of_the_task_vector():
    task, weight = draw(3), draw(3, 5, 8)
    found = StructuredPrompt(task, weight)()
    by_hand = (weight.reshape(3, 40).T @ task).reshape(5, 8)
    assert torch.allclose(found, by_hand, rtol=0, atol=1e-10)


def test_it_starts_at_the_given_values():
    values = draw(5, 8)
    for size in (1, 2, 8):
        prompt = StructuredPrompt.start(values, generator("start"), Options(task_size=size))
        assert torch.allclose(prompt(), values, rtol=0, atol=1e-10)
        assert torch.allclose(prompt.task.norm(), torch.tensor(1.0).double())


def test_the_task_vector_can_move_the_prompt_in_as_many_directions_as_it_has():
    prompt = StructuredPrompt.start(draw(5, 8), generator("start"), Options(task_size=4))
    sizes = torch.linalg.svdvals(prompt.weight.flatten(1))
    assert sizes.min() > 0.3 * sizes.max()
