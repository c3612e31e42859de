"""The API server's limits on what is written (LI-5), checked before anything is sent."""

from collections.abc import Mapping
from typing import Any

from fastcore.controller.errors import TooLargeError

MAX_BODY = 3 * 1024 * 1024
MAX_ANNOTATIONS = 256 * 1024
MAX_PATCH_OPERATIONS = 10_000


def check_body(what: str, size: int) -> None:
    """Refuse a request that the server would refuse unread.

    Args:
        what: method and path.
        size: of the body in bytes.

    Raises:
        TooLargeError: it is larger than 3 MiB.
    """
    if size > MAX_BODY:
        raise TooLargeError(
            f"the body of {what} has {size} bytes, more than the {MAX_BODY} that API servers take: split the object",
            status=413,
        )


def check_annotations(kind: str, obj: Mapping[str, Any]) -> None:
    """Refuse an object whose annotations are too large together: names and values count, in UTF-8.

    Raises:
        TooLargeError: they are larger than 256 KiB.

    Complexity: O(annotations).
    """
    meta = obj["metadata"]
    annotations = meta.get("annotations")
    if not annotations:
        return
    size = sum(_bytes(key) + _bytes(value) for key, value in annotations.items())
    if size > MAX_ANNOTATIONS:
        raise TooLargeError(
            f"the annotations of {kind} {meta.get('name')!r} have {size} bytes, more than the {MAX_ANNOTATIONS} that "
            "API servers take: keep the data elsewhere",
            status=413,
        )


def check_patch(kind: str, name: str, operations: int) -> None:
    """Refuse a JSON patch with too many operations.

    Raises:
        TooLargeError: there are more than 10,000.
    """
    if operations > MAX_PATCH_OPERATIONS:
        raise TooLargeError(
            f"the JSON patch of {kind} {name!r} has {operations} operations, more than the {MAX_PATCH_OPERATIONS} that "
            "API servers take: send several, or a merge patch",
            status=413,
        )


def _bytes(text: object) -> int:
    if not isinstance(text, str):  # the server will say what is wrong with it
        return 0
    return len(text) if text.isascii() else len(text.encode(errors="replace"))
