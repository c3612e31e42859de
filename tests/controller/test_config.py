"""Where the configuration comes from, how credentials are renewed, and that TLS is verified."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from fastcore.controller import credentials
from fastcore.controller.client import Client
from fastcore.controller.config import ClientConfig, ConfigError, Impersonation, contexts, tls_context
from fastcore.controller.errors import ConnectionFailed, UnauthorizedError
from fastcore.controller.model import NAMESPACE
from fastcore.testing.plugin import need


def kubeconfig(folder, *, user=None, cluster=None, context=None, name="config"):
    """Write a kubeconfig with the contexts one (current) and two."""
    path = folder / name
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "one",
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1/base/", **(cluster or {})}}],
                "users": [{"name": "u", "user": user if user is not None else {"token": "secret"}}],
                "contexts": [
                    {"name": "two", "context": {"cluster": "c", "user": "u"}},
                    {"name": "one", "context": {"cluster": "c", "user": "u", **(context or {})}},
                ],
            }
        )
    )
    return str(path)


def plugin(folder, *, expires=None, fail=False):
    """An exec plugin that gives token-1, token-2 and so on, and fails while the file `broken` exists."""
    script = folder / "plugin.py"
    script.write_text(
        f"""
import json, pathlib, sys
folder = pathlib.Path({str(folder)!r})
calls = folder / "calls"
number = len(calls.read_text()) + 1 if calls.exists() else 1
calls.write_text("x" * number)
if (folder / "broken").exists():
    sys.exit("no luck")
status = {{"token": f"token-{{number}}"}}
if {expires!r}:
    status["expirationTimestamp"] = {expires!r}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}))
"""
    )
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script)],
            "interactiveMode": "Never",
        }
    }


def in_seconds(seconds):
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- Kubeconfig


async def test_a_kubeconfig_gives_server_token_and_namespace(tmp_path):
    config = await ClientConfig.load(kubeconfig(tmp_path, context={"namespace": "mine"}))
    assert config.server == "http://127.0.0.1:1/base"
    assert config.namespace == "mine"
    assert await config.headers() == {"Authorization": "Bearer secret"}
    assert "secret" not in repr(config)


async def test_the_context_can_be_chosen(tmp_path):
    path = kubeconfig(tmp_path, context={"namespace": "mine"})
    assert (await ClientConfig.load(path, "two")).namespace == "default"
    assert contexts(path) == ["one", "two"]


async def test_the_environment_says_where(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["/does/not/exist", kubeconfig(tmp_path)]))
    assert (await ClientConfig.load()).server == "http://127.0.0.1:1/base"
    assert contexts() == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "context", "message"),
    [
        ("{", None, "context '(current)'"),
        ("[]", None, "context '(current)'"),
        ("", None, "context '(current)'"),
        (None, "nope", "context 'nope'"),
    ],
)
async def test_a_malformed_kubeconfig_is_named(tmp_path, text, context, message):
    path = kubeconfig(tmp_path)
    if text is not None:
        (tmp_path / "config").write_text(text)
    with pytest.raises(ConfigError) as caught:
        await ClientConfig.load(path, context)
    assert path in str(caught.value)
    assert message in str(caught.value)
    if text is not None:
        with pytest.raises(ConfigError, match="config"):
            contexts(path)


async def test_a_ca_that_is_none_is_named(tmp_path):
    data = base64.b64encode(b"no certificate").decode()
    path = kubeconfig(tmp_path, cluster={"server": "https://127.0.0.1:1", "certificate-authority-data": data})
    with pytest.raises(ConfigError, match="kubeconfig"):
        await ClientConfig.load(path)


async def test_no_configuration_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(ConfigError, match=r"no kubeconfig at .*missing.*, and not in a pod"):
        await ClientConfig.load()
    with pytest.raises(ConfigError, match=r"no kubeconfig at .*missing"):
        await ClientConfig.load(context="one")
    with pytest.raises(ConfigError, match="no kubeconfig at '/nowhere'"):
        await ClientConfig.load("/nowhere")
    with pytest.raises(ConfigError, match="no kubeconfig at '/nowhere'"):
        contexts("/nowhere")


def test_a_server_is_a_url():
    with pytest.raises(ConfigError, match=r"server must be an http:// or https:// URL, not '127\.0\.0\.1:80'"):
        ClientConfig("127.0.0.1:80")


def test_kubernetes_is_not_imported_before_it_is_needed():
    code = "import sys, fastcore.controller.client, fastcore.controller.informer; print('kubernetes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


# --- Renewal


async def test_a_plugin_without_expiry_runs_again_only_when_refused(tmp_path):
    config = await ClientConfig.load(kubeconfig(tmp_path, user=plugin(tmp_path)))
    config._next_check = 0
    assert await config.headers() == {"Authorization": "Bearer token-1"}
    assert await config.headers(refused=True) == {"Authorization": "Bearer token-2"}


async def test_a_plugin_runs_again_before_its_token_expires(tmp_path):
    config = await ClientConfig.load(kubeconfig(tmp_path, user=plugin(tmp_path, expires=in_seconds(30))))
    assert await config.headers() == {"Authorization": "Bearer token-1"}, "it was just asked"
    config._next_check = 0
    assert await config.headers() == {"Authorization": "Bearer token-2"}


async def test_a_plugin_is_left_alone_while_its_token_lasts(tmp_path):
    config = await ClientConfig.load(kubeconfig(tmp_path, user=plugin(tmp_path, expires=in_seconds(3600))))
    config._next_check = 0
    assert await config.headers() == {"Authorization": "Bearer token-1"}
    assert await config.headers(refused=True) == {"Authorization": "Bearer token-2"}, "refused is refused"


async def test_a_plugin_that_fails_is_an_error_at_start_and_a_warning_later(tmp_path, caplog):
    user = plugin(tmp_path, expires=in_seconds(30))
    config = await ClientConfig.load(kubeconfig(tmp_path, user=user))
    (tmp_path / "broken").touch()
    config._next_check = 0
    assert await config.headers() == {"Authorization": "Bearer token-1"}, "it may still be good"
    assert "the credentials could not be renewed" in caplog.text
    with pytest.raises(ConfigError, match="the server refused the credentials, and there are no new ones"):
        await config.headers(refused=True)
    with pytest.raises(ConfigError, match="the exec plugin of the kubeconfig gave no credentials"):
        await ClientConfig.load(kubeconfig(tmp_path, user=user))
    (tmp_path / "broken").unlink()
    config._next_check = 0
    assert (await config.headers())["Authorization"].startswith("Bearer token-")
    assert await config.headers() != {"Authorization": "Bearer token-1"}


async def test_requests_that_are_refused_together_renew_once(tmp_path):
    config = await ClientConfig.load(kubeconfig(tmp_path, user=plugin(tmp_path)))
    answers = await asyncio.gather(*[config.headers(refused=True) for _ in range(5)])
    assert answers == [{"Authorization": "Bearer token-2"}] * 5


async def test_a_token_file_is_read_again_when_refused(tmp_path):
    token = tmp_path / "token"
    token.write_text("first\n")
    config = await ClientConfig.load(kubeconfig(tmp_path, user={"tokenFile": str(token)}))
    assert await config.headers() == {"Authorization": "Bearer first"}
    token.write_text("second\n")
    assert await config.headers(refused=True) == {"Authorization": "Bearer second"}


async def test_basic_authentication(tmp_path):
    config = await ClientConfig.load(kubeconfig(tmp_path, user={"username": "me", "password": "pw"}))
    assert await config.headers() == {"Authorization": "Basic " + base64.b64encode(b"me:pw").decode()}


async def test_in_a_pod(tmp_path, monkeypatch):
    """The service account's token, authority and namespace; the token is read again as it rotates."""
    certificate, _ = self_signed(tmp_path)
    certificate.rename(tmp_path / "ca.crt")
    (tmp_path / "namespace").write_text("pods\n")
    token = tmp_path / "token"
    token.write_text("first\n")
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    config = await ClientConfig.load()
    assert (config.server, config.namespace) == ("https://10.0.0.1:443", "pods")
    assert config.ssl_context is not None
    assert await config.headers() == {"Authorization": "Bearer first"}
    token.write_text("second\n")
    assert await config.headers() == {"Authorization": "Bearer first"}, "it was just read"
    config._next_check = 0
    assert await config.headers() == {"Authorization": "Bearer second"}


# --- What kubectl reads


async def test_files_are_merged_as_kubectl_does(tmp_path):
    """Of settings with one name the first file's count; each file's paths are relative to its own folder."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(name)
    first = kubeconfig(tmp_path / "a", user={"tokenFile": "token"})
    second = kubeconfig(tmp_path / "b", user={"tokenFile": "token"}, context={"namespace": "second"})
    config = await ClientConfig.load(os.pathsep.join([first, second]))
    assert (await config.headers(), config.namespace) == ({"Authorization": "Bearer a"}, "default")


async def test_yaml_is_read_too_and_its_secrets_are_not_shown(tmp_path):
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(json.loads(Path(kubeconfig(tmp_path)).read_text())))
    assert await (await ClientConfig.load(str(path))).headers() == {"Authorization": "Bearer secret"}
    path.write_text("users:\n- token: 'secret\n")
    with pytest.raises(ConfigError, match="is no YAML") as caught:
        await ClientConfig.load(str(path))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ({"token": 5}, "token of user 'u' must be a string, not int"),
        ({"client-certificate-data": "%"}, "client-certificate-data of user 'u' is no base64"),
        ({"auth-provider": {"name": "gcp"}}, "use an exec plugin"),
        ({"as-groups": ["x"]}, "impersonation needs a user"),
        ({"as": "x", "as-groups": "y"}, "as-groups of user 'u' must be a list of strings"),
        ({"tokenFile": "/nowhere"}, "the token cannot be read"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1"}}, "v1alpha1"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}, "has no command"),
        (
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "nope-x", "installHint": "get it"}},
            "there is no program 'nope-x'; get it",
        ),
        (
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "x", "interactiveMode": "Always"}},
            "a controller has no terminal",
        ),
    ],
)
async def test_what_cannot_be_is_said(tmp_path, user, message):
    with pytest.raises(ConfigError, match=message):
        await ClientConfig.load(kubeconfig(tmp_path, user=user))


def printing(folder, code, **settings):
    """An exec plugin that runs `code`."""
    script = folder / "printing.py"
    script.write_text("import json, os, sys, time\n" + code)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": sys.executable, "args": [str(script)]}
    return {"exec": {**plugin, **settings}}


async def test_a_plugin_is_told_its_environment_and_cluster(tmp_path):
    code = """
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
token = f"{os.environ['MINE']} {info['spec']['cluster']['server']} {info['spec']['interactive']} {sys.stdin.read()}"
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": {"token": token}}))
"""
    user = printing(tmp_path, code, env=[{"name": "MINE", "value": "x"}], provideClusterInfo=True)
    config = await ClientConfig.load(kubeconfig(tmp_path, user=user))
    assert await config.headers() == {"Authorization": "Bearer x http://127.0.0.1:1/base/ False "}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('no json')", "printed no ExecCredential"),
        ("sys.exit('no luck')", "ended with status 1: no luck"),
        ('print(\'{"kind": "ExecCredential", "apiVersion": "x"}\')', "printed apiVersion 'x'"),
        ("time.sleep(60)", "took longer than 0.5 s"),
    ],
)
async def test_a_plugin_that_gives_nothing_is_named(tmp_path, monkeypatch, code, message):
    if "sleep" in code:
        monkeypatch.setattr(credentials, "PLUGIN_S", 0.5)
    with pytest.raises(ConfigError, match=message):
        await ClientConfig.load(kubeconfig(tmp_path, user=printing(tmp_path, code)))


async def test_impersonation_becomes_headers(tmp_path):
    user = {"token": "t", "as": "jane", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"a/b": ["x", "y"]}}
    config = await ClientConfig.load(kubeconfig(tmp_path, user=user))
    assert await config.headers() == {
        "Authorization": "Bearer t",
        "Impersonate-User": "jane",
        "Impersonate-Uid": "7",
        "Impersonate-Group": ("a", "b"),
        "Impersonate-Extra-a%2Fb": ("x", "y"),
    }
    other = await ClientConfig.load(kubeconfig(tmp_path, user=user), impersonate=Impersonation("joe"))
    assert (await other.headers())["Impersonate-User"] == "joe"


async def test_a_client_certificate_leaves_no_file_behind(tmp_path, monkeypatch):
    certificate, key = self_signed(tmp_path)
    data = {
        "client-certificate-data": base64.b64encode(certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(key.read_bytes()).decode(),
    }
    left = tmp_path / "left"
    left.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(left))
    path = kubeconfig(tmp_path, user=data, cluster={"server": "https://127.0.0.1:1"})
    assert (await ClientConfig.load(path)).ssl_context is not None
    assert list(left.iterdir()) == []


async def test_a_certificate_file_that_rotates_makes_a_new_context(tmp_path):
    certificate, key = self_signed(tmp_path)
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    config = await ClientConfig.load(kubeconfig(tmp_path, user=user, cluster={"server": "https://127.0.0.1:1"}))
    before = config.ssl_context
    config._next_check = 0
    await config.headers()
    assert config.ssl_context is before
    self_signed(tmp_path, "other.test")
    config._next_check = 0
    await config.headers()
    assert config.ssl_context is not before


@pytest.mark.kube
async def test_a_real_server_sees_who_is_impersonated(kube_server):
    """Several groups and extras arrive as they are."""
    who = Impersonation("jane", groups=("dev", "system:masters"), extra={"fastcore.dev/Why": ("a", "b")})
    config = await ClientConfig.load(kube_server.kubeconfig, impersonate=who)
    async with Client(config) as client:
        body = b'{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}'
        answer = await client.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body)
    info = json.loads(answer)["status"]["userInfo"]
    assert info["username"] == "jane"
    assert {"dev", "system:masters"} <= set(info["groups"])
    assert info["extra"] == {"fastcore.dev/why": ["a", "b"]}


# --- TLS


def self_signed(folder, name="fastcore.test"):
    need("openssl", "openssl")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out",
         str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.mark.kube
async def test_a_real_server_is_verified(kube_server, tmp_path):
    """The authority, the host name, tls-server-name, and an explicit request not to verify."""

    def with_cluster(**cluster):
        authority = base64.b64encode(kube_server.ca.encode()).decode()
        whole = {"server": kube_server.url, "certificate-authority-data": authority, **cluster}
        return kubeconfig(tmp_path, user={"token": kube_server.token}, cluster=whole)

    async def ask(path):
        async with Client(await ClientConfig.load(path)) as client:
            return await client.get(NAMESPACE, None, "default")

    assert (await ask(with_cluster()))["kind"] == "Namespace"
    assert await ask(with_cluster(**{"tls-server-name": "kubernetes.default"}))
    with pytest.raises(ConnectionFailed, match=r"certificate is not valid for 'wrong\.example'"):
        await ask(with_cluster(**{"tls-server-name": "wrong.example"}))
    stranger, _ = self_signed(tmp_path)
    other = base64.b64encode(stranger.read_bytes()).decode()
    with pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"):
        await ask(with_cluster(**{"certificate-authority-data": other}))
    with pytest.raises(ConnectionFailed, match="CERTIFICATE_VERIFY_FAILED"):
        async with Client(ClientConfig(kube_server.url, token=kube_server.token)) as client:
            await client.get(NAMESPACE, None, "default")
    unverified = kubeconfig(
        tmp_path,
        user={"token": kube_server.token},
        cluster={"server": kube_server.url, "insecure-skip-tls-verify": True},
    )
    assert await ask(unverified)


@pytest.mark.kube
async def test_a_real_server_refuses_a_wrong_token(kube_server):
    config = ClientConfig(kube_server.url, token="wrong", ssl_context=tls_context(ca_data=kube_server.ca))
    async with Client(config) as client:
        with pytest.raises(UnauthorizedError):
            await client.get(NAMESPACE, None, "default")


@pytest.mark.kube
async def test_a_real_server_takes_a_renewed_token(kube_server, tmp_path):
    """A 401 leads to the token file, which has a good token by now."""
    token = tmp_path / "token"
    token.write_text("stale")
    authority = base64.b64encode(kube_server.ca.encode()).decode()
    path = kubeconfig(
        tmp_path,
        user={"tokenFile": str(token)},
        cluster={"server": kube_server.url, "certificate-authority-data": authority},
    )
    async with Client(await ClientConfig.load(path)) as client:
        token.write_text(kube_server.token)
        assert (await client.get(NAMESPACE, None, "default"))["kind"] == "Namespace"
