"""What the container allows: the smallest limit of this process's control group and its ancestors.

Version 1, version 2 and the hybrid of both are read from where they are mounted. Inside a container the group's path
may lie outside of what is mounted; then the mount itself is the container's group.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T", int, float)

_NO_LIMIT = 1 << 62  # version 1 says "none" with the largest multiple of the page size


class Cgroup:
    """The control group of this process, looked up once; its files are read at each call.

    Args:
        root: folder that holds `proc` and `sys`; tests give another one.

    Complexity: a few small files for each ancestor.
    Thread safety: immutable.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)
        mounts = list(self._mounts())
        groups = list(self._groups())
        self._v2 = _folders("", groups, mounts)
        self._cpu = _folders("cpu", groups, mounts)
        self._memory = _folders("memory", groups, mounts)

    def memory_limit(self) -> int | None:
        """Bytes that this process and those beside it in the group may use; None where nothing limits them."""
        limits = [_bytes(_read(folder / "memory.max")) for folder in self._v2]
        limits += [_bytes(_read(folder / "memory.limit_in_bytes")) for folder in self._memory]
        return _smallest(limits)

    def cpu_quota(self) -> float | None:
        """Processors' worth of time that the group may use; None where nothing limits it."""
        limits = [_ratio(*_read(folder / "cpu.max").partition(" ")[::2]) for folder in self._v2]
        limits += [
            _ratio(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")) for folder in self._cpu
        ]
        return _smallest(limits)

    def memory_usage(self) -> int | None:
        """Bytes that the group uses, without page cache that the kernel would give back at once; None if unknown.

        It is what the kubelet calls the working set.
        """
        for folder in self._v2:
            if (used := _bytes(_read(folder / "memory.current"))) is not None:
                return max(0, used - _field(_read(folder / "memory.stat"), "inactive_file"))
        for folder in self._memory:
            if (used := _bytes(_read(folder / "memory.usage_in_bytes"))) is not None:
                return max(0, used - _field(_read(folder / "memory.stat"), "total_inactive_file"))
        return None

    def pressure(self, resource: str = "memory") -> float | None:
        """Percent of the last 10 seconds in which some task of the group stood still for lack of `resource` (PSI).

        Falls back to the whole machine's figure; None where the kernel keeps none.

        Args:
            resource: "memory", "cpu" or "io".
        """
        for file in (*(folder / f"{resource}.pressure" for folder in self._v2), self.root / "proc/pressure" / resource):
            for line in _read(file).splitlines():
                kind, _, rest = line.partition(" ")
                if kind == "some" and rest.startswith("avg10="):
                    return _number(rest.partition(" ")[0].removeprefix("avg10="), float)
        return None

    def system_memory(self) -> int | None:
        """Bytes of memory of the machine; None where /proc/meminfo does not tell."""
        for line in _read(self.root / "proc/meminfo").splitlines():
            if line.startswith("MemTotal:") and (kib := _number(line.split()[1], int)) is not None:
                return kib * 1024
        return None

    def _groups(self) -> Iterator[tuple[frozenset[str], str]]:
        """Controllers and path of each hierarchy; version 2 has the controller ""."""
        for line in _read(self.root / "proc/self/cgroup").splitlines():
            number, _, rest = line.partition(":")
            controllers, found, path = rest.partition(":")
            if number and found:
                yield frozenset(controllers.split(",")), path

    def _mounts(self) -> Iterator[tuple[frozenset[str], str, Path]]:
        """Controllers, the group that is mounted, and where."""
        found = False
        for line in _read(self.root / "proc/self/mountinfo").splitlines():
            before, _, after = line.partition(" - ")
            fields, kinds = before.split(" "), after.split(" ")
            if len(fields) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
                continue
            found = True
            controllers = frozenset({""}) if kinds[0] == "cgroup2" else frozenset(kinds[2].split(","))
            yield controllers, fields[3], self.root / fields[4].lstrip("/")
        if not found:  # not told: the usual places
            mount = self.root / "sys/fs/cgroup"
            yield frozenset({""}), "/", mount
            yield frozenset({""}), "/", mount / "unified"
            yield frozenset({"memory"}), "/", mount / "memory"
            yield frozenset({"cpu"}), "/", mount / "cpu"
            yield frozenset({"cpu"}), "/", mount / "cpu,cpuacct"


def _folders(
    controller: str, groups: list[tuple[frozenset[str], str]], mounts: list[tuple[frozenset[str], str, Path]]
) -> tuple[Path, ...]:
    """The group's folder and its ancestors, the group first."""
    found: list[Path] = []
    for controllers, path in groups:
        if controller not in controllers:
            continue
        for mounted, top, mount in mounts:
            if controller not in mounted:
                continue
            below = path if top == "/" else path.removeprefix(top) if path.startswith(top) else "/"
            parts = [part for part in below.split("/") if part and part != ".."]
            found += [mount.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return tuple(dict.fromkeys(found))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str, kind: Callable[[str], _T]) -> _T | None:
    try:
        return kind(text)
    except ValueError:
        return None


def _bytes(text: str) -> int | None:
    value = _number(text, int)
    return value if value is not None and 0 <= value < _NO_LIMIT else None


def _ratio(quota: str, period: str) -> float | None:
    numerator, denominator = _number(quota, int), _number(period, int)
    return numerator / denominator if numerator and denominator and numerator > 0 and denominator > 0 else None


def _field(text: str, name: str) -> int:
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return _bytes(value) or 0
    return 0


def _smallest(values: "list[_T | None]") -> _T | None:
    return min((value for value in values if value is not None), default=None)
