"""Errors of the edge, one tree, each with the HTTP status and title that a client sees:

EdgeFault
├── BodyTooLarge       413
├── MediaTypeUnsupported 415
├── BadForm            400
├── BadQuery           422
├── ForcedBoundaryForbidden 403
├── Overloaded         429, with the time after which to try again
├── Draining           503
├── DeadlineMissed     504
├── ClientGone         the client left: nobody reads an answer
└── CloudFault         a handover that did not work; never leaves the node
    ├── CloudRefused       the cloud said no before any work
    │   └── PackageDiffers     it lacks the package, or has another under its name
    └── CloudFailed        connection or protocol
        └── CloudLate          time ran out
"""

from http import HTTPStatus

from edgedet_proto.cloud_load import CloudLoad


class EdgeFault(Exception):
    """Base; `status` and `title` make the problem document."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    title = "Internal error"


class BodyTooLarge(EdgeFault):
    """The request's body is larger than the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "Body too large"


class MediaTypeUnsupported(EdgeFault):
    """The request's content type is not a photo's."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = "Unsupported media type"


class BadForm(EdgeFault):
    """A multipart body that is broken, or holds no photo."""

    status = HTTPStatus.BAD_REQUEST
    title = "Bad form"


class BadQuery(EdgeFault):
    """A query value or header that does not fit the model or the node."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "Bad query value"


class ForcedBoundaryForbidden(EdgeFault):
    """`boundary` was given, but the node does not let clients choose, or not this one."""

    status = HTTPStatus.FORBIDDEN
    title = "Forced boundary not allowed"


class Overloaded(EdgeFault):
    """The photo would not be answered by its deadline."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    title = "Overloaded"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Draining(EdgeFault):
    """The node is about to stop and takes no more photos."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Draining"


class DeadlineMissed(EdgeFault):
    """An accepted photo could not be answered in time."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    title = "Deadline missed"


class ClientGone(EdgeFault):
    """The client closed its connection."""

    status = HTTPStatus.BAD_REQUEST
    title = "Client closed the connection"


class CloudFault(EdgeFault):
    """A handover that did not bring an answer."""


class CloudRefused(CloudFault):
    """The cloud refused before it did any work; it is alive, and told its load."""

    def __init__(self, message: str, load: CloudLoad | None) -> None:
        super().__init__(message)
        self.load = load


class PackageDiffers(CloudRefused):
    """The cloud has no such package, or another under its name."""


class CloudFailed(CloudFault):
    """The connection broke, or the protocol was not kept."""


class CloudLate(CloudFailed):
    """The call's deadline passed."""
