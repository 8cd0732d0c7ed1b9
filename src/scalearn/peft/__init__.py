"""ScaLearn as a method of PEFT: LoRA checkpoints stay frozen, and only their scales are learned.

Importing this registers it, so that `peft.get_peft_model(model, ScaLearnConfig(sources=[...]))`,
`PeftModel.from_pretrained` and `save_pretrained` know it: see docs/peft.md. Reading and writing PEFT's own checkpoints,
which needs no PEFT, is `scalearn.interop.peft`.

Raises:
    InputError: PEFT is not installed, or in a version whose insides are not those that this was written for.
"""

from scalearn.peft.version import need_peft

need_peft()

from scalearn.peft.config import ScaLearnConfig  # noqa: E402
from scalearn.peft.layer import ScaLearnLayer  # noqa: E402
from scalearn.peft.tuner import ScaLearnModel, register  # noqa: E402

__all__ = ["ScaLearnConfig", "ScaLearnLayer", "ScaLearnModel"]

register()
