"""Objects in protobuf, as typed clients in Go send them: made here by hand, and by kubectl."""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apiserver.conftest import MAPS, Local
from apiserver.http_client import Client
from fastcore.testing.apiserver import APIServer
from fastcore.testing.apiserver.protobuf import CONTENT_TYPE, ProtobufError, decode
from fastcore.testing.plugin import need

KUBECTL_TIMEOUT_S = 30


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, value: int | bytes | str | float) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(version: str, kind: str, message: bytes) -> bytes:
    return b"k8s\0" + field(1, field(1, version) + field(2, kind)) + field(2, message) + field(3, "") + field(4, "")


def config_map(name: str, *more: bytes) -> bytes:
    # Go writes strings and numbers that are not pointers even if they are empty or zero.
    metadata = field(1, name) + field(2, "") + field(3, "") + field(7, 0) + field(8, b"")
    return envelope("v1", "ConfigMap", field(1, metadata) + b"".join(more))


def test_config_map() -> None:
    entry = field(1, "k") + field(2, "v")
    binary = field(1, "b") + field(2, b"\xff\x00")
    assert decode(config_map("a", field(2, entry), field(3, binary), field(4, 0))) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
        "data": {"k": "v"},
        "binaryData": {"b": "/wA="},
        "immutable": False,
    }


def test_numbers_that_count() -> None:
    """A zero behind a pointer is a value; one that is not is the absence of one."""
    found = decode(envelope("apps/v1", "Deployment", field(2, field(1, 0) + field(5, 0))))
    assert found["spec"] == {"replicas": 0}
    negative = decode(envelope("apps/v1", "Deployment", field(2, field(1, -3))))
    assert negative["spec"] == {"replicas": -3}


def test_types_of_their_own() -> None:
    """Times, quantities, ports and members of an embedded struct."""
    port = field(1, 0) + field(2, 8080)
    named = field(1, 1) + field(2, 0) + field(3, "http")
    probe = field(1, field(2, field(1, "/") + field(2, port))) + field(2, 5)
    limits = field(1, "cpu") + field(2, field(1, "500m"))
    container = field(1, "c") + field(2, "i") + field(8, field(1, limits)) + field(10, probe)
    group = field(14, field(4, 1) + field(4, 2) + field(4, bytes([3, 4])))
    pod = decode(envelope("v1", "Pod", field(2, field(2, container) + group)))
    assert pod["spec"]["containers"] == [
        {
            "name": "c",
            "image": "i",
            "resources": {"limits": {"cpu": "500m"}},
            "livenessProbe": {"httpGet": {"path": "/", "port": 8080}, "initialDelaySeconds": 5},
        }
    ]
    assert pod["spec"]["securityContext"]["supplementalGroups"] == [1, 2, 3, 4]
    service = decode(envelope("v1", "Service", field(2, field(1, field(3, 80) + field(4, named)))))
    assert service["spec"]["ports"] == [{"port": 80, "targetPort": "http"}]
    moment = field(1, 1_700_000_000) + field(2, 123_456_789)
    lease = decode(envelope("coordination.k8s.io/v1", "Lease", field(2, field(3, moment) + field(1, "me"))))
    assert lease["spec"] == {"acquireTime": "2023-11-14T22:13:20.123456Z", "holderIdentity": "me"}
    event = decode(envelope("v1", "Event", field(6, moment) + field(7, field(1, -62135596800) + field(2, 0))))
    assert event["firstTimestamp"] == "2023-11-14T22:13:20Z"
    assert event.get("lastTimestamp") is None


def test_delete_options() -> None:
    found = decode(envelope("v1", "DeleteOptions", field(4, "Foreground") + field(2, field(1, "uid"))))
    assert (found["propagationPolicy"], found["preconditions"]) == ("Foreground", {"uid": "uid"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\0\xff",
        b"k8s\0" + field(1, 5),
        envelope("v1", "Nothing", b""),
        envelope("t.dev/v1", "Foo", b""),
        config_map("a")[:-10],
        config_map("a", b"\x13"),
        config_map("a", field(4, b"x")),
        config_map("a", field(2, 7)),
        config_map("a", field(2, field(1, b"\xff"))),
        envelope("v1", "Event", field(6, field(1, 1 << 62))),
        envelope("v1", "ConfigMap", field(1, field(17, field(7, field(1, "{"))))),
    ],
)
def test_malformed(body: bytes) -> None:
    with pytest.raises(ProtobufError):
        decode(body)
    assert Local().call("POST", MAPS, body, CONTENT_TYPE).code == 400


@given(st.binary(max_size=200), st.sampled_from([("v1", "Pod"), ("apps/v1", "Deployment"), ("v1", "Event")]))
def test_any_bytes(message: bytes, kind: tuple[str, str]) -> None:
    """Whatever the bytes, there is an object that JSON can hold, or a typed error."""
    try:
        assert json.dumps(decode(envelope(*kind, message)))
    except ProtobufError:
        pass


def test_stored_as_any_other(local: Local) -> None:
    answer = local.call("POST", MAPS, config_map("a", field(2, field(1, "k") + field(2, "v"))), CONTENT_TYPE)
    assert (answer.code, answer["data"]) == (201, {"k": "v"})
    changed = config_map("a", field(2, field(1, "k") + field(2, "w")))
    assert local.call("PUT", f"{MAPS}/a", changed, CONTENT_TYPE)["data"] == {"k": "w"}
    options = envelope("v1", "DeleteOptions", field(4, "Background"))
    assert local.call("DELETE", f"{MAPS}/a", options, CONTENT_TYPE).code == 200


COMMANDS = (
    "create deployment web --image=nginx:1 --replicas=0 --port=80",
    "create configmap c --from-literal=a=b",
    "create secret generic s --from-literal=a=b",
    "create serviceaccount sa",
    "create job j --image=x -- run",
    "create service clusterip ci --tcp=80:8080",
    "create role r --verb=get,list --resource=pods",
    "create rolebinding rb --role=r --serviceaccount=default:sa",
    "expose deployment web --port=80 --target-port=http",
    "create namespace n",
    "create clusterrole cr --verb=get --resource=nodes",
)


def made_by_kubectl(kubeconfig: str, client: Client) -> dict[str, Any]:
    """What kubectl's own commands make, without what every server gives anew."""
    out: dict[str, Any] = {}
    for command in COMMANDS:
        run = subprocess.run(
            ["kubectl", "--kubeconfig", kubeconfig, *command.split()[:2], "--output=name", *command.split()[2:]],
            capture_output=True,
            text=True,
            timeout=KUBECTL_TIMEOUT_S,
        )
        assert run.returncode == 0, (command, run.stderr)
        kind, _, name = run.stdout.strip().partition("/")
        plural, _, group = kind.partition(".")
        scope = "" if plural in ("namespace", "clusterrole") else "/namespaces/default"
        version = f"/apis/{group}/v1" if group else "/api/v1"
        answer = client.get(f"{version}{scope}/{plural}s/{name}")
        assert answer.code == 200, answer
        uid = answer.meta["uid"]
        text = answer.raw.decode().replace(uid, "UID")
        obj = json.loads(text)
        obj["metadata"] = {
            k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "creationTimestamp")
        }
        for entry in obj["metadata"].get("managedFields", ()):
            entry.pop("time", None)
        if plural == "service":
            obj["spec"].update(clusterIP="", clusterIPs=[])
        out[command] = obj
    return out


@pytest.mark.kube
@pytest.mark.kubectl
def test_kubectl_makes_the_same(kube_server: Any, tmp_path: Path) -> None:
    """What kubectl sends in protobuf is read as a real server reads it, field by field."""
    need("kubectl", "kubectl")
    real = Client(kube_server.url, kube_server.token, kube_server.ca)
    with APIServer(controllers=()) as server:
        embedded = Client(server.url)
        ours = made_by_kubectl(server.kubeconfig(tmp_path / "kubeconfig"), embedded)
        theirs = made_by_kubectl(kube_server.kubeconfig, real)
        for command, expected in theirs.items():
            assert ours[command] == expected, command
        embedded.close()
    real.close()
