"""Reads request bodies: JSON, YAML and protobuf."""

from typing import Any

import msgspec

from fastcore.testing.apiserver.protobuf import CONTENT_TYPE, ProtobufError, decode
from fastcore.testing.apiserver.status import bad_request, unsupported_media_type

_JSON = ("application/json", "")
_YAML = ("application/yaml", "application/x-yaml", "text/yaml")
_ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


def parse_yaml(body: bytes) -> Any:
    """The value of a JSON or YAML document; JSON, the common case, is tried first.

    Raises:
        StatusError: 400.
    """
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    # PyYAML comes with the kubernetes package; a server that is sent JSON alone does without.
    try:
        import yaml
    except ModuleNotFoundError:
        raise bad_request("the body is not JSON, and YAML needs the package PyYAML") from None
    try:
        return yaml.load(body, Loader=_loader(yaml))
    except (yaml.YAMLError, ValueError) as error:
        raise bad_request(f"error decoding YAML: {error}") from None


def _loader(yaml: Any) -> Any:
    """A safe loader that leaves timestamps as text, as JSON has them."""
    global _text_loader
    if _text_loader is None:

        class TextLoader(yaml.SafeLoader):  # type: ignore[misc]
            yaml_implicit_resolvers = {  # noqa: RUF012
                first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
                for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
            }

        _text_loader = TextLoader
    return _text_loader


_text_loader: Any = None


def parse_object(body: bytes, content_type: str, kind: str) -> dict[str, Any]:
    """The object in the body of a create or update.

    Raises:
        StatusError: 400 or 415.
    """
    media = content_type.partition(";")[0].strip().lower()
    if media in _YAML:
        out = parse_yaml(body)
    elif media == CONTENT_TYPE:
        try:
            out = decode(body)
        except ProtobufError as error:
            raise bad_request(f"the object provided is unrecognized (must be of type {kind}): {error}") from None
    elif media in _JSON:
        try:
            out = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            text = body[:200].decode(errors="replace")
            raise bad_request(
                f"the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; "
                f"json parse error: {error} ({text})"
            ) from None
    else:
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {_ACCEPTED}"
        )
    if not isinstance(out, dict):
        raise bad_request(f"the object provided is unrecognized (must be of type {kind}): it is no object")
    return out
