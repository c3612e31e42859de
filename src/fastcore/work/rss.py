"""How much memory this process has resident, read in about a microsecond."""

import os
from pathlib import Path


class ResidentMemory:
    """Reads the second number of `/proc/self/statm` through a descriptor that stays open.

    Args:
        root: folder that holds `proc`; tests give another one.

    Complexity: one pread of a file that the kernel writes from counters.
    Thread safety: may be called from any thread; in a forked child it opens its own file.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self._path = Path(root) / "proc/self/statm"
        self._page = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
        self._pid = -1
        self._fd: int | None = None

    def __call__(self) -> int | None:
        """Bytes; None where the system does not tell."""
        if os.getpid() != self._pid:
            self._open()
        if self._fd is None:
            return None
        return int(os.pread(self._fd, 128, 0).split(None, 2)[1]) * self._page

    def _open(self) -> None:
        self.close()
        self._pid = os.getpid()
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC) if hasattr(os, "pread") else None
        except OSError:
            self._fd = None

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        fd, self._fd, self._pid = self._fd, None, -1
        if fd is not None:
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", None) is not None:
            self.close()
