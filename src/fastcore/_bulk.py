"""Many keys at once: one call of a bulk loader for all that nobody is loading yet; loads in flight are joined.

Nobody waits for others before its own call has ended, so calls whose keys overlap cannot wait for each other in a ring.
"""

import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastcore._loaders import refuse_awaitable
from fastcore._singleflight import ABSENT, Flight, Loads
from fastcore.errors import NotFound

if TYPE_CHECKING:
    import asyncio
else:
    from fastcore import _aio as asyncio


class Party:
    """The loads that one call of a bulk loader answers, and those of others that its caller waits for."""

    def __init__(self, cache: Loads, flight_type: type[Flight]) -> None:
        self.cache = cache
        self.flight_type = flight_type
        self.flights: dict[Any, Flight] = {}
        self.joined: dict[Any, Flight] = {}
        self.whole = Flight()  # ends when all of `flights` have; the caller waits for it
        self.task: asyncio.Task[Any] | None = None

    def board(self, keys: Iterable[Any], answers: dict[Any, Any]) -> None:
        """Take up the load of each key that is neither there, which goes into `answers`, nor being loaded."""
        try:
            for key in keys:
                flight = self.flight_type()
                flight.thread = threading.get_ident()  # until it is known who runs it
                found, current = flight.begin(self.cache, key)
                if found:
                    answers[key] = current
                elif current is flight:
                    self.flights[key] = flight
                else:
                    self.joined[key] = current
                    current._join(self._aboard)
        except BaseException as error:
            self.sink(error)
            self.leave()
            raise

    def _aboard(self) -> None:
        """Stands for the caller among those who wait for a load of another."""

    def leave(self) -> None:
        """Wait for none of the others' loads any more."""
        for flight in self.joined.values():
            flight._leave(self._aboard)

    def land(self, answer: Any) -> None:
        """Hand out what the loader returned; then raise the first error that storing it met."""
        if not isinstance(answer, Mapping):
            raise TypeError(f"a bulk loader must return a mapping, got {type(answer).__name__}")
        trouble: BaseException | None = None
        for key, flight in self.flights.items():
            try:
                if key not in answer:
                    raise NotFound(key)
                value = answer[key]
                self.cache._end_load(key, flight, value)
            except BaseException as error:
                self._fail(key, flight, error)
                if not isinstance(error, NotFound):
                    trouble = trouble or error
            else:
                flight.finish(value)
        if trouble is not None:
            raise trouble

    def sink(self, error: BaseException) -> bool:
        """End with `error` what has not ended; whether anybody sees it, for want of something to stand in."""
        for key, flight in self.flights.items():
            if not flight.done:
                self._fail(key, flight, error)
        return any(flight.outcome_is(error) for flight in self.flights.values())

    def _fail(self, key: Any, flight: Flight, error: BaseException) -> None:
        value = ABSENT
        try:
            value = flight.fail(self.cache, key, error)
        finally:
            if value is ABSENT:
                flight.finish(error=error)
        flight.finish(value)

    def cancel_if_deserted(self) -> None:
        """Cancel the call once nobody waits for any key of it."""
        if self.task is not None and not any(f._waiting for f in (self.whole, *self.flights.values())):
            self.task.cancel()

    def run(self, loader: Callable[..., Any]) -> None:
        """Call `loader` in this thread."""
        keys = list(self.flights)
        try:
            answer = loader(keys)
            refuse_awaitable(answer, keys)
            self.land(answer)
        except BaseException as error:
            if self.sink(error):
                raise

    def start(self, loader: Callable[..., Any]) -> None:
        """Call `loader` in a task of the running event loop."""
        keys = list(self.flights)

        async def fetch() -> None:
            answer = loader(keys)
            self.land(await answer if inspect.isawaitable(answer) else answer)

        def ended(task: asyncio.Task[None]) -> None:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            self.whole.finish(error=error if error is not None and self.sink(error) else None)

        loop = asyncio.get_running_loop()
        self.task = loop.create_task(fetch())
        for flight in (self.whole, *self.flights.values()):
            flight.thread, flight.loop, flight.task, flight.party = None, loop, self.task, self
        self.task.add_done_callback(ended)


def load_many(
    cache: Loads, flight_type: type[Flight], keys: Iterable[Any], loader: Callable[..., Any]
) -> dict[Any, Any]:
    """What is cached under `keys`, or loaded by one call of `loader` with the rest; absent ones are left out."""
    answers: dict[Any, Any] = {}
    wanted = list(dict.fromkeys(keys))
    while wanted:
        party = Party(cache, flight_type)
        party.board(wanted, answers)
        try:
            if party.flights:
                party.run(loader)
            for key, flight in party.joined.items():
                flight.wait(cache, key)
        finally:
            party.leave()
        wanted = collect(party, answers)
    return answers


async def aload_many(
    cache: Loads, flight_type: type[Flight], keys: Iterable[Any], loader: Callable[..., Any]
) -> dict[Any, Any]:
    """As `load_many`, the call in a task of its own; `loader` may be a coroutine function."""
    answers: dict[Any, Any] = {}
    wanted = list(dict.fromkeys(keys))
    while wanted:
        party = Party(cache, flight_type)
        party.board(wanted, answers)
        try:
            if party.flights:
                party.start(loader)
                await party.whole.join(cache, tuple(wanted))
                party.whole.outcome()
            for key, flight in party.joined.items():
                await flight.join(cache, key)
        finally:
            party.leave()
        wanted = collect(party, answers)
    return answers


def collect(party: Party, answers: dict[Any, Any]) -> list[Any]:
    """Gather what the loads brought into `answers`; the keys of those that were abandoned."""
    again = []
    for key, flight in (*party.flights.items(), *party.joined.items()):
        if flight.abandoned:
            again.append(key)
            continue
        try:
            answers[key] = flight.result()
        except NotFound:
            pass
    return again
