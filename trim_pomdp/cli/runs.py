"""Looking into a run: what its traces add up to, beside what its policy was planned to do."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from trim_pomdp.cli.output import emit_json, say
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.runtime.live import LivePlan
    from trim_pomdp.runtime.summary import RunSummary
    from trim_pomdp.runtime.traces import RunArtifact


def inspect_run(folder: Path, as_json: bool, prices: Path | None = None) -> None:
    """Show a run, also while it goes on; its money by its own prices, or by those of a file.

    Raises
    ------
    InputError
        If a file of it is not right, or no problem has ended yet.
    """
    from trim_pomdp.cli.prices import money_of_run, read_stored_prices, require_prices
    from trim_pomdp.cli.routing import show_result
    from trim_pomdp.runtime.live import result_document
    from trim_pomdp.runtime.records import TokenCounts
    from trim_pomdp.runtime.summary import summarise
    from trim_pomdp.runtime.traces import read_run_artifact, read_traces

    run = read_run_artifact(folder)
    plan = _plan(folder)
    unit = None if plan is None else plan.strong_only_tokens
    summary = summarise((solution.terminal for solution in read_traces(folder)), unit)
    if summary.problems == 0:
        raise InputError(f"{folder}: no problem has ended yet")
    asked = TokenCounts(**summary.tokens).roles
    known = read_stored_prices(folder, asked) if prices is None else require_prices(prices)
    money = None if known is None else money_of_run(folder, known, None if plan is None else plan.artifact, None)
    if as_json:
        compared = {} if plan is None else result_document(summary, plan)
        document = {**asdict(summary), **compared, "money": None if money is None else money.document}
        emit_json({**document, "kind": run.kind, "folder": str(folder), "config": run.config})
        return
    _say_what(run, summary, plan)
    show_result(summary, plan, money)


def _plan(folder: Path) -> LivePlan | None:
    """The policy that the folder keeps; None of rollouts, which have none."""
    from trim_pomdp.policies import PolicyArtifact
    from trim_pomdp.runtime.live import POLICY_FILE, plan_from_file

    path = folder / POLICY_FILE
    return plan_from_file(PolicyArtifact.read(path), None) if path.exists() else None


def _say_what(run: RunArtifact, summary: RunSummary, plan: LivePlan | None) -> None:
    """Say what was run, and how much of it there is."""
    from trim_pomdp.runtime.shards import Shard

    config = run.config
    say(f"{run.kind}, schema {run.schema_version}, written by trim-pomdp {run.package_version}")
    mode, seed = (config.get(name, "unknown") for name in ("mode", "seed"))
    count, part = config.get("problems", {}).get("count", summary.problems), ""
    if (shard := Shard.of_config(config)) is not None:
        part = f"shard {shard} of {count} problems, "
        count = shard.size(count)
    say(f"mode {mode}, seed {seed}, {part}{summary.problems} of {count} problems ended")
    if plan is not None:
        asked, cost = plan.artifact.asked_budget, plan.artifact.asked_max_cost
        wanted = "" if asked is None else f", asked for a budget of {asked:g}"
        wanted += "" if cost is None else f", asked for a cost of {cost:g} at most"
        say(f"policy {plan.artifact.policy!r}{wanted}")
