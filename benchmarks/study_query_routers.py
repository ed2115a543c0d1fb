"""RouteLLM's routers on real outcomes: GPT-4 and Mixtral 8x7B on MMLU and GSM8K, cross-validated.

    python benchmarks/study_query_routers.py [--data gsm8k] [--data mmlu] [--mmlu 3000] [--folds 5] [--cache FOLDER]

Each problem is routed by a router that was fitted on the other folds, which escalates the same share of every fold;
cost is the share of calls to the strong model, as RouteLLM has it. Points are shares of 5, 10, …, 95 per cent of calls.
Intervals are 95 % of a paired bootstrap over problems; what other folds or seeds would give is not in them. --mmlu
takes so many problems by chance out of 14,042 (0: all); --cache keeps sentence embeddings, which take 0.1 s a prompt
on a busy core.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import data_folder, heading, table
from scipy.stats import rankdata

from trim_pomdp.data.problems import Problem
from trim_pomdp.data.queries import QueryOutcome, split_outcomes
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.queries.features import fit_ngrams
from trim_pomdp.fitting.queries.oracle import query_oracle
from trim_pomdp.fitting.queries.routellm import fit_bert, fit_mf, fit_sw
from trim_pomdp.metrics import Estimate, Outcomes, bootstrap
from trim_pomdp.policies.prompt_features import AnyPromptFeatures, SentenceEmbedding
from trim_pomdp.policies.query import PromptRule
from trim_pomdp.policies.query_random import QueryRandomRule

FloatArray = NDArray[np.float64]
Fit = Callable[[Sequence[QueryOutcome], AnyPromptFeatures, FloatArray], PromptRule]
SHARES = np.arange(1, 20) / 20

ROUTERS: dict[str, Fit] = {
    "mf": lambda part, features, seen: fit_mf(part, features, seen=seen),
    "mf, ties dropped": lambda part, features, seen: fit_mf(part, features, ties="dropped", seen=seen),
    "bert": lambda part, features, seen: fit_bert(part, features, seen=seen),
    "sw": lambda part, features, seen: fit_sw(part, features, seen=seen),
}


def main() -> None:
    """Print a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("gsm8k", "mmlu"), action="append")
    parser.add_argument("--mmlu", type=int, default=3000)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path)
    parsed = parser.parse_args()
    for name in parsed.data or ("gsm8k", "mmlu"):
        outcomes = read_outcomes(name, parsed.mmlu if name == "mmlu" else 0, parsed.seed)
        heading(f"{name}: {len(outcomes)} problems, {parsed.folds} folds")
        rows = study(name, outcomes, parsed.folds, parsed.draws, parsed.seed, parsed.cache)
        table(("router", "features", "APGR", "CPT(50%)", "CPT(80%)"), rows)


def read_outcomes(name: str, limit: int, seed: int) -> list[QueryOutcome]:
    """Outcomes of a data set, or of so many of its problems by chance; a call is a strong token."""
    with gzip.open(data_folder() / "routellm" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        raws = [json.loads(line) for line in lines]
    chosen = range(len(raws))
    if 0 < limit < len(raws):
        chosen = sorted(np.random.default_rng(seed).permutation(len(raws))[:limit])
    return [
        QueryOutcome(
            Problem(raw["id"], raw.get("prompt", raw.get("problem"))),
            float(raw["weak_correct"]),
            float(raw["strong_correct"]),
        )
        for raw in (raws[index] for index in chosen)
    ]


def study(
    name: str, outcomes: Sequence[QueryOutcome], folds: int, draws: int, seed: int, cache: Path | None
) -> list[tuple[str, ...]]:
    """A row a router: measures with intervals."""
    rows = [
        (
            "query-random",
            "–",
            *measures(QueryRandomRule().points([o.problem for o in outcomes]), outcomes, draws, seed),
        ),
        ("query-oracle", "–", *measures(np.array([o.gain for o in outcomes]), outcomes, draws, seed)),
    ]
    assert query_oracle(outcomes).worth == {o.problem.id: o.gain for o in outcomes}, "a call is a strong token"
    embedded = embeddings(name, [o.problem.prompt for o in outcomes], cache)
    for kind in ("MiniLM", "TF-IDF") if embedded is not None else ("TF-IDF",):
        points = {router: np.empty(len(outcomes)) for router in ROUTERS}
        for rest, inside in split_outcomes(outcomes, folds, seed):
            features, seen, new = featured(kind, outcomes, rest, inside, embedded)
            for router, fit in ROUTERS.items():
                # Ranks, since a fold of many wins is told by routers that saw few: pooled points would go against it.
                points[router][inside] = rankdata(fit(rest, features, seen).points_of(new)) / len(inside)
        rows += [(router, kind, *measures(found, outcomes, draws, seed)) for router, found in points.items()]
    return rows


def featured(
    kind: str,
    outcomes: Sequence[QueryOutcome],
    rest: Sequence[QueryOutcome],
    inside: Sequence[int],
    embedded: FloatArray | None,
) -> tuple[AnyPromptFeatures, FloatArray, FloatArray]:
    """The featuriser, and features of the problems to fit on and of those left out."""
    if kind == "MiniLM":
        assert embedded is not None
        outside = np.setdiff1d(np.arange(len(outcomes)), inside)
        return SentenceEmbedding(), embedded[outside], embedded[list(inside)]
    prompts = [item.problem.prompt for item in rest]
    features = fit_ngrams(prompts, analyzer="word", ngram=(1, 2), buckets=2**14, dimensions=128)
    new = [outcomes[index].problem.prompt for index in inside]
    return features, features.transform(prompts), features.transform(new)


def embeddings(name: str, prompts: Sequence[str], cache: Path | None) -> FloatArray | None:
    """Sentence embeddings of prompts, kept in a folder if one is named; None where the extra is not installed."""
    path = None if cache is None else cache / f"{name}-{len(prompts)}.npy"
    if path is not None and path.exists():
        return np.asarray(np.load(path), dtype=np.float64)
    try:
        found = SentenceEmbedding().transform(prompts)
    except InputError as error:
        print(f"{error}\n")
        return None
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, found)
    return found


def measures(points: FloatArray, outcomes: Sequence[QueryOutcome], draws: int, seed: int) -> tuple[str, str, str]:
    """APGR and CPT of escalating in the order of points, at the shares of calls."""
    weak = np.array([item.weak_right for item in outcomes])
    strong = np.array([item.strong_right for item in outcomes])
    tie_break = np.random.default_rng(seed).random(len(points))
    rank = np.empty(len(points))
    rank[np.lexsort((tie_break, -points))] = np.arange(len(points)) / len(points)
    up = rank < SHARES[:, None]
    ends = {"weak": Outcomes(weak, np.zeros(len(weak))), "strong": Outcomes(strong, np.ones(len(strong)))}
    found = bootstrap(
        Outcomes(np.where(up, strong, weak), up.astype(float)), **ends, seed=seed, shares=(0.5, 0.8), draws=draws
    )
    return told(found.apgr), told(found.cpt[0.5]), told(found.cpt[0.8])


def told(estimate: Estimate) -> str:
    """A value with its interval."""
    value, low, high = ("–" if x is None else f"{x:.3f}" for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    main()
