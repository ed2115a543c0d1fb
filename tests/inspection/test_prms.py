"""Several PRMs side by side."""

import numpy as np
import pytest

from trim_pomdp.data.processbench import StepScores
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.prms import compare_prms


def record(index: int, **scores: list[float]) -> StepScores:
    n = len(next(iter(scores.values())))
    label = n - 1 if index % 2 else -1
    return StepScores.model_validate({"id": f"s{index}", "label": label, "n_scored": n, "scores": scores})


def test_the_better_one_has_the_larger_auc() -> None:
    rng = np.random.default_rng(0)
    records = []
    for index in range(80):
        clean = [*rng.uniform(0.8, 1.0, 3), rng.uniform(0.0, 0.3) if index % 2 else rng.uniform(0.8, 1.0)]
        records.append(record(index, clean=clean, noise=rng.uniform(0.0, 1.0, 4).tolist()))
    table = compare_prms(records)
    assert list(table["prm"]) == ["clean", "noise"]
    assert list(table["right_steps"]) == [280, 280]
    assert list(table["first_errors"]) == [40, 40]
    assert table["auc"][0] == pytest.approx(1.0)
    assert abs(table["auc"][1] - 0.5) < 4 * table["auc_se"][1]
    assert table["log_loss"][0] < table["log_loss"][1]


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="labelled solutions with the scores of a PRM are needed"):
        compare_prms([])
    with pytest.raises(InputError, match="b"):
        compare_prms([record(0, a=[0.5, 0.5], b=[0.5, 0.5]), record(1, a=[0.5, 0.5])])
