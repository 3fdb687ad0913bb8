"""The stage `evaluate`: the test split, once for all networks, with intervals paired against a baseline."""

from collections.abc import Sequence

from edgedet_evaluation.intervals import Estimate

from edgedet_compression.data.score import Score
from edgedet_compression.networks.families import parameter_count
from edgedet_compression.recipe_stages import EvaluateStage
from edgedet_compression.stages.context import Context, Figures


def evaluate(stage: EvaluateStage, context: Context) -> Figures:
    """Scores of every network and package, and their differences to the baseline's."""
    figures: Figures = {"baseline": stage.baseline, "networks": {}, "packages": {}}
    names = dict.fromkeys((stage.baseline, *stage.networks))
    advance = context.progress("measuring accuracy", len(names) + len(stage.packages))
    baseline: Sequence[Score] = ()
    for name in names:
        network = context.network(name)
        scores = context.data.score(network)
        baseline = baseline or scores
        figures["networks"][name] = {"parameters": parameter_count(network)} | _compared(scores, baseline)
        advance()
    for name in stage.packages:
        package = context.package(name)
        figures["packages"][name] = {"digest": package.digest} | _compared(
            context.data.score_package(package), baseline
        )
        advance()
    return figures


def _compared(scores: Sequence[Score], baseline: Sequence[Score]) -> Figures:
    return {
        score.figure: {"n": score.photos, **_json(score.estimate), "minus baseline": _json(score.minus(base))}
        | _by_class(score)
        for score, base in zip(scores, baseline, strict=True)
    }


def _by_class(score: Score) -> Figures:
    found = {label: {"n": one.count, "value": round(one.value, 5)} for label, one in score.classes.items()}
    return {"classes": found} if found else {}


def _json(estimate: Estimate) -> dict[str, float]:
    return {"value": round(estimate.value, 5), "low": round(estimate.low, 5), "high": round(estimate.high, 5)}
