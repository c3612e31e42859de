"""Rendezvous hashing: who of several members a key belongs to, by a score that everybody computes alike.

Each member has a score for each key, and the highest wins. A member that comes takes only the keys that it wins, and
one that goes leaves its keys to the runners-up: nothing else moves. From that follows what `shard` builds on: whoever
wins among all of several groups wins in each of them.

Source: Thaler and Ravishankar, "A name-based mapping scheme for rendezvous", 1996.
"""

from collections.abc import Iterable
from hashlib import blake2b

_MASK = (1 << 64) - 1


def key_hash(workspace: str, namespace: str, name: str) -> int:
    """64 bits of BLAKE2b of a key: the same in every process, on every machine, in every release.

    Example:
        >>> hex(key_hash("default", "shop", "web"))
        '0x4cd5545b68d782e8'
    """
    return _hash(f"{workspace}/{namespace}/{name}")


class Member:
    """One candidate for keys; equal to another of the same identity.

    Args:
        identity: unique among the members.

    Thread safety: immutable.
    """

    __slots__ = ("_seed", "identity")

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._seed = _hash(identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Member) and other.identity == self.identity

    def __hash__(self) -> int:
        return self._seed

    def score(self, key: int) -> tuple[int, str]:
        """How much this member is for a key of this hash; never the same for two members.

        Complexity: O(1), less than a microsecond.
        """
        # The finalizer of SplitMix64: each bit of its argument turns each bit of the result with even odds.
        x = key ^ self._seed
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
        return x ^ (x >> 31), self.identity


def wins(mine: Member, rivals: Iterable[Member], key: int) -> bool:
    """Whether `mine` has the highest score for `key`.

    Complexity: O(rivals).
    """
    score = mine.score(key)
    return all(rival.score(key) < score for rival in rivals)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
