"""Pages and links of the site that lie outside docs/: one text serves the repository's plain view and the site.

README.md and its like become pages under a name of the site's. A page may link to any file of the repository, as it
would on the repository's plain view: code and recipes become pages that show them, pictures and notebooks come along as
they are, and links are rewritten to where these end up.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "benchmarks/small_data/RESULTS.md": "small-data-results.md",
    "docs/report/report.md": "report/tables.md",  # report.html is beside it
}
"""File of the repository to its page."""
FOLDER = "repository"
"""Of the site, for other files of the repository."""
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "sh", ".csv": "text", ".txt": "text", "": "text"}
"""Of files that are shown on a page, by suffix."""
_LINK = re.compile(r"(?<=\]\()(?P<path>(?![a-z]+:|#|/)[^)\s#]+)(?=[)\s#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages of `PAGES` and every file of the repository that some page links to."""
    for origin, uri in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / origin)))
    for page in list(files.documentation_pages()):
        for target in _links(page):
            uri = _uri(target)
            if files.get_file_from_path(uri) or not (ROOT / target).is_file():
                continue  # a link that leads nowhere stays as it is, for mkdocs to complain of
            if uri.endswith(".md"):
                files.append(File.generated(config, uri, content=_shown(target)))
            else:
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrites links to the repository's files to where they are in the site."""
    own = page.file.src_uri
    if own.startswith(f"{FOLDER}/"):
        return markdown

    def moved(link: re.Match[str]) -> str:
        uri = _uri(_target(own, link["path"]))
        known = files.get_file_from_path(uri) is not None
        return posixpath.relpath(uri, posixpath.dirname(own)) if known else link["path"]

    return _LINK.sub(moved, markdown)


def _links(page: File) -> Iterator[str]:
    """Files of the repository that a page links to."""
    return (_target(page.src_uri, link["path"]) for link in _LINK.finditer(page.content_string))


def _target(page: str, path: str) -> str:
    """The file of the repository that a link of a page means."""
    origin = next((origin for origin, uri in PAGES.items() if uri == page), f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))


def _uri(target: str) -> str:
    """Where a file of the repository is in the site."""
    if target in PAGES:
        return PAGES[target]
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    return f"{FOLDER}/{target}" + (".md" if Path(target).suffix in LANGUAGES else "")


def _shown(target: str) -> str:
    """A page that shows a file; search passes it over."""
    text = (ROOT / target).read_text(encoding="utf-8")
    head = {"title": f'"{target}"', "search": "{exclude: true}", "hide": "[toc]"}
    front = "".join(f"{key}: {value}\n" for key, value in head.items())
    return f"---\n{front}---\n\n# {target}\n\n````{LANGUAGES[Path(target).suffix]}\n{text}````\n"


def on_config(config: MkDocsConfig) -> Any:
    """Rebuilds under `mkdocs serve` when one of `PAGES` changes."""
    config.watch.extend(str(ROOT / origin) for origin in PAGES)
    return config
