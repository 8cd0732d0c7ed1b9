"""The switch of tasks, and a delta for each."""

import copy

import pytest
import torch
from torch import nn

from scalearn.deltas import Bottleneck, PerTask, TaskSwitch, safe_key
from scalearn.errors import InputError

NAMES = ("rte", "glue.mrpc", "glue%2Emrpc", "set-1 / a", "keys", "update", "glue_mrpc")
"""Among them what `nn.ModuleDict` refuses: a dot, and the names of its methods."""


def per_task(switch: TaskSwitch) -> PerTask:
    return PerTask({name: Bottleneck(width=4, bottleneck=2) for name in switch.names}, switch)


def test_switch() -> None:
    switch = TaskSwitch(list(NAMES))
    assert (switch.names, switch.active, switch.index) == (NAMES, "rte", 0)
    switch.select("keys")
    assert (switch.active, switch.index) == ("keys", 4)


def test_unknown_task_is_refused_and_changes_nothing() -> None:
    switch = TaskSwitch(["rte", "mrpc"])
    switch.select("mrpc")
    with pytest.raises(InputError, match=r"'cola'.*rte, mrpc"):
        switch.select("cola")
    assert switch.active == "mrpc"


@pytest.mark.parametrize("names", [[], ["rte", "rte"]])
def test_names_must_be_distinct(names: list[str]) -> None:
    with pytest.raises(InputError, match="name of its own"):
        TaskSwitch(names)


def test_keys_are_distinct_and_allowed() -> None:
    keys = [safe_key(name) for name in NAMES]
    assert len(set(keys)) == len(NAMES)
    assert nn.ModuleDict({key: nn.Identity() for key in keys}).keys() == dict.fromkeys(keys).keys()
    assert nn.ParameterDict({key: torch.zeros(1) for key in keys}).keys() == dict.fromkeys(keys).keys()


def test_each_task_has_its_own() -> None:
    switch = TaskSwitch(NAMES)
    own = {name: Bottleneck(width=4, bottleneck=2) for name in NAMES}
    delta = PerTask(own, switch)
    z = torch.randn(3, 4)
    for name in reversed(NAMES):
        switch.select(name)
        assert torch.equal(delta(z), own[name](z))
    delta(z).sum().backward()
    assert all((bottleneck.up.bias.grad is not None) == (name == NAMES[0]) for name, bottleneck in own.items())


def test_a_copy_has_one_switch_of_its_own() -> None:
    switch = TaskSwitch(NAMES)
    layers = nn.ModuleList(per_task(switch) for _ in range(2))
    twin = copy.deepcopy(layers)
    assert twin[0].switch is twin[1].switch and twin[0].switch is not switch
    twin[0].switch.select("keys")
    assert switch.active == "rte"


def test_state_dict_comes_back() -> None:
    first, second = per_task(TaskSwitch(NAMES)), per_task(TaskSwitch(NAMES))
    second.load_state_dict(first.state_dict())
    z = torch.randn(3, 4)
    for name in NAMES:
        first.switch.select(name), second.switch.select(name)
        assert torch.equal(first(z), second(z))
