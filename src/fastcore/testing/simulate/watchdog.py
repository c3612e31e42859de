"""What must hold at every write: bounds, and hands off what is not ours. It also counts what has to become quiet."""

from collections import Counter, deque
from collections.abc import Callable, Mapping

from fastcore.controller.model import Request
from fastcore.testing.apiserver.storage import Collection, Event
from fastcore.testing.simulate.network import Network, Sent
from fastcore.testing.simulate.process import Process
from fastcore.testing.simulate.world import State, World


class Watchdog:
    """Looks at every request and at every change on the server.

    Args:
        world: says what is allowed.
        network: says who writes.
        state: for `World.always`.
        processes: that live now, by name.
        wrong: told what does not hold.

    Attributes:
        last_write: virtual second of the controller's last write, refused ones included.
        recent: its last writes.
        reconciles: since then, by controller and key.
        by_users: uids of what no controller has made.
    """

    def __init__(
        self,
        world: World,
        network: Network,
        state: State,
        processes: Mapping[str, Process],
        wrong: Callable[[str, str], None],
    ) -> None:
        self.last_write = 0.0
        self.recent: deque[Sent] = deque(maxlen=5)
        self.reconciles: Counter[tuple[str, Request]] = Counter()
        self.by_users: set[str] = set()
        self._world = world
        self._network = network
        self._state = state
        self._processes = processes
        self._wrong = wrong
        self._written: Counter[tuple[str, str]] = Counter()

    def sent(self, sent: Sent) -> None:
        """A request was handled. Leases are renewed for ever, and say nothing about a controller's work."""
        if sent.method != "GET" and "/leases" not in sent.path:
            self.last_write = sent.at
            self.recent.append(sent)
            self.reconciles.clear()

    def begun(self, controller: str, request: Request) -> None:
        """A reconcile begins."""
        self.reconciles[controller, request] += 1

    def event(self, collection: Collection, event: Event) -> None:
        """Something changed on the server."""
        actor, uid = self._network.actor, event.new.uid
        if event.old is None and not actor:
            self.by_users.add(uid)
        if actor and collection.plural not in ("leases", "events"):
            self._written[collection.plural, uid] += 1
            limit = self._world.writes_per_object
            if self._written[collection.plural, uid] > limit:
                self._wrong(
                    "too many writes", f"{actor} has changed {_place(collection, event)} more than {limit} times"
                )
            self._check_foreign(actor, collection, event)
        if self._world.always is not None and (found := self._world.always(self._state)) is not None:
            self._wrong("World.always", found)

    def check_quiet(self) -> None:
        """Since the last write, was anything reconciled all the time?"""
        limit = self._world.reconciles_per_minute * self._world.quiet / 60
        for (controller, request), count in sorted(self.reconciles.items()):
            if count > limit:
                self._wrong("reconciles for ever", f"controller {controller!r} reconciles {request} {count} times")

    def _check_foreign(self, actor: str, collection: Collection, event: Event) -> None:
        old, process = event.old, self._processes.get(actor)
        if old is None or old.owners or self._world.adopts or old.uid not in self.by_users or process is None:
            return
        controllers = process.manager.controllers.values()
        primary = {controller.kind.plural for controller in controllers}
        watched = {watch.kind.plural for controller in controllers for watch in controller.watches}
        if collection.plural in watched - primary:
            self._wrong(
                "foreign object",
                f"{actor} has written to {_place(collection, event)}, which a user has made and nobody owns: look at "
                "the owner references before a write, or say World(adopts=True)",
            )


def _place(collection: Collection, event: Event) -> str:
    return "/".join((collection.plural, *filter(None, event.new.key)))
