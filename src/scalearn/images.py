"""Images: opened from wherever they are, and made into the pixels that a backbone reads.

    row    pixel_values: float32 (C, H, W), length (patches), and maybe labels
    batch  pixel_values: float32 (B, C, H, W); all images are of one size, so nothing is padded and there is no mask

A row is opened when it is looked at and let go with its batch, so that memory holds one batch of pixels, however large
the split. An image is turned as its EXIF orientation says and read as RGB, the first frame of several, as transformers
does; then the backbone's own image processor resizes, crops and normalises it.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from scalearn.errors import InputError

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image
    from transformers import PreTrainedConfig

    from scalearn.encoding import Features

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is opened, whatever the suffix. Pillow knows more, of which some start other programs."""
IMAGE = "image"
"""The column of a split that holds images."""
_SHOWN = 5
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
"""EXIF orientation to what undoes it, as Pillow names it; 1 is upright."""


def open_image(image: Any) -> Image:
    """An image in RGB, decoded to its end.

    Args:
        image: a path, the bytes of a file, ``{"path": ..., "bytes": ...}`` as `datasets` keeps images, of which the
            bytes count if there are any, or a `PIL.Image.Image`.

    Raises:
        InputError: there is no such file, or it is no image that can be read; without saying which one.
    """
    from PIL import ExifTags, Image, UnidentifiedImageError

    if isinstance(image, Mapping):
        image = image.get("path") if image.get("bytes") is None else image["bytes"]
    if isinstance(image, str | Path):
        if not os.path.isfile(image):  # nor a device or pipe, which might never end
            raise InputError("there is no such file")
    elif isinstance(image, bytes):
        image = io.BytesIO(image)
    elif not isinstance(image, Image.Image):
        raise InputError(f"{type(image).__name__} is no path, no bytes of a file and no PIL image")
    try:
        opened = image if isinstance(image, Image.Image) else Image.open(image, formats=FORMATS)
        opened.load()
        if opened.mode.startswith(("I", "F")):  # would be cut off at 255
            raise InputError(f"its values have more than 8 bits (mode {opened.mode}): save it with 8")
        # Not ImageOps.exif_transpose, which writes all tags anew, and fails where a camera wrote one as another type.
        turn = _TURNS.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
        turned = opened if turn is None else opened.transpose(Image.Transpose[turn])
        return turned.convert("RGB")
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"no image of the formats {', '.join(FORMATS)}") from error
    except Exception as error:  # decoders raise errors of any kind at damaged data
        raise InputError(f"it cannot be decoded ({' '.join(str(error).split())[:100]})") from error


def check_images(images: Sequence[Any], *, place: Callable[[int], str]) -> None:
    """Opens every image once.

    Args:
        images: as `open_image` takes them.
        place: what a message calls the image of a row.

    Raises:
        InputError: some cannot be opened; the first ones are named.
    """
    faults = []
    for row, image in enumerate(images):
        try:
            open_image(image)
        except InputError as error:
            faults.append(f"{place(row)}: {error}")
    report(faults, of=len(images))


def report(faults: Sequence[str], *, of: int) -> None:
    """Raises one `InputError` of all faults of so many images, if there are any."""
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InputError(
            f"{len(faults)} of {of} images cannot be used: {'; '.join(faults[:_SHOWN])}{more}: correct or drop these "
            "rows"
        )


def undecoded(split: Dataset) -> Dataset:
    """A split whose images are the paths or bytes that they come from, whatever it was made with."""
    from datasets import Image

    return split.cast_column(IMAGE, Image(decode=False))


def digests(images: Sequence[Mapping[str, Any]]) -> list[str]:
    """SHA-256 of the files of images, in hexadecimal, wherever they are.

    Raises:
        InputError: a file is not there any more.
    """
    found = []
    for image in images:
        try:
            data = Path(image["path"]).read_bytes() if image["bytes"] is None else image["bytes"]
        except OSError as error:
            raise InputError(f"{image['path']}: cannot be opened any more: {error.strerror}") from error
        found.append(hashlib.sha256(data).hexdigest())
    return found


def name_of(image: Any) -> str:
    """What a message calls an image: its path, if it has one."""
    path = image.get("path") if isinstance(image, Mapping) else image
    return f" ({path})" if isinstance(path, str | Path) else ""


@dataclass(frozen=True, kw_only=True)
class ImageProcessor:
    """What makes of an image the pixels that a backbone reads."""

    transform: Callable[..., Mapping[str, Any]]
    """An image processor of transformers."""
    length: int = 1
    """Patches that an image becomes: what it costs beside others, as tokens are of a text."""

    @classmethod
    def load(cls, location: str, config: PreTrainedConfig) -> ImageProcessor:
        """The image processor of a folder or Hub id, on Pillow and numpy: torchvision is not needed.

        Args:
            location: where ``preprocessor_config.json`` is.
            config: of the backbone.

        Raises:
            OSError: there is none.
            ValueError: it is none that transformers knows.
        """
        from PIL import Image
        from transformers import AutoImageProcessor

        made = cls(transform=AutoImageProcessor.from_pretrained(location, backend="pil", trust_remote_code=False))
        height, width = made.pixels(Image.new("RGB", (8, 8))).shape[1:]
        patch = getattr(config, "patch_size", None)
        return cls(transform=made.transform, length=(height // patch) * (width // patch) if patch else 1)

    def pixels(self, image: Image) -> NDArray[np.float32]:
        """The pixels of an image in RGB, (C, H, W)."""
        made: NDArray[np.float32] = np.asarray(self.transform(image, return_tensors="np")["pixel_values"][0])
        return made.astype(np.float32, copy=False)


class Images(Sequence["Features"]):
    """Rows of images, each opened when it is looked at.

    Args:
        processor: the backbone's.
        images: N of them, as `open_image` takes them.
        labels: N class indices, numbers or lists of 0 and 1, if there are any.
    """

    def __init__(self, processor: ImageProcessor, images: Sequence[Any], labels: Sequence[Any] | None = None) -> None:
        self.processor = processor
        self.images = images
        self.labels = labels

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Patches of each row, (N,)."""
        return np.full(len(self), self.processor.length, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.images)

    @overload
    def __getitem__(self, index: int) -> Features: ...
    @overload
    def __getitem__(self, index: slice) -> list[Features]: ...
    def __getitem__(self, index: int | slice) -> Features | list[Features]:
        positions = range(len(self))
        if isinstance(index, slice):
            return [self[position] for position in positions[index]]
        row = positions[index]
        image = self.images[row]
        try:
            opened = open_image(image)
        except InputError as error:
            raise InputError(f"image of row {row + 1}{name_of(image)}: {error}") from error
        features: Features = {"pixel_values": self.processor.pixels(opened), "length": self.processor.length}
        return features if self.labels is None else features | {"labels": self.labels[row]}
