"""Joint methods: several tasks are learned at once, each with a head of its own."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from torch import nn

from scalearn.deltas import (
    Bottleneck,
    GeneratedBottleneck,
    HyperNetworks,
    JointMaskedBottleneck,
    MaskScores,
    PerTask,
    TaskEncoder,
)
from scalearn.methods.base import Entry, JointRecipe, Method, Setting
from scalearn.methods.single import bottleneck_width
from scalearn.sites import LAYER, Placement


class Joint(Method):
    """A method that learns several tasks at once."""

    stage: ClassVar = "joint"


class FullFineTuningJoint(Joint):
    """Every weight of the backbone, shared by all tasks."""

    trains_backbone: ClassVar[bool] = True
    reference: ClassVar[str] = "Frohmann et al., Findings of ACL 2024 (Full FT-m)"

    @property
    def name(self) -> str:
        """``full-m``."""
        return "full-m"


class AdapterJoint(Joint):
    """A bottleneck in every layer, shared by all tasks or one for each."""

    reference: ClassVar[str] = "Stickland and Murray, ICML 2019 (Adapter-m)"

    reduction_factor: int = Field(16, gt=0)
    """d / r."""
    per_task: bool = False
    """An adapter for each task; then tasks share nothing but the batches' schedule."""

    @property
    def name(self) -> str:
        """``adapter-m``."""
        return "adapter-m"

    def build(self, setting: Setting) -> Placement:
        """Fresh bottlenecks."""
        tasks = setting.tasks

        def bottleneck() -> Bottleneck:
            return Bottleneck(
                width=setting.shape.width, bottleneck=bottleneck_width(setting.shape, self.reduction_factor)
            )

        def delta() -> nn.Module:
            return PerTask({name: bottleneck() for name in tasks.names}, tasks) if self.per_task else bottleneck()

        return {LAYER: [delta() for _ in range(setting.shape.layers)]}


class ProPETLJoint(Joint):
    """One bottleneck for all layers and tasks behind binary masks of layer and task (`scalearn.deltas.propetl`)."""

    reference: ClassVar[str] = "Zeng et al., ACL 2023"

    reduction_factor: int = Field(16, gt=0)
    """d / r."""
    keep: float = Field(0.3, gt=0, le=1)
    """k, the fraction of weights that each mask keeps."""
    tie_first_layer: bool = False
    """Use the last task's mask as the first layer's too: a fault of the published code, for comparing with it."""

    @property
    def name(self) -> str:
        """``propetl-m``."""
        return "propetl-m"

    def build(self, setting: Setting) -> Placement:
        """The shared bottleneck; task masks shared by all layers, layer masks by all tasks."""
        tasks = setting.tasks
        shared = Bottleneck(
            width=setting.shape.width, bottleneck=bottleneck_width(setting.shape, self.reduction_factor)
        )

        def down() -> MaskScores:
            return MaskScores(tuple(shared.down.weight.shape), keep=self.keep)

        def up() -> MaskScores:
            return MaskScores(tuple(shared.up.weight.shape), keep=self.keep)

        task_down, task_up = {name: down() for name in tasks.names}, {name: up() for name in tasks.names}
        layer_masks = [(down(), up()) for _ in range(setting.shape.layers)]
        if self.tie_first_layer:
            layer_masks[0] = (task_down[tasks.names[-1]], task_up[tasks.names[-1]])
        return {
            LAYER: [
                JointMaskedBottleneck(shared, *masks, task_down=task_down, task_up=task_up, switch=tasks)
                for masks in layer_masks
            ]
        }


class HyperFormer(Joint):
    """Bottlenecks generated from an embedding of the task (`scalearn.deltas.hyperformer`)."""

    reference: ClassVar[str] = "Karimi Mahabadi et al., ACL 2021"

    shared: bool = False
    """One set of hypernetworks for all layers, told the layer by an embedding: HyperFormer++."""
    reduction_factor: int = Field(16, gt=0)
    """d / r of the generated bottlenecks."""
    embedding: int = Field(512, gt=0)
    """Width of a task's (and a layer's) embedding."""
    hidden: int = Field(128, gt=0)
    """Width inside the encoder of embeddings."""
    projected: int = Field(64, gt=0)
    """Width of what the hypernetworks read."""

    @property
    def name(self) -> str:
        """``hyperformer`` or ``hyperformer++``."""
        return "hyperformer" + ("++" if self.shared else "")

    def build(self, setting: Setting) -> Placement:
        """One encoder of tasks, and hypernetworks per layer or one set for all."""
        layers = setting.shape.layers
        encoder = TaskEncoder(
            setting.tasks,
            embedding=self.embedding,
            hidden=self.hidden,
            projected=self.projected,
            layers=layers if self.shared else None,
        )

        def networks() -> HyperNetworks:
            return HyperNetworks(
                width=setting.shape.width,
                bottleneck=bottleneck_width(setting.shape, self.reduction_factor),
                projected=self.projected,
            )

        generators = [networks()] * layers if self.shared else [networks() for _ in range(layers)]
        return {LAYER: [GeneratedBottleneck(encoder, own, layer=i) for i, own in enumerate(generators)]}


def _published(learning_rate: float, *, mask_learning_rate: float | None = None) -> JointRecipe:
    return JointRecipe(
        learning_rate=learning_rate,
        head_learning_rate=learning_rate,
        mask_learning_rate=mask_learning_rate,
        warmup_fraction=0.1,
        patience=10,
        caps={"record": 100_730},  # of its 1.2 million rows, which would leave little for the other tasks
        unselective=("record",),
    )


def _default(learning_rate: float, head_learning_rate: float, *, backbone_dropout: bool = False) -> JointRecipe:
    return JointRecipe(
        learning_rate=learning_rate,
        head_learning_rate=head_learning_rate,
        mask_learning_rate=10 * learning_rate,
        warmup_fraction=0.1,
        steps=4_000,  # an hour or two of a laptop's CPU for four small tasks
        evaluate_every=200,
        patience=10,
        batch_size=16,
        backbone_dropout=backbone_dropout,
    )


ENTRIES = (
    Entry(method=FullFineTuningJoint(), published=_published(2e-5), large=_default(5e-5, 1e-3, backbone_dropout=True)),
    Entry(method=AdapterJoint(), published=_published(3e-4), large=_default(1e-3, 1e-3)),
    Entry(method=ProPETLJoint(), published=_published(3e-4, mask_learning_rate=3e-3), large=_default(1e-3, 1e-3)),
    Entry(method=HyperFormer(), published=_published(3e-4), large=_default(3e-4, 1e-3)),
    Entry(method=HyperFormer(shared=True), published=_published(3e-4), large=_default(3e-4, 1e-3)),
)
