"""What must hold when a run is over: caches equal to the server, nothing made twice, nothing left behind."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from fastcore.controller.model import Resource, key_of
from fastcore.testing.apiserver.storage import Store
from fastcore.testing.simulate.loop import VirtualLoop
from fastcore.testing.simulate.process import Process
from fastcore.testing.simulate.world import State, World


def ghosts(processes: Iterable[Process], state: State, world: World) -> Iterator[str]:
    """Where an informer's store and the server differ."""
    for process in processes:
        for controller, scope in process.scopes():
            place = world.prefixes[scope.workspace.name]
            for watch in controller.watches:
                informer = scope.informers[watch.kind]
                selectors = {
                    name: value
                    for name, value in (
                        ("labelSelector", watch.label_selector),
                        ("fieldSelector", watch.field_selector),
                    )
                    if value
                }
                path = place + watch.kind.path(informer.namespace)
                answer = state.ask(path, "&".join(f"{name}={value}" for name, value in selectors.items())) or {}
                server = _versions(answer.get("items") or ())
                cached = _versions(informer.list())
                for key in sorted(server.keys() | cached.keys()):
                    if server.get(key) != cached.get(key):
                        yield (
                            f"the cache of {watch.kind.plural} in {process.name} has {'/'.join(key)} at "
                            f"{cached.get(key, 'no')} version, the server at {server.get(key, 'no')}"
                        )


def _versions(objects: Iterable[Resource]) -> dict[tuple[str, str], str]:
    return {key_of(obj): str(obj["metadata"]["resourceVersion"]) for obj in objects}


def twins(store: Store, by_users: set[str]) -> Iterator[str]:
    """Children made more than once: of one owner, with one generateName."""
    found: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for collection in list(store.collections.values()):
        for record in collection.select(None, ""):
            if not record.owners or record.uid in by_users:
                continue
            prefix = record.decode(b"{")["metadata"].get("generateName")
            if prefix:
                found[collection.plural, record.owners[0], prefix].append("/".join(record.key))
    for (plural, owner, prefix), names in sorted(found.items()):
        if len(names) > 1:
            yield (
                f"the owner {owner} has {len(names)} {plural} generated from {prefix!r}: {', '.join(names)}. Give "
                "children deterministic names: a create whose answer was lost is then refused the second time"
            )


def leftovers(loop: VirtualLoop, processes: Iterable[Process]) -> Iterator[str]:
    """What has not ended although its manager was stopped."""
    for process in processes:
        if not process.running.done():
            yield f"{process.name}: manager.run() does not end after manager.stop()"
            continue
        error = process.running.exception()
        if error is not None:
            yield f"{process.name}: manager.run() ended by {error!r}"
        for found in loop.pending(process):
            yield f"{process.name} has left behind {found}"
