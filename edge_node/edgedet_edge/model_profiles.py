"""What the policies see of a model: its costs here with the codec that the link asks for, and how slow a cloud is."""

from dataclasses import dataclass, field

from edgedet_edge.job import ServedModel
from edgedet_edge.placement import ModelProfile
from edgedet_edge.tensors_codec import predicted_bytes

# What grpc.aio's client costs per call on the event loop, nearly whatever the size (87 to 346 kB).
_SEND_MS = 0.5
_REFRESH_S = 0.25
_WEIGHT = 0.1
_TRUSTED_S = 10.0


@dataclass(slots=True)
class RemotePackage:
    """What is known of a package at a cloud."""

    same: bool | None = None
    """Whether its digest is ours; None until the cloud said so."""
    slowness: float | None = None
    """Its service time over our own prediction, moving average; after a silence the new measurement counts alone."""
    measured_s: float = float("-inf")
    """When a tail ran there, or the cloud said that it has another package."""

    def observe(self, predicted_ms: float, service_ms: float, now_s: float) -> None:
        """A tail took `service_ms` there."""
        ratio = service_ms / max(predicted_ms, 1e-3)
        known = self.slowness if now_s - self.measured_s <= _TRUSTED_S else None
        self.slowness = ratio if known is None else known + _WEIGHT * (ratio - known)
        self.measured_s = now_s


@dataclass(slots=True)
class ModelProfiles:
    """Profiles by model, made anew a few times a second and not for every decision."""

    forward_photos: bool
    _known: dict[str, tuple[float, ModelProfile]] = field(default_factory=dict)

    def of(self, model: ServedModel, bandwidth_bytes_ms: float | None, now_s: float) -> ModelProfile:
        """The model's profile; `bandwidth_bytes_ms` of the slowest known link decides the codec."""
        made_s, profile = self._known.get(model.reference, (float("-inf"), None))
        if profile is None or now_s - made_s > _REFRESH_S:
            profile = model_profile(model, bandwidth_bytes_ms, forward_photos=self.forward_photos)
            self._known[model.reference] = (now_s, profile)
        return profile


def model_profile(model: ServedModel, bandwidth_bytes_ms: float | None, *, forward_photos: bool) -> ModelProfile:
    """A model's measured costs as a policy sees them."""
    profile, count = model.profile, model.segment_count
    wires = [predicted_bytes(boundary, bandwidth_bytes_ms) for boundary in profile.boundaries]
    tails_ms = [profile.postprocess_ms + sum(profile.segment_ms[k:]) for k in range(count)]
    tails_ms[0] += profile.decode_ms
    return ModelProfile(
        head_ms=tuple(profile.head_ms()),
        encode_ms=(_SEND_MS, *(_SEND_MS + packing_ms for _, _, packing_ms in wires)),
        wire_bytes=(profile.photo_bytes, *(nbytes for _, nbytes, _ in wires)),
        tail_ms=tuple(tails_ms),
        allowed=tuple(range(0 if forward_photos else 1, count)),
    )
