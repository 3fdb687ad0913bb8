"""The picture of a mapping: every array, and whose columns sit where in it, as SVG."""

import io
import math

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from edgedet_nvm.mapping import Arrays
from edgedet_nvm.placement import MappingReport

_ARRAY_INCHES = 0.8


def mapping_svg(report: MappingReport, arrays: Arrays) -> bytes:
    """A frame for each array, read row by row; a color for each layer. What is white holds no weight."""
    across = math.ceil(math.sqrt(report.arrays))
    down = math.ceil(report.arrays / across)
    figure = Figure(figsize=(across * _ARRAY_INCHES + 4, down * _ARRAY_INCHES + 1.5), layout="constrained")
    axes = figure.add_subplot(xlim=(-0.1, across + 0.1), ylim=(down + 0.1, -0.1), aspect="equal")
    axes.set_axis_off()
    palette = matplotlib.colormaps["turbo"]
    colors = {layer.layer: palette(place / len(report.layers)) for place, layer in enumerate(report.layers)}

    def corner(array: int) -> tuple[float, float]:
        return array % across + 0.05, array // across + 0.05

    width, height = 0.9 / arrays.columns, 0.9 / arrays.rows
    for block in report.blocks:
        left, top = corner(block.array)
        place = (left + block.first_column * width, top)
        axes.add_patch(Rectangle(place, block.columns * width, block.rows * height, color=colors[block.layer], lw=0))
    for array in range(report.arrays):
        axes.add_patch(Rectangle(corner(array), 0.9, 0.9, fill=False, edgecolor="0.4", linewidth=0.5))
    axes.set_title(
        f"{report.arrays} arrays of {arrays.rows} × {arrays.columns} cells, {report.utilization:.1%} hold a weight"
    )
    handles = [
        Patch(color=colors[layer.layer], label=f"{layer.layer}: {layer.tiles} × {layer.rows} × {layer.columns}")
        for layer in report.layers
    ]
    title = "layer: tiles × rows × columns"
    axes.legend(handles=handles, title=title, fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "edgedet", "svg.fonttype": "path"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
