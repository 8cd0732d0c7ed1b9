"""The arithmetic of the benchmarks; no speed is tested."""

import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertTokenizerFast

sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest was not started as `python -m pytest`

from benchmarks import bars, cost, glue_like, kept, models, nearness, plots, report, results
from benchmarks.glue_like import BATCH, LEAST, MOST, ROWS, TIMED, _padded, rows
from benchmarks.literal import LiteralFusion, LiteralScaling
from benchmarks.measure import Case, Setting, interleaved, rows_of, timed
from benchmarks.results import Row, figure, note, summary
from benchmarks.sections import limits, loss_curves, precision
from benchmarks.sections.memory import memory_of
from benchmarks.sections.registry import SECTIONS
from benchmarks.sections.step import SOURCES

from scalearn.backbones import wrap_backbone
from scalearn.deltas import AdapterFusion, Bottleneck, Omega, ScaledSources

WIDTH = 12
CPU = torch.device("cpu")


@pytest.fixture
def double() -> None:
    torch.set_default_dtype(torch.float64)  # the tests' conftest puts it back


def sources(count: int) -> list[Bottleneck]:
    made = [Bottleneck(width=WIDTH, bottleneck=4) for _ in range(count)]
    for source in made:
        for parameter in source.parameters():
            nn.init.normal_(parameter, std=0.5)
    return made


def gradients(delta: nn.Module, z: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    return list(torch.autograd.grad(delta(z).square().sum(), [z, *parameters]))


def assert_same(ours: list[Tensor], others: list[Tensor]) -> None:
    for one, other in zip(ours, others, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12 * max(1.0, float(other.detach().abs().max())))


@pytest.mark.parametrize("count", [1, 3, 8])
def test_literal_scaling_is_ours(double: None, count: int) -> None:
    own, omega = sources(count), Omega(sources=count, width=WIDTH)
    literal, ours = LiteralScaling(own, omega), ScaledSources(own, omega)
    z = torch.randn(2, 5, WIDTH, requires_grad=True)
    assert_same([ours(z)], [literal(z)])
    assert_same(gradients(ours, z, [omega.values]), gradients(literal, z, [omega.values]))
    assert [name for name, p in literal.named_parameters() if p.requires_grad] == ["omega.values"]


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_literal_fusion_is_ours(double: None, count: int, value: bool) -> None:
    own = sources(count)
    ours = AdapterFusion(own, width=WIDTH, value=value).eval()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    literal = LiteralFusion(own, ours).eval()
    z = torch.randn(2, 5, WIDTH, requires_grad=True)
    assert_same([ours(z)], [literal(z)])
    trained = list(ours.parameters())
    assert_same(gradients(ours, z, trained), gradients(literal, z, trained))


def test_ratios_are_taken_within_a_round() -> None:
    cases = [Case(name="a", run=lambda: None, against=("a",)), Case(name="b", run=lambda: None, against=("a",))]
    made = rows_of("step", cases, {"a": [1.0, 10.0, 2.0], "b": [2.0, 40.0, 2.0]})
    ratio = next(row for row in made if row.unit == "x")
    assert (ratio.case, ratio.reference, ratio.n) == ("b", "a", 3)
    assert (ratio.median, ratio.minimum, ratio.maximum, ratio.lower, ratio.upper) == (2.0, 1.0, 4.0, 1.5, 3.0)
    assert len([row for row in made if row.unit == "x"]) == 1, "no case is compared with itself"


def test_every_round_runs_every_case_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    ran: list[str] = []
    cases = [Case(name=name, run=lambda name=name: ran.append(name), repeats=1 + (name == "b")) for name in "abcde"]
    made = interleaved("step", cases, Setting(device=CPU, rounds=5, seed=0, out=tmp_path))
    orders = ["".join(dict.fromkeys(ran[start : start + 6])) for start in range(0, len(ran), 6)]
    assert len(orders) == 1 + 5, "one round to warm up"
    assert all(sorted(order) == list("abcde") for order in orders)
    assert len(set(orders)) > 1
    assert [row.n for row in made] == [5] * 5
    first = list(ran)
    ran.clear()
    interleaved("step", cases, Setting(device=CPU, rounds=5, seed=0, out=tmp_path))
    assert ran == first, "the seed decides the order"


def test_parts_make_the_whole() -> None:
    once = timed(Case(name="a", run=lambda: time.sleep(0.001), parts=4, repeats=2), CPU)
    assert once >= 4 * 0.001


def test_a_section_replaces_its_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.csv"
    told = {"device": "cpu", "commit": "abc", "date": "2026-01-31"}
    results.put(path, "step", [summary("step", "a, b", [1.0, 3.0], "s"), note("step", 'said "so"')], **told)
    results.put(path, "memory", [summary("memory", "m", [5.0], "MB")], **told)
    results.put(path, "step", [summary("step", "c", [0.1 + 0.2], "x", reference="a")], **told)
    read = results.read(path)
    assert [(row.section, row.case) for row in read] == [("memory", "m"), ("step", "c")]
    assert read[1].median == 0.1 + 0.2 and read[1].device == "cpu" and read[1].n == 1
    assert list(path.parent.iterdir()) == [path]
    assert results.read(tmp_path / "absent.csv") == []


@pytest.mark.parametrize(
    ("value", "text"), [(0.0012345, "0.00123"), (1.117, "1.12"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert figure(value) == text


def test_memory_counts_what_is_held_and_saved_once() -> None:
    layer = nn.Linear(100, 200, bias=False)
    x = torch.randn(50, 100, requires_grad=True)

    def step() -> None:
        hidden = layer(x)  # 50 x 200, saved twice by the product, once by the exponential
        (hidden * hidden + hidden.exp()).sum().backward()

    peak, saved = memory_of(layer, step, CPU)
    hidden = 50 * 200 * 4
    assert saved == 2 * hidden + 50 * 100 * 4, "hidden and its exponential, and the input; not the weight"
    assert 3 * hidden <= peak <= 8 * hidden + 4 * 100 * 200


def test_a_plain_step_costs_its_products() -> None:
    small = cost.Network(layers=2, width=3, feed_forward=5, bottleneck=2)
    tokens, length = 8, 4
    maps, attention = 8 * tokens * 9 + 4 * tokens * 15, 4 * tokens * length * 3
    plain = cost.training_operations(2, 4, network=small)
    assert plain == 2 * (maps + attention) + maps + 2 * attention
    through = 4 * tokens * 3 * 2
    ours = cost.training_operations(2, 4, sources=1, network=small)
    assert ours - plain == 2 * through + through + 2 * through / 2
    literal = cost.training_operations(2, 4, sources=1, literal=True, network=small)
    assert literal - plain == 2 * through + through
    assert cost.training_operations(2, 4, first_token=True, network=small) < plain


def test_lengths_are_like_glue() -> None:
    lengths = torch.tensor([len(row["input_ids"]) for row in rows(4096)], dtype=torch.float64)
    assert lengths.min() >= LEAST and lengths.max() == MOST
    assert 37 < lengths.mean() < 41 and 20 < lengths.std() < 27
    padded = _padded(rows(1)[0])
    assert {len(padded[key]) for key in ("input_ids", "attention_mask", "token_type_ids")} == {MOST}
    assert sum(padded["attention_mask"]) == len(rows(1)[0]["input_ids"])
    assert ROWS % (TIMED * BATCH) == 0


def measured() -> list[Row]:
    """Rows as the sections `step`, `memory` and `machine` write them."""
    made = [summary("machine", "copy", [50.0], "GB/s"), summary("facts", "a machine", [0.0], "note")]
    for number_format, counts in SOURCES.items():
        made.append(summary("machine", f"{number_format}, 4096 x 384 x 384", [200.0, 210.0], "GFlop/s"))
        plain = f"{number_format}, plain"
        made.append(summary("step", plain, [0.4, 0.5], "s"))
        made.append(summary("memory", f"{plain}: saved", [500.0], "MB"))
        for count in counts:
            for name, factor in (("ours", 1.01**count), ("literal", 1.2**count)):
                case = f"{number_format}, {name}, T = {count}"
                made.append(summary("step", case, [0.4 * factor, 0.5 * factor], "s"))
                made.append(summary("step", case, [factor, factor + 0.1], "x", reference=plain))
                made.append(summary("memory", f"{case}: peak", [factor], "x", reference=f"{plain}: peak"))
    return made


def test_bars_are_judged_by_medians() -> None:
    table = bars.table(measured())
    eight = [line for line in table.splitlines() if "frozen backbone's, T = 8" in line]
    assert len(eight) == len(SOURCES)
    assert "1.13 (1.08 to 1.18)" in eight[0] and "no, by 1.1" in eight[0]
    assert "| epoch, published over ours without it | >= 17 | not measured | |" in table


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In MiniLM's place a random BERT of 2 layers and width 8, and small batches."""
    config = BertConfig(
        vocab_size=20_000, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    tokenizer = BertTokenizerFast(vocab={"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4})
    own = wrap_backbone(BertModel(config), tokenizer, name="small")
    monkeypatch.setattr(models, "_loaded", lambda: own)
    tokens = models.tokens
    monkeypatch.setattr(models, "tokens", lambda rows, length, device: tokens(min(rows, 2), min(length, 16), device))
    monkeypatch.setattr(glue_like, "rows", partial(rows, 3 * TIMED * BATCH))
    for cached in (models.sources, models._source):
        cached.cache_clear()
    yield
    for cached in (models.sources, models._source):
        cached.cache_clear()


def test_sections_run_and_write_what_bars_judge(small: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(precision, "_has_compiler", lambda device: False)
    monkeypatch.setattr(limits, "COPIED", 1024)
    setting = Setting(device=CPU, rounds=1, seed=0, out=tmp_path)
    written: list[Row] = []
    for name, section in SECTIONS.items():
        if name not in ("start", "grid", "allocation"):  # of their own processes
            own = section.run(setting)
            assert {row.section for row in own} == {name}
            assert all(row.n == 0 or 0 <= row.minimum <= row.median <= row.maximum for row in own)
            written += own
    assert {bar.section for bar in bars.BARS if not bar.rows(written)} == {"start"}
    assert all((bar.least is None) != (bar.most is None) for bar in bars.BARS)
    assert len(nearness.text(written).splitlines()) > len(nearness.text([]).splitlines()) + 2 * len(nearness.PATHS)


def test_report_and_plots(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    made = measured()
    for section in ("facts", "step", "memory", "machine"):
        own = [row for row in made if row.section == section]
        results.put(path, section, own, device="cpu (x)", commit="0123456789abc", date="2026-01-31")
    curves = {(f, s): [0.7 - 0.001 * i + 0.01 * s for i in range(60)] for f in ("fp32", "bf16") for s in (0, 1)}
    loss_curves.write_curves(tmp_path / loss_curves.CURVES, curves)
    drawn = plots.draw(tmp_path, results.read(path))
    assert set(drawn) == {"step", "memory", "loss_curves"}
    text = report.write(tmp_path, results.read(path), drawn).read_text(encoding="utf-8")
    assert all((tmp_path / name).stat().st_size > 1000 and name in text for name in ("plots/step.png",))
    assert "measured on 2026-01-31 at commit 0123456789, cpu (x): step, memory, machine" in text
    assert "It was never run on one." in text
    assert "| bf16, ours, T = 8 |" in text and "_" not in nearness.text([])[-1:]
    assert "GFlop" in nearness.text(made)


def test_loss_curves_are_compared_by_window() -> None:
    fp32 = [[1.0] * 40, [1.2] * 40]
    bf16 = [[1.0] * 20 + [1.1] * 20, [1.2] * 40]
    curves = {("fp32", s): fp32[s] for s in (0, 1)} | {("bf16", s): bf16[s] for s in (0, 1)}
    found = {row.case: row.median for row in loss_curves.compared(curves)}
    assert found["largest difference of means"] == pytest.approx(0.05)
    assert found["largest difference within a seed"] == pytest.approx(0.1)
    assert found["standard deviation among seeds, mean"] == pytest.approx(0.2 / 2**0.5)


def test_every_section_says_what_it_measures() -> None:
    for name, section in SECTIONS.items():
        assert section.title and len(section.text) > 40, name


@pytest.mark.parametrize("batching", ["padded", "buckets", "tokens"])
def test_the_batches_that_are_timed_stand_for_the_epoch(small: None, batching: glue_like.Batching) -> None:
    own = rows(2048)
    timed, parts = glue_like.batches(own, batching)
    tokens = parts * sum(batch["attention_mask"].sum().item() for batch in timed)
    assert tokens == pytest.approx(sum(len(row["input_ids"]) for row in own), rel=0.15)
    seen = parts * sum(len(batch["labels"]) for batch in timed)
    assert seen == pytest.approx(len(own), rel=0.15)
    widths = {batch["input_ids"].shape[1] for batch in timed}
    assert widths == {MOST} if batching == "padded" else len(widths) > 3


# ---- sources kept


def test_what_is_pruned_takes_up_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "SOURCES", 4)
    made = kept.makers()
    sizes = {name: kept.stacked(made[name]()) for name in (kept.WHOLE, "pruned to 2", "pruned to 1")}
    assert sizes[kept.WHOLE] == 2 * sizes["pruned to 2"] == 4 * sizes["pruned to 1"] > 0


def test_a_case_is_shown_with_its_factor() -> None:
    found = [summary("step", "a", [0.1, 0.2, 0.3], "s"), summary("step", "a", [0.5, 0.5], "x", reference="b")]
    assert kept._cells(found, "a") == ["200 (100 to 300)", "0.500 (0.500 to 0.500)"]
    assert kept._cells(found[:1], "a") == ["200 (100 to 300)", "1"]
