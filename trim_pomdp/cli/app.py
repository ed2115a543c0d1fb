"""The application: it gathers the verbs, and turns every expected error into one line and exit code 2."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from trim_pomdp.cli import fitting, lab, labelling, learning, merging, planning, rollouts, routing, scoring
from trim_pomdp.cli.benching import bench
from trim_pomdp.cli.check import check
from trim_pomdp.cli.demo import demo
from trim_pomdp.cli.live import MODELS_HELP
from trim_pomdp.cli.reporting import report
from trim_pomdp.cli.servers import UP_HELP, up
from trim_pomdp.errors import TrimError

app = typer.Typer(
    name="trim-pomdp",
    help="Plan stepwise LLM routing: fit what the models and the PRM do, plan every budget at once, make policies.",
    epilog="Begin with: trim-pomdp demo. Each verb explains itself: trim-pomdp VERB --help.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_EPILOGS = {**dict.fromkeys((rollouts.rollout, scoring.score, routing.run, bench), MODELS_HELP), up: UP_HELP}
# Told in full in the list of verbs; the first sentence of each would be cut off there.
for verb, short_help in (
    (check, "Look into the models before a run"),
    (rollouts.rollout, "Record what the models do alone"),
    (labelling.label, "Have solutions labelled by people or a judge"),
    (scoring.score, "Score labelled solutions with the PRM"),
    (fitting.fit_observations, "Fit what scores look like"),
    (fitting.fit_dynamics, "Fit what the two models do"),
    (fitting.assess_beliefs, "Judge beliefs on scored sequences"),
    (planning.frontier, "Plan every budget at once"),
    (planning.policy, "Plan for one budget or price"),
    (learning.train_router, "Train a router by trial (PPO)"),
    (planning.simulate, "Route problems drawn from the model"),
    (routing.run, "Route live, and compare with the plan"),
    (bench, "Compare strategies on the same problems"),
    (merging.merge, "Join the shards of a job"),
    (report, "Write a page about runs, to walk through"),
    (up, "Start the servers of a models file"),
    (planning.inspect, "Show what a file or a model holds"),
    (demo, "Plan from a preset and draw the plan"),
):
    app.command(short_help=short_help, epilog=_EPILOGS.get(verb))(verb)
app.add_typer(lab.app, name="lab", short_help="Train and measure the lab's tiny models")

# typer ≥ 0.26 brings its own copy of click, earlier ones use click itself: take the classes from typer.
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
_ClickException: type[Exception] = _UsageError.__bases__[0]


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from trim_pomdp.artifacts import package_version

        sys.stdout.write(f"trim-pomdp {package_version()}\n")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; bad input and usage errors exit with code 2, without a verb help is shown."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a table has lines and arrows that not every encoding knows
    try:
        code = app(args=arguments, prog_name="trim-pomdp", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough; keep Python from complaining once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # no verb
            sys.stdout.write(f"{error}\n")
            sys.exit(0)
        if isinstance(error, _ClickException):
            context = getattr(error, "ctx", None)
            _fail(error.format_message(), context.command_path if context else "trim-pomdp")  # type: ignore[attr-defined]
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
