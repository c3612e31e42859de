"""A copy of a kubeconfig that reaches the same server through another loopback port."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

# Values that are paths relative to the folder of the kubeconfig.
PATHS = ("certificate-authority", "client-certificate", "client-key", "tokenFile")


def redirected(source: str, target: Path, port: int) -> None:
    """Write `source` to `target` with the current context's server at 127.0.0.1:`port`.

    TLS is still verified against the name of the real server (`tls-server-name`). The copy can be read by its owner
    alone, since it holds credentials.

    Raises:
        ValueError: the kubeconfig has no current context, or it names a cluster that is not there.
    """
    config: dict[str, Any] = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
    folder = Path(source).resolve().parent
    cluster = _current_cluster(config, source)
    at = urlsplit(cluster["server"])
    cluster["server"] = at._replace(netloc=f"127.0.0.1:{port}").geturl()
    if at.scheme == "https":
        cluster.setdefault("tls-server-name", at.hostname)
    for entry in [*config.get("clusters", ()), *config.get("users", ())]:
        for values in entry.values():
            if isinstance(values, dict):
                values.update({key: str(folder / values[key]) for key in PATHS if key in values})
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        yaml.safe_dump(config, file)


def _current_cluster(config: dict[str, Any], source: str) -> dict[str, Any]:
    current = config.get("current-context")
    for context in config.get("contexts") or ():
        if context["name"] == current:
            for cluster in config.get("clusters") or ():
                if cluster["name"] == context["context"]["cluster"]:
                    found: dict[str, Any] = cluster["cluster"]
                    return found
    raise ValueError(f"{source} has no cluster for its current-context {current!r}")
