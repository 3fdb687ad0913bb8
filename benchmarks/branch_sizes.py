"""What YOLOv3 with 20 classes weighs with and without its coarsest branch (S1.1): parameters, and real files.

    python -m benchmarks.branch_sizes

Parameters and buffers are what the thesis counts (235.37 → 76.13 MB); files are written and their sizes read.
"""

import tempfile
from pathlib import Path

from edgedet_compression.export.torch_onnx import export_onnx
from edgedet_compression.networks.darknet_module import DarknetModule, save_darknet
from edgedet_compression.networks.families import parameter_count, save_network, state_bytes
from edgedet_compression.networks.yolov3 import YOLOv3
from edgedet_compression.pruning.cost import count_cost
from edgedet_compression.pruning.layers import remove_coarse_branch
from rich.console import Console
from rich.table import Table

from benchmarks.results import write_result

_CLASSES, _SIZE = 20, 416
_MIB = 2**20


def main() -> None:
    teacher = YOLOv3(num_classes=_CLASSES, size=_SIZE)
    rows = {"YOLOv3": _sizes(teacher), "without 13 × 13": _sizes(remove_coarse_branch(teacher))}
    path = write_result("branch_sizes", {"classes": _CLASSES, "size": _SIZE, "networks": rows})
    table = Table(title=f"YOLOv3, {_CLASSES} classes, {_SIZE} pixels")
    table.add_column("figure")
    for name in rows:
        table.add_column(name, justify="right")
    for figure in rows["YOLOv3"]:
        table.add_row(figure, *(f"{row[figure]:,.2f}" for row in rows.values()))
    console = Console()
    console.print(table)
    console.print(f"written to {path}", highlight=False, soft_wrap=True)


def _sizes(network: DarknetModule) -> dict[str, float]:
    shape = (3, _SIZE, _SIZE)
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "yolov3"
        save_darknet(network, stem)
        save_network(network, stem.with_suffix(".pt"))
        stem.with_suffix(".onnx").write_bytes(export_onnx(network, shape).SerializeToString())
        files = {
            f"{suffix} file, MiB": stem.with_suffix(suffix).stat().st_size / _MIB
            for suffix in (".weights", ".pt", ".onnx")
        }
    return {
        "parameters, M": parameter_count(network) / 1e6,
        "parameters and buffers, MiB": state_bytes(network) / _MIB,
        "GMAC": count_cost(network, shape).macs / 1e9,
        **files,
    }


if __name__ == "__main__":
    main()
