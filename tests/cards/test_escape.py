"""Names that try to be markup, checked by rendering them."""

import re

import pytest
from markdown_it import MarkdownIt

from scalearn.cards.escape import block, code, markdown, one_line, table

HOSTILE = [
    "plain",
    "*bold* _it_ ~~no~~",
    "[a](https://example.org) <script>alert(1)</script>",
    "a | b | c",
    "``` `x` ``",
    "`",
    "line\nbreak\r\n# heading\n---\n",
    "&amp; &#60; \\",
    "www.example.org https://example.org me@example.org",
    "\u202egnp.exe \u2028 \x00 \x1b[31m",
    "$x$ :smile:",
    "- item",
    "æøå 中文 🙂",
]
RENDERER = MarkdownIt("commonmark").enable("table")


def inner(html: str, tag: str) -> list[str]:
    """The text of every element of a tag, as a reader sees it."""
    unescape = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&amp;": "&"}
    found = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", html, flags=re.DOTALL)
    return [re.sub("&(lt|gt|quot|amp);", lambda match: unescape[match[0]], text) for text in found]


@pytest.mark.parametrize("text", HOSTILE)
def test_shown_as_it_is(text: str) -> None:
    html = RENDERER.render(f"a {markdown(text)} z")
    assert inner(html, "p") == [f"a {one_line(text)} z".replace("  ", " ")]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_heading_and_a_cell_hold_it(text: str) -> None:
    html = RENDERER.render(f"# {markdown(text)}\n\n{table(('x', 'y'), [(markdown(text), 'end')])}")
    assert inner(html, "h1") == [one_line(text)]
    assert inner(html, "td") == [one_line(text), "end"]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_span_of_code_holds_it(text: str) -> None:
    assert inner(RENDERER.render(f"a {code(text)} z"), "code") == [one_line(text)]


def test_an_empty_name_is_an_empty_span() -> None:
    assert "``" not in RENDERER.render(f"a {code('')} z, `b`") and inner(RENDERER.render(f"{code('')} `b`"), "code")[
        -1:
    ] == ["b"]


@pytest.mark.parametrize("line", ["```", "````\n# out", "x = '```'"])
def test_no_line_closes_a_block(line: str) -> None:
    html = RENDERER.render(block("sh", ["first", line, "last"]) + "\n\nafter")
    assert inner(html, "pre") == [f'<code class="language-sh">first\n{line}\nlast\n</code>']


def test_links_that_renderers_make_by_themselves_are_broken() -> None:
    assert markdown("www.a.org, WWW.b.org, https://c.org, d@e.org") == (
        r"www\.a.org, WWW\.b.org, https\://c.org, d\@e.org"
    )


def test_long_names_are_cut() -> None:
    assert one_line("x" * 200) == "x" * 200
    assert one_line("x" * 201) == "x" * 199 + "…"
