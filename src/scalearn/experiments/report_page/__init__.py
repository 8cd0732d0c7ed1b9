"""An experiment as one HTML page: tables to sort, figures to point at, and a page for each run inside it.

    results, boards -> overview, tables, costs, warnings of sources that hurt -> page.html
                    -> runs (histories, examples) -> JSON for the scripts

Everything is in the one file: it is opened from disk, sent by mail, and loads nothing.
"""

from scalearn.experiments.report_page.page import write_report_page

__all__ = ["write_report_page"]
