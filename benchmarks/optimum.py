"""The most photos a second that any mix of placements can sustain: a linear program over measured costs.

    maximize Σ x_k   subject to   Σ x_k·cost_k,r + (offered - Σ x_k)·refusal_r ≤ capacity_r  for every resource r,
    Σ x_k ≤ offered,  x ≥ 0

with one rate x_k per way to answer (at home, handed over at boundary k). Without `offered` photos are not refused but
never sent. At most as many ways are mixed as there are binding constraints.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.optimize import linprog


@dataclass(frozen=True, slots=True)
class Optimum:
    """Photos a second, in all and by way."""

    total: float
    rates: dict[str, float]


def best_mix(
    costs: Mapping[str, Mapping[str, float]],
    capacities: Mapping[str, float],
    *,
    offered: float | None = None,
    refusal: Mapping[str, float] | None = None,
) -> Optimum:
    """Solve the program.

    Args:
        costs: what one photo takes of each resource, by way to answer it (core seconds, bytes); a resource left out
            is not used.
        capacities: what a second gives of each resource (cores, bytes a second).
        offered: photos a second that arrive; those that are not answered are refused.
        refusal: what a refused photo takes of each resource.

    Raises:
        ValueError: a negative cost, a cost of an unknown resource, or refusals alone exceed a resource.
    """
    unknown = {resource for cost in (*costs.values(), refusal or {}) for resource in cost} - set(capacities)
    if unknown:
        raise ValueError(f"no capacity given for {', '.join(sorted(unknown))}")
    if any(value < 0 for cost in (*costs.values(), refusal or {}) for value in cost.values()):
        raise ValueError("a cost is negative")
    refused = refusal or {}
    arriving = 0.0 if offered is None else offered
    extra = {resource: refused.get(resource, 0.0) if offered is not None else 0.0 for resource in capacities}
    matrix = [[costs[way].get(r, 0.0) - extra[r] for way in costs] for r in capacities]
    bounds = [capacities[r] - arriving * extra[r] for r in capacities]
    if offered is not None:
        matrix.append([1.0] * len(costs))
        bounds.append(offered)
    solution = linprog([-1.0] * len(costs), A_ub=matrix, b_ub=bounds)
    if not solution.success:
        raise ValueError(f"linear program: {solution.message}")
    return Optimum(-float(solution.fun), {way: float(rate) for way, rate in zip(costs, solution.x, strict=True)})
