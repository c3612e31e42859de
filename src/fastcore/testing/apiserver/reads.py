"""GET of one object and of lists: revisions, pages with a fixed revision, selectors."""

import base64
from typing import Any, NamedTuple

import msgspec

from fastcore.testing.apiserver.replica import Replica
from fastcore.testing.apiserver.selectors import EVERYTHING, Selector, parse
from fastcore.testing.apiserver.status import (
    Cause,
    StatusError,
    bad_request,
    expired,
    invalid_options,
    not_found,
    too_large_resource_version,
)
from fastcore.testing.apiserver.storage import Collection, Record, Store
from fastcore.testing.apiserver.tables import table
from fastcore.testing.apiserver.target import Key, Target
from fastcore.testing.apiserver.views import View

_TOKEN_VERSION = "meta.k8s.io/v1"
_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Page(NamedTuple):
    """Part of a list: its records, its revision, and how to go on."""

    records: list[Record]
    revision: int
    token: str = ""
    remaining: int | None = None
    shard: str = ""


def revision_of(text: str) -> int | None:
    """The revision that a query asks for; None if it says nothing.

    Raises:
        StatusError: 400.
    """
    if not text:
        return None
    if not text.isdecimal():
        raise bad_request(
            f'invalid resource version: resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
            "invalid syntax"
        )
    return int(text)


def selector_of(target: Target, query: dict[str, str]) -> Selector:
    """The selector of a list or watch; a name in the path counts as a field selector."""
    found = parse(query, target.resource.supported_fields)
    if target.name:
        found = found._replace(fields=(*found.fields, ("metadata.name", True, target.name)))
    return found


def get(store: Store, target: Target, query: dict[str, str], stale: Replica | None = None) -> Record:
    """One object.

    Args:
        stale: a replica that has fallen behind, for reads that need not be consistent.

    Raises:
        StatusError: 404; 504 if a revision is asked for that has not been reached.
    """
    revision = revision_of(query.get("resourceVersion", ""))
    store.check_reached(revision or 0)
    if stale is not None and revision is not None:
        _check_replica(stale, revision)
        found = stale.get(target.resource.storage, target.key)
    else:
        found = store.collection(*target.resource.storage).records.get(target.key)
    if found is None:
        raise not_found(target.resource.group, target.resource.plural, target.name)
    return found


def _check_replica(replica: Replica, revision: int) -> None:
    if revision > replica.revision:
        raise too_large_resource_version(revision, replica.revision)


def list_page(
    store: Store, target: Target, workspace: str | None, query: dict[str, str], stale: Replica | None = None
) -> Page:
    """The page of a list that the query asks for.

    Args:
        stale: a replica that has fallen behind, for reads that need not be consistent.

    Raises:
        StatusError: 400, 410 (revision or token has expired), 422 or 504.
    """
    collection = store.collection(*target.resource.storage)
    selector = selector_of(target, query)
    limit = _limit(query)
    if token := query.get("continue", ""):
        return _next_page(store, collection, target, workspace, selector, limit, token, query)
    revision = revision_of(query.get("resourceVersion", ""))
    match = query.get("resourceVersionMatch", "")
    _check_match(match, revision)
    if query.get("sendInitialEvents"):
        cause = Cause.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
        raise invalid_options("ListOptions", [cause])
    if revision == 0:
        limit = 0  # "any version" is answered from the cache, which does not page
    if match == "Exact" and revision is not None:
        records = collection.select_at(workspace, target.namespace, revision)
        return _cut(_select(records, selector), revision, limit, selector)
    store.check_reached(revision or 0)
    if stale is not None and revision is not None:
        _check_replica(stale, revision)
        records = stale.select(target.resource.storage, workspace, target.namespace)
        return _cut(_select(records, selector), stale.revision, limit, selector)
    records = collection.select(workspace, target.namespace)
    return _cut(_select(records, selector), store.revision, limit, selector)


def _limit(query: dict[str, str]) -> int:
    text = query.get("limit", "") or "0"
    if not text.lstrip("-").isdecimal():
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    return max(int(text), 0)


def _check_match(match: str, revision: int | None) -> None:
    field = "resourceVersionMatch"
    if not match:
        return
    if match not in ("Exact", "NotOlderThan"):
        causes = [Cause.unsupported(field, f'"{match}"', ("Exact", "NotOlderThan"))]
    elif revision is None:
        causes = [Cause.forbidden(field, f"{field} is forbidden unless resourceVersion is provided")]
    elif match == "Exact" and revision == 0:
        causes = [Cause.forbidden(field, f'{field} "exact" is forbidden for resourceVersion "0"')]
    else:
        return
    raise invalid_options("ListOptions", causes)


def _select(records: list[Record], selector: Selector) -> list[Record]:
    if selector is EVERYTHING:
        return records
    return [record for record in records if selector.selects(record)]


def _cut(records: list[Record], revision: int, limit: int, selector: Selector) -> Page:
    shard = selector.shard.text if selector.shard else ""
    if not limit or len(records) <= limit:
        return Page(records, revision, shard=shard)
    token = _write_token(revision, records[limit - 1].key)
    # With a selector the real server does not know how many objects are left, and says nothing.
    remaining = len(records) - limit if selector is EVERYTHING else None
    return Page(records[:limit], revision, token, remaining, shard)


def _next_page(
    store: Store,
    collection: Collection,
    target: Target,
    workspace: str | None,
    selector: Selector,
    limit: int,
    token: str,
    query: dict[str, str],
) -> Page:
    revision, after = _read_token(token)
    if query.get("resourceVersion", "") not in ("", "0"):
        raise bad_request("specifying resource version is not allowed when using continue")
    if revision < 0:
        revision = store.revision
    try:
        records = collection.select_at(workspace, target.namespace, revision)
    except StatusError as error:
        if error.code != 410:
            raise
        raise expired(_TOO_OLD, list_continue=_write_token(-1, after)) from None
    left = [record for record in records if record.key > after]
    return _cut(_select(left, selector), revision, limit, selector)


def _write_token(revision: int, after: Key) -> str:
    value = {"v": _TOKEN_VERSION, "rv": revision, "start": "/".join(after) + "\0"}
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, Key]:
    try:
        value = msgspec.json.decode(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        workspace, namespace, name = value["start"].removesuffix("\0").split("/")
        if value["v"] != _TOKEN_VERSION or not isinstance(value["rv"], int):
            raise ValueError(value["v"])
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.DecodeError) as error:
        raise bad_request(f"invalid continue token: continue key is not valid: {error}") from None
    return value["rv"], (workspace, namespace, name)


def list_body(view: View, page: Page) -> bytes:
    """The list object."""
    metadata: dict[str, Any] = {"resourceVersion": str(page.revision)}
    if page.token:
        metadata["continue"] = page.token
    if page.remaining:
        metadata["remainingItemCount"] = page.remaining
    if page.shard:
        metadata["shardInfo"] = {"selector": page.shard}
    head = {"kind": view.list_kind, "apiVersion": view.list_version, "metadata": metadata}
    items = b",".join([view.item(record) for record in page.records])
    return msgspec.json.encode(head)[:-1] + b',"items":[' + items + b"]}"


def table_body(target: Target, page: Page, include: str) -> bytes:
    """The list as a table."""
    return table(
        target.resource, page.records, page.revision, token=page.token, remaining=page.remaining, include=include
    )
