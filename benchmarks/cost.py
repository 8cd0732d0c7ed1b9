"""The least that a MiniLM training step can cost: its floating-point operations, and the bytes it must move.

A product of (m, k) and (k, n) is 2 m k n operations. With N tokens in rows of S, width d, feed-forward width f, and T
sources of bottleneck r, so that w = T r, a layer's are

| part | forward | backward, to activations |
|---|---|---|
| query, key, value, output maps | 8 N d^2 | 8 N d^2 |
| scores and weighted sum | 4 N S d | 8 N S d |
| feed-forward | 4 N d f | 4 N d f |
| fused sources | 4 N d w | 4 N d w, and 2 N d w for the scaled matrix's gradient |
| literal sources | 4 N d w | 4 N d w |

The backbone's backward pass starts at the last layer and ends above the first site: L - 1 layers, and of the first
layer's sources only the scaled matrix's gradient. With first-token pooling the last layer needs one query a row, and
what follows it of one token only. Elementwise operations are left out: they are bytes, not operations.

What autograd keeps has to be written once and read once; so the bytes are at least twice those (measured, `memory`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Network:
    """Sizes of an encoder; MiniLM's."""

    layers: int = 6
    width: int = 384
    feed_forward: int = 1536
    bottleneck: int = 24


def training_operations(
    rows: int,
    length: int,
    *,
    sources: int = 0,
    first_token: bool = False,
    literal: bool = False,
    network: Network = Network(),
) -> float:
    """Floating-point operations of one training step.

    Args:
        rows: B.
        length: S, tokens per row.
        sources: T; 0 for the plain backbone.
        first_token: whether the last layer computes the first token only.
        literal: whether the sources are computed one by one; then their weights get no gradient, but omega does.
        network: sizes.
    """
    tokens, d = rows * length, network.width
    total = 0.0
    for layer in range(network.layers):
        reading = rows if first_token and layer == network.layers - 1 else tokens
        total += _backbone(tokens, reading, length, network, backward=layer > 0)
        through = 4 * reading * d * sources * network.bottleneck
        total += through + (through if layer > 0 else 0) + (0 if literal else through / 2)
    return total


def _backbone(tokens: int, reading: int, length: int, network: Network, *, backward: bool) -> float:
    """One layer's, where `reading` tokens go on to query, output map and feed-forward layer."""
    d, f = network.width, network.feed_forward
    maps = 4 * tokens * d**2 + 4 * reading * d**2 + 4 * reading * d * f
    attention = 4 * reading * length * d
    return maps + attention + ((maps + 2 * attention) if backward else 0.0)
