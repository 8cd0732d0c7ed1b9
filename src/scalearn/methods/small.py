"""The protocol for small data: which it is, and how long one trains on it.

Few rows are few steps an epoch, so steps are counted, not epochs. The head starts at a linear model of what it reads
(`scalearn.training.head_start`), omega where 50 rows or more say (`scalearn.methods.start`), coefficients and head
have a rate each, and the start itself can be the best checkpoint. What was tried and chosen, and by what: docs/small-
data.md.
"""

from __future__ import annotations

import math

from scalearn.methods.base import Recipe, changed

ROWS = 2_000
"""Training rows below which data is small."""
STEPS = (48, 400)
"""The fewest steps, and the most."""
PASSES = 3
"""Over the training rows, where that is between the two."""
EVALUATIONS = 4
"""At equal distances; patience may end a run before the last."""


def by_rows(recipe: Recipe, rows: int) -> Recipe:
    """The recipe with a number of steps for so many training rows."""
    steps = min(max(STEPS[0], PASSES * math.ceil(rows / recipe.batch_size)), STEPS[1])
    return changed(recipe, {"steps": steps, "evaluate_every": math.ceil(steps / EVALUATIONS)})
