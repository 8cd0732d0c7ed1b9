"""PEFT checkpoints of LoRA and IA3: in as sources, out as one. PEFT itself is not needed: they are JSON and tensors.

`options` says which of PEFT's options can be followed, `checkpoint` is what a folder holds, by module, `read` takes it
to a backbone as a source, and `write` is the way back.
"""

from scalearn.interop.peft.checkpoint import FILES, Checkpoint
from scalearn.interop.peft.read import read_peft
from scalearn.interop.peft.write import write_peft

__all__ = ["FILES", "Checkpoint", "read_peft", "write_peft"]
