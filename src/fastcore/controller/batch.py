"""Several writes at once: a few in flight, in order of their group, with a result each."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from fastcore.controller.client import MERGE_PATCH, Client
from fastcore.controller.managed import drops_nothing
from fastcore.controller.model import Kind, Resource
from fastcore.diff import covers


@dataclass(frozen=True, slots=True)
class Create:
    """Create `obj`; an object of its name that exists already is an AlreadyExistsError, whoever made it (WR-6)."""

    kind: Kind
    obj: Resource


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of `obj` (WR-2).

    Args:
        kind: of the object.
        obj: the fields that I want, and no others.
        live: the object as an informer has it, or None if there is none. Nothing is sent if it already says all that
            `obj` says and nothing has left `obj` that I had applied; an object whose informer does not keep my
            `managedFields` cannot tell the latter, so it is sent.
        force: take fields over from other managers.
        subresource: such as "status".
    """

    kind: Kind
    obj: Resource
    live: Mapping[str, Any] | None = None
    force: bool = True
    subresource: str | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Replace an object by `obj`, which carries the resourceVersion that it is based on (WR-1)."""

    kind: Kind
    obj: Resource
    subresource: str | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """Change parts of an object."""

    kind: Kind
    namespace: str | None
    name: str
    patch: object
    patch_type: str = MERGE_PATCH
    subresource: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object; with `uid` only that very one, not another that took its name."""

    kind: Kind
    namespace: str | None
    name: str
    uid: str | None = None
    propagation: str | None = None


Write = Create | Apply | Update | Patch | Delete


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


class Batch:
    """Runs writes against one server, at most `limit` at a time.

    The limit is the batch's: runs that overlap share it. Creations go first, then changes, then deletions; a group
    starts when the one before it is through, whether it succeeded or not. An apply counts as a creation if there is
    no live object. Each write gets a result; none stops another.

    Args:
        client: sends the writes.
        limit: writes in flight at most, >= 1.
        field_manager: in whose name the writes are made.
        observe: told of each answer at once, such as an informer's `observe`, so that the next read sees it.

    Raises:
        ValueError: `limit` is less than 1, or there is no field manager.

    Complexity: at most `limit` tasks a run, however many writes.
    Thread safety: use from one event loop. Cancelling `run` cancels what is in flight, and starts nothing more.

    Example:
        results = await Batch(client).run([Apply(CONFIG_MAP, desired, live=ctx.get(CONFIG_MAP))])
        results.raise_for_errors()
    """

    def __init__(
        self,
        client: Client,
        *,
        limit: int = 5,
        field_manager: str = "fastcore",
        observe: Callable[[Kind, Resource], None] | None = None,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1, not {limit!r}")
        if not field_manager:
            raise ValueError("a batch needs a field manager")
        self._client = client
        self._limit = limit
        self._field_manager = field_manager
        self._observe = observe
        self._slots = asyncio.Semaphore(limit)

    async def run(self, writes: Iterable[Write]) -> BatchResults:
        """Do every write that is needed and return what became of each, in the order given."""
        ordered = list(writes)
        results: dict[int, ItemResult] = {}
        groups: tuple[list[int], list[int], list[int]] = ([], [], [])
        for place, write in enumerate(ordered):
            if self._is_in_order(write):
                assert isinstance(write, Apply)
                results[place] = ItemResult(write, key_of_write(write), object=write.live, skipped=True)
            else:
                groups[_group(write)].append(place)
        for group in groups:
            await self._run_group(ordered, group, results)
        return BatchResults(results[place] for place in range(len(ordered)))

    async def _run_group(self, writes: list[Write], places: list[int], results: dict[int, ItemResult]) -> None:
        if len(places) == 1:
            results[places[0]] = await self._run_one(writes[places[0]])
            return
        waiting = iter(places)

        async def worker() -> None:
            for place in waiting:
                results[place] = await self._run_one(writes[place])

        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(self._limit, len(places))):
                tasks.create_task(worker())

    async def _run_one(self, write: Write) -> ItemResult:
        key = key_of_write(write)
        try:
            async with self._slots:
                answer = await self._send(write)
            if self._observe is not None and not isinstance(write, Delete):
                self._observe(write.kind, answer)
        except Exception as error:
            error.add_note(f"while doing: {key}")
            return ItemResult(write, key, error=error)
        return ItemResult(write, key, object=answer)

    async def _send(self, write: Write) -> Resource:
        client, manager = self._client, self._field_manager
        match write:
            case Apply(kind, obj, _, force, subresource):
                return await client.apply(kind, obj, field_manager=manager, force=force, subresource=subresource)
            case Create(kind, obj):
                return await client.create(kind, obj, field_manager=manager)
            case Update(kind, obj, subresource):
                return await client.update(kind, obj, subresource=subresource, field_manager=manager)
            case Patch(kind, namespace, name, patch, patch_type, subresource):
                return await client.patch(
                    kind, namespace, name, patch,
                    patch_type=patch_type, subresource=subresource, field_manager=manager,
                )  # fmt: skip
            case Delete(kind, namespace, name, uid, propagation):
                preconditions = {"uid": uid} if uid else None
                return await client.delete(kind, namespace, name, preconditions=preconditions, propagation=propagation)

    def _is_in_order(self, write: Write) -> bool:
        return (
            isinstance(write, Apply)
            and write.live is not None
            and covers(write.live, write.obj)
            and drops_nothing(write.live, write.obj, self._field_manager, write.subresource or "")
        )


def key_of_write(write: Write) -> str:
    """A write in words: "Delete ConfigMap default/web"."""
    if isinstance(write, Patch | Delete):
        namespace, name = write.namespace, write.name
    else:
        meta = write.obj.get("metadata") or {}
        namespace, name = meta.get("namespace"), meta.get("name") or f"{meta.get('generateName', '')}*"
    subresource = getattr(write, "subresource", None)
    where = f"{namespace}/{name}" if namespace else name
    return f"{type(write).__name__} {write.kind.kind} {where}" + (f" {subresource}" if subresource else "")


def _group(write: Write) -> int:
    if isinstance(write, Create) or (isinstance(write, Apply) and write.live is None):
        return 0
    return 2 if isinstance(write, Delete) else 1
