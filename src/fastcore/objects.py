"""Kubernetes objects as bytes that the cyclic collector does not walk, with read-only views on demand.

The classes are the compiled ones themselves; docs/objects.md describes them.
"""

from fastcore._impl import frozen as _frozen
from fastcore._impl import intake as _intake
from fastcore._impl import objects as _objects

ObjectStore = _objects.ObjectStore
ObjectStats = _objects.ObjectStats
Change = _objects.Change

FrozenDict = _frozen.FrozenDict
FrozenList = _frozen.FrozenList
thaw = _frozen.thaw
view = _frozen.view

Head = _intake.Head
ListPage = _intake.ListPage
WatchEvent = _intake.WatchEvent
head = _intake.head
split_event = _intake.split_event
split_list = _intake.split_list

__all__ = [
    "Change",
    "FrozenDict",
    "FrozenList",
    "Head",
    "ListPage",
    "ObjectStats",
    "ObjectStore",
    "WatchEvent",
    "head",
    "split_event",
    "split_list",
    "thaw",
    "view",
]
