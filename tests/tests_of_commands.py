"""What the tests of commands share."""

from pathlib import Path

from typer.testing import CliRunner

from gssm_cube.cli import app


def invoke(*words: str | Path, status: int = 0) -> str:
    """Run a command and return what it printed; the status must be as expected."""
    result = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "300"})
    assert result.exit_code == status, result.output
    return result.output
