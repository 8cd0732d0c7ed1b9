"""Adapters as the `adapters` library (AdapterHub) writes and reads them: in as sources, out as one adapter and head.

`names` has what the library calls tensors in each architecture, `options` which of its options a scalearn bottleneck
can follow, both for both directions; `read` and `write` are the directions.
"""

from scalearn.interop.adapterhub.read import FILES, read_adapter
from scalearn.interop.adapterhub.write import write_adapter

__all__ = ["FILES", "read_adapter", "write_adapter"]
