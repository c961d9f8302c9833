"""What an encoder makes of texts alone, as features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from prunekit.models import Encoded, Encoder

# texts that are read at once
_ROWS = 64


@torch.no_grad()
def text_states(model: Encoder, examples: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """[N, H] twice: each text's first state, and the mean of all its states, on the CPU in float32."""
    order = sorted(range(len(examples)), key=lambda index: (examples[index].length, index))
    shape = (len(examples), model.hidden_width)
    first, mean = torch.empty(shape), torch.empty(shape)
    for start in range(0, len(order), _ROWS):
        indices = order[start : start + _ROWS]
        batch = model.batch([[examples[index] for index in indices]], every_choice=True).to(model.device)
        first_states, means = model.text_states(batch)
        first[indices], mean[indices] = first_states.float().cpu(), means.float().cpu()
    return first, mean
