"""Tables and pictures of the live study, from the runs that `benchmarks/study_live.py` made.

    python benchmarks/report_live.py --work FOLDER --out docs/live [--markdown FILE] [--json FILE]

Prints Markdown. The numbers themselves are made in `live_findings`, statistics in `live_statistics`.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import live_findings as findings
from live_findings import Row
from live_pictures import picture_beliefs, picture_plans, picture_policies
from live_runs import FamilyRuns, ReportError, read_family
from live_statistics import Bootstrap, Estimate
from report import heading, table

from trim_pomdp.errors import TrimError
from trim_pomdp.lab.problems import FAMILIES
from trim_pomdp.presets.store import Preset, load_preset

Columns = dict[str, Callable[[Row], object]]


class Report:
    """Rows of all sections, printed as they are made.

    Parameters
    ----------
    families : sequence of FamilyRuns
    out : Path
        Folder of the pictures.
    command : str
        How the report is made.
    draws, seed : int
        Of the bootstrap.
    """

    def __init__(self, families: Sequence[FamilyRuns], out: Path, command: str, *, draws: int, seed: int = 0) -> None:
        self.families = families
        self.out = out
        self.command = command
        self.draws = draws
        self.bootstraps = {item.name: Bootstrap.of(len(item.problems), draws, seed) for item in families}
        self.numbers: dict[str, list[Row]] = {}

    def make(self) -> None:
        """All sections in turn."""
        heading("Live runs of the lab")
        for section in (self.plans, self.policies, self.evidence, self.beliefs, self.oracle, self.speed):
            section()

    def plans(self) -> None:
        """Section 1."""
        self._title("Plan against reality")
        self._table("plan", self._rows(lambda family, _: findings.plan_rows(family)), PLAN)
        summaries = self._rows(findings.plan_summary)
        self._table("plan_summary", summaries, PLAN_SUMMARY, "All predictions together, by kind of run")
        _note(PLAN_NOTE)
        self._picture(
            "planned and measured accuracy against budget", picture_plans(self.families, self.out / "plan.png")
        )

    def policies(self) -> None:
        """Section 2."""
        self._title("Policy against rules at equal strong tokens")
        rows = self._rows(findings.policy_rows)
        for rival in findings.RIVALS:
            self._table(f"policy_{rival}", [row for row in rows if row["rival"] == rival], POLICY, RIVAL_NAMES[rival])
        _note(POLICY_NOTE)
        for family in self.families:
            path = picture_policies(family, self.out / f"policies-{family.name}.png")
            self._picture(f"{family.name}: accuracy against budget", path)

    def evidence(self) -> None:
        """Section 3."""
        self._title("What evidence is worth")
        self._table("evidence", self._rows(findings.evidence_rows), EVIDENCE, "Right steps against first errors")
        _note(EVIDENCE_NOTE)
        rows = self._rows(findings.evidence_routing_rows)
        self._table("evidence_routing", rows, EVIDENCE_ROUTING, "Accuracy of policies on different evidence")
        _note(ROUTING_NOTE)

    def beliefs(self) -> None:
        """Section 4."""
        self._title("Beliefs on true classes")
        made = [findings.belief_rows(family, self.bootstraps[family.name]) for family in self.families]
        steps, outcomes = [row for item in made for row in item[0]], [row for item in made for row in item[1]]
        self._table("beliefs_steps", steps, BELIEFS, "P(prefix right) after each step of weak-only solutions")
        self._table("beliefs_outcomes", outcomes, BELIEFS, "P(answer right) after the last step: outcomes only")
        _note(BELIEF_NOTE)
        for line in (line for item in made for line in item[2]):
            print(f"Left out: {line}\n")
        seen = [family for family in self.families if "weak" in family.runs]
        if seen:
            draws = [self.bootstraps[family.name] for family in seen]
            self._picture(
                "reliability of beliefs, bins of 20 or more steps, size by how many",
                picture_beliefs(seen, draws, self.out / "beliefs.png"),
            )

    def oracle(self) -> None:
        """Section 5."""
        self._title("Distance to the oracle on the true class")
        self._table("oracle", self._rows(findings.oracle_rows), ORACLE)
        _note(ORACLE_NOTE)

    def speed(self) -> None:
        """Section 6."""
        self._title("Speed")
        self._table("speed", findings.speed_rows(self.families), SPEED)
        _note(SPEED_NOTE)

    def _rows(self, make: Callable[[FamilyRuns, Bootstrap], list[Row]]) -> list[Row]:
        return [row for family in self.families for row in make(family, self.bootstraps[family.name])]

    def _title(self, title: str) -> None:
        print(f"### {title}\n")

    def _table(self, key: str, rows: list[Row], columns: Columns, title: str = "") -> None:
        self.numbers[key] = rows
        if title:
            print(f"#### {title}\n")
        if not rows:
            print("(its runs are not there yet)\n")
            return
        seeds = ", ".join(sorted({str(family.seed) for family in self.families}))
        problems = ", ".join(f"{family.name} {len(family.problems)}" for family in self.families)
        print(
            f"Problems a run: {problems}; seed {seeds}; brackets are 95 % intervals from {self.draws} paired bootstrap "
            f"draws of problems, ± one standard error. `{self.command}`\n"
        )
        table(list(columns), [[cell(row) for cell in columns.values()] for row in rows])

    def _picture(self, title: str, path: Path) -> None:
        print(f"![{title}]({'/'.join(path.parts[-2:])})\n")


def _note(text: str) -> None:
    """Print a paragraph."""
    print(" ".join(text.split()) + "\n")


# Prose ------------------------------------------------------------------------------------------------------


PLAN_NOTE = """
Budgets are shares of strong-only's tokens in the preset. *Within*: realised over asked budget within 3 % and two
standard errors; where the plan itself says that the budget cannot be spent to advantage (*), realised over planned
(such budgets are one and the same policy, and count once each). RMSE beyond sampling error is
√max(0, mean((measured − planned)² − s.e.²)) over the runs.
"""
POLICY_NOTE = """
Differences in points: accuracy of the policy minus the concave hull of the rival's measured points, weak-only and
strong-only, at the policy's measured strong tokens; the hull is made anew in every bootstrap draw. A hull goes
through the luckiest of its noisy points, so it is optimistic *for the rival*: *optimism* is how far the bootstrap's
hulls lie above the sample's on average, which estimates it. *Chosen elsewhere* takes, over 100 random splits, the
rival's best mixture from one half of the problems and values it on the other, which errs a little the other way.
Between the rival's points the hull is a chord, below what a rule between them might reach. *Predicted* is the same
difference among the models' expectations, each in the model that it was planned in. Intervals are of single rows,
without a correction for how many there are.
"""
EVIDENCE_NOTE = """
Weak steps that follow a right prefix. AUC is of the evidence score; log loss of P(S0 | not derailed) with p_w and the
transferred densities of the preset, so nothing is calibrated on test problems. Sources: the weak model alone, and the
drafts in the run budget-0.2.
"""
ROUTING_NOTE = """
Points by which the default evidence is ahead: at equal asked budgets, and at its own strong tokens against the hull
of the other's budgets and the ends.
"""
BELIEF_NOTE = """
*Above* is the log loss minus that of the family's first row, paired. The running minimum is calibrated on outcomes of
whole solutions, in the middle of one it was never meant to be read. *Prior alone* is p_w by step, without evidence.
The row of the run budget-0.2 is P(S0) of each draft as the router had it.
"""
ORACLE_NOTE = """
Points below the chord from weak-only to the oracle (which regenerates first errors, a random share of them here) at
the policy's strong tokens; past the oracle's own tokens (†) its accuracy. The chord bounds policies that repair any
first error as gladly as another; *best on truth* is planned on true classes and may prefer late errors and short
steps, and nothing in the model lies above it.
"""
SPEED_NOTE = """
Families together; the weak model's own run also has its steps scored, in one PRM call a problem. Time in which no
model worked, per step written, traces included. Times are of a shared machine.
"""


# Columns ----------------------------------------------------------------------------------------------------


def number(key: str, digits: int = 3) -> Callable[[Row], object]:
    """A number, or an estimate with its interval."""

    def cell(row: Row) -> object:
        value = row[key]
        return f"{value:.{digits}f}" if isinstance(value, float) else value if value is None else str(value)

    return cell


def with_error(key: str) -> Callable[[Row], object]:
    """A number ± its standard error."""
    return lambda row: f"{row[key]:.3f} ± {row[f'{key}_se']:.3f}"


def points(key: str) -> Callable[[Row], object]:
    """A difference in percentage points."""

    def cell(row: Row) -> object:
        value = row[key]
        return value.points if isinstance(value, Estimate) else value if value is None else f"{100 * value:+.1f}"

    return cell


RIVAL_NAMES = {
    "threshold": "Against the threshold rule on the PRM score",
    "paper": "Against the paper's rule",
    "random": "Against step-random",
}
FAMILY: Columns = {"family": number("family")}
PLAN: Columns = FAMILY | {
    "asked": number("asked", 2),
    "planned": lambda row: f"{row['planned_budget']:.3f}{'' if row['plan_spends_all'] else ' *'}",
    "realised": with_error("realised"),
    "realised / asked": with_error("ratio"),
    "within": lambda row: "yes" if row["within"] else "**no**",
    "planned accuracy": number("planned_accuracy"),
    "measured": with_error("accuracy"),
    "difference, points": points("difference"),
}
PLAN_SUMMARY: Columns = FAMILY | {
    "predicted": number("group"),
    "runs": number("runs"),
    "RMSE of accuracy": number("rmse"),
    "beyond sampling error": number("rmse_beyond"),
    "mean difference, points": points("mean_difference"),
    "strong tokens, measured / planned": number("token_ratio"),
    "budgets within": number("budgets_within"),
}
POLICY: Columns = FAMILY | {
    "evidence": number("evidence"),
    "asked": number("asked", 2),
    "realised": number("budget"),
    "policy": number("accuracy"),
    "hull": number("hull"),
    "difference, points": points("difference"),
    "predicted": points("predicted"),
    "optimism": points("optimism"),
    "chosen elsewhere": points("chosen_elsewhere"),
}
EVIDENCE: Columns = FAMILY | {
    "steps of": number("source"),
    "right / first errors": lambda row: f"{row['right']} / {row['wrong']}",
    "evidence": number("evidence"),
    "AUC": number("auc"),
    "AUC minus PRM's": number("auc_gain"),
    "log loss": number("log_loss"),
    "minus PRM's": number("log_loss_gain"),
    "prior alone": number("log_loss_prior"),
}
EVIDENCE_ROUTING: Columns = FAMILY | {
    "asked": number("asked", 2),
    "default": lambda row: f"{row['default']}: {row['accuracy']:.3f}",
    "other": lambda row: f"{row['other']}: {row['other_accuracy']:.3f}",
    "difference, points": points("difference"),
    "predicted": points("predicted"),
    "other's tokens": lambda row: f"× {row['token_ratio']:.3f}",
    "at equal tokens, points": points("at_equal_tokens"),
}
BELIEFS: Columns = FAMILY | {
    "belief": number("belief"),
    "rows": number("rows"),
    "right": number("share_right"),
    "log loss": number("log_loss"),
    "above": number("log_loss_above_first"),
    "Brier": number("brier"),
    "ECE": number("ece"),
}
ORACLE: Columns = FAMILY | {
    "asked": number("asked", 2),
    "policy": number("accuracy"),
    "oracle": lambda row: f"{row['oracle']:.3f}{' †' if row['past_oracle'] else ''}",
    "below it, points": points("below_oracle"),
    "in the model": points("predicted_below_oracle"),
    "below best on truth, in the model": points("predicted_below_best_on_truth"),
}
SPEED: Columns = {
    "strategy": number("strategy"),
    "runs": number("runs"),
    "problems a minute": number("per_minute", 0),
    "slowest to fastest": lambda row: f"{row['slowest']:.0f} to {row['fastest']:.0f}",
    "decisions": number("decisions"),
    "outside the models, µs per decision": number("outside_us", 0),
    "share": number("outside_share"),
    "failed": number("failed"),
}


# Command ----------------------------------------------------------------------------------------------------


def preset_loader(folder: Path | None) -> Callable[[str], Preset]:
    """Presets of the package, or those of a folder."""
    return load_preset if folder is None else lambda name: Preset.read(folder / f"{name}.json")


def read_families(work: Path, load: Callable[[str], Preset]) -> list[FamilyRuns]:
    """The families that a study's folder holds.

    Raises
    ------
    ReportError
        If there is none, or one is not as it should be.
    """
    names: Iterable[str] = [name for name in FAMILIES if (work / name).is_dir()]
    families = [read_family(work / name, load) for name in names]
    if not families:
        raise ReportError(f"{work}: holds no family ({', '.join(FAMILIES)}); make runs with benchmarks/study_live.py")
    return families


def plain(value: Any) -> Any:
    """JSON values; what is not finite is null."""
    if isinstance(value, Estimate):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of study_live.py")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--markdown", type=Path, help="also write the report here")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--presets", type=Path, help="folder of presets that the runs were planned in, if not shipped")
    parser.add_argument("--draws", type=int, default=2000, help="draws of the bootstrap")
    parsed = parser.parse_args(arguments)
    command = f"python benchmarks/report_live.py --work FOLDER --out {parsed.out}"
    text = io.StringIO()
    try:
        families = read_families(parsed.work, preset_loader(parsed.presets))
        parsed.out.mkdir(parents=True, exist_ok=True)
        report = Report(families, parsed.out, command, draws=parsed.draws)
        with redirect_stdout(text):
            report.make()
    except (ReportError, TrimError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(text.getvalue(), end="")
    if parsed.markdown is not None:
        parsed.markdown.write_text(text.getvalue())
    if parsed.json is not None:
        parsed.json.write_text(json.dumps(plain(report.numbers), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
