"""Pooling, the head's equation and its losses."""

from typing import get_args

import pytest
import torch
from torch.nn import functional as F

from scalearn.heads import Head, Pooling, pool

RIGHT = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
LEFT = RIGHT.flip(1)


@pytest.mark.parametrize(
    ("pooling", "mask", "chosen"),
    [
        ("first", RIGHT, [[0], [0], [0]]),
        ("first", LEFT, [[1], [0], [3]]),
        ("mean", RIGHT, [[0, 1, 2], [0, 1, 2, 3], [0]]),
        ("mean", LEFT, [[1, 2, 3], [0, 1, 2, 3], [3]]),
        ("last", RIGHT, [[2], [3], [0]]),
        ("last", LEFT, [[3], [3], [3]]),
        ("first", None, [[0]] * 3),
        ("mean", None, [[0, 1, 2, 3]] * 3),
        ("last", None, [[3]] * 3),
    ],
)
def test_pooling(pooling: Pooling, mask: torch.Tensor | None, chosen: list[list[int]]) -> None:
    hidden = torch.randn(3, 4, 6)
    expected = torch.stack([hidden[row, tokens].mean(dim=0) for row, tokens in enumerate(chosen)])
    torch.testing.assert_close(pool(hidden, mask, pooling), expected)


@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_padding_does_not_enter(pooling: Pooling) -> None:
    hidden = torch.randn(3, 4, 6)
    poisoned = hidden.masked_fill(RIGHT.unsqueeze(-1) == 0, 1e4)
    assert torch.equal(
        pool(poisoned, RIGHT, pooling), pool(hidden.masked_fill(RIGHT.unsqueeze(-1) == 0, 0), RIGHT, pooling)
    )
    assert pooling in get_args(Pooling)


@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_equation_and_shape(outputs: int) -> None:
    head = Head(width=6, outputs=outputs, kind="classification", pooling="mean").eval()
    torch.nn.init.normal_(head.dense.bias), torch.nn.init.normal_(head.out.bias)
    hidden = torch.randn(3, 4, 6)
    inner = torch.tanh(hidden.mean(dim=1) @ head.dense.weight.T + head.dense.bias)
    logits = head(hidden)
    assert logits.shape == (3, outputs)
    torch.testing.assert_close(logits, inner @ head.out.weight.T + head.out.bias)


def test_dropout_acts_before_both_layers_in_training_only() -> None:
    head = Head(width=6, outputs=2, kind="classification", dropout=0.5)
    hidden = torch.randn(3, 4, 6)
    torch.manual_seed(1)
    first = F.dropout(hidden[:, 0], 0.5)
    expected = head.out(F.dropout(torch.tanh(head.dense(first)), 0.5))
    torch.manual_seed(1)
    torch.testing.assert_close(head.train()(hidden), expected)
    assert torch.equal(head.eval()(hidden), head(hidden))


def test_starts_as_published() -> None:
    head = Head(width=200, outputs=50, kind="classification")
    assert head.dropout.p == 0.1
    assert head.pooling == "first"
    for linear in (head.dense, head.out):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert not linear.bias.any()


def test_cross_entropy() -> None:
    head = Head(width=6, outputs=3, kind="classification")
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 2])
    expected = -torch.stack([row.log_softmax(dim=0)[label] for row, label in zip(logits, labels, strict=True)]).mean()
    torch.testing.assert_close(head.loss(logits, labels), expected)


@pytest.mark.parametrize("labels", [torch.tensor([1.5, 0.0, 4.0]), torch.tensor([1, 0, 4])], ids=["float", "int"])
def test_squared_error(labels: torch.Tensor) -> None:
    head = Head(width=6, outputs=1, kind="regression")
    logits = torch.tensor([[1.0], [2.0], [3.0]])
    expected = ((logits[:, 0] - labels) ** 2).mean()
    torch.testing.assert_close(head.loss(logits, labels), expected)


@pytest.mark.parametrize(
    ("given", "computed"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_the_loss_is_at_least_float32(kind: str, given: torch.dtype, computed: torch.dtype) -> None:
    outputs = 1 if kind == "regression" else 3
    head = Head(width=6, outputs=outputs, kind=kind)
    assert head.loss(torch.randn(4, outputs, dtype=given), torch.tensor([0, 0, 0, 0])).dtype == computed


def test_binary_cross_entropy() -> None:
    head = Head(width=6, outputs=3, kind="multi-label")
    logits, labels = torch.randn(4, 3), torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    right = [
        (value if label else 1 - value).log()
        for row, truths in zip(logits.sigmoid(), labels.tolist(), strict=True)
        for value, label in zip(row, truths, strict=True)
    ]
    assert len(right) == 12, "the mean is over rows and labels"
    torch.testing.assert_close(head.loss(logits, labels), -torch.stack(right).mean())
    torch.testing.assert_close(head.loss(logits, labels.float()), head.loss(logits, labels))


def test_loss_over_choices() -> None:
    """One score a choice: the row's choices compete with one another, and with no other row's."""
    head = Head(width=6, outputs=1, kind="multiple-choice")
    scores, labels = torch.randn(4, 2, requires_grad=True), torch.tensor([0, 1, 1, 0])
    losses = [
        torch.log(1 + torch.exp(row[1 - right] - row[right]))
        for row, right in zip(scores, labels.tolist(), strict=True)
    ]
    loss = head.loss(scores, labels)
    torch.testing.assert_close(loss, torch.stack(losses).mean())
    (gradient,) = torch.autograd.grad(loss, scores)
    torch.testing.assert_close(gradient.sum(dim=1), torch.zeros(4))
    assert gradient[range(4), labels].max() < 0


@pytest.mark.parametrize("kind", ["multi-label", "multiple-choice"])
@pytest.mark.parametrize("given", [torch.bfloat16, torch.float64])
def test_the_loss_of_these_is_at_least_float32(kind: str, given: torch.dtype) -> None:
    head = Head(width=6, outputs=2, kind=kind)
    labels = torch.tensor([[0, 1], [1, 1]] if kind == "multi-label" else [0, 1])
    computed = torch.float64 if given == torch.float64 else torch.float32
    assert head.loss(torch.randn(2, 2, dtype=given), labels).dtype == computed


def test_a_choice_is_scored_like_any_text() -> None:
    head = Head(width=6, outputs=1, kind="multiple-choice").eval()
    hidden = torch.randn(2, 3, 4, 6)  # rows, choices, tokens
    scores = head(hidden.flatten(0, 1)).view(2, 3)
    for row in range(2):
        for choice in range(3):
            torch.testing.assert_close(scores[row, choice], head(hidden[row, choice].unsqueeze(0))[0, 0])
