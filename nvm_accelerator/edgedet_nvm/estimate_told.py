"""What a photo takes of the chip, as the commands tell it: a table, a line, and JSON."""

from dataclasses import asdict, fields
from typing import Any

from rich.table import Table

from edgedet_nvm.device.estimator import Estimate, Parts


def estimate_table(estimate: Estimate, photos: int) -> Table:
    """Energy and area by part of the chip."""
    table = Table("of the chip", f"µJ a photo, mean of {photos:,}", "mm²")
    for name in (*(part.name for part in fields(Parts)), "total"):
        energy_uj, area_mm2 = (getattr(parts, name) for parts in (estimate.energy_uj, estimate.area_mm2))
        table.add_row(name.replace("_", " "), f"{energy_uj:.4g}", f"{area_mm2:.4g}")
    return table


def estimate_line(estimate: Estimate) -> str:
    """Time and rates."""
    return (
        f"one photo at a time takes {estimate.time_ms:.4g} ms, at {estimate.tops_per_watt:.4g} TOPS/W; with a photo in "
        f"every layer one is ready every {estimate.interval_ms:.4g} ms, {estimate.tops:.4g} TOPS"
    )


def estimate_json(estimate: Estimate) -> dict[str, Any]:
    """All of it, quantities with their totals."""
    return {
        "energy_uj": {**asdict(estimate.energy_uj), "total": estimate.energy_uj.total},
        "time_ms": estimate.time_ms,
        "interval_ms": estimate.interval_ms,
        "area_mm2": {**asdict(estimate.area_mm2), "total": estimate.area_mm2.total},
        "macs": estimate.macs,
        "tops": estimate.tops,
        "tops_per_watt": estimate.tops_per_watt,
    }
