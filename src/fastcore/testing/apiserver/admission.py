"""What an object must pass before it is stored: its type, its schema, its defaults, and the place where it goes."""

from typing import Any

import msgspec

from fastcore.testing.apiserver import custom, kinds, rules
from fastcore.testing.apiserver import metadata as meta
from fastcore.testing.apiserver.builtin import definitions, type_for
from fastcore.testing.apiserver.decode import DecodeError, decode
from fastcore.testing.apiserver.events import from_core, to_core
from fastcore.testing.apiserver.registry import Registry
from fastcore.testing.apiserver.resources import Resource
from fastcore.testing.apiserver.schema import Schema
from fastcore.testing.apiserver.status import Cause, StatusError, bad_request, forbidden, invalid, not_found
from fastcore.testing.apiserver.storage import Record, Store
from fastcore.testing.apiserver.target import Target
from fastcore.testing.apiserver.typeschema import TypeSchema


class Admission:
    """Reads, completes and checks objects; keeps the compiled schemas of custom kinds."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._compiled: dict[Resource, tuple[Schema, TypeSchema]] = {}
        self._generation = 0

    def type_schema(self, resource: Resource) -> TypeSchema | None:
        """The types by which fields are tracked and merged; None for a kind without a schema."""
        if not resource.custom:
            return type_for(resource.group, resource.version, resource.kind)
        return self._custom(resource)[1]

    def _custom(self, resource: Resource) -> tuple[Schema, TypeSchema]:
        if self._generation != self._registry.generation:
            self._compiled.clear()
            self._generation = self._registry.generation
        found = self._compiled.get(resource)
        if found is None:
            schema = resource.schema or {}
            found = self._compiled[resource] = (Schema(schema), TypeSchema.of(schema, definitions()))
        return found

    def read(self, target: Target, record: Record) -> dict[str, Any]:
        """The stored object in the target's version."""
        if target.resource.group == "events.k8s.io":
            return from_core(record.decode(b"{")) | {"kind": "Event"}
        return record.decode(target.resource.head)

    def reread(self, resource: Resource, record: Record) -> dict[str, Any]:
        """A stored custom object, pruned and completed by the present schema."""
        obj = record.decode(resource.head)
        schema = self._custom(resource)[0]
        schema.prune(obj)
        schema.default(obj)
        return obj

    def stored(self, target: Target, obj: dict[str, Any]) -> dict[str, Any]:
        """The object in the form in which its collection holds it."""
        return to_core(obj) if target.resource.group == "events.k8s.io" else obj

    def decode(
        self, target: Target, obj: dict[str, Any], validation: str, *, patch: bool = False, applied: bool = False
    ) -> list[str]:
        """Check the types of what a client sent and drop what the kind does not know, in place; returns warnings.

        What server-side apply made of a custom object (`applied`) keeps its nulls, for `check` to refuse.

        Raises:
            StatusError: 400 (422 for a patch): wrong kind, version, types, or unknown fields when validation is Strict.
        """
        resource = target.resource
        self._check_kind(resource, obj)
        try:
            if problem := meta.shape_error(obj):
                raise DecodeError(problem)
            metadata = obj.get("metadata") or {}
            obj["metadata"] = metadata
            meta.clean(metadata)
            unknown = self._drop_unknown(target, obj, applied)
        except DecodeError as error:
            raise self._unreadable(resource, obj, str(error), patch=patch) from None
        namespace = metadata.get("namespace")
        if resource.namespaced and namespace and namespace != target.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        if not resource.namespaced:
            metadata.pop("namespace", None)
        if not unknown or validation == "Ignore":
            return []
        texts = [f'unknown field "{path}"' for path in unknown]
        if validation == "Strict":
            raise self._unreadable(resource, obj, f"strict decoding error: {', '.join(texts)}", patch=patch)
        return texts

    def _drop_unknown(self, target: Target, obj: dict[str, Any], applied: bool) -> list[str]:
        resource = target.resource
        if not resource.custom:
            kept, unknown = decode(resource.group, resource.version, resource.kind, obj)
            if kept is not obj:
                obj.clear()
                obj.update(kept)
            return unknown
        return self._custom(resource)[0].prune(obj, keep_nulls=applied)

    def _check_kind(self, resource: Resource, obj: dict[str, Any]) -> None:
        if not resource.custom:
            version, kind = obj.setdefault("apiVersion", resource.api_version), obj.setdefault("kind", resource.kind)
            if version != resource.api_version or kind != resource.kind:
                raise bad_request(
                    f'{kind} in version "{version.rpartition("/")[2]}" cannot be handled as a {resource.kind}: '
                    f'no kind "{kind}" is registered for version "{version}"'
                )
            return
        for member in ("kind", "apiVersion"):
            if not obj.get(member):
                text = msgspec.json.encode(obj).decode()
                missing = f"Object '{member.capitalize()}' is missing in '{text}' ({text})"
                raise bad_request(f"the object provided is unrecognized (must be of type {resource.kind}): {missing}")
        if obj["apiVersion"] != resource.api_version:
            raise bad_request(
                f"the API version in the data ({obj['apiVersion']}) does not match the expected API version "
                f"({resource.api_version})"
            )
        if obj["kind"] != resource.kind:
            cause = Cause.invalid("kind", f'"{obj["kind"]}"', f"must be {resource.kind}")
            name = (obj.get("metadata") or {}).get("name", "")
            raise invalid(resource.group, obj["kind"], name, [cause])

    def _unreadable(self, resource: Resource, obj: dict[str, Any], problem: str, *, patch: bool) -> StatusError:
        if patch:
            written = msgspec.json.encode(msgspec.json.encode(obj).decode()).decode()
            return invalid("", "", "", [Cause.invalid("patch", written, problem)])
        return bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {problem}'
        )

    def default(self, target: Target, obj: dict[str, Any]) -> None:
        """Fill in the defaults, in place."""
        resource = target.resource
        if resource.custom:
            self._custom(resource)[0].default(obj)
        elif resource.kind == "CustomResourceDefinition":
            custom.set_defaults(obj)
        else:
            kinds.set_defaults(resource.group, resource.kind, obj)

    def check(self, target: Target, obj: dict[str, Any], live: dict[str, Any] | None) -> None:
        """Fill in what the server assigns, and check every rule of the kind.

        Raises:
            StatusError: 422.
        """
        resource = target.resource
        causes = meta.validate(resource, obj["metadata"])
        if live is not None:
            causes += meta.validate_update(live["metadata"], obj["metadata"])
        if resource.custom:
            causes += self._custom(resource)[0].validate(obj)
        elif resource.kind == "CustomResourceDefinition":
            causes += custom.validate(obj)
        else:
            kinds.assign(resource.group, resource.kind, obj)
            causes += rules.validate(resource.group, resource.kind, obj, live)
        if causes:
            raise invalid(resource.group, resource.kind, obj["metadata"].get("name", ""), causes)

    def check_place(self, target: Target) -> None:
        """Refuse to create where there is no namespace, or where everything is being torn down.

        Raises:
            StatusError: 403 or 404.
        """
        resource = target.resource
        if resource.terminating:
            why = "create not allowed while custom resource definition is terminating"
            raise forbidden(resource.group, resource.plural, target.name, why)
        if not resource.namespaced:
            return
        namespace = self._store.collection("", "namespaces").records.get((target.workspace, "", target.namespace))
        if namespace is None:
            raise not_found("", "namespaces", target.namespace)
        if namespace.deleting:
            where = target.namespace
            why = f"unable to create new content in namespace {where} because it is being terminated"
            cause = Cause("metadata.namespace", "NamespaceTerminating", f"namespace {where} is being terminated")
            raise forbidden(resource.group, resource.plural, target.name, why, [cause])
