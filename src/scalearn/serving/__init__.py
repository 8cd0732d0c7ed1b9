"""Many targets over one backbone and one set of sources, in Python and over HTTP.

`mixture` is the mathematics, `storage` where heads lie, `target` what a target consists of, and `predictor` puts them
together. `batching` joins the rows of concurrent requests; `app` is the service, `limits` what it refuses, `metrics`
what it counts, `pages` what people see, and `server` runs it until it is told to stop.
"""

from scalearn.serving.predictor import MultiTaskPredictor, UnknownTask

__all__ = ["MultiTaskPredictor", "UnknownTask"]
