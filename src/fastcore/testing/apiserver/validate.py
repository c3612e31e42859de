"""The rules of a structural schema, checked one value at a time; messages and their order are the real server's."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastcore.testing.apiserver.formats import fits
from fastcore.testing.apiserver.status import Cause

_NOWHERE = "<nil>"  # what the real server writes for the field of a rule about alternatives
_INTEGER_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_LOGIC = ("allOf", "anyOf", "oneOf")


class Rules:
    """What one schema demands of a value, and the rules of what lies below it.

    Args:
        schema: the schema; its `properties`, `additionalProperties` and `items` are ignored.
        properties, other, items: rules of declared members, of further ones, and of a list's items.
    """

    __slots__ = ("alternatives", "excluded", "items", "other", "pattern", "properties", "schema", "types")

    def __init__(
        self,
        schema: dict[str, Any] | None = None,
        properties: Mapping[str, "Rules"] | None = None,
        other: "Rules | None" = None,
        items: "Rules | None" = None,
    ) -> None:
        self.load(schema or {}, properties, other, items)

    def load(
        self,
        schema: dict[str, Any],
        properties: Mapping[str, "Rules"] | None = None,
        other: "Rules | None" = None,
        items: "Rules | None" = None,
    ) -> None:
        """Set everything anew: a recursive schema refers to rules before they are known."""
        self.schema = schema
        self.properties = properties or {}
        self.other = other
        self.items = items
        self.types: tuple[str, ...] = (schema["type"],) if "type" in schema else ()
        if schema.get("x-kubernetes-int-or-string"):
            self.types = ("integer", "string")
        pattern = schema.get("pattern")
        self.pattern = _compiled(pattern) if pattern else None
        self.alternatives = {key: [_nested(sub) for sub in schema[key]] for key in _LOGIC if key in schema}
        self.excluded = _nested(schema["not"]) if "not" in schema else None

    def check(self, value: Any, path: str) -> list[Cause]:
        """Everything that is wrong with a value; `path` is its name, "" for the whole object.

        Example:
            >>> Rules({"type": "integer", "minimum": 0}).check(-1, "spec.replicas")[0].message
            'Invalid value: -1: spec.replicas in body should be greater than or equal to 0'
        """
        return list(self._check(value, path))

    def _check(self, value: Any, path: str) -> Iterator[Cause]:
        if value is None and self.schema.get("nullable"):
            return
        name = type_name(value)
        if self.types and name not in self.types and not (name == "integer" and "number" in self.types):
            shown_types = ",".join(self.types)
            yield _type_invalid(path, f'"{name}"', f'{path} in body must be of type {shown_types}: "{name}"')
            if name == "number":
                yield _nowhere(f"Checked value must be of type integer (default format) in {path}")
            return
        if self.alternatives or self.excluded:
            yield from self._check_alternatives(value, path)
        if isinstance(value, str):
            yield from self._check_string(value, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from self._check_number(value, path)
        elif isinstance(value, list):
            yield from self._check_list(value, path)
        if "enum" in self.schema and not any(_equal(value, allowed) for allowed in self.schema["enum"]):
            supported = [v if isinstance(v, str) else shown(v) for v in self.schema["enum"]]
            yield Cause.unsupported(path, shown(value), supported)
        if isinstance(value, dict):
            yield from self._check_map(value, path)

    def _check_alternatives(self, value: Any, path: str) -> Iterator[Cause]:
        for rules in self.alternatives.get("anyOf", [])[:1]:
            if not any(not sub.check(value, path) for sub in self.alternatives["anyOf"]):
                yield _nowhere(f'"{path}" must validate at least one schema (anyOf)')
                yield from rules.check(value, path)
        for rules in self.alternatives.get("oneOf", [])[:1]:
            valid = sum(not sub.check(value, path) for sub in self.alternatives["oneOf"])
            if valid != 1:
                found = f"Found {valid} valid alternatives" if valid else "Found none valid"
                yield _nowhere(f'"{path}" must validate one and only one schema (oneOf). {found}')
                if not valid:
                    yield from rules.check(value, path)
        failed = [causes for sub in self.alternatives.get("allOf", ()) if (causes := sub.check(value, path))]
        for causes in failed:
            yield from causes
        if failed:
            end = ". None validated" if len(failed) == len(self.alternatives["allOf"]) else ""
            yield _nowhere(f'"{path}" must validate all the schemas (allOf){end}')
        if self.excluded is not None and not self.excluded.check(value, path):
            yield _nowhere(f'"{path}" must not validate the schema (not)')

    def _check_string(self, value: str, path: str) -> Iterator[Cause]:
        schema = self.schema
        if "maxLength" in schema and len(value) > schema["maxLength"]:
            text = f"Too long: may not be more than {schema['maxLength']} bytes"
            yield Cause(path, "FieldValueTooLong", text)
        elif len(value) < schema.get("minLength", 0):
            why = f"{path} in body should be at least {schema['minLength']} chars long"
            yield Cause.invalid(path, shown(value), why)
        elif self.pattern is not None and self.pattern.search(value) is None:
            why = f"{path} in body should match '{schema['pattern']}'"
            yield Cause.invalid(path, shown(value), why)
        name = schema.get("format", "")
        if name and not fits(value, name):
            yield _type_invalid(path, shown(value), f"{path} in body must be of type {name}: {shown(value)}")

    def _check_number(self, value: float, path: str) -> Iterator[Cause]:
        schema = self.schema
        low, high = _INTEGER_RANGES.get(schema.get("format", ""), (-float("inf"), float("inf")))
        if "integer" in self.types and not low <= value <= high:
            yield _nowhere(f"Checked value must be of type integer with format {schema['format']} in {path}")
        factor = schema.get("multipleOf")
        if factor and abs(value / factor - round(value / factor)) > 1e-9:
            yield Cause.invalid(path, shown(value), f"{path} in body should be a multiple of {shown(factor)}")
        maximum, minimum = schema.get("maximum"), schema.get("minimum")
        if maximum is not None and schema.get("exclusiveMaximum") and value >= maximum:
            yield Cause.invalid(path, shown(value), f"{path} in body should be less than {shown(maximum)}")
        elif maximum is not None and value > maximum:
            why = f"{path} in body should be less than or equal to {shown(maximum)}"
            yield Cause.invalid(path, shown(value), why)
        if minimum is not None and schema.get("exclusiveMinimum") and value <= minimum:
            yield Cause.invalid(path, shown(value), f"{path} in body should be greater than {shown(minimum)}")
        elif minimum is not None and value < minimum:
            why = f"{path} in body should be greater than or equal to {shown(minimum)}"
            yield Cause.invalid(path, shown(value), why)

    def _check_list(self, value: list[Any], path: str) -> Iterator[Cause]:
        schema = self.schema
        if len(value) < schema.get("minItems", 0):
            why = f"{path} in body should have at least {schema['minItems']} items"
            yield Cause.invalid(path, str(len(value)), why)
        if "maxItems" in schema and len(value) > schema["maxItems"]:
            yield _too_many(path, len(value), schema["maxItems"])
        if self.items is not None:
            for index, item in enumerate(value):
                yield from self.items._check(item, f"{path}[{index}]")
        kind = schema.get("x-kubernetes-list-type")
        if kind in ("set", "map"):
            yield from self._check_duplicates(value, path, sorted(schema.get("x-kubernetes-list-map-keys", ())))

    def _check_duplicates(self, value: list[Any], path: str, keys: list[str]) -> Iterator[Cause]:
        """Two items of a set may not be equal, two of a map may not have the same keys."""
        seen = set()
        for index, item in enumerate(value):
            where = f"{path}[{index}]"
            if keys and not isinstance(item, dict):
                yield Cause.invalid(where, shown(item), "must be an object for an array of list-type map")
                continue
            identity = shown({key: item[key] for key in keys if key in item} if keys else item)
            if identity in seen:
                yield Cause(where, "FieldValueDuplicate", f"Duplicate value: {identity}")
            seen.add(identity)

    def _check_map(self, value: dict[str, Any], path: str) -> Iterator[Cause]:
        schema = self.schema
        if len(value) < schema.get("minProperties", 0):
            why = f"{path} in body should have at least {schema['minProperties']} properties"
            yield Cause.invalid(path, str(len(value)), why)
        if "maxProperties" in schema and len(value) > schema["maxProperties"]:
            yield _too_many(path, len(value), schema["maxProperties"])
        prefix = f"{path}." if path else ""
        required = list(schema.get("required", ()))
        if schema.get("x-kubernetes-embedded-resource"):
            required += [name for name in ("apiVersion", "kind") if name not in required]
        for name in required:
            if name not in value:
                yield Cause.required(prefix + name)
        for name, sub in value.items():
            rules = self.properties.get(name, self.other)
            if rules is not None:
                yield from rules._check(sub, prefix + name)


def _nested(schema: dict[str, Any]) -> Rules:
    """Rules of a schema that stands in `allOf` and the like: with all below it."""
    other, items = schema.get("additionalProperties"), schema.get("items")
    return Rules(
        schema,
        {name: _nested(sub) for name, sub in schema.get("properties", {}).items()},
        _nested(other) if isinstance(other, dict) else None,
        _nested(items) if isinstance(items, dict) else None,
    )


def _compiled(pattern: str) -> re.Pattern[str]:
    """A Go pattern: `$` at its end is the end of the text, classes are those of ASCII."""
    if pattern.endswith("$") and not pattern.endswith("\\$"):
        pattern = pattern[:-1] + r"\Z"
    return re.compile(pattern, re.ASCII)


def type_name(value: Any) -> str:
    """The JSON schema's name of a value's type; a float without a fraction is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    return {str: "string", int: "integer", list: "array"}.get(type(value), "object")


def shown(value: Any) -> str:
    """A value as messages show it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def _nowhere(why: str) -> Cause:
    return Cause.invalid(_NOWHERE, '""', why)


def _type_invalid(path: str, value: str, why: str) -> Cause:
    return Cause(path, "FieldValueTypeInvalid", f"Invalid value: {value}: {why}")


def _too_many(path: str, count: int, limit: int) -> Cause:
    return Cause(path, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} items")
