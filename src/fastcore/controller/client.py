"""The API of one server as Python calls: the verbs, on objects that are plain dicts."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import msgspec

from fastcore.controller.errors import NotFoundError
from fastcore.controller.limits import check_annotations, check_patch
from fastcore.controller.model import Kind, Resource
from fastcore.controller.reads import Reader
from fastcore.controller.requester import APPLY_PATCH, JSON, Params
from fastcore.controller.retry import DEFAULT_RETRY, Retries, retry_on_conflict
from fastcore.controller.turn import TURN, Written

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

encode = msgspec.json.Encoder().encode


class Client(Reader):
    """Calls one Kubernetes API server.

    Every request has a deadline, which includes waiting for a connection and all retries. Answers 429 and 5xx that
    carry Retry-After are retried after that time, up to 10 times (LI-1); without the header they are raised, as is
    any other error. A 401 is retried once with renewed credentials.

    Args:
        config: address and credentials.
        user_agent: value of the User-Agent header.
        max_connections: requests in flight at most, >= 1 (default 100); watches do not count.
        prefix: put before every path, such as "/clusters/blue".
        timeout: default deadline of a request in seconds, > 0.
        retries: repeats of a request that the server asked to send later, >= 0.
        sleep: waits so many seconds (tests inject one).
        limiter: taken from before each request; None, the default, leaves pacing to the server.

    Raises:
        ApiError: from every method, in its typed forms; ConfigError when credentials cannot be had.

    Thread safety: use from one event loop. Close it, or use it as an async context manager.

    Example:
        async with Client(await ClientConfig.load()) as client:
            await client.get(CONFIG_MAP, "default", "settings")
    """

    async def create(
        self,
        kind: Kind,
        obj: Resource,
        *,
        field_manager: str | None = None,
        dry_run: bool = False,
        observe: bool = True,
    ) -> Resource:
        """Create an object; AlreadyExistsError if there is one of this name (WR-6)."""
        path = kind.path(_namespace(kind, obj))
        return await self._write("POST", path, kind, obj, _query(field_manager, dry_run), observe=observe)

    async def update(
        self,
        kind: Kind,
        obj: Resource,
        *,
        subresource: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
        observe: bool = True,
    ) -> Resource:
        """Replace an object; ConflictError if its resourceVersion is stale (WR-1)."""
        path = kind.path(_namespace(kind, obj), obj["metadata"]["name"], subresource)
        return await self._write("PUT", path, kind, obj, _query(field_manager, dry_run), observe=observe)

    async def update_status(self, kind: Kind, obj: Resource, *, field_manager: str | None = None) -> Resource:
        """Replace the status of an object, and nothing else of it (WR-4)."""
        return await self.update(kind, obj, subresource="status", field_manager=field_manager)

    async def patch(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        patch: object,
        *,
        patch_type: str = MERGE_PATCH,
        subresource: str | None = None,
        field_manager: str | None = None,
        dry_run: bool = False,
        observe: bool = True,
    ) -> Resource:
        """Change parts of an object.

        Args:
            kind: of the object.
            namespace: of the object.
            name: of the object.
            patch: what JSON makes of it: a dict, or a list for JSON_PATCH.
            patch_type: MERGE_PATCH, JSON_PATCH or STRATEGIC_PATCH.
            subresource: such as "status".
            field_manager: whom the server notes as the owner of the changed fields.
            dry_run: validate and answer, but do not store.
            observe: whether a reconcile's caches take the answer.
        """
        path = kind.path(namespace, name, subresource)
        if patch_type == JSON_PATCH and isinstance(patch, Sequence):
            check_patch(kind.kind, name, len(patch))
        answer = await self.request(
            "PATCH", path, params=_query(field_manager, dry_run), body=encode(patch), content_type=patch_type
        )
        changed = self._object(answer)
        if (turn := TURN.get()) is not None and not dry_run:
            sent = patch if isinstance(patch, dict) and patch_type != JSON_PATCH else None
            turn.wrote(Written(self, kind, sent, changed, "PATCH", observe, answer))
        return changed

    async def patch_status(
        self, kind: Kind, namespace: str | None, name: str, status: Resource, *, field_manager: str | None = None
    ) -> Resource:
        """Merge `status` into an object's status."""
        return await self.patch(
            kind, namespace, name, {"status": status}, subresource="status", field_manager=field_manager
        )

    async def apply(
        self,
        kind: Kind,
        obj: Resource,
        *,
        field_manager: str,
        force: bool = True,
        dry_run: bool = False,
        observe: bool = True,
        subresource: str | None = None,
    ) -> Resource:
        """Server-side apply: create the object, or make my fields of it what `obj` says (WR-2).

        Args:
            kind: of the object.
            obj: the fields that I want, and no others; without managedFields.
            field_manager: my name, under which the server remembers which fields are mine.
            force: take fields over from other managers instead of a ConflictError.
            dry_run: validate and answer, but do not store.
            subresource: such as "status".
            observe: whether a reconcile's caches take the answer.

        Raises:
            ValueError: `obj` carries managedFields, so it was read and not made.
        """
        meta = obj["metadata"]
        if "managedFields" in meta:
            raise ValueError(f"an applied object must not carry managedFields: {kind.kind} {meta.get('name')!r}")
        path = kind.path(_namespace(kind, obj), meta["name"], subresource)
        params = _query(field_manager, dry_run)
        params["force"] = force
        return await self._write("PATCH", path, kind, obj, params, APPLY_PATCH, observe=observe)

    async def apply_status(self, kind: Kind, obj: Resource, *, field_manager: str, force: bool = True) -> Resource:
        """Server-side apply of the status alone, which has owners of its own (WR-2)."""
        return await self.apply(kind, obj, field_manager=field_manager, force=force, subresource="status")

    async def delete(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        *,
        preconditions: Mapping[str, str] | None = None,
        propagation: str | None = None,
        dry_run: bool = False,
    ) -> Resource:
        """Delete an object; the answer is the object if finalizers keep it, else a Status (WR-5).

        Args:
            kind: of the object.
            namespace: of the object.
            name: of the object.
            preconditions: {"uid": ..., "resourceVersion": ...}; ConflictError if the object has others.
            propagation: "Background", "Foreground" or "Orphan" (WR-7); None is the server's default.
            dry_run: validate and answer, but do not delete.
        """
        options: Resource = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if preconditions:
            options["preconditions"] = dict(preconditions)
        if propagation:
            options["propagationPolicy"] = propagation
        if dry_run:  # not in the query: a server that is sent options reads nothing else
            options["dryRun"] = ["All"]
        return self._object(await self.request("DELETE", kind.path(namespace, name), body=encode(options)))

    async def edit(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        change: Callable[[Resource], Resource | None],
        *,
        uid: str | None = None,
        subresource: str | None = None,
        field_manager: str | None = None,
        retries: Retries = DEFAULT_RETRY,
    ) -> Resource:
        """Read an object, let `change` change it, write it back; again on live state after a conflict (WR-1).

        Each try reads the object from the server: a cache that has led to one conflict would lead to the next. Nothing
        is written if nothing was changed.

        Args:
            kind: of the object.
            namespace: of the object.
            name: of the object.
            change: changes the object that it is given, or returns another one; it may be called several times.
            uid: only that very object, not another that took its name.
            subresource: such as "status"; only what is below it is written then.
            field_manager: whom the server notes as the owner of the changed fields.
            retries: how often, and the waits between.

        Returns:
            The object as the server has it now.

        Raises:
            NotFoundError: it does not exist, or has another uid.
            ConflictError: it was changed by others at every try.
        """

        async def attempt() -> Resource:
            live = await self.get(kind, namespace, name)
            if uid is not None and live["metadata"].get("uid") != uid:
                raise gone(kind, name, uid)
            mine = deepcopy(live)
            changed = change(mine)
            if changed is None:
                changed = mine
            if changed == live:
                return live
            return await self.update(kind, changed, subresource=subresource, field_manager=field_manager)

        return await retry_on_conflict(attempt, retries=retries, sleep=self._sleep)

    async def _write(
        self,
        method: str,
        path: str,
        kind: Kind,
        obj: Resource,
        params: Params,
        content_type: str = JSON,
        *,
        observe: bool,
    ) -> Resource:
        if "kind" not in obj:
            obj = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        check_annotations(kind.kind, obj)
        answer = await self.request(method, path, params=params, body=encode(obj), content_type=content_type)
        written = self._object(answer)
        if (turn := TURN.get()) is not None and not params.get("dryRun"):
            turn.wrote(Written(self, kind, obj, written, method, observe, answer))
        return written


def _namespace(kind: Kind, obj: Mapping[str, Any]) -> str | None:
    return obj["metadata"].get("namespace") if kind.namespaced else None


def _query(field_manager: str | None, dry_run: bool) -> dict[str, str | int | bool | None]:
    return {"fieldManager": field_manager, "dryRun": "All" if dry_run else None}


def gone(kind: Kind, name: str, uid: str) -> NotFoundError:
    """The error for an object whose name another one has taken."""
    return NotFoundError(
        f"{kind.kind} {name!r} with uid {uid} is gone: another one has taken its name",
        status=404, reason="NotFound", kind=kind.plural, name=name,
    )  # fmt: skip
