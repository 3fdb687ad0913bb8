"""The README's table of figures, out of what the benchmarks and builds wrote."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_HOW_TO_READ = (
    "Each column: two cores of one AMD EPYC machine, named by the instructions that its int8 kernels use. In square "
    "brackets intervals of 95 %, in round ones the least and the most of all rounds. What the linear program goes by "
    "was measured minutes before the load that is compared with its optimum, and that load can come out above it."
)
PROCESSORS = {"avx512-vnni": "AVX-512 VNNI", "avx2": "AVX2"}


def readme_with_figures() -> str:
    """The README with its table written anew."""
    return between_marks((ROOT / "README.md").read_text(), _table())


def between_marks(text: str, content: str, name: str = "figures") -> str:
    """The text with other content between the two marks of that name."""
    begin, end = f"<!-- {name}: python docs/generate.py -->", f"<!-- end of {name} -->"
    before, rest = text.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def _table() -> str:
    accuracy = [
        *_accuracy("yolov3-tiny-coco", "mAP50"),
        *_accuracy("resnet20-cifar10", "top-1"),
        *_accuracy("yolov3-trimmed-bccd", "mAP50"),
        *_accuracy("vgg19-std-prune-cifar10", "top-1"),
        *_accuracy("vgg16-thin-cifar10", "top-1"),
        *_accuracy("resnet20-w4a4-cifar10", "top-1", "W4A4"),
        *_accuracy("vgg16-w4a4-cifar10", "top-1", "W4A4"),
        *_accuracy("small-lenet-w4a4-mnist", "top-1", "W4A4"),
    ]
    speed = [*_beside("model_speed", _speed), *_beside("http_overhead", _http), *_beside("overload", _overload)]
    return "\n".join(
        [
            "| accuracy | figure | command |",
            "|---|---|---|",
            *(f"| {what} | {figure} | `{by}` |" for what, figure, by in accuracy),
            "",
            f"| speed | {' | '.join(PROCESSORS.values())} | command |",
            f"|---|{'---|' * len(PROCESSORS)}---|",
            *(f"| {what} | {' | '.join(figures)} | `{by}` |" for what, figures, by in speed),
            "",
            _HOW_TO_READ,
        ]
    )


def _beside(
    name: str, rows: Callable[[dict[str, Any]], list[tuple[str, str, str]]]
) -> list[tuple[str, list[str], str]]:
    """The rows of a benchmark, with a figure of every processor."""
    found = [rows(_result(name, processor)) for processor in PROCESSORS]
    return [(row[0][0], [figure for _, figure, _ in row], row[0][2]) for row in zip(*found, strict=True)]


def _accuracy(package: str, name: str, kind: str = "int8") -> list[tuple[str, str, str]]:
    manifest = json.loads((ROOT / "models" / package / "1" / "manifest.json").read_text())
    found = {metric["name"]: metric for metric in manifest["metrics"]}
    quantized, fp32 = found[f"{name}, {kind}"], found[f"{name}, fp32"]
    dataset = quantized["dataset"].split(" (")[0]
    figure, command = f"{quantized['value']:.4f} as {kind}", quantized["command"]
    if fp32["command"] == command:
        figure += f", {fp32['value']:.4f} as fp32"
    if " build " in command:
        command += " --models anew"  # what lies in models/ is not written over
    return [(f"{name} of {package} on {dataset}, n = {quantized['n']:,}", figure, command)]


def _speed(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    by = "python -m benchmarks.model_speed"
    ratios, sizes = result["ratios"], result["sizes"]
    return [
        ("YOLOv3-tiny, one thread: fp32 over int8 time", _with_interval(ratios["fp32 / fused int8"]), by),
        ("cut at every boundary, over uncut", _with_interval(ratios["chain / fused int8"]), by),
        ("fp32 size over package size", f"{sizes['fp32 network / package']:.2f}", by),
    ]


def _http(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    by, rounds = "python -m benchmarks.http_overhead", result["rounds"]
    cpu = [r["edge_cpu_ms"] / r["bare_cpu_ms"] for r in rounds]
    health = [r["busy_p99_ms"] / r["idle_p99_ms"] for r in rounds]
    kept = [r["overload_rate"] / r["bare_rate"] for r in rounds]
    return [
        ("edge over bare pipeline, CPU per photo", _of_rounds(cpu), by),
        ("health endpoint's p99, core saturated over idle", _of_rounds(health), by),
        ("at three times the load: answered within 1 s, over the bare pipeline's rate", _of_rounds(kept), by),
    ]


def _overload(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    by, policy = "python -m benchmarks.overload", result["policies"]["marginal-cost"]
    return [
        ("edge at twice its capacity with a cloud, over the edge alone", f"{policy['over_edge_only']:.2f}", by),
        ("the same, over the linear program's optimum", f"{policy['of_optimum']:.2f}", by),
        ("accepted photos that missed their deadline", f"{policy['missed_of_accepted']:.1%}", by),
    ]


def _of_rounds(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _with_interval(ratio: dict[str, float]) -> str:
    return f"{ratio['value']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}]"


def _result(name: str, processor: str) -> dict[str, Any]:
    file = ROOT / "benchmarks" / "results" / f"{name}.{processor}.json"
    result: dict[str, Any] = json.loads(file.read_text())
    return result
