"""The stage `evaluate`: the test split, once for all networks, with intervals paired against a baseline."""

from edgedet_evaluation.intervals import Estimate

from edgedet_compression.data.score import Score
from edgedet_compression.networks.families import parameter_count
from edgedet_compression.recipe_stages import EvaluateStage
from edgedet_compression.stages.context import Context, Figures


def evaluate(stage: EvaluateStage, context: Context) -> Figures:
    """Scores of every network, and their differences to the baseline's."""
    scores: dict[str, list[Score]] = {}
    figures: Figures = {"baseline": stage.baseline, "networks": {}}
    names = dict.fromkeys((stage.baseline, *stage.networks))
    advance = context.progress("measuring accuracy", len(names))
    for name in names:
        network = context.network(name)
        scores[name] = context.data.score(network)
        figures["networks"][name] = {"parameters": parameter_count(network)} | {
            score.figure: {
                "n": score.photos,
                **_json(score.estimate),
                "minus baseline": _json(score.minus(base)),
            }
            for score, base in zip(scores[name], scores[stage.baseline], strict=True)
        }
        advance()
    return figures


def _json(estimate: Estimate) -> dict[str, float]:
    return {"value": round(estimate.value, 5), "low": round(estimate.low, 5), "high": round(estimate.high, 5)}
