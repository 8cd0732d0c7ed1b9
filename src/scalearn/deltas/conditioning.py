"""Deltas that depend on the task: the switch that says which task a batch is of, and one delta for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from scalearn.errors import InputError


class TaskSwitch:
    """The tasks that are learned together, and which of them is being computed.

    A forward hook gets no arguments of its own, so the model sets the switch before each pass; all deltas hold the same
    switch, also in a deep copy.

    Args:
        names: of the tasks, distinct.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if len(set(names)) < len(names) or not names:
            raise InputError(f"tasks {', '.join(names) or 'none'}: give each a name of its own")
        self.names = tuple(names)
        self.active = self.names[0]

    def select(self, name: str) -> None:
        """Computes task `name` from now on.

        Raises:
            InputError: it is not one of the tasks.
        """
        if name not in self.names:
            raise InputError(f"there is no task {name!r}; there are {', '.join(self.names)}")
        self.active = name

    @property
    def index(self) -> int:
        """The place of the active task among the names."""
        return self.names.index(self.active)


def safe_key(name: str) -> str:
    """A task's name as PyTorch allows it in parameter names: a dot becomes ``%2E``, and ``%`` itself ``%25``."""
    return "task " + name.replace("%", "%25").replace(".", "%2E")


class PerTask(nn.Module):
    """A delta of its own for each task.

    Args:
        deltas: task name to delta.
        switch: says which one acts.
    """

    def __init__(self, deltas: Mapping[str, nn.Module], switch: TaskSwitch) -> None:
        super().__init__()
        self.deltas = nn.ModuleDict({safe_key(name): delta for name, delta in deltas.items()})
        self.switch = switch

    def forward(self, z: Tensor) -> Tensor:
        """Maps (..., d) to (..., d)."""
        added: Tensor = self.deltas[safe_key(self.switch.active)](z)
        return added
