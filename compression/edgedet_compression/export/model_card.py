"""The README.md of a package, written out of its manifest."""

from edgedet_runtime.manifest import Manifest, Metric

_USES = {
    "detect": "Finds objects in photos: one box, label and score for each.",
    "classify": "Tells what a photo shows: a score for every label.",
}

_STORED = {8: "weights int8, activations uint8", 4: "weights int4, activations of 16 codes"}
_LARGEST_WEIGHT = {8: 64, 4: 7}
_LIMITS = (
    "Weights are held to |q| ≤ {}, so that x86-64 machines with and without VNNI compute the same codes. It is as good "
    "as its training data: photos unlike them get worse answers, and nobody tested it for safety uses."
)


def model_card(manifest: Manifest, model_bytes: int) -> str:
    """Markdown: what it is for, numbers, limits, data, license."""
    source = manifest.input
    million_macs = manifest.macs / 1e6
    compute = f"{million_macs:,.0f}" if million_macs >= 10 else f"{million_macs:.2g}"
    lines = [
        f"# {manifest.name}, version {manifest.version}",
        "",
        manifest.description or _USES[manifest.task],
        "",
        "| | |",
        "|---|---|",
        f"| task | {manifest.task}, {len(manifest.labels)} labels |",
        f"| input | {source.width} × {source.height} pixels, {source.resize}, filter {source.filter} |",
        f"| compute | {compute} million multiply-accumulates per photo |",
        f"| size | model.onnx {model_bytes / 1e6:.2f} MB, {_STORED[manifest.weight_bits]} |",
        f"| segments | {manifest.segment_count} |",
        f"| license | {manifest.license} |",
        "",
        "## Measured",
        "",
        *_metrics(manifest),
        "",
        "## Where it can be cut",
        "",
        "| k | live tensors | bytes | compute before it |",
        "|---|---|---|---|",
        *(
            f"| {boundary.k} | {', '.join(tensor.name for tensor in boundary.tensors)} | {boundary.nbytes:,} "
            f"| {100 * boundary.head_macs / manifest.macs:.1f} % |"
            for boundary in manifest.boundaries
        ),
        "",
        "## Where it comes from",
        "",
        f"Built by `{manifest.provenance.recipe}`.",
        *([f"Made from {manifest.provenance.parent}."] if manifest.provenance.parent else []),
        *(f"Read: {data}." for data in manifest.provenance.data),
        "",
        "## Limits",
        "",
        _LIMITS.format(_LARGEST_WEIGHT[manifest.weight_bits]),
        "",
    ]
    return "\n".join(lines)


def _metrics(manifest: Manifest) -> list[str]:
    if not manifest.metrics:
        return ["Nothing measured yet: `edgedet-compress evaluate` measures accuracy."]
    commands = dict.fromkeys(metric.command for metric in manifest.metrics)
    return [
        "| figure | value | 95 % interval | data | photos |",
        "|---|---|---|---|---|",
        *(_metric(metric) for metric in manifest.metrics),
        "",
        *(f"By `{command}`." for command in commands),
    ]


def _metric(metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    interval = f"{metric.interval[0]:.4f} … {metric.interval[1]:.4f}" if metric.interval else ""
    return f"| {metric.name} | {metric.value:.4f}{unit} | {interval} | {metric.dataset} | {metric.n:,} |"
