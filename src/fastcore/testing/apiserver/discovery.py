"""What the server serves, in the forms that clients ask: groups, versions, resources, aggregated, version."""

import platform
from typing import Any

from fastcore.testing.apiserver.resources import Resource

VERSION = {
    "major": "1",
    "minor": "37",
    "gitVersion": "v1.37.0+fastcore",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": f"{platform.system().lower()}/{platform.machine().lower()}",
}
_SUBRESOURCE_VERBS = ["get", "patch", "update"]


def subresource_verbs(name: str) -> list[str]:
    """What may be done with a subresource."""
    return ["update"] if name == "finalize" else _SUBRESOURCE_VERBS


def api_versions(host: str) -> dict[str, Any]:
    """`/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    }


def _groups(resources: list[Resource]) -> dict[str, list[str]]:
    """The versions of every named group, in order of preference."""
    out: dict[str, list[str]] = {}
    for resource in resources:
        versions = out.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    return {group: sorted(versions, key=_priority, reverse=True) for group, versions in out.items() if group}


def _priority(version: str) -> tuple[int, int, int, str]:
    """Orders versions: v2, v1, v1beta2, v1beta1, v1alpha1, anything else."""
    digits = version[1:].replace("alpha", " 0 ").replace("beta", " 1 ").split() if version.startswith("v") else []
    if len(digits) == 1 and digits[0].isdecimal():
        return (2, int(digits[0]), 0, "")
    if len(digits) == 3 and digits[0].isdecimal() and digits[2].isdecimal():
        return (int(digits[1]), int(digits[0]), int(digits[2]), "")
    return (-1, 0, 0, version)


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def api_groups(resources: list[Resource]) -> dict[str, Any]:
    """`/apis`."""
    groups = [_group(name, versions) for name, versions in _groups(resources).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def api_group(resources: list[Resource], name: str) -> dict[str, Any] | None:
    """`/apis/GROUP`; None if there is no such group."""
    versions = _groups(resources).get(name)
    return None if versions is None else {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def api_resources(resources: list[Resource], group: str, version: str) -> dict[str, Any] | None:
    """`/api/v1` or `/apis/GROUP/VERSION`; None if it is not served."""
    found = [resource for resource in resources if resource.group == group and resource.version == version]
    if not found:
        return None
    listed: list[dict[str, Any]] = []
    for resource in found:
        entry: dict[str, Any] = {
            "name": resource.plural,
            "singularName": resource.singular or resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(resource.verbs),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        listed.append(entry)
        for name in resource.subresources:
            scale = {"group": "autoscaling", "version": "v1"} if name == "scale" else {}
            listed.append(
                {
                    "name": f"{resource.plural}/{name}",
                    "singularName": "",
                    "namespaced": resource.namespaced,
                    **scale,
                    "kind": "Scale" if scale else resource.kind,
                    "verbs": subresource_verbs(name),
                }
            )
    group_version = f"{group}/{version}" if group else version
    out = {"kind": "APIResourceList", "groupVersion": group_version, "resources": listed}
    return out | {"apiVersion": "v1"} if group else out


def aggregated(resources: list[Resource], *, core: bool) -> dict[str, Any]:
    """`/api` or `/apis` as one APIGroupDiscoveryList with every resource in it."""
    groups = {"": ["v1"]} if core else _groups(resources)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": name} if name else {},
                "versions": [
                    {
                        "version": version,
                        "resources": [
                            _aggregated(resource)
                            for resource in resources
                            if resource.group == name and resource.version == version
                        ],
                        "freshness": "Current",
                    }
                    for version in versions
                ],
            }
            for name, versions in groups.items()
        ],
    }


def _aggregated(resource: Resource) -> dict[str, Any]:
    own = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    out: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": own,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(),
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        out["shortNames"] = list(resource.short_names)
    if resource.categories:
        out["categories"] = list(resource.categories)
    if resource.subresources:
        scale = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
        out["subresources"] = [
            {
                "subresource": name,
                "responseKind": scale if name == "scale" else own,
                "verbs": subresource_verbs(name),
            }
            for name in resource.subresources
        ]
    return out
