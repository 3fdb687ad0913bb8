"""The branch report (S1.3): a YOLO network beside its variants without one of their branches.

It asks what each branch costs and what it finds: parameters, MACs, bytes and latency against mAP by object size.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgedet_evaluation.intervals import Estimate, bootstrap_interval, bootstrap_share, bootstrap_weights
from edgedet_evaluation.mean_average_precision import AreaScore, map50_by_area, score_detections

from edgedet_compression.export.torch_onnx import export_onnx
from edgedet_compression.networks.darknet_module import DarknetModule
from edgedet_compression.networks.families import state_bytes
from edgedet_compression.progress import Advance, Progress, silent
from edgedet_compression.pruning.cost import count_cost
from edgedet_compression.reports.latency import Latency, measure_latency
from edgedet_compression.training.detection import PreparedPhotos, detect_all

TEACHER = "all branches"


@dataclass(frozen=True)
class BranchAccuracy:
    """mAP50 (0…1) with its bootstrap interval over photos; by object size; `minus_teacher` is paired."""

    map50: Estimate
    minus_teacher: Estimate
    by_area: dict[str, AreaScore]


@dataclass(frozen=True)
class BranchRow:
    """One network at the report's input size; bytes of parameters and buffers, and of its float ONNX file."""

    name: str
    strides: tuple[int, ...]
    """Of the heads that are left."""
    parameters: int
    macs: int
    state_bytes: int
    onnx_bytes: int
    latency: Latency
    accuracy: BranchAccuracy


@dataclass(frozen=True)
class BranchReport:
    """The teacher first."""

    size: int
    dataset: str
    photos: int
    rows: tuple[BranchRow, ...]

    def save(self, file: Path) -> None:
        """Write it as JSON."""
        file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def branch_report(
    teacher: DarknetModule,
    variants: Mapping[int, DarknetModule],
    validation: PreparedPhotos,
    latency_size: int,
    progress: Progress = silent,
) -> BranchReport:
    """Measure a network and, by the stride of the branch that is gone, its variants.

    Accuracy is measured on the photos as `validation` holds them; MACs and latency at `latency_size` pixels.
    """
    networks = {TEACHER: teacher}
    for stride, variant in variants.items():
        side = latency_size // stride
        networks[f"without {side} × {side}"] = variant
    shape = (teacher.description.net.integer("channels", 3), latency_size, latency_size)
    advance = progress("branch report", 2 * len(networks))
    models = {}
    for name, network in networks.items():
        models[name] = export_onnx(network, shape)
        advance()
    latencies = measure_latency(models)
    accuracies = _accuracies(networks, validation, advance)
    rows = []
    for name, network in networks.items():
        cost = count_cost(network, shape)
        strides = tuple(head.stride for head in network.heads)
        sizes = (cost.parameters, cost.macs, state_bytes(network), models[name].ByteSize())
        rows.append(BranchRow(name, strides, *sizes, latencies[name], accuracies[name]))
    return BranchReport(latency_size, validation.dataset.name, len(validation.dataset.photos), tuple(rows))


def _accuracies(
    networks: Mapping[str, DarknetModule], validation: PreparedPhotos, advance: Advance
) -> dict[str, BranchAccuracy]:
    dataset, ids = validation.dataset, validation.category_ids
    weights = bootstrap_weights(len(dataset.photos))
    found: dict[str, BranchAccuracy] = {}
    reference = None
    for name, network in networks.items():
        answers = detect_all(network.eval(), validation)
        score = score_detections(dataset, answers, ids)
        own = (score.map50, score.resampled(weights)[0])
        reference = reference or own
        found[name] = BranchAccuracy(
            map50=bootstrap_share(*own),
            minus_teacher=bootstrap_interval(own[0] - reference[0], own[1] - reference[1]),
            by_area=map50_by_area(dataset, answers, ids),
        )
        advance()
    return found
