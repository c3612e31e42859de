"""The API itself: takes a request, finds what it means, and answers it; no sockets, no waiting."""

import hmac
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from fastcore.testing.apiserver import discovery, patches, reads, scale
from fastcore.testing.apiserver.about import NOT_FOUND, describe
from fastcore.testing.apiserver.bodies import parse_object
from fastcore.testing.apiserver.crds import CRDs
from fastcore.testing.apiserver.deletes import DeleteOptions, delete
from fastcore.testing.apiserver.fault import Verdict
from fastcore.testing.apiserver.faults import Faults
from fastcore.testing.apiserver.message import Request, Response, error_response, form_of, json_response, warn
from fastcore.testing.apiserver.registry import Registry
from fastcore.testing.apiserver.replica import Replica
from fastcore.testing.apiserver.status import (
    Cause,
    StatusError,
    bad_request,
    internal,
    invalid_options,
    method_not_allowed,
    no_resource,
    too_large,
    unauthorized,
)
from fastcore.testing.apiserver.storage import Store
from fastcore.testing.apiserver.target import Target, parse, split_workspace
from fastcore.testing.apiserver.views import view_of
from fastcore.testing.apiserver.watch import WatchOptions, WatchStream, is_true
from fastcore.testing.apiserver.workspaces import Workspaces
from fastcore.testing.apiserver.writes import Options, Outcome, Writer, check_name

BODY_LIMIT = 3 * 1024 * 1024
_MANAGER_LIMIT = 128
_log = logging.getLogger("fastcore.apiserver")


@dataclass(frozen=True)
class Settings:
    """What can be set about an API.

    Attributes:
        token: bearer token that every request must carry; None: everybody may do everything.
        history: events kept for each kind; older revisions answer 410.
        watch_buffer: events that may wait for one watch before it is ended.
        workspaces: how many there may be; each costs four namespaces.
        now: wall clock in seconds.
        seed: makes uids and generated names repeatable.
    """

    token: str | None = None
    history: int = 20_000
    watch_buffer: int = 10_000
    workspaces: int = 10_000
    now: Callable[[], float] = time.time
    seed: int | None = None


class API:
    """One API server without its sockets; all calls must come from one thread.

    Attributes:
        store, registry, writer: what it works on, for the built-in controllers and for tests.
        watches: the running watches.
        faults: what goes wrong on purpose.

    Example:
        >>> api = API()
        >>> api.handle(Request("GET", "/api/v1/namespaces/default")).code
        200
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.store = Store(self.settings.history)
        self.registry = Registry()
        self.faults = Faults(self)
        self.writer = Writer(self.store, self.registry, self._now, self.settings.seed)
        self.workspaces = Workspaces(self.writer, self.registry, self.settings.workspaces)
        self.watches: dict[WatchStream, None] = {}
        CRDs(self.writer, self.registry, self._end_watches)

    def handle(self, request: Request, verdict: Verdict | None = None) -> Response | WatchStream:
        """Answer a request; a watch comes back as a stream that the caller carries to the client.

        Args:
            request: the call.
            verdict: what `faults.judge` said about it. Its delays and resets are the caller's to carry out.
        """
        try:
            if verdict is not None and verdict.error is not None:
                raise verdict.error
            self._authorize(request)
            if len(request.body) > BODY_LIMIT:
                raise too_large(BODY_LIMIT)
            return self._route(request, verdict)
        except StatusError as error:
            return error_response(error)
        except RecursionError:
            return error_response(bad_request("the body is nested too deeply"))
        except Exception:
            _log.exception("%s %s", request.method, request.path)
            return error_response(internal("the embedded API server failed; its log says why"))

    def refusal(self, request: Request) -> Response | None:
        """The answer to a request that lacks the token, None if it has it or needs none."""
        try:
            self._authorize(request)
        except StatusError as error:
            return error_response(error)
        return None

    def finished(self, stream: WatchStream) -> None:
        """Forget a watch whose client has gone or whose stream has ended."""
        stream.end()
        self.watches.pop(stream, None)

    def _now(self) -> float:
        return self.settings.now() + self.faults.clock_offset

    def cut_watches(self) -> int:
        """End every watch at once, as a restart of the server would; returns how many."""
        streams = list(self.watches)
        for stream in streams:
            stream.end(drop=True)
        return len(streams)

    def _end_watches(self, workspaces: Callable[[str], bool], storage: tuple[str, str]) -> None:
        for stream in list(self.watches):
            if stream.target.resource.storage == storage and stream.workspace and workspaces(stream.workspace):
                stream.end()

    def _authorize(self, request: Request) -> None:
        token = self.settings.token
        if token is not None:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
                raise unauthorized()

    def _route(self, request: Request, verdict: Verdict | None) -> Response | WatchStream:
        workspace, parts = split_workspace(request.path)
        if workspace is not None:
            self.workspaces.ensure(workspace)
        path = parse(workspace, parts) if parts and parts[0] in ("api", "apis") else None
        if path is None or not path.plural:
            return describe(request, workspace, parts, self.registry.resources(workspace))
        resource = self.registry.lookup(workspace, path.group, path.version, path.plural)
        if resource is None:
            if (
                path.group
                and discovery.api_resources(self.registry.resources(workspace), path.group, path.version) is None
            ):
                return self._virtual(request, parts) or NOT_FOUND
            raise no_resource()
        if path.subresource and path.subresource not in resource.subresources:
            raise no_resource()
        if path.namespace and not resource.namespaced:
            raise no_resource()
        target = Target(workspace or "", resource, path.namespace, path.name, path.subresource)
        query = request.arguments()
        if path.watch:
            query["watch"] = "1"
        if request.method in ("GET", "HEAD"):
            return self._read(request, target, workspace, query, verdict.replica if verdict is not None else None)
        if workspace is None or (resource.namespaced and path.name and not path.namespace):
            raise method_not_allowed()
        return self._write(request, target, query)

    def _read(
        self,
        request: Request,
        target: Target,
        workspace: str | None,
        query: dict[str, str],
        replica: Replica | None,
    ) -> Response | WatchStream:
        form, content_type = form_of(request.headers.get("accept", ""))
        annotate = workspace is None
        view = view_of(target.resource, "object" if form == "discovery" else form, annotate)
        watching = is_true(query.get("watch", ""))
        if watching and (not target.name or request.path.find("/watch/") >= 0):
            selector = reads.selector_of(target, query)
            options = WatchOptions(query)
            stream = WatchStream(
                self.store,
                target,
                workspace,
                view,
                selector,
                options,
                self.settings.watch_buffer,
                # Without a revision a watch is consistent: only an up-to-date server may serve it.
                None if options.revision is None else replica,
                self.faults.copies,
            )
            self.watches[stream] = None
            return stream
        if target.name:
            if workspace is None or (target.resource.namespaced and not target.namespace):
                raise method_not_allowed()
            record = reads.get(self.store, target, query, replica)
            if target.subresource == "scale":
                return json_response(scale.scale_of(target, self.writer.admission.read(target, record)))
            if form == "table":
                page = reads.Page([record], record.revision)
                return Response(reads.table_body(target, page, query.get("includeObject", "Metadata")))
            return Response(view.object(record), content_type=content_type)
        page = reads.list_page(self.store, target, workspace, query, replica)
        if form == "table":
            return Response(reads.table_body(target, page, query.get("includeObject", "Metadata")))
        return Response(reads.list_body(view, page))

    def _write(self, request: Request, target: Target, query: dict[str, str]) -> Response:
        verb = self._verb(request.method, target)
        if verb in ("delete", "deletecollection"):
            return self._delete(request, target, query, collection=verb == "deletecollection")
        options = self._options(request, query, verb)
        if verb == "patch":
            form = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if target.subresource == "scale":
                patches.check_form(target, form)
                record = self.writer.live(target)
                current = scale.scale_of(target, self.writer.admission.read(target, record))
                wanted = patches.patched(self.writer, target, current, form, request.body)
                return self._scaled(target, scale.set_scale(self.writer, target, record, wanted, options, patch=True))
            return self._answer(target, patches.patch(self.writer, target, form, request.body, options))
        content_type = request.headers.get("content-type", "")
        obj = parse_object(
            request.body, content_type, "Scale" if target.subresource == "scale" else target.resource.kind
        )
        if verb == "create":
            if target.resource.namespaced and not target.namespace:
                raise method_not_allowed()
            return self._answer(target, self.writer.create(target, obj, options))
        if target.subresource == "scale":
            record = self.writer.live(target)
            return self._scaled(target, scale.set_scale(self.writer, target, record, obj, options, patch=False))
        check_name(target, obj)
        found = self.writer.collection(target).records.get(target.key)
        if found is None and target.resource.create_on_update and not target.subresource:
            return self._answer(target, self.writer.create(target, obj, options))
        return self._answer(target, self.writer.update(target, found or self.writer.live(target), obj, options))

    def _verb(self, method: str, target: Target) -> str:
        if target.subresource:
            verb = {"PUT": "update", "PATCH": "patch"}.get(method, "")
            allowed = verb in discovery.subresource_verbs(target.subresource)
        elif target.name:
            verb = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(method, "")
            allowed = verb in target.resource.verbs
        else:
            verb = {"POST": "create", "DELETE": "deletecollection"}.get(method, "")
            allowed = verb in target.resource.verbs
        if not allowed:
            raise method_not_allowed()
        return verb

    def _options(self, request: Request, query: dict[str, str], verb: str) -> Options:
        kind = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}[verb]
        validation = query.get("fieldValidation", "") or "Warn"
        if validation not in ("Ignore", "Warn", "Strict"):
            supported = ("", "Ignore", "Strict", "Warn")
            raise invalid_options(kind, [Cause.unsupported("fieldValidation", f'"{validation}"', supported)])
        manager = query.get("fieldManager", "")
        if len(manager) > _MANAGER_LIMIT:
            cause = Cause("fieldManager", "FieldValueTooLong", f"Too long: may not be more than {_MANAGER_LIMIT} bytes")
            raise invalid_options(kind, [cause])
        applying = request.headers.get("content-type", "").startswith(patches.APPLY)
        if query.get("force") and verb == "patch" and not applying:
            raise invalid_options(kind, [Cause.forbidden("force", "may not be specified for non-apply patch")])
        if not manager and not applying:
            manager = request.headers.get("user-agent", "").partition("/")[0][:_MANAGER_LIMIT] or "unknown"
        return Options(_dry_run(query, kind), manager, validation, is_true(query.get("force", "")))

    def _delete(self, request: Request, target: Target, query: dict[str, str], *, collection: bool) -> Response:
        body = (
            parse_object(request.body, request.headers.get("content-type", ""), "DeleteOptions") if request.body else {}
        )
        asked_for = {} if request.body else query  # who sends options as a body is not asked for them again
        options = DeleteOptions.of(asked_for, body, dry_run=_dry_run(asked_for, "DeleteOptions"))
        resource = target.resource
        if collection:
            if resource.namespaced and not target.namespace:
                raise method_not_allowed()
            page = reads.list_page(self.store, target, target.workspace, query)
            for record in page.records:
                delete(self.writer, target._replace(name=record.key[2]), options)
            return Response(reads.list_body(view_of(resource, "object", False), page))
        outcome = delete(self.writer, target, options)
        if outcome.deleted and not resource.returns_deleted:
            details = {"name": target.name, "group": resource.group, "kind": resource.plural, "uid": outcome.record.uid}
            return json_response(
                {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Success",
                    "details": {name: value for name, value in details.items() if value},
                }
            )
        asked = body.get("orphanDependents") is False or query.get("orphanDependents") == "false"
        return Response(view_of(resource, "object", False).object(outcome.record), 202 if asked else 200)

    def _answer(self, target: Target, outcome: Outcome) -> Response:
        body = view_of(target.resource, "object", False).object(outcome.record)
        return warn(Response(body, 201 if outcome.created else 200), outcome.warnings)

    def _scaled(self, target: Target, outcome: Outcome) -> Response:
        return json_response(scale.scale_of(target, self.writer.admission.read(target, outcome.record)))

    def _virtual(self, request: Request, parts: list[str]) -> Response | None:
        """Kinds that are questions, not objects: may I?"""
        name = ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]
        if request.method != "POST" or parts != name:
            return None
        # What was asked needs no reading: everything is allowed.
        kind = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        return json_response({**kind, "metadata": {}, "spec": {}, "status": {"allowed": True}}, 201)


def _dry_run(query: dict[str, str], kind: str) -> bool:
    value = query.get("dryRun", "")
    if value and value != "All":
        written = msgspec.json.encode([value]).decode()
        raise invalid_options(kind, [Cause.unsupported("dryRun", written, ("All",))])
    return bool(value)
