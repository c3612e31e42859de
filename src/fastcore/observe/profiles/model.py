"""A profile: how much of what was seen at which stack."""

from typing import NamedTuple


class Line(NamedTuple):
    """Where in the source one frame of a stack is.

    Args:
        function: with its module and class, such as "queue.Queue.get".
        file: its path.
        number: of the line that runs, 1 or more; 0 if unknown.
        start: the line where the function begins; 0 if unknown.
    """

    function: str
    file: str
    number: int
    start: int = 0


Stack = tuple[Line, ...]  # the innermost frame first
Label = tuple[str, str]


class ValueType(NamedTuple):
    """What one value of a sample counts, such as ("cpu", "nanoseconds")."""

    kind: str
    unit: str


class Profile:
    """Values by stack and label.

    Args:
        types: of the values of each sample.
        default: the kind that is shown when nobody asks for one.
        period: units of `period_type` between two samples; 0 if nothing is sampled.
        period_type: what the period counts; None is `types[-1]`.

    Attributes:
        samples: values by (stack, labels).
        began_ns: wall clock in nanoseconds since 1970.
        duration_ns: how long was measured; 0 for a state.
    """

    def __init__(
        self, types: tuple[ValueType, ...], *, default: str, period: int = 0, period_type: ValueType | None = None
    ) -> None:
        self.types = types
        self.default = default
        self.period = period
        self.period_type = types[-1] if period_type is None else period_type
        self.samples: dict[tuple[Stack, tuple[Label, ...]], list[int]] = {}
        self.began_ns = self.duration_ns = 0

    def add(self, stack: Stack, values: tuple[int, ...], labels: tuple[Label, ...] = ()) -> None:
        """Add `values`, one of each type, to what was seen at `stack`."""
        held = self.samples.get((stack, labels))
        if held is None:
            self.samples[stack, labels] = list(values)
        else:
            held[:] = [a + b for a, b in zip(held, values, strict=True)]

    def total(self, kind: str) -> int:
        """The sum of the values of one kind."""
        at = self.index(kind)
        return sum(values[at] for values in self.samples.values())

    def index(self, kind: str) -> int:
        """Where in a sample the values of `kind` are."""
        return next(at for at, known in enumerate(self.types) if known.kind == kind)

    def collapsed(self) -> str:
        """A line for each stack, outermost frame first: "main;serve;read 12", of the default kind."""
        at = self.index(self.default)
        totals: dict[str, int] = {}
        for (stack, _), values in self.samples.items():
            text = ";".join(line.function.replace(";", ":") for line in reversed(stack))
            totals[text] = totals.get(text, 0) + values[at]
        return "".join(f"{text} {value}\n" for text, value in sorted(totals.items()))

    def text(self) -> str:
        """For reading: each stack with its values, those of the most first."""
        at = self.index(self.default)
        names = ", ".join(f"{kind} in {unit}" if unit != "count" else kind for kind, unit in self.types)
        totals = " ".join(str(self.total(kind)) for kind, _ in self.types)
        parts = [f"total: {totals} ({names})\n"]
        for (stack, labels), values in sorted(self.samples.items(), key=lambda item: -item[1][at]):
            marks = "".join(f" {name}={value}" for name, value in labels)
            parts.append(f"\n{' '.join(map(str, values))} @{marks}\n")
            parts += [f"#\t{line.function}\t{line.file}:{line.number}\n" for line in stack]
        return "".join(parts)
