# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The command `bert4rec-hf`, and the scripts in examples/ that do the same."""

import runpy
import sys

import pytest
from helpers import EXAMPLES

import bert4rec_hf
from bert4rec_hf.__main__ import COMMANDS, main


SCRIPTS = {"evaluate_model": "evaluate", "push_to_hub": "push"}


def shown(capsys, monkeypatch, start, *arguments):
    """What is printed before the exit, without the line that has the program's name."""
    monkeypatch.setattr(sys, "argv", [*arguments])
    try:
        start()
    except SystemExit as error:
        assert not error.code
    return [line for line in capsys.readouterr().out.splitlines() if not line.startswith("usage: ")]


@pytest.mark.parametrize("script", sorted(path.stem for path in EXAMPLES.glob("*.py") if path.stem != "server"))
def test_a_script_is_the_command_of_the_package(script, monkeypatch, capsys):
    command = SCRIPTS.get(script, script)
    by_command = shown(capsys, monkeypatch, main, "bert4rec-hf", command, "--help")
    path = str(EXAMPLES / f"{script}.py")
    by_script = shown(capsys, monkeypatch, lambda: runpy.run_path(path, run_name="__main__"), path, "--help")
    assert by_command == by_script and 3 < len(by_command) <= 48 and not capsys.readouterr().err


def test_each_command_has_a_script_and_a_line_of_help(monkeypatch, capsys):
    assert {SCRIPTS.get(path.stem, path.stem) for path in EXAMPLES.glob("*.py")} - {"server"} == COMMANDS.keys()
    lines = shown(capsys, monkeypatch, main, "bert4rec-hf")
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [*COMMANDS]
    assert shown(capsys, monkeypatch, main, "bert4rec-hf", "--version") == [bert4rec_hf.__version__]


def test_an_unknown_command_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bert4rec-hf", "trian"])
    with pytest.raises(SystemExit) as error:
        main()
    said = capsys.readouterr().err
    assert error.value.code == 2 and said.startswith(
        "error: there is no command 'trian'; it must be one of quickstart,"
    )
