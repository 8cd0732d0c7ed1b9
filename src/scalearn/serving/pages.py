"""The two pages that people see: to try tasks, and what the API takes. Neither asks any other site for anything."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources


class Page:
    """A page of this package.

    Its one script and its one style are allowed by their hashes, and nothing else is: whatever a task is called, a
    browser runs no other code.

    Args:
        name: of the file.
    """

    def __init__(self, name: str) -> None:
        self.text = (resources.files("scalearn") / "serving" / name).read_text(encoding="utf-8")
        allowed = {tag: _hash(re.findall(f"<{tag}>(.*?)</{tag}>", self.text, re.DOTALL)) for tag in ("script", "style")}
        policy = (
            f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        self.headers = {"content-security-policy": policy}


def _hash(found: list[str]) -> str:
    (text,) = found
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
