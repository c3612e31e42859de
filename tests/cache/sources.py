"""Loaders that do as they are told, and an executor that works when told."""

from concurrent.futures import Executor, Future


class Source:
    """A loader: returns, raises or awaits what stands under a key, takes `cost` on the clock, and notes the calls."""

    def __init__(self, clock, values=(), cost=0):
        self.clock = clock
        self.values = dict(values)
        self.cost = cost
        self.calls = []
        self.error = None
        self.meanwhile = None  # called while it loads

    def __call__(self, key):
        self.calls.append(key)
        self.clock.now_ns += self.cost
        if self.meanwhile is not None:
            self.meanwhile()
        if self.error is not None:
            raise self.error
        value = self.values[key]
        if isinstance(value, BaseException):
            raise value
        return value

    def many(self, keys):
        """The same as a bulk loader."""
        self.calls.append(list(keys))
        self.clock.now_ns += self.cost
        if self.meanwhile is not None:
            self.meanwhile()
        if self.error is not None:
            raise self.error
        return {key: self.values[key] for key in keys if key in self.values}

    async def soon(self, key):
        """The same as a coroutine function."""
        return self(key)

    async def many_soon(self, keys):
        """The same as a coroutine function, for many."""
        return self.many(keys)


class Manual(Executor):
    """Runs what was submitted when `work` is called."""

    def __init__(self):
        self.jobs = []

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        self.jobs.append((future, function, args))
        return future

    def work(self):
        """Run all jobs; their number."""
        jobs, self.jobs = self.jobs, []
        for future, function, args in jobs:
            future.set_running_or_notify_cancel()
            future.set_result(function(*args))
        return len(jobs)
