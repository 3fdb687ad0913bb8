"""Tables of what recipes reached, out of the figures that `edgedet-compress report` wrote."""

import json
from typing import Any

from figures import ROOT, between_marks

RESULTS = ROOT / "compression" / "results"


def compression_readme() -> str:
    """The compression README with its tables written anew."""
    results = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))]
    tables = [table for result in results for table in (_table(result), *_branches(result))]
    return between_marks((ROOT / "compression" / "README.md").read_text(), "\n\n".join(tables))


def _table(result: dict[str, Any]) -> str:
    recipe, tested, sizes = result["recipe"], result["stages"]["test"], list(result["speed"])
    figure = next(name for name in tested["networks"][tested["baseline"]] if name != "parameters")
    count = tested["networks"][tested["baseline"]][figure]["n"]
    pruned = ["zeros", "file"] if _is_pruned(result) else []
    header = ["", "parameters", *pruned, figure, f"− {tested['baseline']}", *(f"speed at {size}" for size in sizes)]
    rows = [_row(result, name, figure) for name in (*tested["networks"], *tested["packages"])]
    return "\n".join(
        [
            f"**{recipe['name']}**: {recipe['description']} {count:,} test photos.",
            "",
            "| " + " | ".join(header) + " |",
            "|---" * len(header) + "|",
            *("| " + " | ".join(row) + " |" for row in rows),
        ]
    )


def _row(result: dict[str, Any], name: str, figure: str) -> list[str]:
    tested = result["stages"]["test"]
    packed = name in tested["packages"]
    found = tested["packages" if packed else "networks"][name][figure]
    start = result["stages"][name]["start"] if packed else name
    minus = "" if name == tested["baseline"] else _points(found["minus baseline"])
    return [
        f"{start} as {name}" if packed else name,
        f"{tested['networks'][start]['parameters'] / 1e6:.2f} M",
        *(_zeros(result["stages"].get(name, {})) if _is_pruned(result) else ()),
        f"{100 * found['value']:.2f} %",
        minus,
        *(_speed(taken.get(name)) for taken in result["speed"].values()),
    ]


def _is_pruned(result: dict[str, Any]) -> bool:
    """Whether single weights of a network are zero."""
    return any("bytes_sparse" in stage for stage in result["stages"].values())


def _zeros(stage: dict[str, Any]) -> tuple[str, str]:
    """The share of weights that are zero, and the file that has the others with their places, where one was written."""
    zeros = f"{100 * stage['sparsity']:.1f} %" if "sparsity" in stage else ""
    return zeros, f"{stage['bytes_sparse'] / 1e6:.2f} MB" if "bytes_sparse" in stage else ""


def _branches(result: dict[str, Any]) -> list[str]:
    """What each branch costs and finds, of a recipe that asks."""
    return [_branch_table(name, stage["branches"]) for name, stage in result["stages"].items() if "branches" in stage]


def _branch_table(stage: str, report: dict[str, Any]) -> str:
    rows = [
        f"| {row['name']} | {row['parameters'] / 1e6:.2f} M | {row['macs'] / 1e9:.2f} | "
        f"{row['latency']['speedup']['value']:.2f} × | {100 * row['accuracy']['map50']['value']:.2f} % | "
        f"{_points(row['accuracy']['minus_teacher'])} |"
        for row in report["rows"]
    ]
    side = report["size"]
    return "\n".join(
        [
            f"Stage {stage}: size and speed at {side} × {side} pixels, accuracy on {report['dataset']}:",
            "",
            "| | parameters | GMAC | fp32 speed | mAP50 | − all branches |",
            "|---|---|---|---|---|---|",
            *rows,
        ]
    )


def _points(difference: dict[str, float]) -> str:
    value, low, high = (f"{100 * difference[end]:+.2f}".replace("-", "−") for end in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _speed(latency: dict[str, Any] | None) -> str:
    if latency is None:
        return ""
    rate = latency["frames_per_second"]
    return f"{latency['speedup']['value']:.2f} ×, {f'{rate:.3g}' if rate < 1000 else f'{rate:,.0f}'} images/s"
