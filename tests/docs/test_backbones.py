"""docs/backbones.md says what the table of architectures says, and shows what an error shows."""

from pathlib import Path

import pytest
from transformers import GPTNeoConfig, GPTNeoModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from scalearn.backbones import usual_pooling
from scalearn.errors import InputError
from scalearn.families import FAMILIES
from scalearn.sites import find_sites


@pytest.fixture(scope="module")
def backbones(repository: Path) -> str:
    return (repository / "docs/backbones.md").read_text(encoding="utf-8")


def test_the_table_is_the_codes(backbones: str) -> None:
    rows = [
        [name, MODEL_MAPPING_NAMES[name], f.kind, f"`{f.path}`", ", ".join(f.linears) or "none", usual_pooling(name)]
        for name, f in FAMILIES.items()
    ]
    expected = ["| " + " | ".join(row) + " |" for row in rows]
    lines = backbones.splitlines()
    start = lines.index("| type | tested with | kind | site | linear maps by role | pooling |") + 2
    assert lines[start : start + len(expected)] == expected and not lines[start + len(expected)]
    assert f"is a table of {len(FAMILIES)} model types" in backbones


def test_the_error_is_shown_as_it_is(backbones: str) -> None:
    sizes = {"hidden_size": 64, "num_layers": 2, "num_heads": 2, "attention_types": [[["global", "local"], 1]]}
    with pytest.raises(InputError) as error:
        find_sites(GPTNeoModel(GPTNeoConfig(vocab_size=30522, **sizes)))
    shown = backbones.partition("```text\nerror: ")[2].partition("```")[0]
    said, tree = shown.split("\n  ", 1)
    message = str(error.value).splitlines()[0]
    assert message.startswith(" ".join(said.split()).removesuffix(" ..."))
    assert f"  {tree}".rstrip("\n") == error.value.detail
