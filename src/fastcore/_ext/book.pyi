from typing import final

@final
class Group:
    """Stands for one value of `fair_by`, or for all keys without it; compared by identity: no user code."""

    def __new__(cls) -> Group: ...

@final
class Book:
    """The keys of one queue."""

    def __new__(cls) -> Book: ...
