"""Which PEFT `scalearn.peft` goes with: its base classes, which a new method needs, change between minor versions."""

from __future__ import annotations

from importlib import metadata

from packaging.specifiers import SpecifierSet

from scalearn.errors import InputError

SUPPORTED = ">=0.21,<0.22"


def need_peft() -> None:
    """Raises `InputError` unless PEFT is installed in a version that is known."""
    command = "pip install 'scalearn[peft]'"
    try:
        found = metadata.version("peft")
    except metadata.PackageNotFoundError as error:
        raise InputError(f"scalearn.peft needs peft{SUPPORTED}, which is not installed: {command}") from error
    if not SpecifierSet(SUPPORTED).contains(found, prereleases=True):
        raise InputError(f"scalearn.peft needs peft{SUPPORTED}, but {found} is installed: {command}")
