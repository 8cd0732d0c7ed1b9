"""Experiments: many runs, and what they show.

A recipe, from its file to its report, in the order of the modules that see it:

    asked   recipe_file -> recipe -> expansion -> plan
            which rows: draw, sizes; how long it takes: cost, estimate, recipe_comment
    done    grid, which run is next -> in this process, workers or cluster: runner, one run -> store, its folder
            what makes it this run: kept; sealed, machine, outcome; on the terminal: live
    found   results -> scoreboard, source_effects
            statistics; the paper's scores: published; whatever a folder holds: listing
    shown   report -> tables, latex, report_csv, report_figures (ranks, efficiency, curves, heatmap), report_probes,
            report_sources, report_page/; what methods took: method_costs

What one model's sources did is written by ``explained``; a shelf grows by ``growth``, and ``grown`` says what was made.
Beside recipes, ``compare`` and ``probe`` are small experiments of one command each, ``demo`` and ``page`` the one that
ships, and ``counting`` trains nothing. ``best`` keeps the model of a comparison that dev rows prefer.
"""

from scalearn.experiments.compare import Row, Run, compare, markdown, summarise

__all__ = ["Row", "Run", "compare", "markdown", "summarise"]
