"""What a client asks about the server itself: discovery, OpenAPI, version, health."""

from fastcore.testing.apiserver import discovery, openapi
from fastcore.testing.apiserver.message import JSON, Request, Response, form_of, json_response
from fastcore.testing.apiserver.resources import Resource
from fastcore.testing.apiserver.status import method_not_allowed

NOT_FOUND = Response(b"404 page not found\n", 404, "text/plain; charset=utf-8")
_HEALTH = ("healthz", "livez", "readyz")


def describe(request: Request, workspace: str | None, parts: list[str], resources: list[Resource]) -> Response:
    """The answer to a path that names no objects; `parts` are its segments below the workspace."""
    prefix = "" if not request.path.startswith("/clusters/") else f"/clusters/{workspace or '*'}"
    if request.method not in ("GET", "HEAD"):
        raise method_not_allowed()
    match parts:
        case [check, *_] if check in _HEALTH:
            return Response(b"ok", content_type="text/plain; charset=utf-8")
        case ["version"]:
            return json_response(discovery.VERSION)
        case []:
            groups = discovery.api_groups(resources)["groups"]
            versions = [f"/apis/{v['groupVersion']}" for group in groups for v in group["versions"]]
            return json_response(
                {
                    "paths": [
                        "/api",
                        "/api/v1",
                        "/apis",
                        *versions,
                        "/healthz",
                        "/openapi/v2",
                        "/openapi/v3",
                        "/version",
                    ]
                }
            )
        case ["api" | "apis"]:
            form, content_type = form_of(request.headers.get("accept", ""))
            core = parts == ["api"]
            if form == "discovery":
                return json_response(discovery.aggregated(resources, core=core), content_type=content_type)
            host = request.headers.get("host", "")
            return json_response(discovery.api_versions(host) if core else discovery.api_groups(resources))
        case ["api", version]:
            found = discovery.api_resources(resources, "", version)
        case ["apis", group]:
            found = discovery.api_group(resources, group)
        case ["apis", group, version]:
            found = discovery.api_resources(resources, group, version)
        case ["openapi", "v2"]:
            return _document(request, openapi.swagger(resources))
        case ["openapi", "v3"]:
            return json_response(openapi.index(resources, prefix))
        case ["openapi", "v3", *name]:
            document = openapi.document(resources, "/".join(name))
            return NOT_FOUND if document is None else _document(request, document)
        case _:
            found = None
    return NOT_FOUND if found is None else json_response(found)


def _document(request: Request, document: openapi.Document) -> Response:
    etag = f'"{document.hash}"'
    if request.headers.get("if-none-match") == etag:
        return Response(b"", 304, JSON, [("ETag", etag)])
    return Response(document.body, 200, JSON, [("ETag", etag)])
