"""How a record looks to a client: whole, metadata only, annotated with its workspace, or as a row of a table."""

from functools import lru_cache

import msgspec

from fastcore.testing.apiserver.events import from_core
from fastcore.testing.apiserver.metadata import CLUSTER_ANNOTATION
from fastcore.testing.apiserver.resources import Resource
from fastcore.testing.apiserver.storage import Event, Record

_PARTIAL = b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1",'


class View:
    """Cuts a client's bytes out of records.

    Args:
        resource: the kind and version that the client asked for.
        partial: metadata only.
        annotate: add the workspace as an annotation.
    """

    def __init__(self, resource: Resource, *, partial: bool = False, annotate: bool = False) -> None:
        self.resource = resource
        self._partial = partial
        self._annotate = annotate
        self._converted = resource.group == "events.k8s.io"
        self._last: tuple[str, Record | None, bytes] = ("", None, b"")
        self.head = _PARTIAL if partial else resource.head
        # The real server names kind and version in the items of custom and partial lists only.
        self._item_head = self.head if partial or resource.custom else b"{"
        self.list_kind = "PartialObjectMetadataList" if partial else resource.list_name
        self.list_version = "meta.k8s.io/v1" if partial else resource.api_version

    def body(self, record: Record) -> bytes:
        """Everything after kind and apiVersion."""
        body = record.annotated(CLUSTER_ANNOTATION, record.key[0]) if self._annotate else record.body
        if self._partial:
            return body[: record.metadata_end + len(body) - len(record.body)] + b"}"
        if self._converted:
            obj = from_core(msgspec.json.decode(b"{" + body))
            del obj["apiVersion"]
            return msgspec.json.encode(obj)[1:]
        return body

    def object(self, record: Record) -> bytes:
        """The object by itself."""
        return self.head + self.body(record)

    def item(self, record: Record) -> bytes:
        """The object as an item of a list."""
        return self._item_head + self.body(record)

    def line(self, kind: str, record: Record) -> bytes:
        """The object as a line of a watch; watchers that share the view share the bytes."""
        last_kind, last_record, line = self._last
        if last_record is record and last_kind == kind:
            return line
        line = b'{"type":"%s","object":%s}\n' % (kind.encode(), self.object(record))
        self._last = (kind, record, line)
        return line

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        """A bookmark's line."""
        extra = b',"annotations":{"k8s.io/initial-events-end":"true"}' if initial_events_end else b""
        return b'{"type":"BOOKMARK","object":%s"metadata":{"resourceVersion":"%d"%s}}}\n' % (self.head, revision, extra)


class TableView(View):
    """Rows for `kubectl get --watch`; only the first line of a watch describes the columns."""

    def __init__(self, resource: Resource, *, annotate: bool = False) -> None:
        super().__init__(resource, annotate=annotate)

    def object(self, record: Record) -> bytes:
        """A table of one row."""
        from fastcore.testing.apiserver.tables import table

        return table(self.resource, [record], record.revision)


@lru_cache(maxsize=1024)
def view_of(resource: Resource, form: str, annotate: bool) -> View:
    """The view of a resource in a form: "object", "partial" or "table"."""
    if form == "table":
        return TableView(resource, annotate=annotate)
    return View(resource, partial=form == "partial", annotate=annotate)


def change(event: Event) -> str:
    """The type of an event for a watch without selector."""
    if event.deleted:
        return "DELETED"
    return "ADDED" if event.old is None else "MODIFIED"
