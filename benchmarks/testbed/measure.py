"""Choice scoring of the testbed's one-word answers, for its own log and table.

The toolkit's evaluation scores any model on any task; this is the few lines that suffice for one-word choices. Both
rank the summed log-probabilities of choice and end token.
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

Rows = Sequence[dict[str, str]]


def with_instruction(instruction: str, rows: Rows) -> list[str]:
    """Write the instruction, which may be empty, before each row's passage."""
    return [f"{instruction} {row['text']}".strip() for row in rows]


@torch.no_grad()
def choice_scores(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], choices: Sequence[str]
) -> Tensor:
    """Score every choice as the answer to every text.

    Returns:
        [N, C] log-probability of the choice's word and of the end token after it.
    """
    inputs = tokenizer(list(texts), padding=True, return_tensors="pt").to(model.device)
    encoded = model.get_encoder()(input_ids=inputs.input_ids, attention_mask=inputs.attention_mask)
    columns = []
    for choice in choices:
        answer = tokenizer(choice, return_tensors="pt").input_ids.to(model.device)  # [1, 2]: word, end
        labels = answer.repeat(len(texts), 1)
        logits = model(encoder_outputs=encoded, attention_mask=inputs.attention_mask, labels=labels).logits
        chosen = logits.log_softmax(-1).gather(-1, labels[..., None])  # [N, 2, 1]
        columns.append(chosen.sum((1, 2)))
    return torch.stack(columns, dim=1)


def accuracy(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    choices: Sequence[str],
    instruction: str = "",
    batch: int = 250,
) -> float:
    """Share of rows whose best-scored choice is the label, with this instruction before each passage."""
    texts = with_instruction(instruction, rows)
    gold = torch.tensor([choices.index(row["label"]) for row in rows])
    choices_made = [choice_scores(model, tokenizer, part, choices).argmax(1).cpu() for part in _parts(texts, batch)]
    return (torch.cat(choices_made) == gold).double().mean().item()


@torch.no_grad()
def quick_accuracies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: Rows,
    choices: Sequence[str],
    instructions: Iterable[str],
    batch: int = 512,
) -> Iterator[float]:
    """Accuracy of each of many instructions, ranked by the answer's first token alone (the end adds nothing to rank).

    All instructions must have the same number of words, so that no row is padded and several fit one forward.
    """
    passages = tokenizer([row["text"] for row in rows], return_tensors="pt", padding=True)
    gold = torch.tensor([choices.index(row["label"]) for row in rows])
    columns = [tokenizer.convert_tokens_to_ids(choice) for choice in choices]
    for part in _parts(list(instructions), max(1, batch // len(rows))):
        words = tokenizer(part, add_special_tokens=False, return_tensors="pt").input_ids  # [M, I]
        front = words.repeat_interleave(len(rows), 0)  # [M * N, I]
        ids = torch.cat([front, passages.input_ids.repeat(len(part), 1)], 1)
        mask = torch.cat([torch.ones_like(front), passages.attention_mask.repeat(len(part), 1)], 1)
        start = torch.full((len(ids), 1), model.config.decoder_start_token_id)
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits[:, 0, columns]
        yield from (logits.argmax(1).view(len(part), -1) == gold).double().mean(1).tolist()


def _parts(items: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
