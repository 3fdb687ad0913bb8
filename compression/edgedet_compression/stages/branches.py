"""The stage `branch-report` (S1.3): what each branch of a YOLO network costs, and what it finds."""

import json

from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.recipe_stages import BranchReportStage
from edgedet_compression.reports.branch_report import branch_report
from edgedet_compression.reports.html_report import FigureTable
from edgedet_compression.stages.context import Context, Figures

BRANCHES = "branches.json"
_AREAS = ("small", "medium", "large")


def report_branches(stage: BranchReportStage, context: Context) -> Figures:
    """Measure the teacher and its variants on the validation split; the table is written as JSON."""
    assert isinstance(context.data, DetectionData)
    teacher, variants = _yolo(context, stage.teacher), dict[int, DarknetModule]()
    for stride, name in zip(stage.strides, stage.variants, strict=True):
        variants[stride] = _yolo(context, name)
        gone = _strides(teacher) - _strides(variants[stride])
        if gone != {stride}:
            told = ", ".join(map(str, sorted(gone))) or "none"
            raise BuildRefused(f"stage {stage.name}: strides has {stride} for {name}, which lacks {told}: correct it")
    found = branch_report(teacher, variants, context.data.validation_photos, stage.latency_size, context.progress)
    file = context.folder.path / BRANCHES
    found.save(file)
    branches: Figures = json.loads(file.read_text(encoding="utf-8"))
    return {"branches": branches, "files": [BRANCHES]}


def branch_table(figures: Figures) -> FigureTable:
    """The stage's figures for the HTML report."""
    report = figures["branches"]
    side = report["size"]
    columns = (
        "network",
        "parameters, M",
        "GMAC",
        "fp32 speedup",
        "mAP50",
        "− all branches",
        "small",
        "medium",
        "large",
    )
    rows = tuple(_row(row) for row in report["rows"])
    return FigureTable(f"Branches: what each costs at {side} pixels, and finds in {report['dataset']}", columns, rows)


def _row(row: Figures) -> tuple[str, ...]:
    accuracy, speedup = row["accuracy"], row["latency"]["speedup"]["value"]
    map50, minus = accuracy["map50"], accuracy["minus_teacher"]
    return (
        row["name"],
        f"{row['parameters'] / 1e6:.2f}",
        f"{row['macs'] / 1e9:.2f}",
        f"{speedup:.2f}",
        f"{map50['value']:.4f}",
        f"{minus['value']:+.4f} [{minus['low']:+.4f}, {minus['high']:+.4f}]",
        *(_area(accuracy["by_area"][name]) for name in _AREAS),
    )


def _area(found: Figures) -> str:
    return "–" if found["map50"] is None else f"{found['map50']:.4f} ({found['boxes']} boxes)"


def _strides(network: DarknetModule) -> set[int]:
    return {head.stride for head in network.heads}


def _yolo(context: Context, reference: str) -> DarknetModule:
    network = context.network(reference)
    assert isinstance(network, DarknetModule)
    return network
