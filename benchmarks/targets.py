"""What the project aims at: for each row of the table, how much ours may cost, and beside what.

`x` is one `dict.get` hit; `ns`, `ms` and `bytes` are what they are called; any other name is another line of the same
row. A limit on what a guard *adds* is counted above a line of that row.
"""

from typing import NamedTuple


class Target(NamedTuple):
    """Ours, less what the line `above` costs, is at most `factor` times `of`."""

    what: str
    factor: float
    of: str
    above: str = ""

    def __str__(self) -> str:
        limit = f"<= {self.factor:.3g} {self.of}" if self.factor != 1 or self.of == "x" else f"<= {self.of}"
        return f"{limit} above {self.above}" if self.above else limit


TARGETS = (
    Target("LRU c[k] hit", 1.0, "x"),
    Target("LRU get hit", 1.6, "x"),
    Target("LRU get hit", 1, "Go golang-lru"),
    Target("LRU set existing", 1.0, "x"),
    Target("LRU set + evict", 2.5, "x"),
    Target("LRU set + evict", 1, "Go golang-lru"),
    Target("TTL get hit", 2.7, "x"),
    Target("TTL get hit", 1, "Go expirable"),
    Target("TTL set existing", 1 / 2, "cachebox"),
    Target("TTL set + evict", 1 / 2, "cachebox"),
    Target("LRU bytes an entry, 1 M", 48, "bytes"),
    Target("LRU collector pass, 1 M", 10, "ms"),
    Target("TTL bytes an entry, 1 M", 56, "bytes"),
    Target("TTL collector pass, 1 M", 10, "ms"),
    Target("S3-FIFO c[k] hit", 1.2, "fastcore LRU"),
    Target("S3-FIFO get hit", 1.2, "fastcore LRU"),
    Target("@cached hit", 1.2, "functools.lru_cache"),
    Target("loading get hit", 3, "fastcore LRUCache"),
    Target("loading get hit", 1 / 10, "theine Memoize"),
    Target("token bucket allow", 2.5, "x"),
    Target("token bucket allow", 1, "Go x/time/rate"),
    Target("token bucket allow, from C", 10, "ns", above="a clock reading"),
    Target("keyed bucket allow, 10,000 keys", 1 / 8, "token-bucket"),
    Target("breaker around a no-op, call", 30, "ns", above="the bare no-op"),
    Target("breaker around a no-op, call", 1, "Go gobreaker"),
    Target("breaker around a no-op, decorated", 30, "ns", above="the bare no-op"),
    Target("pool acquire + release", 2, "deque append + pop"),
    Target("diff, 32 KB equal", 1.3, "a == b"),
    Target("JSON patch made, one deep change", 1 / 2, "fastjsonpatch"),
    Target("JSON patch made, one deep change", 1 / 50, "jsonpatch"),
    Target("queue add + get + done", 140, "ns"),
    Target("queue add + get + done", 1, "Go client-go"),
    Target("object ingest, 6.6 KB", 50, "us"),
    Target("watch event, 6.6 KB", 100, "us"),
    Target("bytes an object, 6.6 KB", 8192, "bytes"),
    Target("bytes an object, metadata only", 2560, "bytes"),
    Target("collector pass, 50 k objects", 5, "ms"),
    Target("informer ingest, 6.6 KB", 50, "us"),
    Target("informer event, 6.6 KB", 100, "us"),
    Target("informer bytes an object, 6.6 KB", 8192, "bytes"),
    Target("informer collector pass, 50 k objects", 5, "ms"),
    # 5,000 writes and 20,000 watch events a second, so that the embedded server does not bound what is measured on it.
    Target("API server: create", 200_000, "ns"),
    Target("API server: watch event", 50_000, "ns"),
)
