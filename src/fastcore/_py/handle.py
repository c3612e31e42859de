"""What a pool in debug mode lends out: the object behind a check that the lease still runs."""

from collections.abc import Iterator
from typing import Any, final

from fastcore.errors import PoolError


@final
class Handle:
    """Forwards to a leased object, and raises PoolError once the lease has ended."""

    __slots__ = ("__weakref__", "_leased")

    def __init__(self, leased: Any) -> None:
        object.__setattr__(self, "_leased", [leased])

    def __getattribute__(self, name: str) -> Any:
        return getattr(unwrap(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(unwrap(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(unwrap(self), name)

    def __getitem__(self, key: Any) -> Any:
        return unwrap(self)[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        unwrap(self)[key] = value

    def __delitem__(self, key: Any) -> None:
        del unwrap(self)[key]

    def __len__(self) -> int:
        return len(unwrap(self))

    def __bool__(self) -> bool:
        return bool(unwrap(self))

    def __contains__(self, item: Any) -> bool:
        return item in unwrap(self)

    def __iter__(self) -> Iterator[Any]:
        return iter(unwrap(self))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return unwrap(self)(*args, **kwargs)

    def __iadd__(self, other: Any) -> Any:
        before = after = unwrap(self)
        after += other
        return self if after is before else after

    def __eq__(self, other: object) -> bool:
        return bool(unwrap(self) == other)

    def __hash__(self) -> int:
        return hash(unwrap(self))

    def __str__(self) -> str:
        return str(unwrap(self))

    def __repr__(self) -> str:
        return repr(unwrap(self))

    def __buffer__(self, flags: int, /) -> memoryview:
        return memoryview(unwrap(self))


def unwrap(handle: Handle) -> Any:
    """The leased object."""
    obj = leased(handle)
    if obj is None:
        raise PoolError("a pooled object was used after its lease ended")
    return obj


def leased(handle: Handle) -> Any:
    """The leased object, None after the end of the lease."""
    return next(iter(object.__getattribute__(handle, "_leased")), None)


def end(handle: Handle) -> None:
    """End the lease."""
    object.__getattribute__(handle, "_leased").clear()
