"""Which items of one array become which of another: the fewest items touched.

An alignment is the pairs of indices of items that stay as they are or are changed where they stand; of the others,
those of the old array are removed and those of the new one added. A named object is not made of one with another name.
"""

from bisect import bisect_left
from collections import Counter
from typing import Any

from fastcore._py.document import MAX_DEPTH, check_key, plain, too_deep

MAX_CELLS = 40_000
"""Up to this product of lengths the alignment is the best one; beyond it, only items that are there once are sought."""

Pairs = list[tuple[int, int]]
Item = tuple[int, Any]


def aligned(old: list[Any], new: list[Any], depth: int) -> Pairs:
    """The pairs of indices, both increasing."""
    ids: dict[Any, int] = {}
    a = [(ids.setdefault(frozen(item, depth), len(ids)), identity(item)) for item in old]
    b = [(ids.setdefault(frozen(item, depth), len(ids)), identity(item)) for item in new]
    straight = [(i, i) for i in range(min(len(a), len(b)))]
    best = fewest(a, b) if len(a) * len(b) <= MAX_CELLS else once(a, b)
    return best if cost(a, b, best) < cost(a, b, straight) else straight


def identity(item: Any) -> Any:
    """What a container is called, so that it is changed only into one that is called the same; None for a scalar."""
    item = plain(item)
    if type(item) is dict:
        name = plain(item.get("name"))
        return ("named", name) if type(name) is str else "object"
    return "array" if type(item) is list else None


def change(x: Item, y: Item) -> int:
    """What it costs to make one item of another, where to remove or to add one costs 2."""
    if x[0] == y[0]:
        return 0
    if x[1] is None or y[1] is None:
        return 2
    return 3 if x[1] == y[1] else 5


def frozen(value: Any, depth: int) -> Any:
    """Something to look up that is equal exactly for equal documents."""
    value = plain(value)
    if type(value) is dict:
        if depth == MAX_DEPTH:
            raise too_deep()
        for name in value:
            check_key(name)
        return frozenset([(plain(name), frozen(item, depth + 1)) for name, item in value.items()])
    if type(value) is list:
        if depth == MAX_DEPTH:
            raise too_deep()
        return tuple([frozen(item, depth + 1) for item in value]), "array"
    if type(value) is bool:
        return (value,)
    return value if value == value else (None,)


def cost(a: list[Item], b: list[Item], pairs: Pairs) -> int:
    return 2 * (len(a) + len(b)) - sum(4 - change(a[i], b[j]) for i, j in pairs)


def fewest(a: list[Item], b: list[Item]) -> Pairs:
    """The best alignment: edit distance over whole items."""
    width = len(b) + 1
    table = [list(range(0, 2 * width, 2))]
    for i in range(len(a)):
        above, row = table[i], [2 * (i + 1)]
        for j in range(len(b)):
            row.append(min(above[j] + change(a[i], b[j]), above[j + 1] + 2, row[j] + 2))
        table.append(row)
    pairs: Pairs = []
    i, j = len(a), len(b)
    while i and j:
        if table[i][j] == table[i - 1][j - 1] + change(a[i - 1], b[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif table[i][j] == table[i - 1][j] + 2:
            i -= 1
        else:
            j -= 1
    pairs.reverse()
    return pairs


def once(a: list[Item], b: list[Item]) -> Pairs:
    """Items that are once in each array keep their order as far as they can; what lies between is paired in order."""
    places = {token: j for j, (token, _) in enumerate(b)}
    mine, theirs = Counter(token for token, _ in a), Counter(token for token, _ in b)
    ends: list[int] = []
    chain: list[tuple[int, int, int]] = []  # i, j, the link before
    tops: list[int] = []
    for i, (token, _) in enumerate(a):
        if mine[token] != 1 or theirs[token] != 1:
            continue
        at = bisect_left(ends, places[token])
        chain.append((i, places[token], tops[at - 1] if at else -1))
        if at == len(ends):
            ends.append(places[token])
            tops.append(len(chain) - 1)
        else:
            ends[at], tops[at] = places[token], len(chain) - 1
    kept = [(len(a), len(b))]
    link = tops[-1] if tops else -1
    while link >= 0:
        i, j, link = chain[link]
        kept.append((i, j))
    pairs: Pairs = []
    i = j = 0
    for x, y in reversed(kept):
        pairs += zip(range(i, x), range(j, y), strict=False)
        if x < len(a):
            pairs.append((x, y))
        i, j = x + 1, y + 1
    return pairs
