"""Invalidation, and the loads in flight that it fences: between the entries and the mapping on them."""

from collections.abc import Hashable, Iterable
from typing import Any

from fastcore._py.slots import QUIET, Load, Slots


class Loads(Slots):
    """The entries of a cache, with what outdates them."""

    __slots__ = ()

    def _write(self, key: Hashable, value: object, ttl: Any, mode: int, load: Load | None) -> bool:
        """Behind `[]=`, `set` and loads; takes the lock itself. Whether the value is stored."""
        raise NotImplementedError

    # -- invalidation

    def invalidate(self, key: Any, /) -> bool:
        """Remove `key`; True if it was there. A load of it that is in flight will not be stored."""
        now = self._read_clock()
        with self._operation() as trash:
            return self._take(key, now, trash) is not None

    def invalidate_prefix(self, prefix: str | bytes, /) -> int:
        """Remove the str (or bytes) keys that begin with `prefix` and fence their loads; the number removed. O(n)."""
        if not isinstance(prefix, (str, bytes)):
            raise TypeError(f"prefix must be str or bytes, got {type(prefix).__name__}")
        now = self._read_clock()
        with self._operation() as trash:
            self._sweep(now, trash)
            for key, load in self._flights.items():
                if _begins(key, prefix):
                    load.fenced = True
            doomed = [e for ring in self._rings() for e in ring if _begins(e.key, prefix)]
            for entry in doomed:
                self._detach(entry, trash, "explicit")
            self._counters["removals"] += len(doomed)
            self._changes += len(doomed)
        return len(doomed)

    def invalidate_tag(self, tag: str, /) -> int:
        """Remove the entries with `tag`; the number removed. Loads that may be of such are not stored. O(removed)."""
        if not isinstance(tag, str):
            raise TypeError(f"tag must be str, got {type(tag).__name__}")
        tag = str.__str__(tag)
        now = self._read_clock()
        with self._operation() as trash:
            self._sweep(now, trash)
            for load in self._flights.values():
                if not load.tags or tag in load.tags:
                    load.fenced = True
            doomed = list(self._tags.entries.get(tag, ()))
            for entry in doomed:
                self._detach(entry, trash, "explicit")
            self._counters["removals"] += len(doomed)
            self._changes += len(doomed)
        return len(doomed)

    def invalidate_all(self) -> None:
        """Remove every entry; no load that is in flight will be stored."""
        Loads.clear(self)

    def clear(self) -> None:
        """Remove every entry; no load that is in flight will be stored."""
        now = self._read_clock()
        with self._operation() as trash:
            for load in self._flights.values():
                load.fenced = True
            self._sweep(now, trash)
            entries = self._all()
            for entry in entries:
                self._detach(entry, trash, "explicit")
            self._forget()
            if self._sampler is not None:
                self._sampler.clear()
            self._counters["removals"] += len(entries)
            self._changes += 1
            self._version += 1

    def _tagged(self) -> list[tuple[Any, tuple[str, ...]]]:
        """A list of `(key, tags)` of the entries that have tags."""
        with self._lock:
            return [(entry.key, tags) for entry, tags in self._tags.tags.items()]

    def _retag(self, pairs: Iterable[tuple[Any, tuple[str, ...]]], /) -> None:
        """Tag entries as another cache's `_tagged` says."""
        for key, tags in pairs:
            with self._lock:
                entry = self._find(key, hash(key))
                if entry is not None:
                    self._tags.remove(entry)
                    self._tags.attach(entry, tags)

    # -- loads in flight: the half of single flight that needs the lock

    def _begin_load(self, key: Any, load: Load, /) -> tuple[bool, Any]:
        """`(True, value)` if `key` is there; else `(False, flight)`: `load` if it may run, or the one to wait for."""
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        now = self._read_clock()
        with self._lock:
            try:
                while True:
                    current = None  # here: no drop may come between the entry of a load and its version
                    current = self._flights.setdefault(key, load)
                    self._flight_version += 1
                    if current is load:
                        break
                    if not current.fenced:
                        # Who invalidates one of the tags asked for must fence the load that is joined.
                        if set(load.tags) <= set(current.tags):
                            break
                        current.fenced = True
                    self._retire(key, current)
                if current is not load:
                    return False, current
                # Registered first: a load that ends now was either joined above or has stored what is found here.
                entry = self._find(key, hash(key))
                value = None if entry is None else self._held(entry)
                if entry is not None and not self._dead(entry, now):
                    load.fenced = True
                    self._retire(key, load)
                    return True, value
                self._counters["loads"] += 1
                return False, load
            except BaseException:
                load.fenced = True  # whoever meets it among the loads in flight takes it out
                raise

    def _end_load(self, key: Any, load: Load, value: Any, /) -> bool:
        """Store what `load` brought, unless it was fenced; whether it is stored."""
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        try:
            stored = self._write(key, value, ..., QUIET, load)
            if not stored:
                self._counters["loads_discarded"] += 1
        finally:
            with self._lock:
                load.fenced = True
                self._retire(key, load)
        return stored

    def _fail_load(self, key: Any, load: Load, /) -> None:
        """Forget a load that brought nothing."""
        if not isinstance(load, Load):
            raise TypeError(f"load must be a Load, got {type(load).__name__}")
        with self._lock:
            self._counters["load_failures"] += 1
            load.fenced = True
            self._retire(key, load)

    def _retire(self, key: Any, load: Load) -> None:
        """Take a fenced `load` out of the loads in flight, if it is the one that stands there."""
        if self._flights.get(key) is load:
            removed = self._flights.pop(key, None)
            self._flight_version += 1
            if removed is not None:
                # Another may have taken its place while the keys were compared: it runs, but nobody will find it.
                removed.fenced = True


def _begins(key: object, prefix: str | bytes) -> bool:
    """Whether `key` begins with `prefix` and is of its type, without a method that a subclass could override."""
    if isinstance(prefix, str):
        return isinstance(key, str) and str.startswith(key, prefix)
    return isinstance(key, bytes) and bytes.startswith(key, prefix)
