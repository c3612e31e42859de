"""A replica that has fallen behind: what its cache held at an earlier revision."""

from typing import NamedTuple

from fastcore.testing.apiserver.storage import Record, Store
from fastcore.testing.apiserver.target import Key


class Replica(NamedTuple):
    """Every object as it was at `revision`. Records are shared with the store: O(n) references to take, no copies."""

    revision: int
    records: dict[tuple[str, str], dict[Key, Record]]

    @classmethod
    def of(cls, store: Store, revision: int | None = None) -> "Replica":
        """The state at `revision` (None: now).

        Raises:
            StatusError: 410 if the revision has left the history, 504 if it lies in the future.
        """
        at = store.revision if revision is None else revision
        return cls(
            at,
            {
                place: {record.key: record for record in collection.select_at(None, "", at)}
                for place, collection in list(store.collections.items())
            },
        )

    def get(self, storage: tuple[str, str], key: Key) -> Record | None:
        """The object as this replica knows it."""
        return self.records.get(storage, {}).get(key)

    def select(self, storage: tuple[str, str], workspace: str | None, namespace: str) -> list[Record]:
        """The objects of a workspace (None: all) and namespace ("": all), in order; O(n)."""
        found = self.records.get(storage, {})
        return [
            record
            for key, record in found.items()
            if (workspace is None or key[0] == workspace) and (not namespace or key[1] == namespace)
        ]
