"""Pruning by a dynamic fixed threshold percentage (S0.3): cycles of prune, fine-tune and validate.

The abstract names the method without defining it; this is our reading. Every round fixes one threshold from a
percentage of the weights that are left. The percentages are planned along the cubic schedule of Zhu & Gupta 2017 and
shrink when the validation figure drops; the round that let it drop is taken back.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from edgedet_compression.errors import SourceUnreadable
from edgedet_compression.pruning.criteria import Criterion, cubic_sparsity, one_threshold
from edgedet_compression.pruning.masks import Masks, Spared, apply_masks, prunable_weights
from edgedet_compression.tensor_file import read_tensors

FineTune = Callable[[nn.Module, Masks, int], None]
"""Trains in place with the masks held; the number of the round, from 1, names its run folder."""
Validate = Callable[[nn.Module], float | None]
"""A figure on the validation split, better when higher; None where there is none, and every round is kept."""
ROUNDS = "rounds.json"


@dataclass(frozen=True)
class CyclePlan:
    """What the cycles aim at; sparsities and percentages are shares, 0…1."""

    sparsity: float
    """Of the weights that may be pruned, at the end."""
    rounds: int
    """As planned; shrunken percentages take more."""
    reference: float | None
    """The validation figure of the network before pruning; None where nothing is validated."""
    tolerance: float
    """The figure may fall so far below the reference."""
    begun: float = 0.0
    """The sparsity before the first round."""
    shrink: float = 0.5
    """Factor on all later percentages when a round is taken back."""
    most_rounds: int = 30
    """The cycles end here at the latest, taken-back rounds counted; or at twice the planned rounds, if that is more."""
    spared: Spared = "none"


@dataclass(frozen=True)
class Round:
    """One cycle."""

    percentage: float
    """Share of the weights left before it that went."""
    sparsity: float
    """Of all, with this round."""
    figure: float | None
    """On the validation split, after fine-tuning; None where nothing is validated."""
    kept: bool
    """False: the figure dropped and the round was taken back."""


def next_round(plan: CyclePlan, rounds: Sequence[Round]) -> tuple[float, float] | None:
    """Percentage of the remaining weights and the sparsity that it leads to; none when the cycles are over."""
    reached = max((done.sparsity for done in rounds if done.kept), default=plan.begun)
    left = 1 - reached
    to_go = (plan.sparsity - reached) / left
    if to_go < 1e-9 or len(rounds) >= max(plan.most_rounds, 2 * plan.rounds):
        return None
    shrunken = plan.shrink ** sum(not done.kept for done in rounds)
    percentage = min(to_go, _planned_percentage(plan, reached) * shrunken)
    return percentage, 1 - left * (1 - percentage)


def prune_in_cycles(
    network: nn.Module,
    plan: CyclePlan,
    fine_tune: FineTune,
    validate: Validate,
    folder: Path,
    criterion: Criterion = one_threshold,
) -> list[Round]:
    """Prune `network` in place; at the end it is as the last round that was kept left it.

    `criterion` fixes the threshold of a round: one for all layers, or `criteria.equal_percentage`, one per layer.

    The folder gets the rounds and the kept weights after every round; where it holds some already, the cycles go on
    from there, and the round that was cut off starts again with the same masks.

    Raises:
        SourceUnreadable: the kept weights, or the rounds, are damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rounds = read_rounds(folder)
    if not _kept_file(folder, rounds).is_file():  # damaged and removed: all rounds once more
        rounds = []
    if not rounds:
        _replace(_kept_file(folder, rounds), _state_bytes(network))
    while (wish := next_round(plan, rounds)) is not None:
        before = _kept_file(folder, rounds)
        network.load_state_dict(read_tensors(before))
        percentage, sparsity = wish
        masks = criterion(prunable_weights(network, plan.spared), sparsity)
        apply_masks(network, masks)
        fine_tune(network, masks, len(rounds) + 1)
        figure = validate(network)
        kept = figure is None or plan.reference is None or figure >= plan.reference - plan.tolerance
        rounds.append(Round(percentage, sparsity, figure, kept))
        # Weights first: a crash in between leaves rounds that name a file which is there.
        if kept:
            _replace(_kept_file(folder, rounds), _state_bytes(network))
        _replace(folder / ROUNDS, json.dumps([asdict(done) for done in rounds], indent=1).encode())
        if kept:
            before.unlink()
    network.load_state_dict(read_tensors(_kept_file(folder, rounds)))
    return rounds


def read_rounds(folder: Path) -> list[Round]:
    """The rounds that a folder tells of.

    Raises:
        SourceUnreadable: they are no JSON, as a power failure may leave them.
    """
    file = folder / ROUNDS
    if not file.is_file():
        return []
    try:
        return [Round(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise SourceUnreadable(f"{file} is damaged: remove it, and run again") from error


def _planned_percentage(plan: CyclePlan, reached: float) -> float:
    """The percentage of the planned round in which a network of this sparsity stands."""
    targets = [cubic_sparsity(step, plan.rounds, plan.sparsity, plan.begun) for step in range(plan.rounds + 1)]
    step = next((step for step in range(1, plan.rounds) if targets[step] > reached + 1e-9), plan.rounds)
    return 1 - (1 - targets[step]) / (1 - targets[step - 1])


def _kept_file(folder: Path, rounds: Sequence[Round]) -> Path:
    """Weights as the last round that was kept left them; round 0: the dense network."""
    number = max((place for place, done in enumerate(rounds, start=1) if done.kept), default=0)
    return folder / f"kept-{number}.pt"


def _state_bytes(network: nn.Module) -> bytes:
    content = io.BytesIO()
    torch.save(network.state_dict(), content)
    return content.getvalue()


def _replace(file: Path, content: bytes) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_bytes(content)
    part.replace(file)
