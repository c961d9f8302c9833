"""Decoder-only models with trained keys and values before the text (position "prefix-kv")."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from prunekit.models import prefix
from prunekit.models.base import Position
from prunekit.models.batch import Batch, Encoded, Row, collate
from prunekit.models.cache_argument import cache_argument
from prunekit.models.decoder import Decoder
from prunekit.models.input_rows import InputRows, left_aligned, positions_of
from prunekit.models.prefix import CacheShape, PrefixRows
from prunekit.models.prompt_batch import PromptBatch
from prunekit.models.traits import Together
from prunekit.support.errors import ConfigError
from prunekit.tasks.decoding import Decoding

# words whose keys and values are looked at for their size
_WORDS = 64
# how far, as a part of the largest score, two ways to leave a token out may differ and count as the same
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}


class PrefixDecoder(Decoder):
    """A causal language model behind a prefix of keys and values, as prefix tuning and cartridges have it.

    A text's positions begin behind all P tokens of its prefix, those included that were removed: the rest keeps its
    distance to the text, so that a removed token is a hidden one.

    Attributes:
        shape: of what the model keeps of a token, which is what a prompt token is.
    """

    positions: tuple[Position, ...] = ("prefix-kv",)
    sharing: tuple[Together, ...] = ("batch", "alone")

    def __init__(self, model: Any, tokenizer: Any, **options: Any) -> None:
        super().__init__(model, tokenizer, **options)
        self.name = type(model).__name__
        if self.per_layer_module is not None:
            raise ConfigError(
                f"position = prefix-kv: the layers of {self.name} have embeddings of their own of each token id, and "
                "some share keys and values; use --position first"
            )
        self.shape: CacheShape = prefix.read_prefix(model, torch.zeros(2).long().to(self.device), self.name)[1]
        self._attentions = prefix.attention_modules(model, self.shape)
        prefix.let_gates_in(self._attentions)

    @property
    def width(self) -> int:
        """H, the keys and values of one token."""
        return self.shape.width

    @property
    def cache_rms(self) -> float:
        """Root mean square of what the model keeps of a row of some ordinary words, keys and values together."""
        ids = torch.tensor([*self.reader.opening, *self.ordinary_ids(_WORDS)][:_WORDS])
        return float(self.prompt_vectors(ids).float().square().mean().sqrt())

    def prompt_vectors(self, ids: Tensor) -> Tensor:
        """[P] token ids -> [P, H], the keys and values that the model itself keeps of them as a row."""
        return prefix.read_prefix(self.model, ids.to(self.device), self.name)[0]

    def text_logits(self, prompts: PromptBatch, ids: Tensor) -> Tensor:
        """[S, T, V], what follows each token of a text Int[T] behind the prefixes of S members."""
        row = Row([tuple(ids.tolist())], [()], [len(ids) - 1], -1, 0)
        module: Any = self.model
        rows = self._behind(prompts, collate([[row]], self.pad).to(self.device))
        logits: Tensor = self._read_rows(rows, lambda **rows: module(**rows).logits)
        return logits

    def tokens_read(self, example: Encoded, prompt_tokens: int) -> int:
        """A prefix stands in the cache of the layers and goes through none of them."""
        return example.length

    def row_arguments(self, prompts: PromptBatch, batch: Batch) -> dict[str, Any]:
        """Right-padded texts behind the prefixes of S members, as the model takes them."""
        return self._arguments(self._behind(prompts, batch))

    # ---- rows

    def _laid_out(self, prompts: PromptBatch, batch: Batch, reads: int) -> tuple[InputRows, Tensor]:
        """Texts and answers behind the prefixes, and the slots [N, L] whose outputs predict the answers."""
        if prompts.embed_input is not None:
            raise ConfigError("a method that moves the input embeddings does not go with --position prefix-kv")
        return self._behind(prompts, batch), self._slots_of_texts(prompts, batch, reads)

    def _behind(self, prompts: PromptBatch, batch: Batch) -> PrefixRows:
        members, (_, size, count, length) = prompts.members, batch.ids.shape
        rows = (members, size, count)
        embeds = self.embed(batch.ids).expand(*rows, length, -1)
        mask = batch.mask.expand(*rows, length)
        begins = prompts.placed.sum(-1) if prompts.lengths is None else prompts.lengths
        positions = positions_of(mask) + begins[:, None, None, None]
        values = prompts.values if prompts.values.dim() == 4 else prompts.values[:, None]
        before = prompts.placed[:, None, None].expand(*rows, -1)
        embeds, positions, mask, before = (part.flatten(0, 2) for part in (embeds, positions, mask, before))
        values = values[:, :, None].to(embeds.dtype)
        gates = self._gates(prompts)
        return PrefixRows(embeds, mask.long(), positions, mask, rows, values, gates, before, self.shape)

    def _gates(self, prompts: PromptBatch) -> Tensor | None:
        """[S, B or 1, 1, P, L x heads] to add to attention scores; None where every head sees every token."""
        hidden = prompts.placed & ~prompts.present
        gates = prompts.gates
        if gates is None:
            if not bool(hidden.any()):
                return None
            gates = torch.zeros(*hidden.shape, 1, device=hidden.device)
        elif not gates.requires_grad and not bool(gates.any()):
            return None
        if not self._attentions:
            raise ConfigError(self._cannot_hide)
        gates = self._by_head(gates if gates.dim() == 4 else gates[:, None])
        return gates.masked_fill(hidden[:, None, :, None], float("-inf"))[:, :, None]

    def _by_head(self, gates: Tensor) -> Tensor:
        """[..., K] gates of pieces -> [..., L x heads]."""
        pieces, cells = gates.shape[-1], self.shape.cells
        if cells % pieces == 0:
            return gates.repeat_interleave(cells // pieces, dim=-1)
        if gates.requires_grad or not bool((gates == gates[..., :1]).all()):
            raise ConfigError(self.unhideable(pieces))
        return gates[..., :1].expand(*gates.shape[:-1], cells)

    def unhideable(self, pieces: int) -> str:
        """Why K = `pieces` cannot be hidden one by one."""
        return (
            f"pieces = {pieces}: a head sees a token's key and value or neither, so that only whole heads can be "
            f"hidden ({self.shape}); use --pieces {self.shape.layers} (layers) or {self.shape.cells} (heads), or "
            "--dropped-as zero"
        )

    @property
    def _cannot_hide(self) -> str:
        return (
            f"{self.name}: its attention takes no mask of its own for each head, so that no piece can be hidden; use "
            "--dropped-as zero"
        )

    @cached_property
    def _uncached(self) -> dict[str, bool]:
        """A prefix is a cache, which is never turned off."""
        return {"use_cache": True} if self.accepts("use_cache") else {}

    def _arguments(self, rows: InputRows) -> dict[str, Any]:
        """Rows as a model takes them, the prefix as its cache."""
        arguments: dict[str, Any] = super()._arguments(rows)
        if not isinstance(rows, PrefixRows) or rows.prefix.shape[-2] == 0:
            return arguments
        arguments["attention_mask"] = torch.cat([rows.before.long(), rows.attention], dim=-1)
        return arguments | cache_argument(self.model, rows.cache(self._query_heads))

    @property
    def _query_heads(self) -> int:
        return int(getattr(self.text_config, "num_attention_heads", self.shape.heads))

    def generation_rows(self, prompts: PromptBatch, batch: Batch, decoding: Decoding) -> dict[str, Any]:
        """Texts behind the prefix, padded between the two, since `generate` adds to a row's end."""
        rows = left_aligned(self._behind(prompts, batch))
        assert isinstance(rows, PrefixRows), "as what is aligned"
        count, slots = len(rows.embeds), rows.prefix.shape[-2]
        before = torch.arange(slots, device=rows.embeds.device).expand(count, -1)
        # `generate` counts from a row's first slot; of the prefix's own places it reads no embeddings
        whole = InputRows(
            torch.cat([rows.embeds.new_zeros(count, slots, rows.embeds.shape[-1]), rows.embeds], dim=1),
            torch.cat([rows.before.long(), rows.attention], dim=-1),
            torch.cat([before, rows.positions], dim=-1),
            torch.cat([rows.before, rows.counted], dim=-1),
        )
        cache = rows.cache(self._query_heads, grows=True)
        return self._as_arguments(whole) | (cache_argument(self.model, cache) if slots else {})

    # ---- what may be left out, and how

    @cached_property
    def can_hide(self) -> bool:
        """Whether a hidden head of a layer sees nothing of a token, and the others all of it, by trying."""
        if not self._attentions:
            return False
        draw = torch.Generator().manual_seed(0)
        values = torch.randn(3, self.width, generator=draw).to(self.device)
        odd = torch.arange(self.shape.cells, device=self.device) % 2 == 1
        noise = torch.randn(self.width, generator=draw).to(self.device)
        other = [values.clone(), values.clone()]
        for part, cells in zip(other, (odd, ~odd), strict=True):  # another token 1, in hidden heads or in seen ones
            part[1] += noise.where(cells.repeat_interleave(2 * self.shape.size), noise.new_zeros(()))
        gates = torch.zeros(3, self.shape.cells, device=self.device)
        gates[1, odd] = float("-inf")
        plain, hidden, seen = self._tried(torch.stack([values, *other]), gates)
        bar = self._bar * float(plain.abs().max())
        moved = self.shape.cells == 1 or float((seen - plain).abs().max()) > bar
        return float((hidden - plain).abs().max()) <= bar and moved

    @cached_property
    def can_remove(self) -> bool:
        """Whether a token without a slot is a hidden one, by trying; not where distances are counted in slots."""
        if not self._attentions:
            return False
        values = torch.randn(3, self.width, generator=torch.Generator().manual_seed(0)).to(self.device)
        gates = torch.zeros(3, self.shape.cells, device=self.device)
        gates[1] = float("-inf")
        (hidden,) = self._tried(values[None], gates)
        (removed,) = self._tried(values[None, [0, 2]], gates[[0, 2]], positions=3)
        return float((hidden - removed).abs().max()) <= self._bar * float(hidden.abs().max())

    def _tried(self, values: Tensor, gates: Tensor, positions: int | None = None) -> Tensor:
        """[S, C], what prefixes [S, P, H] of P or more `positions` answer behind gates [P, L x heads]."""
        members, slots, _ = values.shape
        present = torch.ones(members, slots, dtype=torch.bool, device=values.device)
        lengths = present.new_full((members,), positions or slots, dtype=torch.long)
        prompts = PromptBatch(
            values, present, present, present.long(), gates=gates.expand(members, -1, -1), lengths=lengths
        )
        ids = [index % self.embedding_rows for index in range(3, 8)]
        batch = self.batch([[Encoded(0, tuple(ids[:3]), ((ids[3],), (ids[4],)), 0)]], every_choice=True)
        with torch.no_grad():
            return self._forward_rows(prompts, batch.to(self.device)).logits[:, 0]

    @property
    def _bar(self) -> float:
        return _TOLERANCE.get(next(self.model.parameters()).dtype, 5e-2)
