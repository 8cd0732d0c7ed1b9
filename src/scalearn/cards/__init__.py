"""Model cards: the README.md in the folder of every saved model and source, from what else the folder says.

`escape` makes any name harmless, `private` keeps places on the user's machine out, `facts` reads a description,
`metadata` is the part for the Hub, `text` the part for people. Nothing here is read back.
"""

from scalearn.cards.private import shareable_name, without_places
from scalearn.cards.text import model_card, shelf_card, source_card, source_section

CARD = "README.md"

__all__ = [
    "CARD",
    "model_card",
    "shareable_name",
    "shelf_card",
    "source_card",
    "source_section",
    "without_places",
]
