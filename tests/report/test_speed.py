"""The tables of docs/performance.md: rows, floors, the authors' code beside ours, and that verify holds the page."""

import msgspec
import pytest

from ssm_bench.bench.recording import SIZES
from ssm_bench.cli import main
from ssm_bench.record import store, validate_speed
from ssm_bench.report import figures, floor, speed
from ssm_bench.report.summary import summary

H100 = "NVIDIA H100 80GB HBM3"
PAGE = "# Speed\n\n" + "\n".join(
    f"<!-- table:begin {name} --><!-- table:end -->"
    for name in (
        *("speed-steps", "speed-epochs", "speed-backends", "speed-operations", "speed-lengths", "speed-streams"),
        *("speed-segments", "speed-compile"),
    )
)


def at(shape, found, backend=""):
    """Numbers by the names of their metrics, as those of a backend at a shape."""
    return {(metric, backend, shape): value for metric, value in found.items()}


def record(name, found, **changes):
    """A speed record of an H100; `found` has sizes, metrics, and metrics at shapes."""
    sizes = {size: value for size, value in found.items() if size in SIZES}
    keys = {key: key if isinstance(key, tuple) else (key, "", ()) for key in found.keys() - sizes.keys()}
    measurements = [
        {"metric": metric, "backend": backend, "shape": shape, "value": found[key]}
        for key, (metric, backend, shape) in keys.items()
    ]
    return validate_speed(
        {
            "schema_version": 2,
            "kind": "speed",
            "benchmark": "step",
            "name": name,
            "model": None,
            "task": None,
            "sizes": sizes,
            "measurements": measurements,
            "config_hash": None,
            "device": {"platform": "gpu", "kind": H100, "count": 1, "shared": False},
            "versions": {"jax": "0.11.2"},
            "revision": {"commit": "abcdef0123", "dirty": False},
            "created": "2026-01-02T03:04:05Z",
        }
        | changes
    )


SAME = {"batch_size": 50, "length": 2048, "directions": 2}
STEP = SAME | {"step_ms": 10.0, "tokens_per_second": 10_240_000.0, "layers": 8}
OURS = record("step-s5-listops-gpu", STEP | {"d_model": 128, "peak_bytes": 2**30}, model="s5", task="listops")
THEIRS = record(
    "peer-lindermanlab-s5-listops-gpu",
    SAME | {"step_ms": 25.0, "peak_bytes": 2**31},
    model="s5",
    task="listops",
    implementation="lindermanlab/S5@3c18fdb",
)
SHAPE = (2, 100, 3, 4)
AUTO = {"forward_ms": 1.0, "forward_backward_ms": 4.0, "temporary_bytes": 2**29, "output_bytes": 2**28}
SCAN = record(
    "scan-selective_scan-gpu",
    at(SHAPE, AUTO, "auto") | at(SHAPE, {"forward_ms": 5.0, "forward_backward_ms": 8.0}, "associative"),
    benchmark="scan",
    operation="selective_scan",
)
CUDA = record(
    "peer-state-spaces-selective_scan-gpu",
    at(SHAPE, {"forward_ms": 3.0, "forward_backward_ms": 6.0, "temporary_bytes": 2**30}, "cuda"),
    benchmark="scan",
    operation="selective_scan",
    implementation="state-spaces/mamba@e9594ce",
)


def rows(block):
    """Cells of a Markdown table, without its head."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines()[2:]]


def test_a_step_stands_beside_the_floor_and_the_authors_code():
    (row,) = rows(speed.blocks([OURS, THEIRS])["speed-steps"])
    assert row[:3] == ["s5", "listops", "50 x 2048"]
    assert row[3:5] == ["float32", "[10](../results/speed/step-s5-listops-gpu.json)"]
    # Five passes over 102,400 tokens x 128 numbers x 8 layers x 4 bytes, at 3.35 TB/s.
    assert row[5] == f"{1000 * 5 * 102_400 * 128 * 8 * 4 / 3.35e12:.3g}"
    assert row[6] == "1 GiB" and row[9] == "2 GiB"
    assert "[25]" in row[7] and "lindermanlab/S5@3c18fdb, float32" in row[7] and row[8] == "2.50"
    assert row[10].startswith("NVIDIA H100 80GB HBM3, jax 0.11.2, abcdef0, 2026-01-02")


def test_the_faster_way_of_starting_the_authors_steps_counts():
    times = SAME | {"step_ms": 25.0, "step_ms_one_per_call": 20.0}
    peer = record("peer-a-s5-listops-gpu", times, model="s5", task="listops", implementation="a/b")
    (row,) = rows(speed.blocks([OURS, peer])["speed-steps"])
    assert "[20]" in row[7] and row[8] == "2.00"
    assert "2.00×" in summary([OURS, peer], "results/speed")


def test_the_summary_has_a_table_for_each_kind_of_device():
    h200 = {"device": {"platform": "gpu", "kind": "NVIDIA H200", "count": 1, "shared": False}}
    half = record("step-s5-text-gpu", STEP | {"activation_bits": 16}, model="s5", task="text", **h200)
    full = record("peer-s5-text-gpu", SAME | {"step_ms": 5.0}, model="s5", task="text", implementation="a/b", **h200)
    alone = record("step-lru-text-gpu", STEP, model="lru", task="text")
    text = summary([half, full, THEIRS, OURS, alone], "results/speed")
    first, second = text.split("\n\n| NVIDIA H200")
    assert rows(first) == [["s5, float32", "[10](results/speed/step-s5-listops-gpu.json) ms, 2.50×", *["–"] * 5]]
    assert "[10](results/speed/step-s5-text-gpu.json) ms, 0.50×‡ |" in second
    assert second.endswith("‡: the authors' code in float32.")
    assert summary([alone], "results/speed") == "No record yet."


def test_an_epoch_stands_beside_the_step_of_the_authors_code():
    found = SAME | {"sequences_per_second": 8000.0, "epoch_step_ms": 6.25, "padded_share": 0.6, "lengths": 4}
    ours = record("epoch-s5-listops-gpu", found, model="s5", task="listops", benchmark="epoch")
    (row,) = rows(speed.blocks([ours, THEIRS])["speed-epochs"])
    # Theirs: 50 sequences in 25 ms.
    assert row[2:5] == ["50", "4", "0.6"] and "8,000" in row[6] and "2,000" in row[7] and row[8] == "4.00"
    assert row[7].endswith("lindermanlab/S5@3c18fdb, float32")


def test_half_precision_is_named():
    half = record(
        "step-s5-listops-bf16-gpu", STEP | {"d_model": 128, "activation_bits": 16}, model="s5", task="listops"
    )
    narrow, full = rows(speed.blocks([OURS, half])["speed-steps"])
    assert (narrow[3], full[3]) == ("bf16", "float32")
    # Half the bytes. Rounded to three digits.
    assert float(narrow[5]) == pytest.approx(float(full[5]) / 2, rel=1e-2)


def test_other_sizes_and_devices_are_not_compared():
    causal = record(THEIRS.name, SAME | {"step_ms": 1.0, "directions": 1}, model="s5", task="listops",
                    implementation="x/y@1")  # fmt: skip
    smaller = record(THEIRS.name, SAME | {"step_ms": 1.0, "batch_size": 32}, model="s5", task="listops",
                     implementation="x/y@1")  # fmt: skip
    other = msgspec.structs.replace(THEIRS, device=msgspec.structs.replace(THEIRS.device, kind="NVIDIA H200"))
    for peer in (causal, smaller, other):
        (row,) = rows(speed.blocks([OURS, peer])["speed-steps"])
        assert row[7:10] == ["–", "–", "–"]


@pytest.mark.parametrize(
    ("overrides", "shown", "compared"),
    [
        ({"config.model.d_model": "8"}, "s5, --config.model.d\\_model=8", False),
        ({"config.model.precision": "bf16", "protocol": "paper"}, "s5, --protocol=paper", False),
        ({"config.model.precision": "bf16"}, "s5", True),
        ({"config.scaffold.activation": "half_glu"}, "s5, --config.scaffold.activation=half\\_glu", False),
        (
            {"config.mixer.bidirectional": "false", "config.scaffold.activation": "glu"},
            "s5, --config.mixer.bidirectional=false, --config.scaffold.activation=glu",
            True,
        ),
    ],
)
def test_a_step_with_other_settings_names_them_and_is_compared_if_the_recipe_is_the_same(overrides, shown, compared):
    ours = msgspec.structs.replace(OURS, name="step-mine-gpu", overrides=overrides)
    (row,) = rows(speed.blocks([ours, THEIRS])["speed-steps"])
    assert row[0] == shown
    assert (row[8] == "2.50") == compared == ("2.50" in summary([ours, THEIRS], "results/speed"))


@pytest.mark.parametrize("size", ["layers", "d_model"])
def test_layers_and_width_are_compared_where_the_authors_record_tells_them(size):
    for sizes, times in (({}, "2.50"), ({size: OURS.sizes[size]}, "2.50"), ({size: 3}, "–")):
        peer = msgspec.structs.replace(THEIRS, sizes=THEIRS.sizes | sizes)
        (row,) = rows(speed.blocks([OURS, peer])["speed-steps"])
        assert row[8] == times


def test_a_step_that_reads_one_way_says_so():
    causal = record("step-s5-listops-forward-gpu", STEP | {"directions": 1}, model="s5", task="listops")
    one, both = rows(speed.blocks([OURS, causal])["speed-steps"])
    assert (one[2], both[2]) == ("50 x 2048, one way", "50 x 2048")


def test_an_operation_stands_beside_the_authors_kernel():
    reference, row = rows(speed.blocks([SCAN, CUDA])["speed-operations"])
    assert reference[2] == "associative" and reference[8] == reference[11] == "–"
    assert row[:3] == ["selective\\_scan", "2x100x3x4", "auto"]
    assert row[7:9] == ["0.5 GiB", "0.75 GiB"]
    assert row[11] == "5.00 / 2.00" and "3 / 6" in row[12] and row[13] == "3.00 / 1.50"
    assert row[14] == "1 GiB"
    alone = record(SCAN.name, at(SHAPE, {"forward_ms": 1.0}, "auto"), benchmark="scan", operation="selective_scan")
    (row,) = rows(speed.blocks([alone])["speed-operations"])
    assert row[11:15] == ["–"] * 4


def test_backends_and_lengths_have_a_row_each():
    found = at((), {"step_ms": 2.0, "times_faster": 2.5}, "auto") | at((), {"step_ms": 5.0}, "associative")
    sizes = {"batch_size": 4, "length": 32}
    compared = record("compare-lru-text-gpu", found | sizes, model="lru", task="text", benchmark="compare")
    found = at((64,), {"step_ms": 2.0, "batch_size": 16}) | at((1024,), {"step_ms": 9.0, "batch_size": 1})
    lengths = record("length-lru-gpu", found | {"tokens": 1024}, model="lru", task="text", benchmark="length")
    blocks = speed.blocks([compared, lengths, OURS])
    assert [(row[4], row[7]) for row in rows(blocks["speed-backends"])] == [("auto", "2.5"), ("associative", "–")]
    assert [row[1:5] for row in rows(blocks["speed-lengths"])] == [
        ["text", "float32", "1024", "64"],
        ["text", "float32", "1024", "1024"],
    ]
    assert speed.blocks([])["speed-steps"] == speed.NOTHING


def test_a_stream_has_a_row_for_each_position():
    stream = record(
        "stream-s5-gpu",
        at((64,), {"latency_ms": 0.1, "latency_ms_one_per_call": 0.6, "state_bytes": 2**20})
        | at((1048576,), {"state_bytes": 2**30}),
        benchmark="stream",
        model="s5",
        task="listops",
    )
    near, far = rows(speed.blocks([stream])["speed-streams"])
    assert near[2:6] == ["64", "[0.1](../results/speed/stream-s5-gpu.json)", "0.6", "1 MiB"]
    assert far[2:6] == ["1,048,576", "[–](../results/speed/stream-s5-gpu.json)", "–", "1 GiB"]


def test_segments_have_a_row_for_each_length_and_way_and_a_figure():
    found = at((1024, 64), {"step_ms": 3.0, "temporary_bytes": 2**20})
    found |= at((1024,), {"step_ms": 2.0, "temporary_bytes": 2**30}) | at((2**20,), {"temporary_bytes": 2**40})
    overrides = {"config.model.d_model": "32"}
    records = [
        record(f"segments-{m}", found, benchmark="segments", model=m, task="text", overrides=overrides | extra)
        for m, extra in (("s5", {"config.mixer.blocks": "1"}), ("lru", {}))
    ]
    both = {"platform": "gpu", "kind": H100, "count": 2, "shared": False}
    found = at((1024,), {"step_ms": 1.0, "temporary_bytes": 2**29})
    changes = {"model": "lru", "task": "text", "overrides": overrides, "device": both}
    records.append(record("segments-lru-2-devices", found, benchmark="segments", **changes))
    assert rows(speed.blocks(records[2:])["speed-segments"])[0][3:5] == ["1,024", "whole, 2 devices"]
    shown = rows(speed.blocks(records[:1])["speed-segments"])
    assert [row[3:6] for row in shown] == [
        ["1,024", "whole", "[2](../results/speed/segments-s5.json)"],
        ["1,024", "64", "[3](../results/speed/segments-s5.json)"],
        ["1,048,576", "whole", "[–](../results/speed/segments-s5.json)"],
    ]
    drawn = figures.draw_speeds(records)["segments-text-gpu.svg"].decode()
    for words in (
        "config.model.d_model=32",
        "config.mixer.blocks=1, segments of 64",
        "lru, whole",
        "lru, whole, 2 devices",
    ):
        assert words in drawn


def test_compilation_has_a_row_with_the_sum_of_its_evaluations_and_each_length_alone():
    stages = ("trace_seconds", "lower_seconds", "compile_seconds")
    found = {f"train_{stage}": value for stage, value in zip(stages, (1.0, 2.0, 30.0), strict=True)}
    for length in (64, 128):
        found |= at((length,), {f"{program}_{stage}": 4.0 for program in ("train", "score") for stage in stages})
    name = "compile-s5-text-gpu"
    (row,) = rows(
        speed.blocks([record(name, found | {"lengths": 2}, benchmark="compile", model="s5", task="text")])[
            "speed-compile"
        ]
    )
    assert row[3] == "2" and row[6] == f"[1 + 2 + 30](../results/speed/{name}.json)"
    assert row[9:12] == ["64: 12<br>128: 12", "–", "24"]


def test_a_figure_shows_one_task_and_one_number_of_tokens():
    def length(task, tokens, **changes):
        found = at((64,), {"step_ms": 2.0}) | at((1024,), {"step_ms": 9.0}) | {"tokens": tokens}
        return record(f"length-{task}-{tokens}", found, model="s5", task=task, benchmark="length", **changes)

    found = at((64,), {"latency_ms": 1.0, "state_bytes": 8})
    streams = [
        record(f"stream-{task}", found, model="s5", task=task, benchmark="stream") for task in ("text", "listops")
    ]
    wide = length("text", 4096, overrides={"config.model.d_model": "512"})
    records = [length("text", 4096), length("text", 8192), length("image", 4096), wide, *streams]
    drawn = {name: content.decode() for name, content in figures.draw_speeds(records).items() if name.endswith("svg")}
    assert sorted(drawn) == [
        *("length-image-4096-gpu.svg", "length-text-4096-gpu.svg", "length-text-8192-gpu.svg"),
        *("stream-listops-gpu.svg", "stream-text-gpu.svg"),
    ]
    assert "sizes of Text · 8,192 tokens a batch" in drawn["length-text-8192-gpu.svg"]
    assert "sizes of ListOps · NVIDIA" in drawn["stream-listops-gpu.svg"]
    assert "config.model.d_model=512" in drawn["length-text-4096-gpu.svg"]


def test_floors_follow_from_bytes_and_bandwidth():
    moved = 2 * 100 * 4 * (4 * 3)
    assert floor.operation_ms(H100, "rg_lru", (2, 100, 3), backward=False) == 1000 * moved / 3.35e12
    # And x, two gates, the gradient of h, and three more: h is recomputed, not read.
    both = moved * (4 + 7) / 4
    assert floor.operation_ms(H100, "rg_lru", (2, 100, 3), backward=True) == 1000 * both / 3.35e12
    # Many states for each byte: the exponentials are what bounds the selective scan.
    exponentials = 64 * 2048 * 192 * 64
    assert floor.operation_ms(H100, "selective_scan", (64, 2048, 192, 64), backward=False) == (
        1000 * exponentials / floor.EXPONENTIALS["H100"]
    )
    # The backward pass computes them again.
    assert floor.operation_ms(H100, "selective_scan", (64, 2048, 192, 64), backward=True) == (
        2000 * exponentials / floor.EXPONENTIALS["H100"]
    )
    assert floor.operation_ms("a processor", "rg_lru", (2, 100, 3), backward=False) is None
    assert floor.operation_ms(H100, "sort", (2, 100), backward=False) is None


def test_exponentials_come_at_the_clock_of_the_maker_s_flops():
    for rate in floor.EXPONENTIALS.values():
        # 16 exponentials and 128 products with sums a clock: the maker states 67 TFLOPS.
        assert rate * 128 / 16 * 2 == pytest.approx(67e12, rel=0.005)


def test_verify_holds_the_page_to_the_records(tmp_path, capsys):
    results, page = tmp_path / "results", tmp_path / "docs" / "performance.md"
    store.write_speed(OURS, results)
    page.parent.mkdir()
    page.write_text(f"{PAGE}\n<!-- table:begin speed-summary --><!-- table:end -->\n")
    assert main(["table", "--results", str(results), "--check"]) == 1
    assert main(["table", "--results", str(results)]) == 0
    assert "step-s5-listops-gpu" in page.read_text()
    assert main(["verify", "--results", str(results)]) == 0
    store.write_speed(THEIRS, results)
    assert main(["verify", "--results", str(results)]) == 1
    assert "performance.md: does not match the records" in capsys.readouterr().out
    assert main(["table", "--results", str(results)]) == 0
    assert main(["table", "--results", str(results), "--check"]) == 0
    assert "2.50×" in page.read_text()
    page.write_text(page.read_text().replace("2.50×", "2.60×"))
    assert main(["table", "--results", str(results), "--check"]) == 1
    page.write_text("<!-- table:begin speed-steps -->")
    assert main(["verify", "--results", str(results)]) == 1
