"""Defaults of the built-in kinds, and what the server assigns to them, as a real server does."""

import base64
import ipaddress
from collections.abc import Callable
from typing import Any

_Object = dict[str, Any]


def _defaults(obj: _Object, **values: Any) -> None:
    for name, value in values.items():
        obj.setdefault(name, value)


def _probe(probe: _Object) -> None:
    _defaults(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    _http_get(probe)
    if "grpc" in probe:
        _defaults(probe["grpc"], service="")


def _http_get(handler: _Object) -> None:
    if "httpGet" in handler:
        _defaults(handler["httpGet"], path="/", scheme="HTTP")


def _container(container: _Object) -> None:
    image = container.get("image", "")
    name = image.rpartition("/")[2]
    tagged = ":" in name and not name.endswith(":latest")
    _defaults(
        container,
        resources={},
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="IfNotPresent" if tagged or "@" in name else "Always",
    )
    for port in container.get("ports", ()):
        _defaults(port, protocol="TCP")
    for entry in container.get("env", ()):
        source = entry.get("valueFrom", {})
        if "fieldRef" in source:
            _defaults(source["fieldRef"], apiVersion="v1")
    for member in ("livenessProbe", "readinessProbe", "startupProbe"):
        if member in container:
            _probe(container[member])
    for handler in container.get("lifecycle", {}).values():
        if isinstance(handler, dict):
            _http_get(handler)


def _volume(volume: _Object) -> None:
    for member in ("configMap", "secret", "downwardAPI", "projected"):
        if member in volume:
            _defaults(volume[member], defaultMode=420)
    for source in volume.get("projected", {}).get("sources", ()):
        if "serviceAccountToken" in source:
            _defaults(source["serviceAccountToken"], expirationSeconds=3600)
    if set(volume) == {"name"}:
        volume["emptyDir"] = {}


def _pod_spec(spec: _Object) -> None:
    for member in ("containers", "initContainers"):
        for container in spec.get(member, ()):
            _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)
    _defaults(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        securityContext={},
        schedulerName="default-scheduler",
    )
    if "serviceAccountName" in spec:
        spec["serviceAccount"] = spec["serviceAccountName"]


def _workload(obj: _Object) -> _Object:
    spec: _Object = obj.setdefault("spec", {})
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))
    return spec


def _deployment(obj: _Object) -> None:
    spec = _workload(obj)
    _defaults(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        _defaults(strategy.setdefault("rollingUpdate", {}), maxUnavailable="25%", maxSurge="25%")
    obj.setdefault("status", {})


def _replica_set(obj: _Object) -> None:
    _defaults(_workload(obj), replicas=1)
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _stateful_set(obj: _Object) -> None:
    spec = _workload(obj)
    _defaults(
        spec,
        replicas=1,
        revisionHistoryLimit=10,
        podManagementPolicy="OrderedReady",
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        _defaults(strategy.setdefault("rollingUpdate", {}), partition=0, maxUnavailable=1)
    _defaults(obj.setdefault("status", {}), replicas=0, availableReplicas=0)


def _daemon_set(obj: _Object) -> None:
    spec = _workload(obj)
    _defaults(spec, revisionHistoryLimit=10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        _defaults(strategy.setdefault("rollingUpdate", {}), maxUnavailable=1, maxSurge=0)
    counts = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
    _defaults(obj.setdefault("status", {}), **dict.fromkeys(counts, 0))


def _job(obj: _Object) -> None:
    spec = _workload(obj)
    _defaults(
        spec,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy="Failed" if "podFailurePolicy" in spec else "TerminatingOrFailed",
    )
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    _defaults(spec, parallelism=1)
    obj.setdefault("status", {})


def _tie_job(obj: _Object) -> None:
    spec = obj["spec"]
    if spec["manualSelector"]:
        return
    metadata = obj["metadata"]
    # What ties a job to its pods: labels that no other job has, and the selector for them.
    uid, name = metadata["uid"], metadata.get("name", "")
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    template = spec["template"]["metadata"].setdefault("labels", {})
    metadata.setdefault("labels", dict(template))
    for place in (template, metadata["labels"]):
        for label, value in labels.items():
            place.setdefault(label, value)
    spec.setdefault("selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}})


def _pod(obj: _Object) -> None:
    spec = obj.setdefault("spec", {})
    _pod_spec(spec)
    _defaults(spec, priority=0, enableServiceLinks=True, preemptionPolicy="PreemptLowerPriority")


def _new_pod(obj: _Object) -> None:
    _defaults(obj.setdefault("status", {}), phase="Pending", qosClass="BestEffort")


def _service(obj: _Object) -> None:
    spec = obj.setdefault("spec", {})
    for port in spec.get("ports", ()):
        _defaults(port, protocol="TCP")
        if "port" in port:
            _defaults(port, targetPort=port["port"])
    _defaults(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _defaults(spec, internalTrafficPolicy="Cluster")
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _address(obj: _Object) -> None:
    spec = obj["spec"]
    if spec["type"] == "ExternalName":
        return
    _defaults(spec, ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")
    if "clusterIP" not in spec:
        # A stable address made from the uid: nothing listens there, so collisions hurt nobody.
        host = int(obj["metadata"]["uid"].replace("-", ""), 16) % (2**16 - 2) + 1
        spec["clusterIP"] = str(ipaddress.IPv4Address("10.0.0.0") + host)
    _defaults(spec, clusterIPs=[spec["clusterIP"]])


def _secret(obj: _Object) -> None:
    for name, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()
    _defaults(obj, type="Opaque")


def _namespace(obj: _Object) -> None:
    name = obj["metadata"].get("name", "")
    if name:
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def _new_namespace(obj: _Object) -> None:
    if "deletionTimestamp" not in obj["metadata"]:
        obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj.setdefault("status", {}).setdefault("phase", "Active")


def _event(obj: _Object) -> None:
    _defaults(
        obj,
        source={},
        firstTimestamp=None,
        lastTimestamp=None,
        eventTime=None,
        reportingComponent="",
        reportingInstance="",
    )


def _role(obj: _Object) -> None:
    _defaults(obj, rules=None)


def _lease(obj: _Object) -> None:
    _defaults(obj, spec={})


_DEFAULTS: dict[tuple[str, str], Callable[[_Object], None]] = {
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("", "Secret"): _secret,
    ("", "Service"): _service,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("batch", "Job"): _job,
}
# What the server assigns belongs to no field manager, unlike defaults.
_ASSIGNED: dict[tuple[str, str], Callable[[_Object], None]] = {
    ("", "Event"): _event,
    ("", "Namespace"): _new_namespace,
    ("", "Pod"): _new_pod,
    ("", "Service"): _address,
    ("batch", "Job"): _tie_job,
    ("coordination.k8s.io", "Lease"): _lease,
    ("rbac.authorization.k8s.io", "ClusterRole"): _role,
    ("rbac.authorization.k8s.io", "Role"): _role,
}


def set_defaults(group: str, kind: str, obj: _Object) -> None:
    """Fill in what the kind says of members that are left out, in place."""
    setter = _DEFAULTS.get((group, kind))
    if setter is not None:
        setter(obj)


def assign(group: str, kind: str, obj: _Object) -> None:
    """Fill in what only the server decides, in place; after the managed fields have been worked out."""
    setter = _ASSIGNED.get((group, kind))
    if setter is not None:
        setter(obj)
