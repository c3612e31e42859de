"""What became of the writes of a batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from fastcore.controller.writes import Write
from fastcore.errors import FastcoreError


class DependencyError(FastcoreError):
    """A write was not sent, because one that it needs has failed: that one's error is the cause."""


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one write.

    Attributes:
        write: the write.
        key: "Apply ConfigMap default/web", for messages.
        object: the server's answer; for a write that was not needed, the live object; None after an error.
        error: what went wrong, or None.
        skipped: nothing was sent, because nothing would have changed.
    """

    write: Write
    key: str
    object: Mapping[str, Any] | None = None
    error: Exception | None = None
    skipped: bool = False


class BatchError(ExceptionGroup[Exception]):
    """Some writes of a batch failed: `errors` has each error under the key of its write.

    The errors themselves are the group's members, so `except*` finds them by type.
    """

    errors: dict[str, Exception]

    def __new__(cls, errors: Mapping[str, Exception], total: int) -> Self:
        """The errors by key, out of `total` writes."""
        group = super().__new__(cls, f"{len(errors)} of {total} writes failed: {', '.join(errors)}", [*errors.values()])
        group.errors = dict(errors)
        return group


class BatchResults(Sequence[ItemResult]):
    """The results of a batch, in the order of its writes."""

    def __init__(self, items: Iterable[ItemResult]) -> None:
        self._items = tuple(items)

    def __getitem__(self, index: Any) -> Any:
        return self._items[index]

    def __iter__(self) -> Iterator[ItemResult]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def sent(self) -> int:
        """How many writes were sent and succeeded."""
        return sum(1 for item in self._items if item.error is None and not item.skipped)

    def raise_for_errors(self) -> Self:
        """Return the results if every write succeeded.

        Raises:
            BatchError: the errors of those that did not.
        """
        errors: dict[str, Exception] = {}
        for place, item in enumerate(self._items):
            if item.error is not None:
                errors[item.key if item.key not in errors else f"{item.key} (write {place})"] = item.error
        if errors:
            raise BatchError(errors, len(self._items))
        return self
