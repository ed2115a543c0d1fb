"""The verb that trains routers by trial: ``trim-pomdp train-router``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.live import (
    FamilyOption,
    InFlightOption,
    ProblemsOption,
    ThreadsOption,
    lab_or_file_problems,
    read_family,
    use_threads,
)
from trim_pomdp.cli.models import (
    DynamicsOption,
    JsonOption,
    ObservationsOption,
    PresetOption,
    SeedOption,
    read_model,
)
from trim_pomdp.cli.output import claim, emit_json, parse_numbers, progress_bar, say, show_table
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.learning.ppo import Settings
    from trim_pomdp.learning.rollouts import Backend
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies import PolicyArtifact
    from trim_pomdp.policies.networks import StepFeature

_BUDGETS = [0.05, 0.1, 0.2, 0.3, 0.5]


def train_router(
    out: Annotated[Path, typer.Option("--out", help="File (JSON) to write: the network, and how it was trained.")],
    preset: PresetOption = None,
    observations: ObservationsOption = None,
    dynamics: DynamicsOption = None,
    network: Annotated[str, typer.Option("--network", help="agg (TRIM-Agg) or seq (TRIM-Seq).")] = "agg",
    evidence: Annotated[
        str | None, typer.Option(help="With a lab preset: what steps are judged by (prm, logprob, prm+logprob).")
    ] = None,
    features: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="What is seen of a step (default: as published).")
    ] = None,
    prices: Annotated[
        str | None, typer.Option(metavar="LOW,HIGH", help="Range of λ (default: up to where nothing pays).")
    ] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Updates of the network.")] = None,
    episodes: Annotated[int | None, typer.Option(min=8, help="Problems for each update.")] = None,
    models: Annotated[
        str | None, typer.Option("--models", help="Train on real models: 'lab', or a models file (default: simulate).")
    ] = None,
    family: FamilyOption = None,
    problems: ProblemsOption = None,
    in_flight: InFlightOption = 256,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Train TRIM-Agg or TRIM-Seq by PPO, for all budgets at once: in the fitted simulator, or on real models.

    A policy for a budget is made of it by: trim-pomdp policy --router FILE --budget B, with the same model.
    """
    require_torch()
    from trim_pomdp.learning.budgets import LearnedFrontier, price_range
    from trim_pomdp.learning.ppo import train_router as train
    from trim_pomdp.learning.rollouts import SimulatedProblems

    claim(out)
    model = read_model(_with_evidence(preset, evidence), observations, dynamics)
    settings = _settings(network, features, updates, episodes, live=models is not None)
    range_ = price_range(model) if prices is None else _range(prices)
    backend: Backend = SimulatedProblems(model)
    if models is not None:
        backend = _live(models, family, problems, model, seed, in_flight, threads)
    elif family is not None or problems is not None:
        raise InputError("--family and --problems are of real models; they go with --models")
    use_threads("", threads or 1)
    with progress_bar("training", settings.updates) as show:
        trained = train(
            backend,
            range_,
            settings,
            seed=seed,
            evidence=model.observations.evidence,
            progress=lambda done, _, entry: show(done, f"return {entry['return']:.4f}"),
        )
    trained.save(out)
    planned = LearnedFrontier.of(trained, model)
    accuracies = planned.accuracy_at(_BUDGETS)
    if as_json:
        document = trained.model_dump(mode="json", exclude={"network", "curve"})
        budgets = [{"budget": b, "accuracy": a} for b, a in zip(_BUDGETS, accuracies, strict=True)]
        emit_json({"out": str(out), **document, "budgets": budgets})
        return
    rows = [[b, a] for b, a in zip(_BUDGETS, accuracies, strict=True)]
    how = f"{planned.problems} simulated problems a price" if planned.problems else "exact"
    show_table(f"budget → accuracy in the model ({how})", ["budget", "accuracy"], rows)
    say(f"{trained.episodes} problems in {trained.seconds:.1f} s ({trained.cpu_seconds:.1f} s of a core)")
    say(f"wrote {out}; next: trim-pomdp policy --router {out} --budget 0.2")


def router_policy(path: Path, model: RoutingModel, budget: float | None, tradeoff: float | None) -> PolicyArtifact:
    """A policy of a trained router for a budget, or at a price.

    Raises
    ------
    InputError
        If the file is no trained router, or it looks at another score than the model has, or neither is given.
    """
    from trim_pomdp.learning.budgets import policy_for_budget, policy_for_tradeoff
    from trim_pomdp.policies.networks import TrainedRouter

    trained = TrainedRouter.read(path)
    if budget is not None:
        return policy_for_budget(trained, model, budget)
    if tradeoff is None:
        raise InputError("a trained router is run at a --budget or a --tradeoff; money is not what it was trained for")
    return policy_for_tradeoff(trained, model, tradeoff)


def require_torch() -> None:
    """Raise `InputError` unless torch is installed."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        raise InputError("training needs torch; install it in the checkout: pip install '.[learning]'")


def _settings(network: str, features: str | None, updates: int | None, episodes: int | None, *, live: bool) -> Settings:
    from trim_pomdp.learning.ppo import LIVE, settings_for
    from trim_pomdp.policies.networks import STEP_FEATURES

    if network not in ("agg", "seq"):
        raise InputError(f"--network is {network!r}; expected agg or seq")
    settings = settings_for("mlp" if network == "agg" else "transformer")
    if live:
        settings = replace(settings, **LIVE)
    if features is not None:
        seen: list[StepFeature] = []
        for name in (item.strip() for item in features.split(",")):
            known = next((feature for feature in STEP_FEATURES if feature == name), None)
            if known is None:
                raise InputError(f"--features names {name!r}; there are {', '.join(STEP_FEATURES)}")
            if known in seen:
                raise InputError(f"--features names {name!r} twice")
            seen.append(known)
        settings = replace(settings, features=tuple(seen))
    return replace(settings, updates=updates or settings.updates, episodes=episodes or settings.episodes)


def _range(text: str) -> tuple[float, float]:
    numbers = parse_numbers(text, "--prices")
    if len(numbers) != 2:
        raise InputError(f"--prices is {text!r}; expected the lowest and the highest λ")
    return numbers[0], numbers[1]


def _with_evidence(preset: str | None, evidence: str | None) -> str | None:
    from trim_pomdp.model.evidence import EVIDENCE_KINDS

    if evidence is None:
        return preset
    if evidence not in EVIDENCE_KINDS:
        raise InputError(f"unknown evidence {evidence!r}; there are {', '.join(EVIDENCE_KINDS)}")
    if preset is None or not preset.startswith("lab-"):
        raise InputError("--evidence picks among the lab's presets; observations that are named have their own")
    return f"{preset.partition('.')[0]}.{evidence}"


def _live(
    models: str,
    family: str | None,
    problems: str | None,
    model: RoutingModel,
    seed: int,
    in_flight: int,
    threads: int | None,
) -> Backend:
    from trim_pomdp.lab.source import model_source
    from trim_pomdp.learning.live import LiveProblems
    from trim_pomdp.policies.base import Role

    lab_family = read_family(models, family)
    source = model_source(models, cores=threads)
    evidence = model.observations.evidence
    roles: set[Role] = {"weak", "strong"}
    if evidence is None or evidence.needs_score:
        roles.add("prm")
    source.require(roles)
    chosen = lab_or_file_problems(lab_family, problems, "fit", seed)
    return LiveProblems(
        chosen,
        source,
        source.load(roles),
        name=f"{len(chosen)} problems of {lab_family or problems}",
        reward=model.reward,
        in_flight=in_flight,
    )
