"""Kept keys and values are given to a model under the name that its version of transformers has for them."""

from inspect import Parameter, Signature

import pytest
from torch import nn
from transformers import DynamicCache

from prunekit.models.cache_argument import cache_argument


def model(*names):
    """One whose forward pass takes these arguments."""

    def forward(): ...

    forward.__signature__ = Signature([Parameter(name, Parameter.KEYWORD_ONLY) for name in names])
    made = nn.Module()
    made.forward = forward
    return made


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("ids", "past_key_values"), "past_key_values"), (("ids", "cache"), "cache"),
     (("cache", "past_key_values"), "cache"), (("ids",), None)],
)  # fmt: skip
def test_the_newest_name_that_the_model_takes(names, expected):
    cache = DynamicCache()
    assert cache_argument(model(*names), cache) == ({expected: cache} if expected else {})
