"""The application: it gathers the verbs, and turns every expected error into one line and exit code 2."""

from __future__ import annotations

import sys

import click
import typer

from trim_pomdp.cli import fitting, planning
from trim_pomdp.cli.demo import demo
from trim_pomdp.errors import TrimError

app = typer.Typer(
    name="trim-pomdp",
    help="Plan stepwise LLM routing: fit what the models and the PRM do, plan every budget at once, make policies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    fitting.fit_observations,
    fitting.fit_dynamics,
    fitting.assess_beliefs,
    planning.frontier,
    planning.policy,
    planning.simulate,
    planning.inspect,
    demo,
):
    app.command()(verb)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; bad input and usage errors exit with code 2."""
    try:
        code = app(args=arguments, standalone_mode=False)
    except click.UsageError as error:
        _fail(error.format_message(), error.ctx.command_path if error.ctx else "trim-pomdp")
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        _fail(error.format_message(), "trim-pomdp")
    except Exception as error:
        if not _is_expected(error):
            raise
        _fail(str(error), "trim-pomdp")
    sys.exit(code if isinstance(code, int) else 0)


def _is_expected(error: Exception) -> bool:
    """Errors that the packages raise on purpose; those of the two lower packages are found without importing them."""
    lower = {"observation_models.errors": "ObservationModelError", "solvers.errors": "SolverError"}
    expected = [getattr(sys.modules.get(module), name, TrimError) for module, name in lower.items()]
    return isinstance(error, (TrimError, *expected))


def _fail(message: str, command: str) -> None:
    sys.stderr.write(f"{command}: error: {' '.join(message.split())}\n")
    sys.exit(2)
