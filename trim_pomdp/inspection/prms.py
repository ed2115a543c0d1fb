"""Several process reward models side by side, on the same labelled steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trim_pomdp.data.processbench import StepScores, class_features
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.observations import EstimatorName, compare_estimators
from trim_pomdp.inspection.frames import frame

if TYPE_CHECKING:
    from trim_pomdp.inspection.frames import Frame


def compare_prms(
    records: Sequence[StepScores], *, estimator: EstimatorName = "likelihood-ratio", seed: int = 0
) -> Frame:
    """How well each PRM tells a right step from a first error, held out by solution: a row for each.

    Parameters
    ----------
    records : sequence of StepScores
        Of which every one has the scores of all PRMs that the first one has.
    estimator : {"likelihood-ratio", "histogram", "reflected-kde"}
    seed : int
        Of the folds.

    Raises
    ------
    InputError
        If there is no record, none has scores, or one lacks those of a PRM.
    """
    if not records or not records[0].scores:
        raise InputError("labelled solutions with the scores of a PRM are needed")
    names = list(records[0].scores)
    features = [class_features(records, name) for name in names]
    rows = [compare_estimators(item, (estimator,), seed=seed).rows[0] for item in features]
    return frame(
        {
            "prm": names,
            "right_steps": [len(item.features["S0"]) for item in features],
            "first_errors": [len(item.features["S2"]) for item in features],
            "auc": [row.auc.value for row in rows],
            "auc_se": [row.auc.standard_error for row in rows],
            "log_loss": [row.log_loss.value for row in rows],
            "log_loss_se": [row.log_loss.standard_error for row in rows],
        }
    )
