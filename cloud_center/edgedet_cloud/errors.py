"""Errors of the cloud, one tree, each with its gRPC status:

CloudError
├── BadCall          INVALID_ARGUMENT: tensors, sizes, parameters, photo
├── ModelUnknown     NOT_FOUND
├── DigestDiffers    FAILED_PRECONDITION: the edge has another package under this name
├── QueueFull        RESOURCE_EXHAUSTED, with a time after which to try again
├── Draining         UNAVAILABLE
├── Expired          DEADLINE_EXCEEDED: dropped before it cost work
└── Faulty           INTERNAL: a fault of ours; the log has the stack trace
"""

from grpc import StatusCode


class CloudError(Exception):
    """Base; `code` is what the client sees."""

    code: StatusCode


class BadCall(CloudError):
    """Tensors, sizes, parameters or a photo that cannot be taken."""

    code = StatusCode.INVALID_ARGUMENT


class ModelUnknown(CloudError):
    """No package of that name and version."""

    code = StatusCode.NOT_FOUND


class DigestDiffers(CloudError):
    """The edge's package of this name decides answers differently."""

    code = StatusCode.FAILED_PRECONDITION


class QueueFull(CloudError):
    """The call could not be answered by its deadline."""

    code = StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, retry_after_ms: float) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Draining(CloudError):
    """The cloud is about to stop."""

    code = StatusCode.UNAVAILABLE


class Expired(CloudError):
    """The deadline passed, or the client left, before the work was done."""

    code = StatusCode.DEADLINE_EXCEEDED


class Faulty(CloudError):
    """Something that should not happen; the log has the stack trace."""

    code = StatusCode.INTERNAL
