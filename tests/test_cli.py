"""The command line: help that teaches, errors that say what to do."""

import sys
from types import SimpleNamespace

import pytest

from fastcore import cli, doctor


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--help"])
    assert exit_.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"  {name}" in printed for name in cli.COMMANDS)


def test_unknown_command_is_refused_with_the_choices(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["rnu"])
    assert exit_.value.code == 2
    assert "'rnu'" in capsys.readouterr().err


def test_the_bare_name_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "fastcore demo" in printed.err


def test_an_interrupt_while_a_command_is_imported_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_arguments_reach_the_subcommand(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    module = SimpleNamespace(main=lambda argv: seen.append(argv) or 7)
    monkeypatch.setitem(sys.modules, "fastcore.echo", module)
    monkeypatch.setitem(cli.COMMANDS, "echo", cli.Command("fastcore.echo", ""))
    assert cli.main(["echo", "--flag", "value"]) == 7
    assert seen == [["--flag", "value"]]


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(cli.COMMANDS, "echo", cli.Command("not_installed_here", ""))
    assert cli.main(["echo"]) == 2
    error = capsys.readouterr().err
    assert "'not_installed_here'" in error
    assert "pip install 'fastcore-k8s[controller]'" in error


def test_a_fault_of_our_own_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "echo", cli.Command("fastcore.not_there", ""))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["echo"])


def test_doctor_is_content_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out
    assert "compiled primitives load" in printed
    assert "error" not in printed


def test_doctor_detects_the_name_clash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.metadata, "distribution", lambda name: SimpleNamespace(version="1.8.1"))
    finding = doctor.namesake()
    assert finding.level == "error"
    assert "pip uninstall fastcore fastcore-k8s && pip install fastcore-k8s" in finding.text


def test_doctor_says_what_the_runtime_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None if name == "msgspec" else object())
    finding = doctor.runtime()
    assert finding.level == "info"
    assert "pip install 'fastcore-k8s[controller]' (missing: msgspec)" in finding.text


def test_doctor_names_a_missing_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.pkgutil, "iter_modules", lambda path: [])
    levels = {finding.text.split("'")[1]: finding.level for finding in doctor.extensions() if "missing" in finding.text}
    assert levels["lru"] == "error"
