"""Single-task methods: each is trained on one task alone."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from scalearn.combinable import MODULES
from scalearn.deltas import Activation, Bottleneck, Compacter, Lora, MaskedBottleneck, MaskScores, Rescaling, new_rule
from scalearn.methods.base import Entry, Method, Setting, large, published, small
from scalearn.sites import INPUT, LAYER, Placement, Shape


def bottleneck_width(shape: Shape, reduction_factor: int) -> int:
    """r = d / reduction factor, at least 1."""
    return max(1, shape.width // reduction_factor)


class FullFineTuning(Method):
    """Every weight of the backbone is trained."""

    trains_backbone: ClassVar[bool] = True
    reference: ClassVar[str] = "Devlin et al., NAACL 2019"

    @property
    def name(self) -> str:
        """``full``."""
        return "full"


class HeadOnly(Method):
    """A head on the frozen backbone: what any adapter has to beat."""

    @property
    def name(self) -> str:
        """``head``."""
        return "head"


class Adapter(Method):
    """A Pfeiffer bottleneck in every layer (`scalearn.deltas.Bottleneck`)."""

    gives_source: ClassVar[bool] = True
    reference: ClassVar[str] = "Pfeiffer et al., EACL 2021"

    reduction_factor: int = Field(16, gt=0)
    """d / r, the backbone's width over the bottleneck's."""
    bottleneck: int | None = Field(None, gt=0)
    """r itself, where it is not d / reduction_factor; a folded model has T * r."""
    activation: Activation = "relu"
    """``gelu`` in a model folded over Compacter++ sources; over imported ones, theirs."""

    @property
    def name(self) -> str:
        """``adapter``."""
        return "adapter"

    def build(self, setting: Setting) -> Placement:
        """One fresh bottleneck per layer."""
        width = setting.shape.width
        bottleneck = self.bottleneck or bottleneck_width(setting.shape, self.reduction_factor)
        return {
            LAYER: [
                Bottleneck(width=width, bottleneck=bottleneck, activation=self.activation)
                for _ in range(setting.shape.layers)
            ]
        }


class CompacterPlusPlus(Method):
    """Bottlenecks of parametrised hypercomplex multiplication, one rule for all (`scalearn.deltas.Compacter`)."""

    gives_source: ClassVar[bool] = True
    reference: ClassVar[str] = "Karimi Mahabadi et al., NeurIPS 2021"

    reduction_factor: int = Field(16, gt=0)
    """d / r."""
    phm_dim: int = Field(4, gt=0)
    """n, the number of Kronecker products that are summed; divides d and r."""

    @property
    def name(self) -> str:
        """``compacter++``."""
        return "compacter++"

    def build(self, setting: Setting) -> Placement:
        """One fresh Compacter per layer, all with one rule."""
        rule = new_rule(self.phm_dim)
        bottleneck = bottleneck_width(setting.shape, self.reduction_factor)
        return {
            LAYER: [
                Compacter(width=setting.shape.width, bottleneck=bottleneck, rule=rule)
                for _ in range(setting.shape.layers)
            ]
        }


class ProPETL(Method):
    """One bottleneck shared by all layers, each layer with its own binary masks (`scalearn.deltas.propetl`)."""

    reference: ClassVar[str] = "Zeng et al., ACL 2023"

    reduction_factor: int = Field(16, gt=0)
    """d / r."""
    keep: float = Field(0.5, gt=0, le=1)
    """k, the fraction of weights that a mask keeps."""
    train_masks: bool = True
    """False leaves the masks as they were drawn, which is what the published runs did by mistake."""

    @property
    def name(self) -> str:
        """``propetl``."""
        return "propetl"

    def build(self, setting: Setting) -> Placement:
        """The shared bottleneck behind fresh masks."""
        shared = Bottleneck(
            width=setting.shape.width, bottleneck=bottleneck_width(setting.shape, self.reduction_factor)
        )

        def scores(weight: tuple[int, ...]) -> MaskScores:
            return MaskScores(weight, keep=self.keep).requires_grad_(self.train_masks)

        down, up = tuple(shared.down.weight.shape), tuple(shared.up.weight.shape)
        return {LAYER: [MaskedBottleneck(shared, scores(down), scores(up)) for _ in range(setting.shape.layers)]}


class IA3(Method):
    """Keys, values and intermediate activations rescaled (`scalearn.deltas.Rescaling`), before the activation."""

    gives_source: ClassVar[bool] = True
    reference: ClassVar[str] = "Liu et al., NeurIPS 2022"

    modules: tuple[str, ...] = Field(MODULES["ia3"], min_length=1)
    """Which linear maps: roles or paths (`scalearn.sites`); with ``:input`` behind, what is rescaled is the input."""

    @property
    def name(self) -> str:
        """``ia3``."""
        return "ia3"

    def build(self, setting: Setting) -> Placement:
        """A scale of ones on the output or input of each map of every layer."""

        def scale(site: str) -> Rescaling:
            inputs, outputs = setting.shape.linear(site)
            return Rescaling(width=inputs if site.endswith(INPUT) else outputs)

        return {site: [scale(site) for _ in range(setting.shape.layers)] for site in self.modules}

    @model_serializer(mode="wrap")
    def _without_the_usual(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out the published modules: runs from before there were others keep their names, and are found."""
        fields: dict[str, Any] = handler(self)
        return fields if self.modules != MODULES["ia3"] else {}


class LoRA(Method):
    """Low-rank updates of linear maps (`scalearn.deltas.Lora`)."""

    gives_source: ClassVar[bool] = True
    reference: ClassVar[str] = "Hu et al., ICLR 2022"

    rank: int = Field(8, gt=0)
    """r."""
    alpha: float = Field(16.0, gt=0)
    """The update is scaled by alpha / r."""
    modules: tuple[str, ...] = Field(MODULES["lora"], min_length=1)
    """Which linear maps: of query, key, value and intermediate, or paths (`scalearn.sites`)."""
    folded: bool = False
    """Whether a loaded model adds the updates to the weights themselves, as `TransferModel.fold` did."""

    @property
    def name(self) -> str:
        """``lora``."""
        return "lora"

    def build(self, setting: Setting) -> Placement:
        """A fresh update of each map of every layer."""

        def update(role: str) -> Lora:
            inputs, outputs = setting.shape.linear(role)
            return Lora(inputs=inputs, outputs=outputs, rank=self.rank, alpha=self.alpha)

        return {role: [update(role) for _ in range(setting.shape.layers)] for role in self.modules}


ENTRIES = (
    Entry(method=Adapter(), published=published(3e-4), large=large(1e-3, 1e-3), small=small(3e-3)),
    Entry(method=CompacterPlusPlus(), published=published(3e-3), large=large(1e-2, 1e-3), small=small(1e-2)),
    Entry(
        method=ProPETL(),
        published=published(1e-3, mask_learning_rate=5e-3, weight_decay=0.1, mask_weight_decay=0.1),
        large=large(3e-3, 1e-3, mask_learning_rate=1.5e-2, weight_decay=0.1),
        small=small(3e-3, mask_learning_rate=1.5e-2, weight_decay=0.1),
    ),
    Entry(method=IA3(), published=published(5e-3), large=large(2e-2, 1e-3), small=small(2e-2)),
    # LoRA is no method of the paper; its authors' GLUE runs on RoBERTa-base used 4e-4 and 5e-4.
    Entry(method=LoRA(), published=published(5e-4), large=large(1e-3, 1e-3), small=small(1e-3)),
    Entry(
        method=FullFineTuning(),
        published=published(2e-5),
        large=large(5e-5, 1e-3, backbone_dropout=True),
        small=small(1e-4, backbone_dropout=True),
    ),
    Entry(method=HeadOnly(), published=published(3e-4), large=large(1e-3, 1e-3), small=small(3e-4)),
)
