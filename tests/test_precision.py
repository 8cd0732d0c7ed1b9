"""The rule by device, with the capabilities pretended."""

import pytest
import torch

from scalearn.precision import Precision, attention_for, autocast, has_fast_bf16, resolve

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.fixture
def capable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether CPU and GPU are fast at bf16."""
    able = bool(request.param)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": able, "avx512_bf16": True})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: able)
    return able


@pytest.mark.parametrize("capable", [True, False], indirect=True)
@pytest.mark.parametrize(("device", "able_to"), [(CPU, "bf16"), (CUDA, "bf16"), (MPS, "fp32")], ids=str)
def test_auto_follows_the_device(capable: bool, device: torch.device, able_to: Precision) -> None:
    assert resolve("auto", device) == (able_to if capable else "fp32")


@pytest.mark.parametrize("capable", [True, False], indirect=True)
@pytest.mark.parametrize("device", [CPU, CUDA, MPS], ids=str)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_choice_is_kept(capable: bool, precision: Precision, device: torch.device) -> None:
    assert resolve(precision, device) == precision


def test_a_processor_that_does_not_say_is_not_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "aarch64"})
    assert has_fast_bf16() is False


@pytest.mark.parametrize("capable", [True, False], indirect=True)
@pytest.mark.parametrize(
    ("training", "precision", "device", "when_capable", "otherwise"),
    [
        (True, "auto", CPU, "eager", "sdpa"),
        (True, "bf16", CPU, "eager", "eager"),
        (True, "fp32", CPU, "sdpa", "sdpa"),
        (False, "auto", CPU, "sdpa", "sdpa"),
        (False, "bf16", CPU, "sdpa", "sdpa"),
        (True, "bf16", CUDA, "sdpa", "sdpa"),
    ],
)
def test_attention(
    capable: bool, training: bool, precision: Precision, device: torch.device, when_capable: str, otherwise: str
) -> None:
    chosen = attention_for(training=training, precision=precision, device=device)
    assert chosen == (when_capable if capable else otherwise)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast_computes_in_that_format(precision: Precision, dtype: torch.dtype) -> None:
    with autocast(precision, CPU):
        assert torch.nn.Linear(3, 3)(torch.ones(1, 3)).dtype == dtype
    assert torch.nn.Linear(3, 3)(torch.ones(1, 3)).dtype == torch.float32
