"""How a model or a source is used, with as many texts a row as its task has."""

from __future__ import annotations

import shlex

from scalearn.cards.escape import block, code, literal, one_line
from scalearn.cards.facts import BUILTIN, CardFacts, copied, repository


def use_of_model(facts: CardFacts, *, place: str) -> list[str]:
    """Paragraphs: loading a model and predicting, in Python and on the command line; each snippet runs as it stands.

    Args:
        facts: of the model.
        place: what its folder is called where that is done.
    """
    model = "JointModel" if facts.joint else "TransferModel"
    elsewhere = "" if facts.hub_id is not None else f", backbone={literal(one_line(facts.backbone_name))}"
    python = ["import scalearn as sl", "", f"model = sl.{model}.from_pretrained({literal(place)}{elsewhere})"]
    shell = []
    for task in facts.tasks:
        row = [f"<{one_line(column)}>" for column in task.columns]
        which = f", task={literal(task.name)}" if facts.joint else ""
        python.append(f"answers = model.predict([{literal(row[0])}]{which})" if len(row) == 1 else _many(row, which))
        options = [f"--task={task.name}"] if facts.joint else []
        if facts.hub_id is None:
            options.append(f"--backbone={one_line(facts.backbone_name)}")
        shell.append(shlex.join(["scalearn", "predict", place, *row, *options]))
    python.append("print(answers[0].label, answers[0].probabilities)")
    here = "In this folder, or with its path instead of the dot; " if place == "." else ""
    paragraphs = [
        f"{here}`<...>` stands for {'the file of an image' if facts.tasks[0].image else 'a text of the row'}:\n",
        block("python", python) + "\n",
        block("sh", shell) + "\n",
        f"`scalearn predict {place} --file rows.csv` answers a file; `scalearn evaluate` scores labelled rows.\n",
    ]
    if facts.hub_id is None:
        paragraphs.append(f"The backbone was a local folder: give the place of {code(facts.backbone_name)} as above.\n")
    found = (copied(source) or source.get("location") == BUILTIN or repository(source) for source in facts.sources)
    if not all(found):
        paragraphs.append(
            'Its sources are looked for where they were (below); elsewhere: `sources=sl.Shelf("shelf")`, or '
            "`--sources shelf`.\n"
        )
    return paragraphs


def _many(row: list[str], which: str) -> str:
    return f"answers = model.predict([({', '.join(map(literal, row))})]{which})"


def use_as_source(facts: CardFacts, *, place: str) -> list[str]:
    """Paragraphs: learning a task of one's own over the source in the folder; arguments as for `use_of_model`."""
    backbone = one_line(facts.backbone_name)
    column = "image" if facts.tasks[0].image else "text"
    made = f'{literal(backbone)}, task=task, method="scalearn", sources=sl.Shelf({literal(place)})'
    python = [
        "import scalearn as sl",
        "",
        f'task = sl.Task.from_files("train.csv", {column}="{column}", label="label")',
        f"model = sl.TransferModel.from_backbone({made})",
        'sl.train(model, "runs/mine")',
    ]
    options = [] if backbone == "minilm" else [f"--backbone={backbone}"]
    shell = f"scalearn transfer --train-file train.csv --{column} {column} --label label"
    shell += f" --sources {place} --out runs/mine"
    return [
        "With a file of your own rows:\n",
        block("python", python) + "\n",
        block("sh", [" ".join([shell, *map(shlex.quote, options)])]) + "\n",
        "Several sources make a shelf: put their folders into one, and give that.\n" if place == "." else "",
    ]
