"""Experiments: many runs, and what they show.

A recipe, from its file to its report, in the order of the modules that see it:

    recipe_file -> recipe -> expansion -> plan -> grid -> outcome -> results -> report
                                           |                                     |
                                   cost, recipe_comment                curves, report_probes

``draw`` and ``sizes`` say which rows a run sees and how many there are; ``kept`` when a run is done already. Beside
recipes, ``compare`` and ``probe`` are small experiments of one command each, and ``counting`` trains nothing.
"""

from scalearn.experiments.compare import Row, Run, compare, markdown, summarise

__all__ = ["Row", "Run", "compare", "markdown", "summarise"]
