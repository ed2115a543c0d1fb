"""Tables of `docs/results.md` from results of benches: ``python benchmarks/report_bench.py FOLDER [FOLDER …]``.

FOLDER is what ``trim-pomdp bench`` wrote, of one family or with one folder for each. Prints Markdown: the papers'
tables with our rows, what planning and evidence are worth, and plans beside what was measured.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from report import heading, table

import trim_pomdp as tp
from trim_pomdp.bench.flow import AGAINST, RESULT_FILE
from trim_pomdp.bench.tables import headline
from trim_pomdp.metrics.standings import BenchResult, Point

PAPERS = {
    "routellm-bert": "BERT",
    "routellm-mf": "MF",
    "routellm-sw": "SW Ranking",
    "smoothie": "Smoothie",
    "automix": "AutoMix",
    "automix-prm": "AutoMix-PRM",
    "threshold": "TRIM-Thr",
    "trim-agg": "TRIM-Agg",
    "trim-seq": "TRIM-Seq",
    "paper-pomdp": "TRIM-POMDP's rule",
    "pomdp-prm": "**ours**, PRM alone",
    "pomdp": "**ours**",
    "pomdp-redraft": "**ours**, with redrafts",
    "pomdp-recall": "**ours**, of up to four drafts",
}
EQUAL_EVIDENCE = (
    *(("pomdp", other) for other in ("evidence-threshold", "evidence-takeover", "evidence-agg")),
    *((plan, other) for plan, others in AGAINST.items() for other in others or ()),
)
EQUAL_PLANNING = (("pomdp", "pomdp-prm"), ("pomdp", "pomdp-logprob"))
PLANS = ("pomdp", "pomdp-prm", "pomdp-logprob", "pomdp-redraft", "pomdp-recall")
BUDGETS = (0.05, 0.1, 0.2, 0.3)


def results(folders: Sequence[str]) -> Iterator[BenchResult]:
    """Of all folders, and of the folders in them."""
    for folder in folders:
        for path in sorted(Path(folder).glob(RESULT_FILE)) or sorted(Path(folder).glob(f"*/{RESULT_FILE}")):
            found = tp.load(path)
            assert isinstance(found, BenchResult)
            yield found


def papers(result: BenchResult) -> None:
    """CPT and ΔIBC in the papers' rows."""
    heading(f"{result.name}, made on {result.fitted_on} (weak {result.weak:.3f}, strong {result.strong:.3f})")
    columns, rows = headline(result)
    cells = {row[0]: row[1:5] for row in rows}
    table(["", *columns[1:5]], [[shown, *cells[name]] for name, shown in PAPERS.items() if name in cells])


def worth(found: Sequence[BenchResult], title: str, pairs: Sequence[tuple[str, str]]) -> None:
    """How much better, at the same budget, the first of each pair is."""
    heading(title)
    rows = []
    for plan, other in pairs:
        for result in found:
            known = {item.budget: item for item in result.differences if (item.against, item.strategy) == (plan, other)}
            if known:
                cells = (known[budget] for budget in BUDGETS)
                shown = [
                    f"{-100 * i.difference:+.1f} [{-100 * i.high:+.1f}, {-100 * i.low:+.1f}]"
                    + "*" * (i.p_adjusted < 0.05)
                    for i in cells
                ]
                rows.append([f"{plan} − {other}", result.name, *shown])
    table(["points of accuracy", "", *map(str, BUDGETS)], rows)


def promises(found: Sequence[BenchResult]) -> None:
    """Plans beside what was measured, and by how much they are off beyond sampling error."""
    heading("Planned and measured")
    rows = []
    for plan in PLANS:
        off: list[tuple[float, float]] = []
        spent: list[tuple[float, float]] = []
        for result in (item for item in found if plan in item.strategies):
            points = [p for p in result.strategies[plan].points if p.asked_budget in BUDGETS]
            rows.append([plan, result.name, *map(_promise, points)])
            off += [(p.accuracy - (p.planned_accuracy or 0.0), p.accuracy_se) for p in points]
            spent += [(p.budget - (p.planned_budget or 0.0), p.budget_se) for p in points]
        if off:
            rows.append(
                [plan, "beyond sampling", f"accuracy {_beyond(off):.3f}", f"budget {_beyond(spent):.3f}", "", ""]
            )
    table(["accuracy: planned → measured (spent)", "", *map(str, BUDGETS)], rows)


def _promise(point: Point) -> str:
    return f"{point.planned_accuracy:.3f} → {point.accuracy:.3f} ± {point.accuracy_se:.3f} ({point.budget:.3f})"


def _beyond(pairs: Sequence[tuple[float, float]]) -> float:
    """Root mean square of differences, less what sampling explains."""
    off, errors = np.array(pairs).T
    return float(np.sqrt(max(np.mean(off**2 - errors**2), 0.0)))


def main() -> None:
    """Print all tables."""
    found = list(results(sys.argv[1:]))
    for result in found:
        papers(result)
    worth(found, "What planning is worth at equal evidence", EQUAL_EVIDENCE)
    worth(found, "What evidence is worth at equal planning", EQUAL_PLANNING)
    promises(found)


if __name__ == "__main__":
    main()
