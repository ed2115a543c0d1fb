"""Verbs that fit, and the one that judges beliefs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trim_pomdp.cli.models import (
    OBSERVATIONS_HELP,
    DynamicsOption,
    JsonOption,
    LayoutOption,
    ObservationsOption,
    PresetOption,
    SeedOption,
    read_observations,
    read_parts,
)
from trim_pomdp.cli.output import claim, emit_json, number, parse_numbers, progress, say, show_table, warn
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from observation_models import Comparison
    from trim_pomdp.data.processbench import StepScores
    from trim_pomdp.fitting.dynamics import Sources
    from trim_pomdp.model.dynamics import Check, FitReport, StepDynamics
    from trim_pomdp.model.evidence import EvidenceMap
    from trim_pomdp.model.observations import ObservationModel

OutOption = Annotated[Path, typer.Option("--out", help="File to write.")]
_MAX_STEPS = 30


def fit_observations(
    out: OutOption,
    features: Annotated[
        Path | None, typer.Option(help="npz with S0, S1, S2 of shape (n, 2): minimum before, current score.")
    ] = None,
    scores: Annotated[Path | None, typer.Option(help="PRM scores of labelled solutions (see score).")] = None,
    prm: Annotated[str | None, typer.Option(help="Which PRM of the --scores file (default: the only one).")] = None,
    evidence: Annotated[
        str, typer.Option(help="What a step is judged by: prm, logprob, or prm+logprob (both from --scores).")
    ] = "prm",
    estimator: Annotated[str, typer.Option(help="likelihood-ratio, histogram or reflected-kde.")] = "likelihood-ratio",
    name: Annotated[str | None, typer.Option(help="Name of the artifact (default: the file's).")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also compare all estimators, and kinds of evidence, on held-out data.")
    ] = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Fit score densities of right and first wrong steps (and derailed ones, where labelled)."""
    import warnings

    import observation_models
    from trim_pomdp.artifacts import hashes
    from trim_pomdp.data.features import read_class_features
    from trim_pomdp.data.processbench import class_features, read_step_scores
    from trim_pomdp.fitting import observations as fitting
    from trim_pomdp.model.evidence import EVIDENCE_KINDS

    chosen = next((item for item in fitting.ESTIMATORS if item == estimator), None)
    if chosen is None:
        raise InputError(f"unknown estimator {estimator!r}; there are {', '.join(fitting.ESTIMATORS)}")
    kind = next((item for item in EVIDENCE_KINDS if item == evidence), None)
    if kind is None:
        raise InputError(f"unknown evidence {evidence!r}; there are {', '.join(EVIDENCE_KINDS)}")
    claim(out)
    if (features is None) == (scores is None):
        raise InputError("give --features FILE.npz, or --scores FILE.jsonl with --prm NAME")
    if features is not None:
        source, data = features, read_class_features(features)
    else:
        assert scores is not None
        source, records = scores, read_step_scores(scores)
        try:
            prm = prm or _only_prm(records, kind)
            data = class_features(records, prm)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
    with progress("fitting observations") as tell, warnings.catch_warnings():
        # What the estimators warn of is kept in the diagnostics, and told from there.
        warnings.filterwarnings("ignore", category=observation_models.ObservationModelWarning)
        try:
            model = fitting.fit_observations(
                name or (prm if kind != "logprob" else None) or source.name.split(".")[0],
                data,
                estimator=chosen,
                evidence=kind,
                provenance=hashes([source]),
                seed=seed,
            )
            if compare:
                tell("comparing estimators")
            comparisons = fitting.compare_all(data, seed=seed) if compare else {}
        except (InputError, observation_models.ObservationModelError) as error:
            raise InputError(f"{source}: {error}") from None
    model.save(out)
    for message in _warnings(model):
        warn(f"{source}: {message}")
    if as_json:
        document: dict[str, Any] = {"out": str(out), "estimator": model.estimator, "diagnostics": model.diagnostics}
        for key, comparison in comparisons.items():
            document[key] = [
                {"name": row.name, **_estimates(row), "reliability": _reliability(comparison, row.name)}
                for row in comparison.rows
            ]
        emit_json(document)
        return
    show_table(
        f"{model.name}: {model.estimator}", ["diagnostic", "value"], [[k, v] for k, v in model.diagnostics.items()]
    )
    if model.evidence is not None:
        say(model.evidence.formula)
    for key, comparison in comparisons.items():
        say(f"\n{_COMPARED[key]}\n{comparison.to_table()}")
    say(f"wrote {out}")


_COMPARED = {"comparison": "Estimators on the PRM score", "evidence": "Kinds of evidence, by logistic regression"}


def _only_prm(records: Sequence[StepScores], evidence: str) -> str | None:
    """The PRM of a file that holds one; None where there is no need of any."""
    known = sorted({name for record in records for name in record.scores})
    if len(known) == 1:
        return known[0]
    if evidence == "logprob":
        return None
    if not known:
        raise InputError("holds no PRM scores; what it holds goes with --evidence logprob")
    raise InputError(f"--scores needs --prm NAME, since the file holds {', '.join(known)}")


def _warnings(model: ObservationModel) -> tuple[str, ...]:
    messages = model.diagnostics.get("warnings", ())
    return messages if isinstance(messages, tuple) else ()


def _reliability(comparison: Comparison, name: str) -> dict[str, dict[str, list[float]]]:
    """Reliability curve of each class: mean probability, observed frequency and weight of every bin."""
    return {
        str(label): {field: getattr(curve, field).tolist() for field in ("predicted", "observed", "weight")}
        for label, curve in comparison.reliability[name].items()
    }


def _estimates(row: object) -> dict[str, float | None]:
    metrics = ("log_loss", "brier", "ece", "auc", "bin_log_likelihood")
    out: dict[str, float | None] = {}
    for metric in metrics:
        estimate = getattr(row, metric)
        known = estimate is not None and not math.isnan(estimate.value)
        out[metric] = float(estimate.value) if known else None
        out[f"{metric}_se"] = float(estimate.standard_error) if known else None
    return out


def fit_dynamics(
    out: OutOption,
    observations: Annotated[Path, typer.Option(help=OBSERVATIONS_HELP)],
    step_counts: Annotated[Path | None, typer.Option(help="Step counts with outcomes (JSON, .gz).")] = None,
    weak: Annotated[str | None, typer.Option(help="Weak model in the step-count file.")] = None,
    strong: Annotated[
        str | None, typer.Option(help="Strong model in the step-count file; with --rollouts, its solutions (JSONL).")
    ] = None,
    pilot: Annotated[Path | None, typer.Option(help="Measured thresholds (JSONL).")] = None,
    sequences: Annotated[Path | None, typer.Option(help="Scored weak-only solutions.")] = None,
    labelled: Annotated[Path | None, typer.Option(help="Labelled solutions.")] = None,
    layout: LayoutOption = None,
    generator: Annotated[str | None, typer.Option(help="Generator in the labelled file (default: all).")] = None,
    rollouts: Annotated[
        Path | None,
        typer.Option(help="Folder of rollout --mode all, or weak-only rollouts (JSONL); stand alone."),
    ] = None,
    repair: Annotated[Path | None, typer.Option(help="Weak steps that the strong model redid (JSONL).")] = None,
    redraft: Annotated[Path | None, typer.Option(help="Weak steps that were drafted again (JSONL).")] = None,
    labels: Annotated[
        bool, typer.Option("--labels", help="Use the truth that rollouts hold, in place of outcomes.")
    ] = False,
    redraft_labels: Annotated[
        bool, typer.Option("--redraft-labels", help="Use the truth that redrafts hold, and outcomes of the others.")
    ] = False,
    explanation: Annotated[str, typer.Option(help="Explanation of a pilot, or best.")] = "best",
    fit_thresholds: Annotated[
        str | None, typer.Option(help="Pilot thresholds to fit on, by commas; the others are held out.")
    ] = None,
    joint: Annotated[bool, typer.Option("--joint", help="Let step counts join the likelihood of a pilot.")] = False,
    by_step: Annotated[bool, typer.Option("--by-step", help="Let weak success depend on the step index.")] = False,
    class_hazards: Annotated[
        bool, typer.Option("--class-hazards", help="Hazards by class of step (--labelled or --rollouts).")
    ] = False,
    rivals: Annotated[bool, typer.Option(help="Fit the other explanations too.")] = True,
    intervals: Annotated[
        bool, typer.Option(help="Compute intervals (with a pilot that takes a minute or two).")
    ] = True,
    draws: Annotated[
        int | None,
        typer.Option(help="Refits to rollouts, from which intervals come, of plans too (default: 100)."),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Step cap (default: that of the rollouts, else 30).")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the artifact.")] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Fit what the two models do: from live rollouts; or step counts, a pilot sweep, sequences, labelled solutions.

    Live rollouts are --rollouts, --strong, --repair, --redraft, and stand alone; the others can be combined.
    """
    from trim_pomdp.fitting import dynamics as fitting
    from trim_pomdp.runtime.recorded import read_rollouts

    claim(out)
    if pilot is None and (explanation != "best" or fit_thresholds is not None or joint or not rivals):
        raise InputError(
            "--explanation, --fit-thresholds, --joint and --no-rivals are about a --pilot, and none is given"
        )
    model = read_observations(observations)
    if layout is not None and labelled is None:
        raise InputError("--layout is of a --labelled file, and none is given")
    if rollouts is None and (repair is not None or redraft is not None or labels or redraft_labels):
        raise InputError("--repair, --redraft, --labels and --redraft-labels go with --rollouts, and none are given")
    if rollouts is not None:
        if any(item is not None for item in (step_counts, weak, pilot, sequences, labelled, generator)):
            raise InputError(
                "--rollouts stand alone, with --strong, --repair, --redraft; give no other data beside them"
            )
        recorded = read_rollouts(rollouts, strong=strong, repair=repair, redraft=redraft)
        conditions, sources = recorded.conditions, recorded.sources
    else:
        conditions = None
        sources = _sources(step_counts, weak, strong, pilot, sequences, labelled, generator, model.evidence, layout)
    thresholds = None if fit_thresholds is None else parse_numbers(fit_thresholds, "--fit-thresholds")
    with progress("fitting dynamics") as tell:
        dynamics = fitting.fit_dynamics(
            name or (f"{weak} → {strong}" if weak and strong and rollouts is None else out.stem),
            sources,
            model,
            explanation=explanation,
            fit_thresholds=thresholds,
            joint=joint,
            by_step=by_step,
            class_hazards=class_hazards,
            labels=labels,
            redraft_labels=redraft_labels,
            rivals=rivals,
            intervals=intervals,
            draws=draws,
            max_steps=max_steps or (conditions and conditions.max_steps) or _MAX_STEPS,
            seed=seed,
            progress=tell,
        )
    if conditions is not None:
        dynamics = dynamics.model_copy(update={"conditions": conditions})
    dynamics.save(out)
    if as_json:
        from trim_pomdp.model.hazard import HAZARDS

        document = dynamics.model_dump(mode="json", exclude=set(HAZARDS))
        kept = dynamics.fit.draws if dynamics.fit is not None else None
        if kept is not None:
            document["fit"]["draws"] = len(kept)
        emit_json({"out": str(out), **document})
        return
    show_dynamics(dynamics)
    say(f"wrote {out}")


def _sources(
    step_counts: Path | None,
    weak: str | None,
    strong: str | None,
    pilot: Path | None,
    sequences: Path | None,
    labelled: Path | None,
    generator: str | None,
    evidence: EvidenceMap | None,
    layout: str | None,
) -> Sources:
    from trim_pomdp.artifacts import hashes
    from trim_pomdp.data.outcomes import read_pilot, read_step_counts
    from trim_pomdp.data.processbench import read_solutions
    from trim_pomdp.data.sequences import read_sequences
    from trim_pomdp.fitting.dynamics import Sources
    from trim_pomdp.model.sequences import SequenceBatch

    files = [path for path in (step_counts, pilot, sequences, labelled) if path is not None]
    if not files:
        raise InputError("nothing to fit on: give --rollouts, --step-counts, --pilot, --sequences or --labelled")
    if generator is not None and labelled is None:
        raise InputError("--generator names a model of a --labelled file, and none is given")
    if step_counts is None and (weak or strong):
        raise InputError("--weak and --strong name models of a --step-counts file, and none is given")
    if step_counts is not None and not (weak or strong):
        raise InputError("--step-counts needs --weak NAME, --strong NAME or both")
    counts = None if step_counts is None else read_step_counts(step_counts)
    solutions = [] if labelled is None else read_solutions(labelled, layout=layout, tell=warn)
    if generator is not None:
        known = sorted({item.generator for item in solutions})
        solutions = [item for item in solutions if item.generator == generator]
        if not solutions:
            raise InputError(f"{labelled}: no generator {generator!r}; there are {', '.join(known)}")
    return Sources(
        weak_counts=counts.of(weak, source=str(step_counts)) if counts and weak else None,
        strong_counts=counts.of(strong, source=str(step_counts)) if counts and strong else None,
        pilot=[] if pilot is None else read_pilot(pilot),
        sequences=None if sequences is None else SequenceBatch.of(read_sequences(sequences, tell=warn), evidence),
        labelled=solutions,
        provenance=hashes(files),
    )


def show_dynamics(dynamics: StepDynamics) -> None:
    """Tables of parameters with intervals, rival explanations, and goodness of fit."""
    from trim_pomdp.model.dynamics import OF_REDRAFTS

    report = dynamics.fit
    show_warnings(dynamics)
    intervals = report.intervals if report else {}
    by_step = {f"weak_success.{t + 1}": value for t, value in enumerate(dynamics.weak_success)}
    values: dict[str, float | None] = {
        **(by_step if len(by_step) > 1 else {"weak_success": dynamics.weak_success[0]}),
        **{
            key: getattr(dynamics, key)
            for key in ("strong_success", "repair", "look_right", "false_alarms", "misses", "recovery")
        },
        **{
            name: value
            for name in OF_REDRAFTS
            if name not in ("redraft_same", "redraft_tilt") and (value := getattr(dynamics, name)) is not None
        },
    }
    if dynamics.redraft_tilt is not None:
        for key, (slope, bend) in dynamics.redraft_tilt:
            values |= {f"redraft_tilt.{key}.γ": slope, f"redraft_tilt.{key}.δ": bend}
    for kind in ("redraft_same", "weak_tokens", "strong_tokens"):
        tokens = getattr(dynamics, kind)
        if tokens is not None:
            values.update({f"{kind}.{key}": value for key, value in tokens.model_dump().items()})
    values["strong_only_tokens"] = dynamics.strong_only_tokens
    rows = []
    for key, value in values.items():
        interval = intervals.get(key)
        span = f"{interval.low:.4g} … {interval.high:.4g}" if interval else ""
        rows.append([key, value, span, _remark(key, report)])
    show_table(f"{dynamics.name} (step cap {dynamics.max_steps})", ["parameter", "estimate", "95%", ""], rows)
    if report is not None:
        _show_fit(report)


def _remark(name: str, report: FitReport | None) -> str:
    """What to know of the estimate of a parameter."""
    interval = report.intervals.get(name) if report else None
    known = interval is None or interval.identified
    decided = report is not None and name in report.prior_decides
    return ", ".join(["not identified"] * (not known) + ["prior decides"] * decided)


def show_warnings(dynamics: StepDynamics) -> None:
    """Why not to trust a fit, a line each, before anything else is said of it."""
    for line in dynamics.warnings:
        say(f"warning: {line}")


def _show_fit(report: FitReport) -> None:
    if report.rivals:
        held_out = any(rival.held_out_log_likelihood is not None for rival in report.rivals)
        rows_used = "held-out" if held_out else "all"
        titles = ("log-lik.", "acc. RMSE", "regen. RMSE", "tokens off", "weak/strong only")
        show_table(
            f"explanations of the pilot (chosen: {report.explanation}; over {rows_used} rows)",
            ["explanation", *titles],
            [
                [
                    rival.name,
                    rival.held_out_log_likelihood if held_out else rival.log_likelihood,
                    rival.held_out_accuracy_rmse if held_out else rival.accuracy_rmse,
                    rival.held_out_regenerations_rmse if held_out else rival.regenerations_rmse,
                    rival.visible_tokens_error,
                    f"{rival.weak_only_accuracy:.3f}/{rival.strong_only_accuracy:.3f}",
                ]
                for rival in report.rivals
            ],
        )
    often = Counter(check.quantity for check in report.checks if check.threshold is not None)
    by_threshold = [check for check in report.checks if check.threshold is not None and often[check.quantity] > 1]
    _show_threshold_checks(by_threshold)
    others = [check for check in report.checks if check not in by_threshold]
    if others:
        show_table(
            "goodness of fit",
            ["quantity", "implied", "observed", "z", "fitted"],
            [[c.label, c.implied, c.observed, c.z_score, "yes" if c.used_in_fit else "no"] for c in others],
        )
    if report.unidentified:
        say(f"not identified by these data: {', '.join(report.unidentified)}")
    if report.prior_decides:
        say(f"the prior decides more than these data: {', '.join(report.prior_decides)}")
    for note in report.noted:
        say(f"note: {note}")
    if report.draws is not None:
        say(f"{len(report.draws)} draws are kept: plans in these dynamics say how far they may be off")


def _show_threshold_checks(checks: list[Check]) -> None:
    """One row a threshold: implied / observed of every quantity, and the largest deviation in standard errors."""
    if not checks:
        return
    rows: dict[float, dict[str, Check]] = {}
    for check in checks:
        rows.setdefault(check.threshold or 0.0, {})[check.quantity] = check
    quantities = list(dict.fromkeys(check.quantity for check in checks))
    table: list[list[object]] = []
    for threshold, row in sorted(rows.items()):
        name = {0.0: "weak-only", 1.0: "strong-only"}.get(threshold, f"{threshold:g}")
        fitted = "*" if any(check.used_in_fit for check in row.values()) else ""
        scores = [abs(check.z_score) for check in row.values() if check.z_score is not None]
        table.append(
            [
                f"{name}{fitted}",
                *(_implied_and_observed(row[quantity]) if quantity in row else "" for quantity in quantities),
                number(max(scores), 1) if scores else None,
            ]
        )
    show_table(
        "goodness of fit by threshold: implied/observed (* used in the fit)",
        ["threshold", *(_SHORT.get(quantity, quantity) for quantity in quantities), "max |z|"],
        table,
    )


_SHORT = {
    "regenerations": "regen.",
    "strong tokens": "strong tok.",
    "kept tokens": "kept tok.",
    "discarded tokens": "discarded",
}


def _implied_and_observed(check: Check) -> str:
    size = max(abs(check.implied), abs(check.observed))
    decimals = 3 if size <= 1 else 2 if size < 10 else 0
    return f"{number(check.implied, decimals)}/{number(check.observed, decimals)}"


def _never_saw_outcomes(dynamics: StepDynamics) -> tuple[str, ...]:
    """A line if dynamics were fitted on thresholds, which tell beliefs little, and on no scored solutions."""
    sources = () if dynamics.fit is None else dynamics.fit.sources
    if not any("pilot" in name for name in sources) or any("sequences" in name for name in sources):
        return ()
    return (
        "the dynamics were fitted on a pilot, not on scored solutions: thresholds hardly tell how far to trust a score,"
        " so the filter may do worse than it could; fit on some with outcomes first (fit-dynamics --sequences)",
    )


def assess_beliefs(
    sequences: Annotated[Path, typer.Option(help="Scored solutions with outcomes.")],
    observations: ObservationsOption = None,
    dynamics: DynamicsOption = None,
    preset: PresetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Log loss, Brier score, AUC and calibration error of each belief on scored sequences."""
    from trim_pomdp.artifacts import Provenance
    from trim_pomdp.data.sequences import read_sequences
    from trim_pomdp.fitting.assessment import assess
    from trim_pomdp.model.sequences import SequenceBatch

    model, step_dynamics, _ = read_parts(preset, observations, dynamics)
    batch = SequenceBatch.of(read_sequences(sequences, tell=warn), model.evidence)
    scores, missing = assess(batch, model, step_dynamics)
    if Provenance.of(sequences).sha256 in {item.sha256 for item in step_dynamics.provenance}:
        warn(f"{sequences}: the dynamics were fitted on this very file; these numbers are in-sample")
    for message in missing:
        warn(message)
    notes = _never_saw_outcomes(step_dynamics)
    beliefs = {name: score.model_dump() for name, score in scores.items()}
    if as_json:
        emit_json({"sequences": len(batch), "beliefs": beliefs, "notes": notes})
        return
    columns = ["log_loss", "brier", "auc", "ece"]
    show_table(
        f"beliefs on {len(batch)} sequences",
        ["belief", *columns],
        [[name, *(values[column] for column in columns)] for name, values in beliefs.items()],
    )
    for note in notes:
        say(note)
