"""Every photo through every boundary: the answers must be the same to the last bit."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
from edgedet_iot import Client, Detections, IotFault

PATIENCE_S = 20.0
ATTEMPTS = 10
"""An edge takes a photo home when the cloud is late, as on a busy machine; then its boundary is asked for again."""


class CloudNotReached(RuntimeError):
    """The edge does not know its cloud."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A photo's answers by boundary; a fault's text where there was none."""

    photo: Path
    answers: dict[int, Detections | str]

    @property
    def reference(self) -> Detections | None:
        """The answer of the last boundary, which is the edge's alone."""
        last = self.answers[max(self.answers)]
        return last if isinstance(last, Detections) else None

    def verdict(self, k: int) -> str:
        """Empty if boundary `k` gave the edge's own answer by running where it was told to; else what is wrong."""
        answer, reference = self.answers[k], self.reference
        if not isinstance(answer, Detections):
            return answer
        if answer.route.boundary != k:
            return f"ran at boundary {answer.route.boundary} ({answer.route.reason})"
        if reference is None:
            return "nothing to compare with: the edge alone gave no answer"
        if answer.detections != reference.detections:
            return "other detections than the edge alone"
        return ""

    @property
    def objects(self) -> str:
        """Such as ``2 person, 1 horse``."""
        if self.reference is None:
            return ""
        labels = [one.label for one in self.reference.detections]
        return ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels)) or "nothing"


@dataclass(frozen=True, slots=True)
class BoundarySummary:
    """Medians over the photos that were answered at one boundary."""

    k: int
    placement: str
    bytes_sent: float
    edge_ms: float
    transfer_ms: float
    cloud_ms: float
    total_ms: float


def wait_for_cloud(edge: str) -> None:
    """Until the edge has measured the way to its cloud; before that it keeps photos at home."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        clouds = httpx.get(f"{edge}/v1/metrics/offload", trust_env=False).raise_for_status().json()["clouds"]
        if all(cloud["bandwidth_mbit_s"] is not None and cloud["breaker"] == "closed" for cloud in clouds):
            return
        if time.monotonic() > deadline:
            raise CloudNotReached(f"the edge did not reach its cloud within {PATIENCE_S:.0f} s: {clouds}")
        time.sleep(0.05)


def boundaries_of(edge: str) -> range:
    """0…N of the model that answers `detect` by default."""
    models = httpx.get(f"{edge}/v1/models", trust_env=False).raise_for_status().json()["models"]
    detector = next(model for model in models if model["task"] == "detect" and model["default"])
    return range(detector["segments"] + 1)


def try_boundaries(
    edge: str, photos: Sequence[Path], boundaries: range, on_photo: Callable[[Path], None]
) -> list[Trial]:
    """Post every photo once per boundary."""
    trials = []
    with Client(edge, deadline_s=PATIENCE_S) as client:
        for photo in photos:
            on_photo(photo)
            trials.append(Trial(photo, {k: _answer(client, photo, k) for k in boundaries}))
    return trials


def summaries(trials: Sequence[Trial], boundaries: range) -> list[BoundarySummary]:
    """One row per boundary that answered."""
    rows = []
    for k in boundaries:
        answers = [answer for trial in trials if isinstance(answer := trial.answers[k], Detections)]
        if answers:
            rows.append(_summary(k, answers))
    return rows


def annotate(edge: str, photos: Sequence[Path], folder: Path) -> list[Path]:
    """Write the photos with their boxes drawn into a folder that is there."""
    written = []
    with Client(edge, deadline_s=PATIENCE_S) as client:
        for photo in photos:
            target = folder / f"{photo.stem}.jpg"
            target.write_bytes(client.annotate(photo))
            written.append(target)
    return written


def _answer(client: Client, photo: Path, k: int) -> Detections | str:
    try:
        for _ in range(ATTEMPTS):
            answer = client.detect(photo, boundary=k)
            if answer.route.boundary == k:
                break
    except IotFault as fault:
        return str(fault)
    return answer


def _summary(k: int, answers: Sequence[Detections]) -> BoundarySummary:
    timings = [answer.timing for answer in answers]
    return BoundarySummary(
        k=k,
        placement=answers[0].route.placement,
        bytes_sent=median(answer.route.bytes_sent for answer in answers),
        edge_ms=median(timing.decode_ms + timing.head_ms + timing.encode_ms for timing in timings),
        transfer_ms=median(timing.transfer_ms for timing in timings),
        cloud_ms=median(timing.cloud_queue_ms + timing.tail_ms for timing in timings),
        total_ms=median(timing.total_ms for timing in timings),
    )
