"""Which sources suit a target, before anything is trained: by its training rows alone.

| file | holds |
|---|---|
| `evidence` | what may be found out about a target: features of its rows under sources, and more |
| `linear` | linear models of frozen features, cross-validated |
| `logme`, `h_score` | two scores of frozen features in closed form |
| `gradient` | how the loss falls when a source is let in |
| `criteria` | these, and the similarity of texts, by name; what they say together |
| `ranking` | the table of a shelf for a target |
"""

from scalearn.ranking.criteria import CRITERIA, DECIDING, Criterion
from scalearn.ranking.evidence import TaskEvidence
from scalearn.ranking.ranking import Ranking, rank_sources, ranked

__all__ = ["CRITERIA", "DECIDING", "Criterion", "Ranking", "TaskEvidence", "rank_sources", "ranked"]
