import pytest

from prunekit.prompts.options import Options
from prunekit.support.errors import ConfigError


@pytest.mark.parametrize(
    "name", ["rank", "bottleneck", "input_tokens", "task_size", "dimension", "spaces", "inner"]
)  # fmt: skip
def test_counts_are_at_least_one(name):
    with pytest.raises(ConfigError, match=f"{name} = 0: give at least 1"):
        Options(**{name: 0})


def test_the_rank_is_the_asked_one_or_the_published_one():
    assert Options().rank_or(10) == 10
    assert Options(rank=3).rank_or(10, most=4) == 3
    with pytest.raises(ConfigError, match=r"rank = 10 \(the published default\) is more .* set rank to 4 or less"):
        Options().rank_or(10, most=4)
