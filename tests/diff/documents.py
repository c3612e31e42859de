"""Documents for the tests of diff, patches and fingerprints: strategies, and plain helpers to judge answers by."""

import json
from typing import Any

from hypothesis import strategies as st

# Few names and values, so that two documents meet often; 1, 1.0 and True are there to be told apart or not.
names = st.sampled_from(["a", "b", "name", "ports", "containers", "a/b", "m~n", "", "é"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([2**63, -(2**63) - 1, 10**30]),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, 1e300, float("inf")]),
    st.sampled_from(["", "x", "y", "日本", "\ud800"]),
)


def documents(leaves: st.SearchStrategy[Any] = scalars, max_leaves: int = 12) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
        max_leaves=max_leaves,
    )


def typed(value: Any) -> Any:
    """`value` so that Python's == compares as documents compare: true and 1 apart, 1 and 1.0 together."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, dict):
        return {k: typed(v) for k, v in value.items()}
    if isinstance(value, list):
        return [typed(v) for v in value]
    return value


def containers_in(value: Any) -> set[int]:
    """The identities of all dicts and lists in a document."""
    if isinstance(value, dict):
        return {id(value)}.union(*map(containers_in, value.values()))
    if isinstance(value, list):
        return {id(value)}.union(*map(containers_in, value))
    return set()


def nested(depth: int, leaf: Any = 1, kind: type = dict) -> Any:
    """A document of `depth` levels."""
    for _ in range(depth):
        leaf = {"a": leaf} if kind is dict else [leaf]
    return leaf


def endless(kind: type = dict) -> Any:
    """A document that contains itself."""
    if kind is dict:
        loop: dict[str, Any] = {}
        loop["a"] = loop
        return loop
    ring: list[Any] = []
    ring.append(ring)
    return ring


def deployment(replicas: int = 3, env: int = 6, image: str = "registry.example.com/team/web:1.4.2") -> dict[str, Any]:
    """A Deployment as an API server shows it."""
    labels = {"app.kubernetes.io/name": "web", "app.kubernetes.io/part-of": "shop"}
    container = {
        "name": "web",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": f"SETTING_{i}", "value": f"value of setting {i}"} for i in range(env)],
        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m"}},
        "terminationMessagePath": "/dev/termination-log",
        "volumeMounts": [{"mountPath": "/etc/web", "name": "config", "readOnly": True}],
    }
    return json.loads(
        json.dumps(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {
                    "name": "web",
                    "namespace": "shop",
                    "labels": labels,
                    "generation": 4,
                    "resourceVersion": "48213",
                    "managedFields": [{"manager": "fastcore", "operation": "Apply"}],
                },
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {
                            "containers": [container, {"name": "log", "image": "registry.example.com/log:2"}],
                            "volumes": [{"name": "config", "configMap": {"name": "web", "defaultMode": 420}}],
                        },
                    },
                },
                "status": {
                    "conditions": [
                        {"type": "Available", "status": "True"},
                        {"type": "Progressing", "status": "True"},
                    ],
                    "readyReplicas": replicas,
                },
            }
        )
    )
