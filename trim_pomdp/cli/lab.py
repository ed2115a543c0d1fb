"""Verbs of the lab: train its models, and measure what they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trim_pomdp.cli.live import DEFAULT_FAMILY, LAB_PROBLEMS
from trim_pomdp.cli.models import JsonOption, SeedOption
from trim_pomdp.cli.output import emit_json, progress, say, show_table, warn
from trim_pomdp.errors import InputError

if TYPE_CHECKING:
    from trim_pomdp.lab.problems import Family
    from trim_pomdp.lab.properties import Properties
    from trim_pomdp.model.evidence import EvidenceMap

app = typer.Typer(
    name="lab",
    help="Tiny models that really generate and score: train them, and measure what they are.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(short_help="Train the lab's models")
def train(
    out: Annotated[Path, typer.Option("--out", help="Folder for base, strong, weak and prm.")],
    base: Annotated[Path | None, typer.Option("--base", help="Begin with this base instead of training one.")] = None,
    seed: SeedOption = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in the folder.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Cores to use; results differ in the last digits.")] = 2,
) -> None:
    """Train the lab's models from nothing: 75 minutes on two cores; what was interrupted goes on with --resume."""
    from trim_pomdp.lab.models import require_extra

    require_extra()
    import torch

    from trim_pomdp.lab.training import train as train_models

    torch.set_num_threads(threads)
    with progress("training") as tell:
        train_models(
            out,
            base=base,
            seed=seed,
            resume=resume,
            progress=lambda stage, step, steps, loss: tell(f"{stage}, step {step} of {steps}, loss {loss:.4f}"),
        )
    say(f"wrote {out}/: strong, weak, prm")


@app.command(short_help="Measure the lab's properties")
def check(
    models: Annotated[Path | None, typer.Option("--models", help="Folder with weak, strong and prm.")] = None,
    family: Annotated[
        list[str] | None, typer.Option("--family", help="chain, loop, mixed or wordy; all by default.")
    ] = None,
    problems: Annotated[int, typer.Option("--problems", min=50, help="Fresh problems a family.")] = 1000,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Draws other problems.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure afresh what makes the lab a fair test; exit code 1 if a property is out of its range."""
    from trim_pomdp.lab.models import load_models, use_cores
    from trim_pomdp.lab.problems import FAMILIES, parse_family
    from trim_pomdp.lab.properties import SEED, measure, violations

    families = [parse_family(name) for name in family] if family else list(FAMILIES)
    loaded = load_models(models)
    use_cores()
    measured: dict[Family, Properties] = {}
    with progress("measuring") as tell:
        for name in families:
            measured[name] = measure(
                name,
                loaded,
                n=problems,
                seed=SEED if seed is None else seed,
                evidence=_evidence(name),
                progress=tell,
            )
    wrong = [line for name, item in measured.items() for line in violations(name, item)]
    if as_json:
        emit_json({"families": {name: item.as_dict() for name, item in measured.items()}})
    else:
        _show(measured)
    for line in wrong:
        warn(line)
    if wrong:
        raise typer.Exit(1)


@app.command(short_help="Write problems of the lab to a file")
def problems(
    out: Annotated[Path, typer.Option("--out", help="File to write (JSONL), for --problems of other verbs.")],
    family: Annotated[str, typer.Option("--family", help="chain, loop, mixed or wordy.")] = DEFAULT_FAMILY,
    count: Annotated[int, typer.Option("--problems", min=1, help="How many.")] = LAB_PROBLEMS,
    split: Annotated[str, typer.Option("--split", help="fit (of rollout) or test (of run).")] = "test",
    seed: SeedOption = 0,
) -> None:
    """Write the problems that run (or rollout) draws with --models lab, for models behind servers."""
    from trim_pomdp.artifacts import write_text
    from trim_pomdp.data.problems import problems_text
    from trim_pomdp.lab.problems import draw, parse_family

    if split not in ("fit", "test"):
        raise InputError(f"unknown split {split!r}; there are fit and test")
    chosen = draw(parse_family(family), "fit" if split == "fit" else "test", seed, count)
    say(f"wrote {write_text(out, problems_text(chosen))}")


def _evidence(family: Family) -> EvidenceMap | None:
    """The evidence of the family's preset; that of the PRM alone as long as there is none."""
    from trim_pomdp.presets.store import load_preset

    try:
        return load_preset(f"lab-{family}").observations.evidence
    except InputError:
        return None


def _show(measured: dict[Family, Properties]) -> None:
    rows = [
        [name, *(getattr(item, name) for item in measured.values())]
        for name in (
            "weak",
            "strong",
            "p_w",
            "p_s",
            "p_r",
            "p_d",
            "prm_auc",
            "logprob_auc",
            "evidence_auc",
            "fate_prm",
            "fate_logprob",
            "steps_right",
            "steps_derailed",
        )
    ]
    errors = [item.error_by_step for item in measured.values()]
    rows += [
        [f"weak errors at step {step + 1}", *(item[step] if step < len(item) else None for item in errors)]
        for step in range(max(map(len, errors)))
    ]
    n = next(iter(measured.values())).n
    show_table(f"{n} fresh problems a family", ["property", *measured], rows)
