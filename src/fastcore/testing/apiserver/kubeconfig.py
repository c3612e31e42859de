"""Kubeconfig files for the embedded server."""

import base64
import json
import os
from pathlib import Path


def write_kubeconfig(
    path: str | os.PathLike[str], url: str, token: str | None, workspaces: tuple[str, ...], ca: str = ""
) -> str:
    """Write a kubeconfig, readable by its owner only, with a context for the server and one for each workspace."""
    trust = {"certificate-authority-data": base64.b64encode(ca.encode()).decode()} if ca else {}
    servers = {"fastcore": url} | {name: f"{url}/clusters/{name}" for name in workspaces}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, **trust}} for name, server in servers.items()],
        "users": [{"name": "admin", "user": {"token": token} if token else {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin"}} for name in servers],
        "current-context": "fastcore",
    }
    place = Path(path)
    # Created with its final mode: a token must never be readable by others, not even for a moment.
    place.unlink(missing_ok=True)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(config, indent=1))
    return str(place)
