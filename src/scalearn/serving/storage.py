"""Where the heads of many targets lie: in memory up to a budget, then in a private file.

A head is (d + 1) * d + (d + 1) * outputs numbers: 0.6 MB with d = 384 in float32, and so almost all that a target of
ScaLearnUniform costs. What does not fit the budget goes into one temporary file that no other program can name, and is
read for each batch; the system keeps what is asked for often in its own cache. A head that nothing refers to any more
gives back its room.
"""

from __future__ import annotations

import tempfile
import weakref
from collections import defaultdict
from collections.abc import Mapping
from threading import RLock
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from scalearn.errors import InputError

HEAD = ("dense.weight", "dense.bias", "out.weight", "out.bias")
"""Names of a head's tensors."""


class HeldHead:
    """A head whose numbers are fetched when they are needed.

    Args:
        storage: that has them.
        offset: in its file; None if they are in memory.
        values: all of them in a row; None if they are in the file.
        shapes: of the tensors in the order of `HEAD`.
    """

    def __init__(
        self, storage: HeadStorage, *, offset: int | None, values: Tensor | None, shapes: tuple[torch.Size, ...]
    ) -> None:
        self._storage, self._offset, self._values, self._shapes = storage, offset, values, shapes

    def score(self, pooled: Tensor) -> Tensor:
        """Maps pooled hidden states (N, d) to logits (N, outputs), as `scalearn.heads.Head` does in evaluation."""
        sizes = [shape.numel() for shape in self._shapes]
        values = self._values
        if values is None:
            assert self._offset is not None
            values = self._storage.read(self._offset, sum(sizes))
        values = values.to(pooled.device, self._storage.computed)
        weight, bias, out_weight, out_bias = (
            part.view(shape) for part, shape in zip(torch.split(values, sizes), self._shapes, strict=True)
        )
        return F.linear(torch.tanh(F.linear(pooled, weight, bias)), out_weight, out_bias)


class Usage(NamedTuple):
    """Bytes that heads take up."""

    memory: int
    file: int
    """Of the file, with the room of those that were removed and not yet used again."""


class HeadStorage:
    """Keeps heads.

    Args:
        budget: bytes of heads to keep in memory.
        stored: the number format they are kept in.
        computed: the one they are computed in.
    """

    def __init__(self, *, budget: float, stored: torch.dtype, computed: torch.dtype) -> None:
        self.budget, self.stored, self.computed = budget, stored, computed
        # Unbuffered: what could not be written must not be tried again, and fail again, with each head that is read.
        self._file = tempfile.TemporaryFile(prefix="scalearn-heads-", buffering=0)  # noqa: SIM115  # open while it lives
        self._lock = RLock()  # re-entrant: a head may vanish, and say so, at any allocation
        self._memory = 0
        self._end = 0
        self._free: dict[int, list[int]] = defaultdict(list)  # size in bytes to offsets

    @property
    def usage(self) -> Usage:
        """What is taken up now."""
        return Usage(memory=self._memory, file=self._end)

    def put(self, tensors: Mapping[str, Tensor]) -> HeldHead:
        """Keeps a copy of the tensors named in `HEAD`.

        Raises:
            InputError: the file cannot take it.
        """
        shapes = tuple(tensors[name].shape for name in HEAD)
        flat = torch.cat([tensors[name].detach().cpu().flatten() for name in HEAD]).to(self.stored)
        size = flat.numel() * flat.element_size()
        with self._lock:
            if fits := self._memory + size <= self.budget:
                self._memory += size
        if fits:
            head = HeldHead(self, offset=None, values=flat, shapes=shapes)
            weakref.finalize(head, self._forget, size).atexit = False
            return head
        with self._lock:
            offset = self._free[size][-1] if self._free[size] else self._end
            self._write(offset, flat.view(torch.uint8).numpy().data)
            if offset < self._end:
                self._free[size].remove(offset)
            self._end = max(self._end, offset + size)
        head = HeldHead(self, offset=offset, values=None, shapes=shapes)
        weakref.finalize(head, self._reuse, size, offset).atexit = False
        return head

    def read(self, offset: int, count: int) -> Tensor:
        """So many numbers of the file, (count,)."""
        values = torch.empty(count, dtype=self.stored)
        left = values.view(torch.uint8).numpy().data
        with self._lock:
            self._file.seek(offset)
            while left:  # one call reads 2 GiB at most
                if not (got := self._file.readinto(left)):
                    raise OSError("the file of heads ended early: its disk may be gone")
                left = left[got:]
        return values

    def _write(self, offset: int, data: memoryview) -> None:
        left = data
        try:
            self._file.seek(offset)
            while left:  # a disk that is nearly full takes a part
                left = left[self._file.write(left) :]
        except OSError as error:
            raise InputError(
                f"a head of {data.nbytes:,} bytes cannot be kept in {tempfile.gettempdir()} ({error.strerror}): make "
                "room, set TMPDIR to another disk, or keep more in memory (head_memory, --head-memory)"
            ) from error

    def _forget(self, size: int) -> None:
        with self._lock:
            self._memory -= size

    def _reuse(self, size: int, offset: int) -> None:
        with self._lock:
            self._free[size].append(offset)
