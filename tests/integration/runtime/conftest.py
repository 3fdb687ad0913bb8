"""Every committed package, and its network in one session."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from edgedet_runtime.backends.onnxruntime import session_options
from edgedet_runtime.package import Package, scan_packages

PACKAGES = sorted(path.parent for path in (Path(__file__).parents[3] / "models").glob("*/*/manifest.json"))
Fused = Callable[[np.ndarray], dict[str, np.ndarray]]


@pytest.fixture(scope="session", params=PACKAGES, ids=lambda folder: f"{folder.parent.name}-{folder.name}")
def package(request: pytest.FixtureRequest) -> Package:
    packages, refusals = scan_packages(request.param.parents[1])
    assert refusals == []
    return next(package for package in packages if package.folder == request.param)


@pytest.fixture(scope="session")
def fused(package: Package) -> Fused:
    """The outputs of the whole network in one session, by name."""
    session = onnxruntime.InferenceSession(package.path("model.onnx").read_bytes(), session_options())
    names = [output.name for output in session.get_outputs()]
    source = package.manifest.input.name
    return lambda tensor: dict(zip(names, session.run(names, {source: tensor}), strict=True))
