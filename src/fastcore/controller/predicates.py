"""Which events of a watch are worth a reconcile.

A predicate belongs to one watch, so it only ever sees objects of that watch's kind. A resync (an update whose old and
new resourceVersion are equal) is nobody's change: it is asked of `generic`, not of `updated`.
"""

from collections.abc import Callable, Mapping
from typing import Any

Object = Mapping[str, Any]


class Predicate:
    """Decides whether an event leads to a reconcile; this one lets everything pass.

    Subclasses override the events that they restrict. Combine with `&`, `|` and `~`; `~` inverts all four answers.

    Thread safety: a predicate without state of its own may serve any number of watches.

    Example:
        >>> paused = Where(updated=lambda old, new: "paused" in new["metadata"].get("annotations", {}))
        >>> (GenerationChanged() & ~paused).updated(
        ...     {"metadata": {"generation": 1}}, {"metadata": {"generation": 2}})
        True
    """

    def created(self, obj: Object) -> bool:
        """An object appeared, in the initial list or later."""
        return True

    def updated(self, old: Object, new: Object) -> bool:
        """An object's resourceVersion changed."""
        return True

    def deleted(self, obj: Object) -> bool:
        """An object is gone; `obj` is its last known state."""
        return True

    def generic(self, obj: Object) -> bool:
        """A resync, or an event from outside the API."""
        return True

    def refuser(self, answer: Callable[["Predicate"], bool]) -> "Predicate":
        """The part of this predicate that says no, as `answer` asks each; this one if it does not consist of parts."""
        return self

    def __repr__(self) -> str:
        return type(self).__name__

    def __and__(self, other: "Predicate") -> "Predicate":
        return _Both(self, other) if isinstance(other, Predicate) else NotImplemented

    def __or__(self, other: "Predicate") -> "Predicate":
        return _Either(self, other) if isinstance(other, Predicate) else NotImplemented

    def __invert__(self) -> "Predicate":
        return _Not(self)


class Where(Predicate):
    """A predicate from functions; an event without one passes.

    Args:
        created: takes the object.
        updated: takes the old and the new object.
        deleted: takes the last known object.
        generic: takes the object.

    Raises:
        TypeError: an argument is not callable.
    """

    def __init__(
        self,
        *,
        created: Callable[[Object], bool] | None = None,
        updated: Callable[[Object, Object], bool] | None = None,
        deleted: Callable[[Object], bool] | None = None,
        generic: Callable[[Object], bool] | None = None,
    ) -> None:
        for name, function in (("created", created), ("updated", updated), ("deleted", deleted), ("generic", generic)):
            if function is not None and not callable(function):
                raise TypeError(f"{name} must be a function, not {function!r}")
        self._created = created
        self._updated = updated
        self._deleted = deleted
        self._generic = generic

    def created(self, obj: Object) -> bool:
        """What the function says; True without one."""
        return self._created is None or bool(self._created(obj))

    def updated(self, old: Object, new: Object) -> bool:
        """What the function says; True without one."""
        return self._updated is None or bool(self._updated(old, new))

    def deleted(self, obj: Object) -> bool:
        """What the function says; True without one."""
        return self._deleted is None or bool(self._deleted(obj))

    def generic(self, obj: Object) -> bool:
        """What the function says; True without one."""
        return self._generic is None or bool(self._generic(obj))


class ResourceVersionChanged(Predicate):
    """Every real change, but no resync."""

    def generic(self, obj: Object) -> bool:
        """False: nothing changed."""
        return False


class GenerationChanged(Predicate):
    """Updates of the desired state (`spec`), which is what `metadata.generation` counts.

    Kinds without a generation, such as ConfigMap, have nothing that tells their updates apart: all of them pass.
    Labels, annotations and finalizers do not raise the generation: see `SpecOrMetadataChanged`.
    """

    def updated(self, old: Object, new: Object) -> bool:
        """Whether the generation changed, or there is none."""
        generation = new["metadata"].get("generation")
        return generation is None or generation != old["metadata"].get("generation")


class LabelChanged(Predicate):
    """Updates that change a label."""

    def updated(self, old: Object, new: Object) -> bool:
        """Whether the labels differ."""
        return _changed(old, new, "labels")


class AnnotationChanged(Predicate):
    """Updates that change an annotation."""

    def updated(self, old: Object, new: Object) -> bool:
        """Whether the annotations differ."""
        return _changed(old, new, "annotations")


class FinalizerChanged(Predicate):
    """Updates that change a finalizer."""

    def updated(self, old: Object, new: Object) -> bool:
        """Whether the finalizers differ."""
        return _changed(old, new, "finalizers")


class DeletionChanged(Predicate):
    """Updates that start the deletion of an object that has finalizers."""

    def updated(self, old: Object, new: Object) -> bool:
        """Whether the deletion timestamps differ as values."""
        return _changed(old, new, "deletionTimestamp")


class SpecOrMetadataChanged(Predicate):
    """What concerns the reconciler of a primary kind: generation, labels, annotations, finalizers or deletion changed.

    Updates of `status` alone do not pass, so a controller does not run again for its own status. Neither does the
    final deletion: finalizers were the chance to act on it, and the garbage collector takes the children. Resyncs
    and outside events pass. This is the default of `for_`.
    """

    def updated(self, old: Object, new: Object) -> bool:
        """Whether one of the five changed."""
        generation = new["metadata"].get("generation")
        return (
            generation is None
            or generation != old["metadata"].get("generation")
            or _changed(old, new, "labels")
            or _changed(old, new, "annotations")
            or _changed(old, new, "finalizers")
            or _changed(old, new, "deletionTimestamp")
        )

    def deleted(self, obj: Object) -> bool:
        """False: there is nothing left to reconcile."""
        return False


class _Both(Predicate):
    def __init__(self, left: Predicate, right: Predicate) -> None:
        self._left = left
        self._right = right

    def refuser(self, answer: Callable[[Predicate], bool]) -> Predicate:
        return next((part.refuser(answer) for part in (self._left, self._right) if not answer(part)), self)

    def __repr__(self) -> str:
        return f"({self._left!r} & {self._right!r})"

    def created(self, obj: Object) -> bool:
        return self._left.created(obj) and self._right.created(obj)

    def updated(self, old: Object, new: Object) -> bool:
        return self._left.updated(old, new) and self._right.updated(old, new)

    def deleted(self, obj: Object) -> bool:
        return self._left.deleted(obj) and self._right.deleted(obj)

    def generic(self, obj: Object) -> bool:
        return self._left.generic(obj) and self._right.generic(obj)


class _Either(Predicate):
    def __init__(self, left: Predicate, right: Predicate) -> None:
        self._left = left
        self._right = right

    def __repr__(self) -> str:
        return f"({self._left!r} | {self._right!r})"

    def created(self, obj: Object) -> bool:
        return self._left.created(obj) or self._right.created(obj)

    def updated(self, old: Object, new: Object) -> bool:
        return self._left.updated(old, new) or self._right.updated(old, new)

    def deleted(self, obj: Object) -> bool:
        return self._left.deleted(obj) or self._right.deleted(obj)

    def generic(self, obj: Object) -> bool:
        return self._left.generic(obj) or self._right.generic(obj)


class _Not(Predicate):
    def __init__(self, inner: Predicate) -> None:
        self._inner = inner

    def __repr__(self) -> str:
        return f"~{self._inner!r}"

    def created(self, obj: Object) -> bool:
        return not self._inner.created(obj)

    def updated(self, old: Object, new: Object) -> bool:
        return not self._inner.updated(old, new)

    def deleted(self, obj: Object) -> bool:
        return not self._inner.deleted(obj)

    def generic(self, obj: Object) -> bool:
        return not self._inner.generic(obj)


def _changed(old: Object, new: Object, field: str) -> bool:
    # An absent field and an empty one mean the same to the API server.
    return (old["metadata"].get(field) or None) != (new["metadata"].get(field) or None)
