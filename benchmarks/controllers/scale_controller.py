"""The reference controller over many workspaces, which tells on SIGUSR1 how many asyncio tasks it has.

`python -m benchmarks.controllers.scale_controller KUBECONFIG REPORT WORKSPACE...`; REPORT is the file for the answers.
"""

import asyncio
import json
import signal
import sys
from pathlib import Path

from fastcore.controller.config import ClientConfig
from fastcore.controller.manager import Manager
from fastcore.controller.workspace import Workspaces
from fastcore.reference import build


async def main(kubeconfig: str, report: str, names: list[str]) -> None:
    """Run until SIGTERM."""

    def tell() -> None:
        place = Path(report)
        part = place.with_suffix(".part")
        part.write_text(json.dumps({"tasks": len(asyncio.all_tasks())}), encoding="utf-8")
        part.replace(place)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    async with await Workspaces.for_server(await ClientConfig.load(kubeconfig), names) as workspaces:
        manager = Manager(workspaces=workspaces)
        build(manager)
        await manager.run()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
