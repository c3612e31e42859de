"""Workspaces: paths on a server that has them, namespaces on one that has not, contexts of a kubeconfig."""

import json

import pytest

from controller.scripted import ScriptedServer, answer, failure
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig, ConfigError
from fastcore.controller.errors import ServerError
from fastcore.controller.workspace import Workspace, Workspaces


async def test_a_server_with_paths_gives_each_workspace_its_own():
    async with (
        ScriptedServer([answer(200, {})]) as server,
        await Workspaces.for_server(server.config, ["blue", "a/b"]) as workspaces,
    ):
        assert [(w.name, w.client.prefix, w.namespace) for w in workspaces] == [
            ("blue", "/clusters/blue", None),
            ("a/b", "/clusters/a%2Fb", None),
        ]
        assert workspaces["blue"].client.stats is workspaces["a/b"].client.stats, "one pool of connections"
        assert len(workspaces) == 2
        assert server.lines == ["GET /clusters/blue/api"]


@pytest.mark.parametrize("status", [403, 404])
async def test_on_any_other_server_a_workspace_is_a_namespace(status):
    async with (
        ScriptedServer([failure(status)]) as server,
        await Workspaces.for_server(server.config, ["blue", "red"]) as workspaces,
    ):
        assert [(w.name, w.client.prefix, w.namespace) for w in workspaces] == [
            ("blue", "", "blue"),
            ("red", "", "red"),
        ]


async def test_a_server_that_fails_is_not_taken_for_either():
    async with ScriptedServer([failure(500)]) as server:
        with pytest.raises(ServerError) as caught:
            await Workspaces.for_server(server.config, ["blue"])
    assert "whether it has workspaces" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("names", "message"), [([], "at least one workspace"), (["a", "a"], "two workspaces are named 'a'")]
)
async def test_names_are_checked(names, message):
    async with ScriptedServer([answer(200, {})]) as server:
        with pytest.raises(ValueError, match=message):
            await Workspaces.for_server(server.config, names)


async def test_contexts_are_servers_of_their_own(tmp_path):
    path = tmp_path / "config"
    path.write_text(
        json.dumps(
            {
                "current-context": "a",
                "clusters": [{"name": n, "cluster": {"server": f"http://{n}.test"}} for n in "ab"],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": n, "context": {"cluster": n, "user": "u"}} for n in "ab"],
            }
        )
    )
    async with await Workspaces.for_contexts(["b", "a"], str(path)) as workspaces:
        assert [(w.name, w.client.config.server, w.namespace) for w in workspaces] == [
            ("b", "http://b.test", None),
            ("a", "http://a.test", None),
        ]
    with pytest.raises(ConfigError, match="context 'c'"):
        await Workspaces.for_contexts(["a", "c"], str(path))


async def test_a_whole_server_is_one_workspace():
    async with Workspaces.whole_server(ClientConfig("http://127.0.0.1:1")) as workspaces:
        assert [(w.name, w.namespace) for w in workspaces] == [("default", None)]
        assert repr(workspaces["default"]) == "Workspace('default', http://127.0.0.1:1)"


async def test_a_workspace_has_a_name():
    async with Client(ClientConfig("http://127.0.0.1:1")) as client:
        with pytest.raises(ValueError, match="a workspace needs a name"):
            Workspace("", client)
        assert repr(Workspace("w", client, "n")) == "Workspace('w', http://127.0.0.1:1, namespace='n')"


@pytest.mark.kube
async def test_a_real_server_has_no_paths(kube_server):
    config = await ClientConfig.load(kube_server.kubeconfig)
    async with await Workspaces.for_server(config, ["blue"]) as workspaces:
        assert workspaces["blue"].namespace == "blue"
