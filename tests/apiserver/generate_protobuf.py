"""Make `fastcore/testing/apiserver/data/protobuf.json.gz` from the Go modules k8s.io/api and k8s.io/apimachinery.

Run `python tests/apiserver/generate_protobuf.py`; it needs `go` and the module proxy. Kept are field numbers only, by
the names of the schemas in openapi.json.gz, whose types say the rest:

    "io.k8s.api.apps.v1.DeploymentSpec": {"1": "*replicas", "2": "*selector", "3": "=template", ...}

`*`: a pointer, so a zero value counts; `=`: written even if it is zero; `+`: the name of a type whose members
stand in the parent; nothing: left out if it is zero.
"""

import gzip
import json
import re
import subprocess
import tempfile
from pathlib import Path

from fastcore.testing.apiserver.builtin import definitions
from fastcore.testing.apiserver.protobuf import DATA

VERSION = "v0.37.2"
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r'^\t(?:(\w+) )?([\w.*\[\]]+) `json:"([^"]*)"[^`]* protobuf:"\w+,(\d+),', re.MULTILINE)


def module(name: str, folder: str) -> Path:
    """The unpacked source of a Go module."""
    Path(folder, "go.mod").write_text("module generate\n")
    command = ["go", "mod", "download", "-json", f"{name}@{VERSION}"]
    found = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    return Path(json.loads(found)["Dir"])


def structs(source: Path) -> dict[str, str]:
    """The bodies of the structs of a package, by name."""
    files = [path for path in source.glob("*.go") if not path.name.endswith("_test.go")]
    return {name: body for path in files for name, body in STRUCT.findall(path.read_text())}


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as folder:
        roots = {"io.k8s.api.": module("k8s.io/api", folder)}
        roots["io.k8s.apimachinery.pkg.apis."] = module("k8s.io/apimachinery", folder) / "pkg" / "apis"
    table: dict[str, dict[str, str]] = {}
    packages: dict[str, dict[str, str]] = {}
    waiting = sorted(definitions())
    while waiting:
        name = waiting.pop()
        package, _, kind = name.rpartition(".")
        root = next((root for root in roots if name.startswith(root)), None)
        if name in table or root is None:
            continue
        if package not in packages:
            packages[package] = structs(roots[root] / package.removeprefix(root).replace(".", "/"))
        fields: dict[str, str] = {}
        for _, kind_of_field, tag, number in FIELD.findall(packages[package].get(kind, "")):
            json_name, _, options = tag.partition(",")
            if not json_name:
                inlined = f"{package}.{kind_of_field}"
                fields[number] = f"+{inlined}"
                waiting.append(inlined)
            elif kind_of_field.startswith("*"):
                fields[number] = f"*{json_name}"
            else:
                fields[number] = json_name if "omitempty" in options else f"={json_name}"
        if fields:
            table[name] = fields
    text = json.dumps(dict(sorted(table.items())), separators=(",", ":"))
    Path(str(DATA)).write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{len(table)} messages, {len(Path(str(DATA)).read_bytes())} bytes")


if __name__ == "__main__":
    main()
