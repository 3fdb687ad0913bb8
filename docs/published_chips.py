"""The table of published chips in `nvm.md`, as `edgedet-nvm presets --compare` tells it."""

from edgedet_nvm.device.published import ComparisonRow, comparison
from figures import between_marks

_HEADER = ("chip", "source", "our preset", "published TOPS/W", "ours", "converters in our energy", "why they differ")


def with_published_chips(text: str) -> str:
    """`nvm.md` with the comparison written anew."""
    rows = [_HEADER, ("---",) * len(_HEADER), *(_cells(row) for row in comparison())]
    return between_marks(text, "\n".join(f"| {' | '.join(row)} |" for row in rows), "published chips")


def _cells(row: ComparisonRow) -> tuple[str, ...]:
    chip = row.published
    figures = (f"{chip.tops_per_watt}", f"{row.tops_per_watt:.1f}", f"{row.adc_share:.0%}")
    return (f"{chip.name}, {chip.code_bits} bit", chip.source, f"`{chip.preset}`", *figures, chip.reasons)
