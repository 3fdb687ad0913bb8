"""docs/nvm.md: its tables say what the presets and the estimator say."""

import re
from pathlib import Path

import pytest
from edgedet_nvm.device.preset import load_preset
from edgedet_nvm.device.published import comparison

PAGE = (Path(__file__).parents[3] / "docs" / "nvm.md").read_text(encoding="utf-8")
CONSTANTS = re.findall(r"^\| `([a-z_.]+)` \| ([-\d.–]+) \| ([-\d.–]+) \| ([-\d.–]+) \|", PAGE, re.MULTILINE)


def value(name: str, path: str) -> str:
    found = load_preset(name)
    for part in path.split("."):
        found = getattr(found, part, None)
    return "–" if found is None else str(found)


@pytest.mark.parametrize("row", CONSTANTS, ids=lambda row: row[0])
def test_a_constant_on_the_page_is_the_presets(row: tuple[str, ...]):
    path, *told = row
    assert [value(name, path) for name in ("nor-flash-65nm", "nor-flash-40nm", "sonos-40nm")] == told


def test_the_page_tells_constants():
    assert len(CONSTANTS) > 10


def test_the_pages_comparison_is_the_estimators():
    for row in comparison():
        chip = row.published
        line = next(line for line in PAGE.splitlines() if line.startswith(f"| {chip.name}"))
        assert f"| {chip.tops_per_watt} | {row.tops_per_watt:.1f} | {row.adc_share:.0%} |" in line
        assert chip.source in line
        assert chip.reasons in line
