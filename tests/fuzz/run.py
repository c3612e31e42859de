"""Fuzzes a target with atheris: usage: run.py TARGET [options of libFuzzer]"""

import sys
from importlib import import_module

import atheris


def main() -> None:
    target = import_module(f"fuzz.fuzz_{sys.argv.pop(1)}")
    atheris.Setup(sys.argv, target.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
