"""A package ready to serve, and what a call asks of it: the boundary, the tensors, the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from edgedet_proto.wire import InferCall, WireTensor, photo_of, unpack
from edgedet_runtime.answer import Choices, Finisher
from edgedet_runtime.backend import RegisteredBackend, Tensor, load_backend
from edgedet_runtime.chain import Chain, prepare_chain
from edgedet_runtime.detection import Detections, DetectThresholds
from edgedet_runtime.errors import PackageRefused, RuntimeFault, TensorMismatch
from edgedet_runtime.letterbox import Geometry, geometry_of, to_input
from edgedet_runtime.package import Package, scan_packages
from edgedet_runtime.photo import decode_photo
from edgedet_runtime.profile import Profile, measure_profile
from numpy.typing import NDArray

from edgedet_cloud.errors import BadCall

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A package ready to run from any boundary."""

    package: Package
    chain: Chain
    finisher: Finisher
    profile: Profile

    @property
    def segment_count(self) -> int:
        """N."""
        return self.chain.segment_count

    def tail_ms(self, boundary: int) -> float:
        """Expected work behind a boundary."""
        profile = self.profile
        decode_ms = 0.0 if boundary else profile.decode_ms
        return decode_ms + sum(profile.segment_ms[boundary:]) + profile.postprocess_ms

    def boundary_of(self, call: InferCall, tensors: Sequence[WireTensor]) -> int:
        """The call's boundary, or for a client that tells none the one whose tensors these are.

        Raises:
            BadCall: the tensors are not those of the boundary; names, types and shapes are checked.
        """
        if not tensors:
            raise BadCall("inputs: there is no tensor")
        if tensors[0].datatype == "BYTES":
            if call.boundary or len(tensors) != 1:
                raise BadCall("inputs: a photo (BYTES) stands alone, at boundary 0")
            return 0
        names = sorted(tensor.name for tensor in tensors)
        candidates = range(self.segment_count) if call.boundary is None else (call.boundary,)
        for boundary in candidates:
            if boundary < self.segment_count and names == sorted(s.name for s in self.chain.live_tensors(boundary)):
                self._check(boundary, tensors)
                return boundary
        which = "any boundary" if call.boundary is None else f"boundary {call.boundary}"
        raise BadCall(f"inputs: {names} are not the live tensors of {which} of {self.package.reference}")

    def enter(
        self, call: InferCall, tensors: Sequence[WireTensor], max_megapixels: float
    ) -> tuple[dict[str, Tensor], Geometry]:
        """The live tensors that a checked call carries, unpacked, and the photo's geometry.

        Raises:
            WireError: contents that do not fit the shapes.
            PhotoRefused: a photo that cannot be decoded.
        """
        spec = self.package.manifest.input
        if tensors[0].datatype == "BYTES":
            tensor, geometry = to_input(decode_photo(photo_of(tensors[0]), max_megapixels), spec)
            return {spec.name: tensor}, geometry
        live = {tensor.name: unpack(tensor, call.codec) for tensor in tensors}
        return live, geometry_of(call.photo_width or spec.width, call.photo_height or spec.height, spec)

    def finish(self, call: InferCall, outputs: Mapping[str, Tensor], geometry: Geometry) -> dict[str, NDArray[Any]]:
        """The reply's tensors: `detections` [n, 6] or `classes` [k, 2], or with `raw` the outputs as they are."""
        if call.raw:
            return dict(outputs)
        answer = self.finisher.finish(outputs, geometry, self._choices(call))
        name = "detections" if isinstance(answer, Detections) else "classes"
        return {name: answer.to_rows()}

    def _check(self, boundary: int, tensors: Sequence[WireTensor]) -> None:
        by_name = {tensor.name: tensor for tensor in tensors}
        ordered = [by_name[spec.name] for spec in self.chain.live_tensors(boundary)]
        types = {"UINT8": "uint8", "FP32": "float32"}
        try:
            self.chain.check(boundary, [(t.name, types.get(t.datatype, t.datatype), t.shape) for t in ordered])
        except TensorMismatch as error:
            raise BadCall(str(error)) from error

    def _choices(self, call: InferCall) -> Choices:
        default = self.finisher.default_choices()
        if isinstance(default, int):
            return min(call.top_k or default, len(self.package.manifest.labels))
        return DetectThresholds(
            default.score if call.score_threshold is None else call.score_threshold,
            default.iou if call.iou_threshold is None else call.iou_threshold,
            default.max_detections if call.max_detections is None else call.max_detections,
        )


def load_models(folder: Path) -> tuple[ServedModel, ...]:
    """Prepare every package below `folder`; refused ones are logged, the others still serve.

    Raises:
        PackageRefused: there is no package, or every one is refused.
    """
    packages, refusals = scan_packages(folder)
    reasons = [refusal.reason for refusal in refusals]
    backend = load_backend("onnxruntime")
    models = []
    for package in packages:
        try:
            models.append(_prepare(package, backend))
        except RuntimeFault as fault:
            reasons.append(f"{package.folder}: {fault}")
        else:
            log.info("package ready", package=package.reference, digest=package.digest)
    for reason in reasons:
        log.error("package refused", reason=reason)
    if not models and reasons:
        raise PackageRefused(f"models: every package is refused, the first because of {reasons[0]}")
    if not models:
        raise PackageRefused(
            f"models: no package below {folder.absolute()}; a package is NAME/VERSION/manifest.json; "
            "--models names another folder"
        )
    return tuple(models)


def _prepare(package: Package, backend: RegisteredBackend) -> ServedModel:
    chain, finisher = prepare_chain(package, backend), Finisher.load(package)
    return ServedModel(package, chain, finisher, measure_profile(chain, finisher))
