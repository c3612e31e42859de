"""Strategic merge patches of the built-in kinds, and patches from three documents."""

from collections.abc import Mapping
from typing import Any

from fastcore._py.divergence import Divergence
from fastcore._py.document import copied, pointer
from fastcore._py.kinds import members_of, table_of
from fastcore._py.overlay import Overlay
from fastcore._py.threeway import both_plain, changes_of, conflict, deletions_of, strategic
from fastcore.errors import PatchConflict

__all__ = ["apply_strategic_merge_patch", "patch_type", "strategic_merge_patch", "three_way_patch"]


def strategic_merge_patch(old: Any, new: Any, /, *, types: Mapping[str, Mapping[str, Any]] | None = None) -> Any:
    """The strategic merge patch that turns `old` into `new`.

    Objects are merged member by member, and null removes. How a list is patched depends on the kind of the document
    (`apiVersion` and `kind` of `new`, or of `old`): by the merge key of its items, as a set, or as a whole. The patch
    uses `$patch: delete`, `$setElementOrder`, `$deleteFromPrimitiveList`, `$retainKeys` where they are needed, and
    `$patch: replace` for a list that has a key twice. For a kind that `types` does not know it is a merge patch. Equal
    documents give `{}`. A null in `new` asks for an absent member. The values in the patch are copies.

    Args:
        old, new: two objects (documents that are a dict).
        types: how the members of types are merged, `{type: {member: (type, strategies, merge key)}}`; a kind is the
            type "apps/v1 Deployment", "*" any member, strategies are "", "merge", "replace", "retainKeys", or two of
            them with a comma. Default (None): the built-in kinds of Kubernetes.

    Raises:
        PatchError: an item of a list that is merged has no merge key, or `new` has a member that would be read as a
            directive; the message names its pointer.
        TypeError: a type that JSON does not have, a member name that is not str, a document that is no object, or a
            bad `types`.
        RecursionError: more than 256 levels, or a document that contains itself.

    Complexity: O(size), and O(n log n) in the items that are removed from one list.
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import strategic_merge_patch
        >>> def deployment(*containers):
        ...     spec = {"template": {"spec": {"containers": list(containers)}}}
        ...     return {"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}
        >>> log = {"name": "log", "image": "log:1"}
        >>> old = deployment({"name": "web", "image": "web:1"}, log)
        >>> new = deployment({"name": "web", "image": "web:2"}, log)
        >>> strategic_merge_patch(old, new)["spec"]["template"]["spec"]["containers"]
        [{'image': 'web:2', 'name': 'web'}]

    Source: Kubernetes, "Strategic merge patch", sig-api-machinery.
    """
    a, b = _object(old), _object(new)
    table = table_of(types)
    return Divergence(table, True, True, True).maps(a, b, members_of(table, b, a), False)


def apply_strategic_merge_patch(
    doc: Any, patch: Any, /, *, types: Mapping[str, Mapping[str, Any]] | None = None
) -> Any:
    """The document that a strategic merge patch makes of `doc`, as the API server would.

    The kind is that of `doc`, or else of `patch`. The answer is a new document of plain dicts and lists that shares
    nothing mutable with `doc` or `patch`. `$patch: merge` is what no directive says; the server refuses it.

    Args:
        doc, patch: two objects (documents that are a dict).
        types: how the members of types are merged, as for `strategic_merge_patch`.

    Raises:
        PatchError: a directive that is malformed or does not fit, or an item of a list that is merged has no merge
            key; the message names its pointer.
        TypeError: a type that JSON does not have, a member name that is not str, a document that is no object, or a
            bad `types`.
        RecursionError: more than 256 levels, or a document that contains itself.

    Complexity: O(size of both), and O(n log n) in the items of one list.
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import apply_strategic_merge_patch
        >>> pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "web"}, {"name": "log"}]}}
        >>> patch = {"spec": {"containers": [{"name": "log", "$patch": "delete"}, {"name": "web", "image": "web:2"}]}}
        >>> apply_strategic_merge_patch(pod, patch)["spec"]
        {'containers': [{'name': 'web', 'image': 'web:2'}]}

    Source: Kubernetes, "Strategic merge patch", sig-api-machinery.
    """
    a, b = _object(doc), _object(patch)
    table = table_of(types)
    return Overlay(table).maps(a, b, members_of(table, a, b))


def three_way_patch(
    last_applied: Any,
    live: Any,
    desired: Any,
    /,
    *,
    overwrite: bool = True,
    types: Mapping[str, Mapping[str, Any]] | None = None,
) -> Any:
    """The patch that brings `live` to what is desired and leaves alone what others have set.

    It sets what `desired` says and `live` does not, and removes what was last applied and is desired no more. For a
    kind that `types` knows it is a strategic merge patch, for any other a merge patch (RFC 7386): `patch_type` tells
    which. A null in `desired` asks for an absent member. The values in the patch are copies.

    Args:
        last_applied: what was desired the last time; None: never applied.
        live: the object as the server shows it; None: nothing.
        desired: the object as it should be.
        overwrite: False: raise if others have changed meanwhile what the patch would change to something else.
        types: how the members of types are merged, as for `strategic_merge_patch`.

    Raises:
        PatchConflict: with `overwrite=False`; the message names the pointer and the ways out, and no values.
        PatchError, TypeError, RecursionError: as `strategic_merge_patch`.

    Complexity: O(size of all three), and O(n log n) in the items of one list.
    Thread safety: reads its arguments without a lock; changed meanwhile, they may raise RuntimeError or IndexError.

    Example:
        >>> from fastcore.diff import three_way_patch
        >>> last, live = {"data": {"a": "1", "b": "1"}}, {"data": {"a": "1", "b": "1", "other": "x"}}
        >>> three_way_patch(last, live, {"data": {"a": "2"}})
        {'data': {'b': None, 'a': '2'}}

    Source: Kubernetes, kubectl's client-side apply.
    """
    last, now, wanted = (
        _object({} if last_applied is None else last_applied),
        _object({} if live is None else live),
        _object(desired),
    )
    table = table_of(types)
    members = members_of(table, wanted, now)
    if members is None:
        patch = both_plain(deletions_of(last, wanted), changes_of(now, wanted))
        changed = {} if overwrite else both_plain(deletions_of(last, now), changes_of(last, now))
    else:
        patch = strategic(last, now, wanted, table, members)
        changed = {} if overwrite else Divergence(table, True, True, False).maps(last, now, members, False)
    path: list[str] = []
    if not overwrite and conflict(patch, changed, table, members, path):
        raise PatchConflict(
            f"{pointer(path)!r} has been changed by others since it was last applied: give overwrite=True to replace "
            "what they have set, desire their value to keep it, or drop it from last_applied and desired to leave it"
        )
    return patch


def patch_type(doc: Any, /, *, types: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """The media type to send with what `three_way_patch` or `strategic_merge_patch` makes for an object.

    Args:
        doc: the object; its `apiVersion` and `kind` count.
        types: how the members of types are merged, as for `strategic_merge_patch`.

    Raises:
        TypeError: a type that JSON does not have, or a bad `types`.

    Complexity: O(1).
    Thread safety: reads its argument without a lock.

    Example:
        >>> from fastcore.diff import patch_type
        >>> patch_type({"apiVersion": "v1", "kind": "Pod"}), patch_type({"apiVersion": "x.dev/v1", "kind": "WebApp"})
        ('application/strategic-merge-patch+json', 'application/merge-patch+json')
    """
    known = members_of(table_of(types), doc) is not None
    return f"application/{'strategic-' if known else ''}merge-patch+json"


def _object(doc: Any) -> dict[str, Any]:
    value = copied(doc, 0)
    if type(value) is not dict:
        raise TypeError(f"a strategic merge patch is about objects, not {type(doc).__qualname__}")
    return value
