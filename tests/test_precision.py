"""The rule by device, with the capabilities pretended."""

from types import SimpleNamespace

import pytest
import torch

from scalearn import precision as rule
from scalearn.errors import InputError
from scalearn.precision import VARIABLE, WORTHWHILE, Precision, attention_for, autocast, has_fast_bf16, resolve

CPU, CUDA, MPS = torch.device("cpu"), torch.device("cuda"), torch.device("mps")


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)  # which is set for all other tests


@pytest.fixture
def capable(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether CPU and GPU are fast at bf16."""
    able = bool(request.param)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(rule, "bf16_advantage", lambda: WORTHWHILE if able else WORTHWHILE - 0.1)
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


@pytest.mark.parametrize("capable", [True, False], indirect=True)
@pytest.mark.parametrize("told", ["fp32", "bf16"])
def test_the_environment_may_say_what_auto_is(capable: bool, told: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, told)
    assert resolve("auto", CPU) == told
    assert resolve("fp32", CPU) == "fp32"
    monkeypatch.setenv(VARIABLE, "auto")
    assert resolve("auto", CPU) == ("bf16" if capable else "fp32")


def test_what_the_environment_says_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "int4")
    with pytest.raises(InputError, match="SCALEARN_PRECISION=int4: give auto, fp32, bf16, fp16, or unset it"):
        resolve("auto", CPU)
    monkeypatch.setenv(VARIABLE, "fp16")
    with pytest.raises(InputError, match="fp16 is for GPUs"):
        resolve("auto", CPU)


def test_a_coarse_clock_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule.time, "get_clock_info", lambda name: SimpleNamespace(resolution=0.0156))
    monkeypatch.setattr(rule.time, "thread_time", lambda: 0.0)
    assert rule._timed(torch.ones(64, 64)) > 0


def test_fp16_is_for_gpus() -> None:
    assert resolve("fp16", CUDA) == "fp16"
    with pytest.raises(InputError, match="fp16 is for GPUs: give bf16 or fp32"):
        resolve("fp16", CPU)


@pytest.mark.parametrize("told", [{"architecture": "aarch64"}, {"avx512_bf16": False}, {"cpu_name": "bf16"}])
def test_a_processor_without_bf16_products_is_not_even_measured(
    told: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> float:
        raise AssertionError("emulated products take seconds")

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told)
    monkeypatch.setattr(rule, "bf16_advantage", refuse)
    assert has_fast_bf16() is False


def test_the_advantage_is_that_of_the_best_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A try that something else slows down does not count."""
    seconds = {
        torch.float32: iter([9.0, 2.0, 0.9, 0.8, 9.0, 1.2]),
        torch.bfloat16: iter([5.0, 0.3, 0.9, 0.2, 0.4, 7.0]),
    }
    monkeypatch.setattr(rule, "_timed", lambda matrix: next(seconds[matrix.dtype]))
    assert rule.bf16_advantage.__wrapped__() == pytest.approx(0.8 / 0.2)


@pytest.mark.parametrize("capable", [True, False], indirect=True)
@pytest.mark.parametrize(
    ("training", "precision", "device", "lean", "dropout", "when_capable", "otherwise"),
    [
        (True, "auto", CPU, True, False, "lean", "sdpa"),
        (True, "auto", CPU, False, False, "eager", "sdpa"),
        (True, "auto", CPU, True, True, "lean", "lean"),
        (True, "auto", CPU, False, True, "eager", "sdpa"),
        (True, "bf16", CPU, True, False, "lean", "lean"),
        (True, "fp32", CPU, True, False, "sdpa", "sdpa"),
        (False, "auto", CPU, True, True, "sdpa", "sdpa"),
        (False, "bf16", CPU, True, False, "sdpa", "sdpa"),
        (True, "bf16", CUDA, True, True, "sdpa", "sdpa"),
    ],
)
def test_attention(
    capable: bool,
    training: bool,
    precision: Precision,
    device: torch.device,
    lean: bool,
    dropout: bool,
    when_capable: str,
    otherwise: str,
) -> None:
    chosen = attention_for(training=training, precision=precision, device=device, lean=lean, dropout=dropout)
    assert chosen == (when_capable if capable else otherwise)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp32", torch.float32)])
def test_autocast_computes_in_that_format(precision: Precision, dtype: torch.dtype) -> None:
    with autocast(precision, CPU):
        assert torch.nn.Linear(3, 3)(torch.ones(1, 3)).dtype == dtype
    assert torch.nn.Linear(3, 3)(torch.ones(1, 3)).dtype == torch.float32
