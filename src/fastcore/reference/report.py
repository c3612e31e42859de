"""What the demo shows a person: a progress bar while it works, and the summary."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from fastcore.controller.workspace import Workspace
    from fastcore.reference.demo import Phase, Summary

ROOMY = 80  # columns of a terminal from which the table has margins

SERVE = """\
Everything keeps running until Ctrl-C.
  kubectl --kubeconfig {kubeconfig} {server}get webapps -A
  kubectl --kubeconfig {kubeconfig} {server}describe webapp web-0000
  fastcore top {metrics}     or the same in a browser: {metrics}/debug/
  curl {metrics}/metrics
"""


class Display:
    """Progress on standard error, the summary on standard output; nothing at all when `quiet`.

    Bars move only on a terminal; a log gets a line for each phase when it is over.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._out = Console(quiet=quiet)
        self._live = self._console.is_terminal and not quiet
        self._bars = Progress(
            TextColumn("{task.description:<12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=not self._live,
        )
        self._bar: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start(self, phase: str, total: int) -> None:
        """A new phase of `total` objects."""
        self._bars.start()
        self._bar = self._bars.add_task(phase, total=total, note="")

    def progress(self, done: int, total: int) -> None:
        """`done` objects of the current phase are in order."""
        if self._bar is not None:
            self._bars.update(self._bar, completed=done)

    def finish(self, phase: "Phase") -> None:
        """The current phase is over."""
        if self._bar is not None:
            note = f"{phase.seconds:.1f} s, writes: {phase.writes}"
            self._bars.update(self._bar, completed=phase.objects, note=note)
            if not self._live:
                self._console.print(f"{phase.name}: {phase.objects} objects, {note}", highlight=False, soft_wrap=True)

    def serve(self, kubeconfig: str, metrics: str, targets: "list[tuple[Workspace, str]]") -> None:
        """Say how to look at what keeps running."""
        prefix = targets[0][0].client.prefix
        server = f"--server {targets[0][0].client.config.server}{prefix} " if prefix else ""
        self._console.print(
            SERVE.format(kubeconfig=kubeconfig, metrics=metrics, server=server), highlight=False, soft_wrap=True
        )

    def verdict(self, summary: "Summary") -> None:
        """The summary: what each phase cost, totals, and whether everything converged."""
        self._bars.stop()
        if summary.phases:
            asked = summary.cache_hits + summary.cache_misses
            self._out.print(table(summary.phases, tight=self._out.width < ROOMY))
            for line in (
                f"server {summary.server}, {summary.objects} objects in {summary.workspaces} workspaces",
                f"controller: start {summary.start_cpu_s:.2f} s CPU, peak memory {_mib(summary.peak_mib)}",
                f"cache hits {summary.cache_hits} of {asked}, connections cut {summary.connections_cut}",
            ):
                self._out.print(line, highlight=False, soft_wrap=True)
        if summary.converged:
            self._out.print("[green]Every object converged and stayed quiet.[/green]")
        else:
            self._console.print("[red]Failed:[/red] ", end="")
            self._console.print(summary.error, markup=False, highlight=False, soft_wrap=True)


def _mib(peak: float) -> str:
    return f"{peak:.0f} MiB" if peak else "not known on this system"


def table(phases: "list[Phase]", *, tight: bool = False) -> Table:
    """The summary, a row a phase; `tight` fits into 60 columns."""
    caption = "requests, writes and CPU time of the controller are for one object"
    result = Table(title="What it cost", title_justify="left", caption=caption, caption_justify="left", box=SIMPLE_HEAD)
    if tight:
        result.show_edge, result.padding = False, 0
    result.add_column("phase", no_wrap=True)
    for column in ("objects", "per s", "p50 s", "p99 s", "requests", "writes", "CPU ms"):
        result.add_column(column, justify="right", no_wrap=True)
    for phase in phases:
        result.add_row(
            phase.name,
            str(phase.objects),
            f"{phase.objects / phase.seconds:.0f}" if phase.p50_s else "",
            f"{phase.p50_s:.3f}" if phase.p50_s else "",
            f"{phase.p99_s:.3f}" if phase.p99_s else "",
            f"{phase.requests / phase.objects:.2f}",
            f"{phase.writes / phase.objects:.2f}",
            f"{phase.cpu_ms_an_object:.2f}",
        )
    return result
