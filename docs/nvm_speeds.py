"""The speed tables of `nvm.md`, out of what the benchmarks wrote."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import PROCESSORS, ROOT, between_marks

_SYSTEMS = (
    "int8 digital", "ADC only", "uniform read noise", "general read noise", "programming error", "nor-flash-65nm"
)  # fmt: skip


def physics_with_speeds() -> str:
    """`nvm.md` with its tables of speed written anew."""
    found = [*_results("nvm_speed", _speeds), *_results("nvm_beside_aihwkit", _beside_aihwkit)]
    return between_marks((Path(__file__).parent / "nvm.md").read_text(), "\n\n".join(found))


def _results(name: str, table: Callable[[str, dict[str, Any]], str]) -> list[str]:
    folder = ROOT / "benchmarks" / "results"
    files = ((words, folder / f"{name}.{processor}.json") for processor, words in PROCESSORS.items())
    return [table(words, json.loads(file.read_text())) for words, file in files if file.is_file()]


def _speeds(processor: str, result: dict[str, Any]) -> str:
    networks = result["networks"]
    ratios = [content["ratios_to_fp32"] for content in networks.values()]
    rows = [f"| {system} | {' | '.join(_with_interval(each[system]) for each in ratios)} |" for system in _SYSTEMS]
    shares = [f"{content['monte_carlo_per_chip_and_photo']:.2f}" for content in networks.values()]
    return "\n".join(
        [
            f"| {processor}: time over plain fp32 | {' | '.join(networks)} |",
            f"|---|{'---|' * len(networks)}",
            *rows,
            f"| Monte Carlo, 100 photos a chip: per chip and photo | {' | '.join(shares)} |",
        ]
    )


def _beside_aihwkit(processor: str, result: dict[str, Any]) -> str:
    rows = [f"| {what} | {_with_interval(found, 1)} |" for what, found in result["ratios"].items()]
    return "\n".join([f"| {processor}: aihwkit's time over ours, {result['network']} | ratio |", "|---|---|", *rows])


def _with_interval(ratio: dict[str, float], places: int = 2) -> str:
    value, low, high = (f"{ratio[key]:.{places}f}" for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
