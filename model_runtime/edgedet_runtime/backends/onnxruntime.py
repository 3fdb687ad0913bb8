"""ONNX Runtime as a backend: one thread per session, one memory arena for all sessions of the process."""

from collections.abc import Sequence
from functools import cache
from typing import Self

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from edgedet_runtime.backend import Hardware, RunContext, RunResult, Tensor
from edgedet_runtime.errors import GraphUnsupported
from edgedet_runtime.package import Package
from edgedet_runtime.segments import Segment

# ONNX Runtime's errors have no common base of their own.
_LOAD_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoSuchFile,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


class OnnxRuntimeBackend:
    """Prepares a segment as an inference session; worker threads share the sessions."""

    name = "onnxruntime"
    uses_photo_key = False
    hardware: Hardware | None = None

    def for_package(self, package: Package) -> Self:  # noqa: ARG002  (all packages alike)
        """This backend."""
        return self

    def prepare(self, segment: Segment) -> "OnnxRuntimeRunner":
        """Load the segment's graph with every optimization; weights are kept in the session alone.

        Raises:
            GraphUnsupported: ONNX Runtime cannot load the segment.
        """
        _share_arena()
        try:
            session = ort.InferenceSession(
                segment.model.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
            )
        except _LOAD_ERRORS as error:
            raise GraphUnsupported(f"segment {segment.index}: ONNX Runtime cannot load it: {error}") from error
        return OnnxRuntimeRunner(session, segment)


class OnnxRuntimeRunner:
    """One session."""

    def __init__(self, session: ort.InferenceSession, segment: Segment) -> None:
        self._session = session
        self._inputs = [spec.name for spec in segment.inputs]
        self._outputs = [spec.name for spec in segment.outputs]

    def run(self, tensors: Sequence[Tensor], context: RunContext) -> RunResult:  # noqa: ARG002  (digital: no key)
        """Run the session; `tensors` in the segment's order."""
        feeds = dict(zip(self._inputs, tensors, strict=True))
        return RunResult(tuple(self._session.run(self._outputs, feeds)))


def session_options() -> ort.SessionOptions:
    """One intra-op thread without spinning: spinning pools of many sessions fight each other for the cores."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.log_severity_level = 3
    return options


@cache
def _share_arena() -> None:
    """Register the arena that sessions with `use_env_allocators` share; once per process."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, None)
