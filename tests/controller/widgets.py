"""A kind of its own for a test on a real server, whose memory of it begins when the test does."""

import asyncio

from fastcore.controller.client import Client
from fastcore.controller.errors import NotFoundError
from fastcore.controller.model import CUSTOM_RESOURCE_DEFINITION, Kind


async def serve_widgets(client: Client, group: str) -> Kind:
    """Define Widgets in `group`, and wait until they are served."""
    kind = Kind(group, "v1", "Widget", "widgets")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": kind.plural, "singular": "widget", "kind": kind.kind},
            "versions": [
                {"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }
    await client.create(CUSTOM_RESOURCE_DEFINITION, definition)
    async with asyncio.timeout(20):
        while True:
            try:
                await client.list(kind)
                return kind
            except NotFoundError:
                await asyncio.sleep(0.05)
