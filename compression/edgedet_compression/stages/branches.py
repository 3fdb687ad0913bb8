"""The stage `branch-report` (S1.3): what each branch of a YOLO network costs, and what it finds."""

import json

from edgedet_compression.data.detection_data import DetectionData
from edgedet_compression.errors import BuildRefused
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.recipe import BranchReportStage
from edgedet_compression.reports.branch_report import branch_report
from edgedet_compression.stages.context import Context, Figures

BRANCHES = "branches.json"


def report_branches(stage: BranchReportStage, context: Context) -> Figures:
    """Measure the teacher and its variants on the validation split; the table is written as JSON."""
    if not isinstance(context.data, DetectionData):
        raise BuildRefused(f"stage {stage.name}: branches are those of detectors, {context.recipe.name} classifies")
    variants = {int(stride): _yolo(context, name) for stride, name in zip(stage.strides, stage.variants, strict=True)}
    found = branch_report(
        _yolo(context, stage.teacher), variants, context.data.validation_photos(), stage.latency_size, context.progress
    )
    file = context.folder.path / BRANCHES
    found.save(file)
    branches: Figures = json.loads(file.read_text(encoding="utf-8"))
    return {"branches": branches, "files": [BRANCHES]}


def _yolo(context: Context, reference: str) -> DarknetModule:
    network = context.network(reference)
    assert isinstance(network, DarknetModule)
    return network
