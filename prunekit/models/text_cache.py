"""What a frozen model makes of texts, computed once: kept in memory up to a bound, in files beyond it.

A text is known by its token ids and by the texts that it is read with, so that who asks for it first changes nothing.
First come, first in memory: training goes through all examples in turn, and whatever were moved out for the newest
would soon be asked for again.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from prunekit.models.text_groups import TextKey

# one file of the disk tier; each takes one mapping, and a system allows some thousands
_FILE_BYTES = 256 * 2**20
# what the cache leaves free of the temporary folder's disk
_SPARED = 0.1
# where a text begins in a file
_ALIGNED = 64


@dataclass(frozen=True)
class Text:
    """What a frozen causal model makes of one text of T tokens.

    Attributes:
        keys_values: [layers, 2, heads, T, d].
        state: [H], the last hidden state of the last token.
    """

    keys_values: Tensor
    state: Tensor


class TextCache:
    """Texts by their token ids and groups, the same to the bit wherever they lie.

    Attributes:
        memory_bytes: bound of the memory tier, which lies on the model's device. Beyond it keys and values go to files
            in the temporary folder (TMPDIR), gone with the process even where it is killed; once that disk is nearly
            full, texts are read anew each time.
    """

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.in_memory = self.on_disk = 0  # bytes of keys and values
        self._kept: dict[TextKey, Text] = {}
        self._files: list[_File] = []
        self._disk_full = False

    def __len__(self) -> int:
        return len(self._kept)

    def take(
        self, keys: Sequence[TextKey], read: Callable[[Sequence[TextKey]], Iterable[tuple[TextKey, Text]]]
    ) -> list[Text]:
        """The texts of these keys.

        Args:
            read: makes those that are not kept yet, in any order; what it reads beside them is kept too.
        """
        missing = [key for key in dict.fromkeys(keys) if key not in self._kept]
        fresh = {key: self._keep(key, text) for key, text in read(missing)}
        return [fresh[key] if key in fresh else self._kept[key] for key in keys]

    def _keep(self, key: TextKey, text: Text) -> Text:
        """The text, on the tier that has room for it."""
        if key in self._kept:  # its group was read again for another, which had found no room
            return self._kept[key]
        size = text.keys_values.nbytes
        if self.in_memory + size <= self.memory_bytes:
            self.in_memory += size
        else:
            written = self._written(text.keys_values)
            if written is None:
                return text
            self.on_disk += size
            text = replace(text, keys_values=written)
        self._kept[key] = text
        return text

    def _written(self, tensor: Tensor) -> Tensor | None:
        """The tensor in a file, mapped into memory; None where the disk has no room."""
        if not self._files or not self._files[-1].fits(tensor):
            size = max(_FILE_BYTES, tensor.nbytes)
            disk = shutil.disk_usage(tempfile.gettempdir())
            self._disk_full = self._disk_full or disk.free - size < _SPARED * disk.total
            if self._disk_full:
                return None
            self._files.append(_File(size))
        try:
            return self._files[-1].append(tensor)
        except OSError:  # another process filled the disk
            self._disk_full = True
            return None


class _File:
    """A nameless temporary file of a fixed size, written like a file and read through a mapping.

    Writing through the mapping would kill the process where the disk is full.
    """

    def __init__(self, size: int) -> None:
        file = tempfile.TemporaryFile(prefix="prunekit-text-", buffering=0)  # noqa: SIM115 (closed by the finalizer)
        weakref.finalize(self, file.close)
        file.truncate(size)
        self._file, self._size, self._used = file, size, 0
        self._bytes = torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=(size,)))

    def fits(self, tensor: Tensor) -> bool:
        """Whether there is room for the tensor."""
        return self._used + tensor.nbytes <= self._size

    def append(self, tensor: Tensor) -> Tensor:
        """Write a tensor; returns it as it lies in the file."""
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        begin, left = self._used, raw.numpy().data
        self._file.seek(begin)
        while left:
            left = left[self._file.write(left) :]
        self._used += -(-len(raw) // _ALIGNED) * _ALIGNED
        return self._bytes[begin : begin + len(raw)].view(tensor.dtype).view(tensor.shape)
