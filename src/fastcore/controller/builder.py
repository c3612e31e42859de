"""Says what a controller watches, checks it, and registers it with its manager."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from fastcore.controller.controller import Controller
from fastcore.controller.event_series import check_component
from fastcore.controller.handlers import Mapper, Watch, itself, owner_of
from fastcore.controller.invocation import Reconciler
from fastcore.controller.model import Kind
from fastcore.controller.options import Options
from fastcore.controller.predicates import Predicate, SpecOrMetadataChanged
from fastcore.controller.shard_selector import ShardSelector

if TYPE_CHECKING:
    from fastcore.controller.manager import Manager

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class _Selectors(NamedTuple):
    label: str | None
    field: str | None
    shard: ShardSelector | None


@dataclass
class _Declared:
    kind: Kind
    mapper: Mapper
    default: Predicate
    selectors: _Selectors
    predicates: list[Predicate] = field(default_factory=list)

    def watch(self) -> Watch:
        predicate = self.default
        for i, more in enumerate(self.predicates):
            predicate = predicate & more if i else more
        return Watch(self.kind, self.mapper, predicate, *self.selectors)


class ControllerBuilder:
    """Builds one controller, call by call.

    Args:
        manager: runs it.
        name: lower-case letters, digits, "-" and ".", at most 253; unique in the manager (CT-9).

    Raises:
        ValueError: the name is malformed or taken; from every method: a declaration that cannot work.

    Example:
        (ControllerBuilder(manager, "webapp")
            .for_(WEBAPP)
            .owns(CONFIG_MAP)
            .with_options(Options(max_concurrent_reconciles=4))
            .complete(reconcile))
    """

    def __init__(self, manager: "Manager", name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"a controller's name is lower-case letters, digits, '-' and '.', not {name!r}")
        manager.check_name(name)
        self._manager = manager
        self._name = name
        self._primary: Kind | None = None
        self._declared: list[_Declared] = []
        self._options: Options | None = None

    def for_(
        self,
        kind: Kind,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        shard_selector: ShardSelector | None = None,
    ) -> Self:
        """Reconcile the objects of `kind`; unless predicates say otherwise, as `SpecOrMetadataChanged` filters.

        Args:
            kind: the kind.
            label_selector: restricts what is watched and cached.
            field_selector: likewise.
            shard_selector: likewise, to a part that the server cuts off, or else the cache. Replicas that each name
                another part share the objects without a Lease, but nobody takes over the part of one that is gone;
                `Manager(sharding=)` does.
        """
        if self._primary is not None:
            raise ValueError(f"controller {self._name!r} is already for {self._primary.kind}; one kind a controller")
        self._primary = kind
        selectors = _Selectors(label_selector, field_selector, shard_selector)
        return self._add(kind, itself, SpecOrMetadataChanged(), selectors)

    def owns(
        self,
        kind: Kind,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        shard_selector: ShardSelector | None = None,
    ) -> Self:
        """Reconcile the controller owner of an object of `kind`, at any change of it, its deletion included.

        A part by uid holds children of other parts' owners; only one by namespace keeps families together.
        """
        if self._primary is None:
            raise ValueError(f"controller {self._name!r}: say .for_(kind) before .owns({kind.kind})")
        selectors = _Selectors(label_selector, field_selector, shard_selector)
        return self._add(kind, owner_of(self._primary), Predicate(), selectors)

    def watches(
        self,
        kind: Kind,
        mapper: Mapper,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        shard_selector: ShardSelector | None = None,
    ) -> Self:
        """Reconcile what `mapper` makes of an object of `kind`.

        Args:
            kind: the kind.
            mapper: takes an object, returns (namespace, name) pairs of primary objects in the same workspace, or
                `Request`s in any. Called with the old and the new object at an update. It should be quick: it runs
                for every event.
            label_selector: restricts what is watched and cached.
            field_selector: likewise.
            shard_selector: likewise.
        """
        if not callable(mapper):
            raise TypeError(f"the mapper of {kind.kind} must be a function, not {mapper!r}")
        return self._add(kind, mapper, Predicate(), _Selectors(label_selector, field_selector, shard_selector))

    def with_predicates(self, *predicates: Predicate) -> Self:
        """Filter the watch declared just before: all predicates must pass. They replace its default filter.

        A predicate belongs to one watch, so it never meets an object of another kind.

        Raises:
            TypeError: an argument is not a Predicate, such as a class instead of an instance.
        """
        if not self._declared:
            raise ValueError("with_predicates() belongs to the watch before it: call for_, owns or watches first")
        for predicate in predicates:
            if not isinstance(predicate, Predicate):
                hint = "; call it to make one" if isinstance(predicate, type) else ""
                raise TypeError(f"with_predicates() takes Predicate objects, not {predicate!r}{hint}")
        self._declared[-1].predicates += predicates
        return self

    def with_options(self, options: Options) -> Self:
        """Run with `options` instead of the defaults."""
        if not isinstance(options, Options):
            raise TypeError(f"with_options() takes Options, not {options!r}")
        self._options = options
        return self

    def complete(self, reconciler: Reconciler) -> Controller:
        """Make the controller and register it with the manager.

        Args:
            reconciler: `async def reconcile(ctx, request) -> Result | None`, or a plain function, which runs in a
                thread.

        Raises:
            TypeError: the reconciler is not callable.
            ValueError: `for_` is missing, the manager already runs or knows the name, or with `event_series` the API
                takes no events under it.
        """
        if not callable(reconciler):
            raise TypeError(f"a reconciler is a function (ctx, request) -> Result | None, not {reconciler!r}")
        if self._primary is None:
            raise ValueError(f"controller {self._name!r} is for nothing: call .for_(kind)")
        options = self._options or Options()
        if options.event_series:
            check_component(self._name)
        watches = tuple(declared.watch() for declared in self._declared)
        controller = Controller(self._name, self._primary, watches, reconciler, options)
        self._manager.add(controller)
        return controller

    def _add(self, kind: Kind, mapper: Mapper, default: Predicate, selectors: _Selectors) -> Self:
        for other in self._declared:
            if other.kind == kind and other.selectors != selectors:
                raise ValueError(f"controller {self._name!r} watches {kind.kind} twice with different selectors")
        self._declared.append(_Declared(kind, mapper, default, selectors))
        return self
