"""The photo's bytes out of a request: raw body or multipart field, never more than the limit in memory."""

import time
from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from edgedet_edge.errors import BadQuery, BodyTooLarge, ClientGone, MediaTypeUnsupported

FIELD = "image"
_RAW_TYPES = frozenset({"image/jpeg", "image/jpg", "image/png", "application/octet-stream", ""})
# A client that is cut off while it still writes never reads the answer, so the rest is read and thrown away.
_DISCARD_S = 5.0


async def read_photo(request: Request, max_bytes: int) -> bytes:
    """The posted photo.

    Raises:
        MediaTypeUnsupported: the content type is neither a photo's nor multipart/form-data.
        BodyTooLarge: the body is larger than `max_bytes`; nothing beyond was kept.
        BadQuery: a multipart body without the field `image`.
        ClientGone: the client left before the body ended.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data" and media_type not in _RAW_TYPES:
        raise MediaTypeUnsupported(
            f"content type {media_type!r}: send image/jpeg, image/png, or multipart/form-data with a field {FIELD!r}"
        )
    try:
        if media_type == "multipart/form-data":
            return await _read_multipart(request, max_bytes)
        return b"".join([chunk async for chunk in _limited(request, max_bytes)])
    except ClientDisconnect as gone:
        raise ClientGone("the client left while it was sending") from gone


async def _limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    announced = request.headers.get("content-length", "")
    too_large = announced.isdigit() and int(announced) > max_bytes
    received = 0
    stream = request.stream()
    if not too_large:
        async for chunk in stream:
            received += len(chunk)
            if received > max_bytes:
                too_large = True
                break
            yield chunk
    if too_large:
        give_up = time.monotonic() + _DISCARD_S
        async for _ in stream:
            if time.monotonic() > give_up:
                break
        raise BodyTooLarge(f"the body is larger than {max_bytes / 1e6:g} MB")


async def _read_multipart(request: Request, max_bytes: int) -> bytes:
    parser = MultiPartParser(request.headers, _limited(request, max_bytes), max_files=1, max_fields=8)
    parser.spool_max_size = max_bytes  # in memory, not in a temporary file: the limit is ours already
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:
        reason = error.message if isinstance(error, MultiPartException) else "no boundary in the content type"
        raise BadQuery(f"multipart body: {reason}") from error
    try:
        field = form.get(FIELD)
        if not isinstance(field, UploadFile):
            raise BadQuery(f"multipart body: the field {FIELD!r} with a photo is missing")
        return await field.read()
    finally:
        await form.close()
