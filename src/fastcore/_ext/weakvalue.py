"""A value that a cache holds weakly."""

from weakref import ref


class WeakValue(ref):
    """A weak reference that knows its slot, so that its entry is found without a comparison of keys."""

    __slots__ = ("slot",)

    def __init__(self, value, callback):
        super().__init__(value, callback)
        self.slot = 0
