"""What `adapter_config.json` of a ScaLearn checkpoint says: the sources by place and hash, and how they are scaled.

A place is a folder, seen from the checkpoint's own, or one on the Hub pinned to a commit (`scalearn.hub`). The hash is
the SHA-256 of the source's own `adapter_config.json` and weights, in this order.
"""

from __future__ import annotations

import copy
import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peft import PeftConfig
from safetensors.torch import save

from scalearn.deltas import Constraint
from scalearn.errors import InputError
from scalearn.hub import PREFIX, fetch, local_or_fetched, own_name, place_of
from scalearn.interop.files import read_tensors
from scalearn.interop.peft.checkpoint import CONFIG, FILES, SAFE_WEIGHTS, WEIGHTS
from scalearn.methods import ScaLearn
from scalearn.methods.base import validated

PEFT_TYPE = "SCALEARN"
"""PEFT's own types are members of an enumeration of strings, beside which a string is one more type."""

COPIES = "sources"
"""The folder of a checkpoint where its sources are copied to."""


@dataclass
class ScaLearnConfig(PeftConfig):
    """Learned scales of frozen LoRA checkpoints; for `peft.get_peft_model`.

    Raises:
        InputError: there is no source, or an option is out of range.
    """

    sources: list[str] = field(default_factory=list)
    """LoRA checkpoints of PEFT: folders, or places on the Hub (`scalearn.hub`)."""
    uniform: bool = False
    """One coefficient per source and module instead of one per source and output dimension."""
    shared: bool = False
    """One omega for all layers: the "++" variants."""
    dropout: float | None = None
    """On omega; None is the published choice (`scalearn.ScaLearn`)."""
    init_scale: float = 2.0
    """Omega starts at init_scale / T."""
    constraint: Constraint = "none"
    """``mean`` or ``softmax`` over sources."""
    modules_to_save: list[str] | None = None
    """Modules to train and save as a whole; PEFT adds the head by itself with task_type="SEQ_CLS"."""
    include_sources: bool = False
    """Whether `save_pretrained` copies the sources in."""
    sha256: list[str] = field(default_factory=list)
    """Of the sources, in order; filled in when they are first read, and checked from then on."""
    target_modules: list[str] | None = None
    """The modules that the sources act on; filled in from them."""

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.peft_type = PEFT_TYPE
        given: Any = self.sources
        if isinstance(given, str | Path) or not given:
            raise InputError(f"sources={given!r}: give a list of folders with LoRA checkpoints of PEFT")
        self.sources = [str(source) for source in given]
        _ = self.method  # refuses options that are out of range

    @property
    def method(self) -> ScaLearn:
        """The method with these options."""
        names = ("uniform", "shared", "dropout", "init_scale", "constraint")
        return validated(ScaLearn, {name: getattr(self, name) for name in names}, what="ScaLearnConfig")

    def read_sources(self) -> list[Path]:
        """The folders of the sources, with the hashes recorded or, the first time, taken.

        Raises:
            InputError: one is not there, or is another than was trained with; all these are named.
        """
        folders = [local_or_fetched(source, files=FILES) for source in self.sources]
        found = [digest(folder) for folder in folders]
        if len(self.sha256 or found) != len(found):
            raise InputError(f"there are {len(found)} sources, but sha256 of {len(self.sha256)}: leave sha256 out")
        changed = [
            f"{folder} has SHA-256 {own[:12]}..., not {known[:12]}..."
            for folder, own, known in zip(folders, found, self.sha256 or found, strict=True)
            if own != known
        ]
        if changed:
            raise InputError(f"{'; '.join(changed)} as recorded: give the sources that were trained with")
        self.sha256 = found
        return folders

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Writes `adapter_config.json`, and copies of the sources where they are asked for.

        Args:
            save_directory: made if there is none.
            kwargs: as PEFT has them.
        """
        target = Path(save_directory)
        written, folders = copy.copy(self), self.read_sources()
        if self.include_sources:
            copies = [_copied(folder, target / COPIES) for folder in folders]
            written.sources = [path.relative_to(target).as_posix() for path in copies]
            written.sha256 = [digest(path) for path in copies]
        else:
            written.sources = [place_of(folder) or _seen_from(target, folder) for folder in folders]
        super(ScaLearnConfig, written).save_pretrained(save_directory, **kwargs)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str, subfolder: str | None = None, **kwargs: Any
    ) -> ScaLearnConfig:
        """Reads the configuration, and finds its sources from there.

        Args:
            pretrained_model_name_or_path: a folder, or a repository on the Hub.
            subfolder: of it.
            kwargs: as PEFT has them.

        Raises:
            InputError: a configuration from the Hub names a place of this machine.
        """
        config: ScaLearnConfig = super().from_pretrained(pretrained_model_name_or_path, subfolder, **kwargs)
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir():
            inner = [source for source in config.sources if not source.startswith(PREFIX)]
            outside = [source for source in inner if os.path.normpath(source).startswith((os.pardir, os.sep))]
            if outside:
                raise InputError(
                    f"{pretrained_model_name_or_path} has its sources elsewhere ({', '.join(outside)}): ask for a "
                    "checkpoint that was saved with include_sources=True"
                )
            if inner:
                patterns = [f"{subfolder}/{COPIES}/*" if subfolder else f"{COPIES}/*"]
                known = {key: kwargs.get(key) for key in ("revision", "token")}
                folder = fetch(pretrained_model_name_or_path, files=patterns, **known)
        folder = folder / (subfolder or "")
        config.sources = [
            source if source.startswith(PREFIX) else os.path.normpath(folder / source) for source in config.sources
        ]
        return config


def digest(folder: Path) -> str:
    """SHA-256 of a LoRA checkpoint's description and weights.

    Raises:
        InputError: they are not there.
    """
    files = [folder / CONFIG, next((path for name in FILES[1:] if (path := folder / name).is_file()), folder / WEIGHTS)]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise InputError(f"{', '.join(map(str, missing))} does not exist: give folders with LoRA checkpoints of PEFT")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _copied(folder: Path, shelf: Path) -> Path:
    """A copy of a LoRA checkpoint on a shelf, its weights as safetensors; itself if it stands there already."""
    if folder.resolve().parent == shelf.resolve():
        return shelf / folder.resolve().name
    mark = f"-{digest(folder)[:8]}"
    target = shelf / f"{own_name(folder).removesuffix(mark)}{mark}"
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / CONFIG, target / CONFIG)
    if (folder / SAFE_WEIGHTS).is_file():
        shutil.copyfile(folder / SAFE_WEIGHTS, target / SAFE_WEIGHTS)
    else:
        tensors = read_tensors(folder, safe=SAFE_WEIGHTS, pickled=WEIGHTS)
        data = save({key: tensor.contiguous() for key, tensor in tensors.items()})
        (target / SAFE_WEIGHTS).write_bytes(data)
    return target


def _seen_from(target: Path, folder: Path) -> str:
    return Path(os.path.relpath(folder.resolve(), target.resolve())).as_posix()
