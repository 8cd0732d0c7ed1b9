"""Images from a file to answers: opened, made into pixels, learned from, saved, folded, and refused where need be."""

from __future__ import annotations

import csv
import io
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageDraw, ImageOps
from transformers import (
    AutoModel,
    BitImageProcessorPil,
    DeiTConfig,
    DeiTImageProcessorPil,
    Dinov2Config,
    ViTConfig,
    ViTImageProcessorPil,
)

from scalearn import images
from scalearn.backbones import load_backbone
from scalearn.cli import main
from scalearn.encoding import Reordered, collator, encode, labels_of, lengths_of, padded_lengths_of
from scalearn.errors import InputError
from scalearn.images import ImageProcessor, Images, open_image
from scalearn.joint import JointModel
from scalearn.methods import HeadOnly, JointRecipe, changed, recipe_for
from scalearn.model import TransferModel
from scalearn.shelf import Shelf
from scalearn.tasks import Task
from scalearn.training import evaluate, train, train_joint

SIZE = 16
COLOURS = {"blue": (40, 60, 200), "red": (200, 50, 40)}
TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4, "initializer_range": 0.3}
SQUARE = {"height": SIZE, "width": SIZE}


def draw(colour: str, seed: int = 0) -> Image.Image:
    """A square of a colour somewhere on grey noise, 24 x 20."""
    chance = random.Random(seed)
    noise = np.random.default_rng(seed).integers(100, 150, (20, 24, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    left, top = chance.randint(0, 12), chance.randint(0, 8)
    ImageDraw.Draw(image).rectangle((left, top, left + 11, top + 11), fill=COLOURS[colour])
    return image


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def write_squares(folder: Path, *, rows: int, seed: int = 0) -> Path:
    """A CSV file and, beside it, the images that it names."""
    (folder / "pictures").mkdir(parents=True)
    path = folder / "squares.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", "colour"])
        for row in range(rows):
            colour = list(COLOURS)[row % 2]
            draw(colour, seed=seed + row).save(folder / f"pictures/{row}.png")
            writer.writerow([f"pictures/{row}.png", colour])
    return path


def write_backbone(folder: Path, kind: str = "vit") -> str:
    """A random vision backbone and its image processor."""
    config, processor = {
        "vit": (ViTConfig(**TINY, intermediate_size=32, image_size=SIZE), ViTImageProcessorPil(size=SQUARE)),
        "deit": (
            DeiTConfig(**TINY, intermediate_size=32, image_size=SIZE),
            DeiTImageProcessorPil(size={"height": 18, "width": 18}, crop_size=SQUARE),
        ),
        "dinov2": (
            Dinov2Config(**TINY, mlp_ratio=2, image_size=24),
            BitImageProcessorPil(size={"shortest_edge": 18}, crop_size=SQUARE),
        ),
    }[kind]
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def vision(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a random ViT: 2 layers, width 16, 16 patches of 4 x 4 pixels."""
    return write_backbone(tmp_path_factory.mktemp("vision") / "vit")


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images: is the square red or blue?"""
    return write_squares(tmp_path_factory.mktemp("squares"), rows=40)


@pytest.fixture(scope="session")
def colours(squares: Path) -> Task:
    """The task of `squares`."""
    return Task.from_files(squares, image="picture", label="colour", name="colours")


def learned(model: TransferModel, out: Path) -> TransferModel:
    """The model, trained for a second."""
    recipe = recipe_for(model.method, "default", kind=model.task.kind, task=model.task.name)
    steps = {"epochs": 8, "learning_rate": 0.02, "head_learning_rate": 0.01}
    train(model, out, recipe=changed(recipe, steps), progress=False)
    return model


@pytest.fixture(scope="session")
def runs(vision: str, colours: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``shelf/colours``, a source that was trained on the squares, and ``model``, transferred from it to them."""
    folder = tmp_path_factory.mktemp("runs")
    learned(TransferModel.from_backbone(vision, task=colours, method="adapter"), folder / "shelf/colours")
    shelf = Shelf(folder / "shelf")
    target = replace(colours, name="again")
    learned(TransferModel.from_backbone(vision, task=target, method="scalearn", sources=shelf), folder / "model")
    return folder


@pytest.fixture
def model(runs: Path) -> TransferModel:
    """The transferred model, loaded for this test alone."""
    return TransferModel.from_pretrained(runs / "model")


# ---- one image


@pytest.mark.parametrize(
    "given",
    [
        lambda image, path: str(path),
        lambda image, path: path,
        lambda image, path: path.read_bytes(),
        lambda image, path: {"path": str(path), "bytes": None},
        lambda image, path: {"path": "elsewhere.png", "bytes": path.read_bytes()},
        lambda image, path: image,
    ],
)
def test_an_image_is_opened_from_wherever_it_is(given: Callable[[Image.Image, Path], Any], tmp_path: Path) -> None:
    image, path = draw("red"), tmp_path / "a.png"
    image.save(path)
    opened = open_image(given(image, path))
    assert opened.mode == "RGB" and np.array_equal(opened, image)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_mode_is_read_as_rgb(mode: str) -> None:
    image = draw("blue").convert(mode)
    assert np.array_equal(open_image(image), image.convert("RGB"))


def test_an_image_is_turned_as_its_camera_says() -> None:
    image, exif = draw("red"), Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=exif)
    assert np.array_equal(open_image(stream.getvalue()), image.transpose(Image.Transpose.ROTATE_270))


@pytest.mark.parametrize("orientation", range(10))
def test_every_orientation_is_that_of_pillow(orientation: int) -> None:
    image = draw("red")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stream = io.BytesIO()
    image.save(stream, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(stream.getvalue())))
    assert np.array_equal(open_image(stream.getvalue()), expected)


def test_a_tag_of_another_type_does_no_harm() -> None:
    """The width as a text, as some cameras write it: read well, but it cannot be written as it was."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "x" * 20
    stream = io.BytesIO()
    draw("red").save(stream, "JPEG", exif=exif)
    data = stream.getvalue()
    odd = data.replace(b"\x01\x0e\x00\x02", b"\x01\x00\x00\x02", 1)  # ImageDescription becomes ImageWidth
    assert odd != data and np.array_equal(open_image(odd), open_image(data))


def deep() -> bytes:
    return encoded(Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 256))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no image", "no image of the formats PNG, JPEG"),
        (b"", "no image of the formats"),
        (encoded(draw("red"))[:-200], "cannot be decoded"),
        (encoded(draw("red"), "JPEG")[:-200], "cannot be decoded"),
        (deep(), "more than 8 bits"),
        (encoded(draw("red"), "EPS"), "no image of the formats"),  # Pillow would start Ghostscript
    ],
    ids=["text", "empty", "cut PNG", "cut JPEG", "16 bits", "EPS"],
)
def test_what_cannot_be_read_with_certainty_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(data)
    for image in (data, path):
        with pytest.raises(InputError, match=message):
            open_image(image)


@pytest.mark.parametrize("place", ["missing.png", ".", "a text", "https://example.org/a.png"])
def test_what_is_no_file_is_refused(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="there is no such file"):
        open_image(place)


@pytest.mark.parametrize("value", [None, 3, {"path": None, "bytes": None}])
def test_what_is_no_image_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="is no path"):
        open_image(value)


# ---- backbones and their processors


@pytest.mark.parametrize("kind", ["vit", "deit", "dinov2"])
def test_a_vision_backbone_brings_its_image_processor(kind: str, tmp_path: Path) -> None:
    backbone = load_backbone(write_backbone(tmp_path / kind, kind))
    assert backbone.tokenizer is None and backbone.pooling == "first"
    processor = backbone.image_processor
    assert processor is not None and processor.length == 16
    pixels = processor.pixels(draw("red"))
    expected = processor.transform(draw("red"), return_tensors="pt")["pixel_values"][0]
    assert pixels.dtype == np.float32 and np.array_equal(pixels, expected)
    batch = {"pixel_values": torch.from_numpy(pixels)[None]}
    first = backbone.model(**batch).last_hidden_state[:, 0]
    torch.testing.assert_close(backbone.pooled(Images(processor, [draw("red")])), first)


def test_a_vision_backbone_without_processor_is_refused(vision: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(vision, tmp_path / "copy"))
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"cannot be loaded.*preprocessor_config.json"):
        load_backbone(str(folder))


def test_texts_and_images_do_not_go_together(vision: str, tiny_backbone: str, colours: Task, task: Task) -> None:
    with pytest.raises(InputError, match=r"'colours' is of images, but backbone .*tiny reads texts: give a vision"):
        TransferModel.from_backbone(tiny_backbone, task=colours, method="head")
    with pytest.raises(InputError, match=r"'reviews' is of texts, but backbone .*vit reads images: give"):
        TransferModel.from_backbone(vision, task=task, method="head")


def test_a_backbone_wrapped_without_processor_says_so(vision: str, colours: Task) -> None:
    bare = replace(load_backbone(vision), image_processor=None)
    with pytest.raises(InputError, match="without a tokenizer or image processor"):
        TransferModel.from_backbone(bare, task=colours, method="head").predict([draw("red")])


# ---- rows


@pytest.fixture
def processor(vision: str) -> ImageProcessor:
    made = load_backbone(vision).image_processor
    assert made is not None
    return made


def test_rows_are_opened_when_they_are_looked_at(
    processor: ImageProcessor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(images, "open_image", lambda image: opened.append(image) or draw("red"))
    rows = encode(processor, {"image": ["a", "b", "c"]}, max_length=8, labels=[0, 1, 0])
    turned = Reordered(rows, np.array([2, 0, 1]))
    assert lengths_of(turned).tolist() == [16] * 3 and list(labels_of(turned)) == [0, 0, 1] and len(rows[1:]) == 2
    assert opened == ["b", "c"]
    assert rows[-1]["labels"] == 0 and turned[2]["labels"] == 1
    assert padded_lengths_of(rows).tolist() == [16] * 3


def test_a_batch_is_pixels_and_labels(processor: ImageProcessor) -> None:
    rows = Images(processor, [draw("red"), draw("blue")], [1, 0])
    batch = collator(processor)(rows[:])
    assert batch.keys() == {"pixel_values", "labels"} and batch["labels"].tolist() == [1, 0]
    assert batch["pixel_values"].shape == (2, 3, SIZE, SIZE) and batch["pixel_values"].dtype == torch.float32
    assert np.array_equal(batch["pixel_values"][1], processor.pixels(draw("blue")))


def test_an_image_that_went_missing_is_named(processor: ImageProcessor, tmp_path: Path) -> None:
    rows = Images(processor, [draw("red"), tmp_path / "gone.png"])
    with pytest.raises(InputError, match=r"image of row 2 \(.*gone\.png\): there is no such file"):
        rows[1]


# ---- from training to answers


def held_out(folder: Path) -> Path:
    return write_squares(folder, rows=20, seed=1000)


def test_it_is_learned(runs: Path, model: TransferModel, tmp_path: Path) -> None:
    assert Shelf(runs / "shelf")["colours"].task["image"] == "picture"
    task = model.task.with_file(held_out(tmp_path))
    assert evaluate(model, task=task)["accuracy"] >= 0.9


def test_answers_do_not_depend_on_how_an_image_is_given(model: TransferModel, tmp_path: Path) -> None:
    file = held_out(tmp_path)
    rows = model.task.read_rows(file)
    paths = [tmp_path / f"pictures/{row}.png" for row in range(20)]
    ways: list[Sequence[Any]] = [rows, paths, [str(p) for p in paths], [Image.open(p) for p in paths]]
    answers = [model.predict(way, batch_size=7) for way in ways]
    assert all(other == answers[0] for other in answers[1:])
    labels = model.task.with_file(file).splits["test"]["label"][:]
    right = [model.task.labels[label] == answer.label for label, answer in zip(labels, answers[0], strict=True)]
    assert sum(right) >= 18


def test_a_folded_model_gives_the_same_answers(model: TransferModel, tmp_path: Path) -> None:
    rows = model.encode({"image": [draw("red"), draw("blue", seed=3)]})
    expected = model.logits(rows)
    model.fold().save_pretrained(tmp_path / "folded")
    folded = TransferModel.from_pretrained(tmp_path / "folded")
    assert not folded.sources and folded.method.name == "adapter"
    torch.testing.assert_close(folded.logits(rows), expected)


def test_hidden_states_and_the_mean_over_patches(vision: str, colours: Task) -> None:
    model = TransferModel.from_backbone(vision, task=colours, method="head", pooling="mean").eval()
    batch = collator(model.need_processor())(model.rows_of(colours, "dev")[:3])
    output = model(**batch, output_hidden_states=True)
    torch.testing.assert_close(output.logits, model(**batch).logits)
    assert [tuple(states.shape) for states in output.hidden_states or ()] == [(3, 17, 16)] * 3


def test_a_head_alone_opens_each_image_once(vision: str, colours: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    model = TransferModel.from_backbone(vision, task=colours, method=HeadOnly())
    model.backbone_dropout = False
    opened: list[Any] = []
    monkeypatch.setattr(images, "open_image", lambda image: opened.append(image) or open_image(image))
    pooled = model.pooled_of(model.head, model.rows_of(colours, "train"))
    assert len(opened) == 32 and [row["labels"] for row in pooled] == colours.splits["train"]["label"][:]


@pytest.mark.parametrize("kind", ["deit", "dinov2"])
def test_other_architectures_learn(kind: str, colours: Task, tmp_path: Path) -> None:
    model = TransferModel.from_backbone(write_backbone(tmp_path / kind, kind), task=colours, method="adapter")
    before = model.predict([draw("red")])
    recipe = changed(recipe_for(model.method, kind=colours.kind), {"steps": 2, "evaluate_every": 2})
    train(model, tmp_path / "out", recipe=recipe, progress=False)
    loaded = TransferModel.from_pretrained(tmp_path / "out")
    assert loaded.predict([draw("red")]) == model.predict([draw("red")]) != before


def test_other_kinds_of_labels(vision: str, squares: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(squares.parent, tmp_path / "copy")
    rows = list(csv.DictReader(squares.open()))
    for kind, labels in (("regression", [f"{i}.5" for i in range(40)]), ("multi-label", ["a", "a;b", "b", ""] * 10)):
        path = folder / f"{kind}.csv"
        pairs = zip(rows, labels, strict=True)
        path.write_text("picture,y\n" + "".join(f"{row['picture']},{label}\n" for row, label in pairs))
        task = Task.from_files(path, image="picture", label="y", kind=kind)  # type: ignore[arg-type]
        model = TransferModel.from_backbone(vision, task=task, method="adapter")
        result = train(model, recipe=changed(recipe_for(model.method, kind=task.kind), {"epochs": 1}), progress=False)
        assert np.isfinite(result.metrics["dev"]["loss"])
        (answer,) = model.predict([draw("red")])
        assert isinstance(answer.label, float if kind == "regression" else tuple)


def test_several_tasks_of_images_share_adapters(vision: str, colours: Task, tmp_path: Path) -> None:
    tasks = [colours, replace(colours, name="again")]
    model = JointModel.from_backbone(vision, tasks=tasks, method="adapter-m")
    recipe = JointRecipe(steps=4, evaluate_every=2, learning_rate=1e-2, head_learning_rate=1e-2)
    result = train_joint(model, tmp_path / "joint", recipe=recipe, progress=False)
    assert result.metrics.keys() == {"colours", "again"}
    loaded = JointModel.from_pretrained(tmp_path / "joint")
    assert loaded.predict([draw("red")], task="again") == model.predict([draw("red")], task="again")


@pytest.mark.parametrize("method", ["lorahub", "best-source"])
def test_sources_are_chosen_by_images_too(vision: str, colours: Task, runs: Path, method: str) -> None:
    model = TransferModel.from_backbone(vision, task=colours, method=method, sources=Shelf(runs / "shelf"))
    assert len(model.sources) == 1


def test_similarity_is_of_texts(vision: str, colours: Task, runs: Path) -> None:
    with pytest.raises(InputError, match="has images, and similarity is of texts"):
        TransferModel.from_backbone(vision, task=colours, method="adaptersoup", sources=Shelf(runs / "shelf"))


# ---- what is refused


def test_all_bad_images_are_named(model: TransferModel, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    rows = [draw("red"), tmp_path / "gone.png", bad, 3, *[tmp_path / "x.png"] * 4]
    with pytest.raises(InputError) as caught:
        model.predict(rows)
    message = str(caught.value)
    assert message.startswith(
        f"7 of 8 images cannot be used: row 2 ({tmp_path}/gone.png): there is no such file; row 3"
    )
    assert "row 4: int is no path" in message and "; and 2 more: correct or drop" in message and "\n" not in message


@pytest.mark.parametrize("given", ["a.png", Path("a.png"), b"bytes", draw("red")])
def test_one_image_instead_of_a_list_is_refused(model: TransferModel, given: Any) -> None:
    with pytest.raises(InputError, match="predict takes a list of rows"):
        model.predict(given)


def test_an_image_is_no_text(tiny_backbone: str, task: Task) -> None:
    model = TransferModel.from_backbone(tiny_backbone, task=task, method="head")
    for row in (draw("red"), Path("a.png")):
        with pytest.raises(InputError, match=r"row 1 is .*give 1 text\(s\) per row"):
            model.predict([row])


def test_no_rows(model: TransferModel) -> None:
    assert model.predict([]) == []


# ---- the command line


@pytest.fixture
def scalearn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Runs a command line; returns how it ended and what it printed."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["scalearn", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out if not stop.value.code else captured.err

    return run


def test_commands(scalearn: Callable[..., tuple[int, str]], vision: str, squares: Path, tmp_path: Path) -> None:
    data = ("--train-file", squares, "--image", "picture", "--label", "colour", "--backbone", vision, "--steps", 1)
    code, out = scalearn("train", *data, "--quiet", "--out", tmp_path / "shelf/colours")
    assert code == 0 and "(a source)" in out, out
    model = tmp_path / "model"
    shelf = ("--sources", tmp_path / "shelf", "--name", "again", "--out", model)
    code, out = scalearn("transfer", *data, "--quiet", *shelf)
    assert code == 0 and "scalearn on again" in out, out
    card = (model / "README.md").read_text()
    assert "image-classification" in card and "Image column" in card and "tokens" not in card
    file = held_out(tmp_path / "new")
    pictures = [file.parent / "pictures/0.png", file.parent / "pictures/1.png"]
    code, out = scalearn("predict", model, *pictures)
    header, *answers = csv.reader(out.splitlines())
    assert code == 0 and header == ["label", "blue", "red"] and len(answers) == 2
    code, out = scalearn("predict", model, "--file", file)
    assert code == 0 and list(csv.reader(out.splitlines()))[1:3] == answers
    code, out = scalearn("evaluate", model, "--file", file)
    assert code == 0 and "(20 rows): accuracy" in out


def test_images_elsewhere(scalearn: Callable[..., tuple[int, str]], runs: Path, tmp_path: Path) -> None:
    file = held_out(tmp_path / "new")
    moved = file.rename(tmp_path / "table.csv")
    code, out = scalearn("predict", runs / "model", "--file", moved)
    assert code != 0 and "20 of 20 images" in out and "there is no such file" in out
    code, out = scalearn("predict", runs / "model", "--file", moved, "--image-folder", tmp_path / "new")
    assert code == 0 and len(out.splitlines()) == 21
    code, out = scalearn("predict", runs / "model", "--image-folder", tmp_path, tmp_path / "new/pictures/0.png")
    assert code != 0 and "--image-folder" in out


def test_a_text_backbone_at_the_command_line(
    scalearn: Callable[..., tuple[int, str]], tiny_backbone: str, squares: Path, tmp_path: Path
) -> None:
    data = ("--train-file", squares, "--image", "picture", "--label", "colour", "--backbone", tiny_backbone)
    code, out = scalearn("train", *data, "--out", tmp_path / "out")
    assert code != 0 and "reads texts: give a vision backbone" in out and not (tmp_path / "out").exists()
