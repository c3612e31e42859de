"""Make `data/apimachinery.json.gz`: what k8s.io/apimachinery makes of the documents that its own tests are about.

Run `python tests/diff/generate_answers.py` where there is a Go toolchain. The rows are facts, documents in and out:
`oracle/table.go` takes the documents from the tables in apimachinery's tests, the library itself gives the answers.
"""

import gzip
import json
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
DATA = HERE / "data" / "apimachinery.json.gz"


def main() -> None:
    command = ["go", "run", ".", "-table"]
    done = subprocess.run(command, cwd=HERE / "oracle", capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    go_mod = (HERE / "oracle" / "go.mod").read_text()
    source = next(line.strip() for line in go_mod.splitlines() if "k8s.io/apimachinery" in line)
    text = json.dumps({"source": source, "rows": rows}, separators=(",", ":"), sort_keys=True)
    DATA.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(f"{DATA}: {len(rows)} rows, {DATA.stat().st_size} bytes")


if __name__ == "__main__":
    main()
