"""Read-only views of JSON documents in plain Python: dicts and lists that refuse to be changed."""

import json
from typing import Any, NoReturn

from fastcore._py.document import copied
from fastcore._py.jsonscan import check


def refuse(view: Any) -> NoReturn:
    raise TypeError(
        f"this {type(view).__name__} is a read-only view that others share: change a copy, which fastcore.objects.thaw "
        "and copy.deepcopy make"
    )


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed, nor can what is in it."""

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refuse(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse(self)

    def __delitem__(self, key: Any) -> None:
        refuse(self)

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc]
        refuse(self)

    def clear(self) -> None:
        """Raise TypeError."""
        refuse(self)

    def pop(self, *args: Any) -> Any:
        """Raise TypeError."""
        refuse(self)

    def popitem(self) -> Any:
        """Raise TypeError."""
        refuse(self)

    def setdefault(self, *args: Any) -> Any:
        """Raise TypeError."""
        refuse(self)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Raise TypeError."""
        refuse(self)

    def __copy__(self) -> dict[str, Any]:
        return dict(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return copied(self, 0)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return dict, (dict(self),)


class FrozenList(list[Any]):
    """A list that cannot be changed, nor can what is in it; as `FrozenDict`."""

    __slots__ = ()

    def __init__(self, *args: Any) -> None:
        refuse(self)

    def __setitem__(self, i: Any, value: Any) -> None:
        refuse(self)

    def __delitem__(self, i: Any) -> None:
        refuse(self)

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        refuse(self)

    def __imul__(self, count: Any) -> Any:  # type: ignore[misc]
        refuse(self)

    def append(self, *args: Any) -> None:
        """Raise TypeError."""
        refuse(self)

    def clear(self) -> None:
        """Raise TypeError."""
        refuse(self)

    def extend(self, *args: Any) -> None:
        """Raise TypeError."""
        refuse(self)

    def insert(self, *args: Any) -> None:
        """Raise TypeError."""
        refuse(self)

    def pop(self, *args: Any) -> Any:
        """Raise TypeError."""
        refuse(self)

    def remove(self, *args: Any) -> None:
        """Raise TypeError."""
        refuse(self)

    def reverse(self) -> None:
        """Raise TypeError."""
        refuse(self)

    def sort(self, **kwargs: Any) -> None:
        """Raise TypeError."""
        refuse(self)

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, memo: Any) -> Any:
        return copied(self, 0)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self),)


def thaw(value: Any, /) -> Any:
    """A copy of a document as plain dicts and lists, which share nothing with it and may be changed."""
    return copied(value, 0)


def view(text: bytes, /) -> Any:
    """The read-only view of a JSON document: `FrozenDict`, `FrozenList`, or a scalar."""
    check(text)
    return decode(text)


def decode(text: bytes) -> Any:
    """The view of text that has been checked."""
    return _frozen(json.loads(text))


def _frozen(value: Any) -> Any:
    if type(value) is dict:
        members = FrozenDict.__new__(FrozenDict)
        for name, item in value.items():
            dict.__setitem__(members, name, _frozen(item))
        return members
    if type(value) is list:
        items = FrozenList.__new__(FrozenList)
        for item in value:
            list.append(items, _frozen(item))
        return items
    return value
