"""An asyncio service in front of a slow backend: one load for a thousand callers, a budget, and a breaker.

python examples/asyncio_service.py
"""

import asyncio

from fastcore import CircuitBreaker, CircuitOpenError, TokenBucket, TTLCache


class Prices:
    """Prices from a backend that is slow, limited and sometimes down."""

    def __init__(self) -> None:
        self._cache: TTLCache[str, float] = TTLCache(maxsize=10_000, ttl=60.0, jitter=0.1)
        self._bucket = TokenBucket(rate=100, burst=10)
        self._breaker = CircuitBreaker("prices", failure_threshold=3, open_for=30.0)
        self.calls = 0
        self.down = False

    async def price(self, item: str) -> float:
        """The price of `item`; concurrent callers of the same item share one load."""
        return await self._cache.aget_or_load(item, lambda: self._load(item))

    async def _load(self, item: str) -> float:
        await self._bucket.wait_async(timeout=1.0)
        return await self._breaker.acall(self._ask, item)

    async def _ask(self, item: str) -> float:
        self.calls += 1
        await asyncio.sleep(0.01)
        if self.down:
            raise ConnectionError("the backend is down")
        return len(item) * 1.5


async def main() -> None:
    """A stampede, then an outage."""
    prices = Prices()
    answers = await asyncio.gather(*(prices.price("apple") for _ in range(1000)))
    print(f"{len(answers)} callers, {prices.calls} call of the backend")
    prices.down = True
    refused = 0
    for i in range(10):
        try:
            await prices.price(f"pear-{i}")
        except ConnectionError:
            pass
        except CircuitOpenError:
            refused += 1
    print(f"backend down: {prices.calls - 1} calls failed, {refused} refused without a call")


if __name__ == "__main__":
    asyncio.run(main())
