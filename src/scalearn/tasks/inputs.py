"""What a model reads of a row of the user's file: one or two texts, a text and its choices, or an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalearn.errors import InputError
from scalearn.images import check_images, name_of, report
from scalearn.tasks.splits import TEXTS
from scalearn.tasks.tables import Table


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The columns of a file that a model reads."""

    text: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    image: str | None = None
    folder: str | Path | None = None
    """That the paths of images start at, and that they lie in; None is the folder of the file that has them."""

    @classmethod
    def checked(
        cls,
        *,
        text: str | Sequence[str] = (),
        label: str | None = None,
        choices: Sequence[str] = (),
        image: str | None = None,
        folder: str | Path | None = None,
    ) -> Inputs:
        """The columns, as the user names them.

        Raises:
            InputError: they are none, or do not go together, or two are the same (the label's included).
        """
        if image is None:
            if folder is not None:
                raise InputError(f"image_folder={str(folder)!r} is for images: name their column (image=, --image) too")
            return cls(text=text_columns(text, label=label, choices=choices), choices=tuple(choices))
        if text or choices:
            raise InputError(f"the column {image!r} of images stands alone: leave out text and choices")
        if image == label:
            raise InputError(f"the column {label!r} is named as image and as label; name two different columns")
        return cls(image=image, folder=folder)

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.text, *self.choices, *([] if self.image is None else [self.image]))

    def rows(self, table: Table) -> list[Any]:
        """What `TransferModel.predict` takes, a row each: texts, or images that were not opened yet.

        Raises:
            InputError: a cell is no text, or no image of the folder.
        """
        if self.image is not None:
            return list(found_images(table, self.image, folder=self.folder))
        return list(zip(*(check_texts(table, column) for column in self.columns), strict=True))

    def read(self, table: Table) -> dict[str, Any]:
        """What `make_split` takes of them.

        Raises:
            InputError: a cell is no text, or no image that can be opened.
        """
        if self.image is not None:
            images = found_images(table, self.image, folder=self.folder)
            check_images(images, place=lambda row: f"{table.place(row)}{name_of(images[row])}")
            return {"texts": (), "images": images}
        columns = [check_texts(table, column) for column in self.choices]
        return {
            "texts": [check_texts(table, column) for column in self.text],
            "choices": list(zip(*columns, strict=True)) if columns else None,
        }


def text_columns(
    text: str | Sequence[str], *, label: str | None = None, choices: Sequence[str] = ()
) -> tuple[str, ...]:
    """`text` as one or two column names.

    Raises:
        InputError: they are none or more than two, or two columns are the same (the label's and choices' included).
    """
    columns = (text,) if isinstance(text, str) else tuple(text)
    if not 1 <= len(columns) <= len(TEXTS):
        raise InputError(
            f"text names {len(columns)} columns ({', '.join(map(repr, columns)) or 'none'}); name one, or two for pairs"
        )
    if len(set(columns)) < len(columns):
        raise InputError(f"text names the column {columns[0]!r} twice; name two different columns, or one")
    if choices and (len(columns) > 1 or len(choices) < 2):
        raise InputError(
            f"multiple choice pairs one text with two choices or more; text names {len(columns)} columns, choices "
            f"{len(choices)}"
        )
    if len({*columns, *choices}) < len(columns) + len(choices) or label in choices:
        raise InputError(f"choices names {', '.join(choices)}; name columns that are neither text nor label, each once")
    if label in columns:
        raise InputError(f"the column {label!r} is named as text and as label; name two different columns")
    return columns


def check_texts(table: Table, column: str) -> list[str]:
    """The cells of a column as texts.

    Raises:
        InputError: one is not a string, is empty or blank, or holds half of a surrogate pair.
    """
    texts = []
    for row, cell in enumerate(table.cells[column]):
        if not isinstance(cell, str):
            found = "missing" if cell is None else f"of type {type(cell).__name__}, not a string"
            raise InputError(
                f"{table.place(row)}: the text in column {column!r} is {found}; write a string or drop the row"
            )
        if not cell.strip():
            raise InputError(f"{table.place(row)}: the text in column {column!r} is empty; fill it in or drop the row")
        try:
            cell.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{table.place(row)}: the text in column {column!r} has half of a surrogate pair at character "
                f"{error.start}, which is no character; write the character itself"
            ) from error
        texts.append(cell)
    return texts


def found_images(table: Table, column: str, *, folder: str | Path | None) -> list[dict[str, Any]]:
    """The cells of a column as images, ``{"path": ..., "bytes": ...}`` as `datasets` keeps them; none is opened.

    A cell is a path, the bytes of a file, or both as `datasets` writes them, of which the bytes count. A path must
    not lead out of the folder, so that no table of another's can name files that are not beside it.

    Args:
        table: with that column.
        column: of images.
        folder: that paths start at; None is the folder of the table.

    Raises:
        InputError: a cell is none of these, or its path leads out of the folder.
    """
    root = os.path.abspath(table.path.parent if folder is None else folder)
    images: list[dict[str, Any]] = []
    faults = []
    for row, cell in enumerate(table.cells[column]):
        path, data = (cell.get("path"), cell.get("bytes")) if isinstance(cell, dict) else (cell, None)
        if isinstance(path, bytes):
            path, data = None, path
        if isinstance(data, bytes):
            images.append({"path": None, "bytes": data})
        elif not isinstance(path, str) or not path.strip():
            found = "missing" if path in (None, "") else f"{path!r:.40}, no path of a file"
            faults.append(f"{table.place(row)}: the image in column {column!r} is {found}")
        else:
            place = os.path.abspath(os.path.join(root, path))
            if not Path(place).is_relative_to(root):
                faults.append(
                    f"{table.place(row)}: {path} lies outside {root}; say with image_folder (--image-folder) where "
                    "images may lie"
                )
            images.append({"path": place, "bytes": None})
    report(faults, of=len(table))
    return images
