"""Group 1: what a client learns before it knows any kind."""

from apiserver.http_client import Client
from apiserver.objects import GROUP, wait_until


def test_versions_of_the_core_group(server: Client) -> None:
    """Group 1: /api."""
    answer = server.get("/api")
    assert (answer["kind"], answer["versions"]) == ("APIVersions", ["v1"])


def test_groups(server: Client, custom_kind: None) -> None:
    """Group 1: /apis and /apis/GROUP agree."""
    groups = {group["name"]: group for group in server.get("/apis")["groups"]}
    assert {"apps", "batch", "coordination.k8s.io", "rbac.authorization.k8s.io", GROUP} <= groups.keys()
    version = {"groupVersion": f"{GROUP}/v1", "version": "v1"}
    one = server.get(f"/apis/{GROUP}").body
    assert one["kind"] == "APIGroup"
    assert one["versions"] == groups[GROUP]["versions"] == [version]
    assert one["preferredVersion"] == version


def test_resources_of_a_version(server: Client, custom_kind: None) -> None:
    """Group 1: a version lists its kinds and their subresources."""
    answer = server.get(f"/apis/{GROUP}/v1")
    assert (answer["kind"], answer["groupVersion"]) == ("APIResourceList", f"{GROUP}/v1")
    resources = {resource["name"]: resource for resource in answer["resources"]}
    demos = resources["demos"]
    assert demos["kind"] == "Demo"
    assert demos["singularName"] == "demo"
    assert demos["namespaced"] is True
    assert set(demos["verbs"]) == {
        "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
    }  # fmt: skip
    assert set(resources["demos/status"]["verbs"]) == {"get", "patch", "update"}
    scale = resources["demos/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")


def test_short_names_and_categories(server: Client) -> None:
    """Group 1: kubectl's abbreviations come from discovery."""
    core = {resource["name"]: resource for resource in server.get("/api/v1")["resources"]}
    assert core["configmaps"]["shortNames"] == ["cm"]
    assert core["pods"]["categories"] == ["all"]
    assert core["namespaces"]["namespaced"] is False
    assert "deletecollection" not in core["namespaces"]["verbs"]
    apps = {resource["name"]: resource for resource in server.get("/apis/apps/v1")["resources"]}
    assert apps["deployments"]["shortNames"] == ["deploy"]
    assert apps["deployments/scale"]["group"] == "autoscaling"


def test_aggregated_discovery(server: Client, custom_kind: None) -> None:
    """Group 1: everything in two answers for clients that ask for it."""
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    core = server.call("GET", "/api", accept=accept)
    assert "as=APIGroupDiscoveryList" in core.headers["content-type"]
    assert core["kind"] == "APIGroupDiscoveryList"
    assert core["apiVersion"] == "apidiscovery.k8s.io/v2"
    groups = {item["metadata"]["name"]: item for item in server.call("GET", "/apis", accept=accept)["items"]}
    (version,) = groups[GROUP]["versions"]
    demos = next(resource for resource in version["resources"] if resource["resource"] == "demos")
    assert demos["responseKind"] == {"group": GROUP, "version": "v1", "kind": "Demo"}
    assert (demos["scope"], demos["singularResource"]) == ("Namespaced", "demo")
    assert {sub["subresource"] for sub in demos["subresources"]} == {"status", "scale"}


def test_version(server: Client) -> None:
    """Group 1: /version."""
    answer = server.get("/version")
    assert (answer["major"], answer["minor"]) == ("1", "37")
    assert answer["gitVersion"].startswith("v1.37.")


def test_health(server: Client) -> None:
    """Group 1: load balancers ask these."""
    for path in ("/healthz", "/livez", "/readyz"):
        answer = server.get(path)
        assert (answer.code, answer.raw) == (200, b"ok")


def test_unknown_paths(server: Client) -> None:
    """Group 1: an unknown kind is a Status, an unknown group or path is plain text."""
    unknown = server.get("/api/v1/nonsense")
    assert (unknown.code, unknown.reason) == (404, "NotFound")
    assert unknown.message == "the server could not find the requested resource"
    for path in ("/apis/nonsense.dev", "/nonsense"):
        answer = server.get(path)
        assert (answer.code, answer.raw) == (404, b"404 page not found\n")


def test_errors_have_a_status(server: Client, maps: str) -> None:
    """Group 1: a Status carries code, reason and details."""
    answer = server.get(f"{maps}/absent")
    assert answer.code == 404
    assert answer.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "absent" not found',
        "reason": "NotFound",
        "details": {"name": "absent", "kind": "configmaps"},
        "code": 404,
    }


def test_methods_and_media_types(server: Client, maps: str) -> None:
    """Group 1: 405, 406 and 415."""
    wrong = server.put(maps, {})
    assert (wrong.code, wrong.reason) == (405, "MethodNotAllowed")
    wrong = server.call("GET", maps, accept="text/html")
    assert (wrong.code, wrong.reason) == (406, "NotAcceptable")
    wrong = server.patch(f"{maps}/x", b"{}", "text/plain")
    assert (wrong.code, wrong.reason) == (415, "UnsupportedMediaType")


def test_openapi_index_and_documents(server: Client, custom_kind: None) -> None:
    """Group 1: kubectl finds a schema by the URLs of the index, which carry a hash."""

    def url() -> str:
        paths = server.get("/openapi/v3")["paths"]
        assert {"api/v1", "apis/apps/v1"} <= paths.keys()
        return paths.get(f"apis/{GROUP}/v1", {}).get("serverRelativeURL", "/absent")

    wait_until(lambda: server.get(url()).code == 200)  # a real server publishes CRDs some seconds later
    assert url().startswith(f"/openapi/v3/apis/{GROUP}/v1?hash=")
    answer = server.get(url())
    assert answer.headers["etag"].strip('"') == url().partition("hash=")[2]
    schemas = answer["components"]["schemas"]
    schema = schemas["dev.fastcore.conformance.v1.Demo"]
    assert schema["x-kubernetes-group-version-kind"] == [{"group": GROUP, "version": "v1", "kind": "Demo"}]
    assert schema["properties"]["spec"]["properties"]["replicas"]["default"] == 1
    assert "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" in schemas
    patch = answer["paths"][f"/apis/{GROUP}/v1/namespaces/{{namespace}}/demos/{{name}}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": GROUP, "version": "v1", "kind": "Demo"}
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    assert "application/strategic-merge-patch+json" not in patch["requestBody"]["content"]
    apps = server.get(server.get("/openapi/v3")["paths"]["apis/apps/v1"]["serverRelativeURL"])
    patch = apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
