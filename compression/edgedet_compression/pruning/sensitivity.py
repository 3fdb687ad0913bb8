"""Layer sensitivity: how the validation figure falls when one layer alone is pruned, and a plot of it."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import nn

from edgedet_compression.progress import Progress, silent
from edgedet_compression.pruning.criteria import equal_percentage
from edgedet_compression.pruning.masks import apply_masks, prunable_weights


@dataclass(frozen=True)
class LayerSensitivity:
    """Of one layer: the figure at every sparsity, without fine-tuning."""

    layer: str
    sparsities: tuple[float, ...]
    figures: tuple[float, ...]


def scan_sensitivity(
    network: nn.Module,
    validate: Callable[[nn.Module], float],
    sparsities: Sequence[float],
    progress: Progress = silent,
) -> list[LayerSensitivity]:
    """Prune each layer alone by magnitude to each sparsity, 0…1, and validate; the weights are put back."""
    weights = prunable_weights(network)
    advance = progress("layer sensitivity", len(weights) * len(sparsities))
    scan = []
    for name, weight in weights.items():
        dense = weight.clone()
        figures = []
        try:
            for sparsity in sparsities:
                apply_masks(network, equal_percentage({name: dense}, sparsity))
                figures.append(validate(network))
                _put_back(weight, dense)
                advance()
        finally:
            _put_back(weight, dense)
        scan.append(LayerSensitivity(name, tuple(sparsities), tuple(figures)))
    return scan


def sensitivity_svg(scan: Sequence[LayerSensitivity], reference: float, figure_name: str) -> bytes:
    """One curve per layer, the least robust one first in the legend, over the dense network's figure as a line."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(reference, color="0.6", linestyle="--", label="dense")
    ordered = sorted(scan, key=lambda entry: entry.figures[-1])
    for place, entry in enumerate(ordered):
        color = matplotlib.colormaps["viridis"](place / max(1, len(ordered) - 1))
        percent = [100 * sparsity for sparsity in entry.sparsities]
        axes.plot(percent, entry.figures, marker="o", markersize=3, color=color, label=entry.layer)
    axes.set_xlabel("weights of this layer that are zero (%)")
    axes.set_ylabel(figure_name)
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "edgedet", "svg.fonttype": "path"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _put_back(weight: torch.Tensor, dense: torch.Tensor) -> None:
    with torch.no_grad():
        weight.copy_(dense)
