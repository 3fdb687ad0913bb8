"""The photo's bytes out of a request: raw body or multipart field, never more than the limits in memory."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from edgedet_edge.errors import BadForm, BodyTooLarge, ClientGone, MediaTypeUnsupported, Overloaded

FIELD = "image"
_RAW_TYPES = frozenset({"image/jpeg", "image/jpg", "image/png", "application/octet-stream", ""})


class Inbox:
    """Room for photos: `max_bytes` for each, `max_total_bytes` for all that are in the node at once."""

    def __init__(self, max_bytes: int, max_total_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.free_bytes = max_total_bytes

    @asynccontextmanager
    async def photo(self, request: Request) -> AsyncIterator[bytes]:
        """The posted photo, counted until the context ends.

        Raises:
            MediaTypeUnsupported: the content type is neither a photo's nor multipart/form-data.
            BodyTooLarge: the body is larger than one photo may be; nothing beyond was kept.
            Overloaded: there is no room for it now.
            BadForm: a multipart body that is broken, or lacks the field `image`.
            ClientGone: the client left before the body ended.
        """
        place = _Place(self)
        try:
            yield await _read(request, place)
        finally:
            self.free_bytes += place.taken_bytes


class _Place:
    """What one request has taken of the inbox."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self.taken_bytes = 0

    def check(self, nbytes: int) -> None:
        """Whether a body of that size could be taken."""
        if nbytes > self._inbox.max_bytes:
            raise BodyTooLarge(f"the body is larger than {self._inbox.max_bytes / 1e6:g} MB")
        if nbytes - self.taken_bytes > self._inbox.free_bytes:
            raise Overloaded("the photos that are here already take all the room there is", retry_after_s=1)

    def take(self, nbytes: int) -> None:
        """Take some more."""
        self.check(self.taken_bytes + nbytes)
        self.taken_bytes += nbytes
        self._inbox.free_bytes -= nbytes


async def _read(request: Request, place: _Place) -> bytes:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data" and media_type not in _RAW_TYPES:
        raise MediaTypeUnsupported(
            f"content type {media_type!r}: send image/jpeg, image/png, or multipart/form-data with a field {FIELD!r}"
        )
    announced = request.headers.get("content-length", "")
    if announced.isdigit():  # refused before a byte of it is read; the protocol throws away what comes all the same
        place.check(int(announced))
    try:
        if media_type == "multipart/form-data":
            return await _read_multipart(request, place)
        return b"".join([chunk async for chunk in _counted(request, place)])
    except ClientDisconnect as gone:
        raise ClientGone("the client left while it was sending") from gone


async def _counted(request: Request, place: _Place) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        place.take(len(chunk))
        yield chunk


async def _read_multipart(request: Request, place: _Place) -> bytes:
    parser = MultiPartParser(request.headers, _counted(request, place), max_files=1, max_fields=8)
    parser.spool_max_size = 0  # never a temporary file: the inbox limits what is in memory
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadForm(f"multipart body: {error.message}") from error
    except UnicodeError as error:  # of a charset that Python knows, and that can decode nothing
        raise BadForm(f"multipart body: its charset: {error}") from error
    try:
        field = form.get(FIELD)
        if not isinstance(field, UploadFile):
            raise BadForm(f"multipart body: the field {FIELD!r} with a photo (and a file name) is missing")
        return await field.read()
    finally:
        await form.close()
