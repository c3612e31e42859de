"""Checks that cibuildwheel builds exactly the wheels that the README promises, without building any."""

import subprocess
import sys

PYTHONS = ["cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t"]
PLATFORMS = {
    "linux": ["manylinux_x86_64", "musllinux_x86_64"],
    "macos": ["macosx_arm64"],
    "windows": ["win_amd64"],
}
ARCHS = {"linux": "x86_64", "macos": "arm64", "windows": "AMD64"}

for platform, tags in PLATFORMS.items():
    command = [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", platform]
    printed = subprocess.run([*command, "--archs", ARCHS[platform], "."], check=True, capture_output=True, text=True)
    found = set(printed.stdout.split())
    wanted = {f"{python}-{tag}" for python in PYTHONS for tag in tags}
    if found != wanted:
        sys.exit(f"{platform}: missing {sorted(wanted - found)}, not expected {sorted(found - wanted)}")
    print(f"{platform}: {len(found)} wheels an architecture")
