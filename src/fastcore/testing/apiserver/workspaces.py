"""Workspaces: made when first used, each with the namespaces that every cluster has."""

import re

from fastcore.testing.apiserver.registry import Registry
from fastcore.testing.apiserver.status import bad_request, forbidden
from fastcore.testing.apiserver.target import ROOT, Target
from fastcore.testing.apiserver.writes import Options, Writer

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9:.]{0,251}[a-z0-9])?")


class Workspaces:
    """Knows which workspaces there are, at most `limit`; the workspace `root` is there from the start."""

    def __init__(self, writer: Writer, registry: Registry, limit: int) -> None:
        self._writer = writer
        self._limit = limit
        namespaces = registry.lookup(ROOT, "", "v1", "namespaces")
        assert namespaces is not None
        self._namespaces = namespaces
        self._known: set[str] = set()
        self.ensure(ROOT)

    def ensure(self, name: str) -> None:
        """Make a workspace if it is new.

        Raises:
            StatusError: 400 if the name is none: lower-case letters, digits, '-', '.' and ':', at most 253; 403 if
                there are as many as there may be.
        """
        if name in self._known:
            return
        if not _NAME.fullmatch(name):
            raise bad_request(f"invalid workspace name {name!r}: lower-case letters, digits, '-', '.' and ':' only")
        if len(self._known) >= self._limit:
            raise forbidden("", "workspaces", name, f"there may be {self._limit} workspaces and no more")
        self._known.add(name)
        for namespace in NAMESPACES:
            target = Target(name, self._namespaces, "", namespace)
            obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            self._writer.create(target, obj, Options(manager="kube-apiserver"))

    def names(self) -> list[str]:
        """The workspaces in order."""
        return sorted(self._known)
