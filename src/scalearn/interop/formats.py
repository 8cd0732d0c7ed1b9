"""Adapters of other libraries as sources, whichever library it was: AdapterHub's or PEFT's.

Both call their description `adapter_config.json`; PEFT's has a ``peft_type``. Which backbone the adapter was trained
on, both say by name and by no more than that.
"""

from __future__ import annotations

import re
from pathlib import Path

from scalearn.backbones import MINILM, MINILM_HUB_ID, Backbone
from scalearn.errors import InputError
from scalearn.hub import local_or_fetched
from scalearn.interop.adapterhub.read import CONFIG, FILES, read_adapter
from scalearn.interop.files import read_json
from scalearn.sources import Source

_PEFT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_BACKBONE_FIELDS = ("base_model_name_or_path", "model_name")
"""Where PEFT and AdapterHub name the backbone."""


def fetch_adapter(place: str | Path) -> Path:
    """The folder of an adapter, fetched first if it is a place on the Hub (`scalearn.hub`).

    Raises:
        InputError: there is none.
    """
    return local_or_fetched(place, files=(*FILES, *_PEFT_FILES))


def read_source(folder: Path, *, backbone: Backbone, name: str | None = None) -> Source:
    """An adapter of the adapters library or of PEFT as a source.

    Args:
        folder: of the adapter.
        backbone: that it was trained on.
        name: of the source; by default the adapter's.

    Raises:
        InputError: it is an adapter of neither library, or one that cannot be a source.
    """
    if "peft_type" in read_json(folder / CONFIG):
        from scalearn.interop.peft import read_peft

        return read_peft(folder, backbone=backbone, name=name)
    return read_adapter(folder, backbone=backbone, name=name)


def stated_backbone(folder: Path) -> str | None:
    """The Hub id of the backbone that an adapter's file names, or ``minilm``; None where it names none, or a folder.

    A path in a file that others wrote is not followed.
    """
    described = read_json(folder / CONFIG)
    stated = next((described[field] for field in _BACKBONE_FIELDS if described.get(field)), None)
    if not isinstance(stated, str) or not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", stated, re.ASCII):
        return None
    if stated == MINILM_HUB_ID:
        return MINILM  # the same weights, which need no network where they are installed
    return None if Path(stated).exists() else stated


def needed_backbone(folder: Path) -> str:
    """As `stated_backbone`.

    Raises:
        InputError: the file names none.
    """
    stated = stated_backbone(folder)
    if stated is None:
        raise InputError(
            f"{folder / CONFIG} names no backbone on the Hub: give the one it was trained on with --backbone"
        )
    return stated
