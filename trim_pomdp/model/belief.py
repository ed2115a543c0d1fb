"""Beliefs about the prefix: a recursive filter, the paper's memoryless posterior, a calibrated running minimum.

The filter carries one number, q = P(the prefix before the current step is right). One epoch is three small
functions: `class_prior` (the weak step arrives), `update` (its score is seen), `next_q` (the action is taken).

Process and filter: docs/model.md, sections 2 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trim_pomdp.data.features import LOGPROBS, running_minimum
from trim_pomdp.errors import InputError, UnsetParameterError
from trim_pomdp.model.actions.base import KEEP as KEEP
from trim_pomdp.model.actions.base import NEXT, StepLaw
from trim_pomdp.model.actions.base import OVER as OVER
from trim_pomdp.model.actions.base import REGENERATE as REGENERATE
from trim_pomdp.model.actions.keep import Keep
from trim_pomdp.model.actions.regenerate import Regenerate
from trim_pomdp.model.dynamics import MinimumCalibration, StepDynamics
from trim_pomdp.model.evidence import evidence_scores, probability
from trim_pomdp.model.observations import ObservationModel
from trim_pomdp.model.sequences import SequenceBatch

FloatArray = NDArray[np.float64]
RIGHT, DERAILED = 0, 1
GOES_ON = NEXT


def class_prior(q: float | FloatArray, weak_success: float | FloatArray) -> FloatArray:
    """Distribution over S0, S1, S2 of a new weak step, before its score; shape (..., 3).

    Examples
    --------
    >>> class_prior(0.5, 0.75).tolist()
    [0.375, 0.5, 0.125]
    """
    q = np.asarray(q, dtype=np.float64)
    return np.stack([q * weak_success, 1.0 - q, q * (1.0 - weak_success)], axis=-1)


def update(prior: FloatArray, likelihood: FloatArray) -> FloatArray:
    """Bayes: multiply by the likelihood of what was seen, and normalise.

    Where the evidence is impossible under every class that the prior allows, the prior stands.

    Parameters
    ----------
    prior, likelihood : ndarray of shape (..., 3)
    """
    joint = prior * likelihood
    total = joint.sum(axis=-1, keepdims=True)
    out: FloatArray = np.array(np.broadcast_to(prior, joint.shape))
    np.divide(joint, total, out=out, where=total > 0)
    return out


def outcome_table(strong_success: float, repair: float, recovery: FloatArray, end: FloatArray) -> FloatArray:
    """What follows keeping and regenerating, out of the tables of these two actions (`trim_pomdp.model.actions`).

    Parameters
    ----------
    strong_success, repair : float
        p_s and p_r.
    recovery : ndarray of shape (T,)
        ρ by step.
    end : ndarray of shape (T, 3)
        Hazards by step and class.

    Returns
    -------
    ndarray of shape (T, 2, 2, 3, 2, 2)
        By step, whether the weak step ended the solution, action and class; the last two axes: the solution goes on
        or is over, the prefix is right or derailed.
    """
    law = StepLaw(np.ones(len(recovery)), strong_success, repair, recovery, end)
    tables = [action.outcomes(law)[:, :, :, :2, :2] for action in (Keep(), Regenerate())]
    return np.stack(tables, axis=2)


def kept_q(belief: FloatArray, recovery: float | FloatArray) -> FloatArray:
    """P(prefix right after a weak step that is kept), from the belief over its class; shape (...)."""
    return np.asarray(belief[..., 0] + recovery * belief[..., 1])


def next_q(belief: FloatArray, outcomes: FloatArray, over: NDArray[np.bool_] | bool) -> FloatArray:
    """P(prefix right after an action), given whether the solution then is over; shape (...).

    Where the model says that it cannot be so, that is no evidence.

    Parameters
    ----------
    belief : ndarray of shape (..., 3)
        Over the class of the weak step.
    outcomes : ndarray of shape (..., 3, 2, 2)
        A row of `outcome_table`, by step, end of the weak step and action.
    over : bool or ndarray of bool, shape (...)
    """
    prefix = (belief[..., None, None] * outcomes).sum(axis=-3)  # over, right or derailed
    seen = np.where(np.asarray(over)[..., None], prefix[..., OVER, :], prefix[..., GOES_ON, :])
    total = seen.sum(axis=-1, keepdims=True)
    return np.asarray(np.where(total > 0, seen / np.where(total > 0, total, 1.0), prefix.sum(axis=-2))[..., RIGHT])


def filter_states(
    bins: NDArray[np.int64],
    mask: NDArray[np.bool_],
    emission: FloatArray,
    dynamics: StepDynamics,
    *,
    finished: bool = True,
) -> FloatArray:
    """Run the filter over kept steps of many sequences at once.

    The last step of a sequence is taken as its end if it is `finished`. A recorded sequence may be longer than the
    cap, where the model ends every solution: it goes on with success and hazard of the last step before the cap.

    Parameters
    ----------
    bins : ndarray of shape (n, T)
        Observation bin of every step.
    mask : ndarray of shape (n, T)
        True where a step exists (steps are contiguous from the first).
    emission : ndarray of shape (3, J)
        Probability of each bin given S0, S1, S2.

    Returns
    -------
    ndarray of shape (n, T)
        q after each step (repeated after the end).
    """
    n, T = bins.shape
    success, end = dynamics.weak_success_by_step, dynamics.end
    lengths = mask.sum(axis=1)
    recovery = dynamics.recovery_by_step
    before_cap = max(dynamics.max_steps - 2, 0)
    by_class = dynamics.hazards_differ
    out = np.empty((n, T))
    q = np.ones(n)
    for t in range(T):
        ended = (t == lengths - 1) & finished
        # At the cap itself a sequence that ends does what the model says: its end is no evidence.
        step = np.where(ended & (t == dynamics.max_steps - 1), t, min(t, before_cap))
        prior, likelihood = class_prior(q, success[step]), emission[:, bins[:, t]].T
        belief = update(prior, likelihood)
        if by_class:
            # An end (or none) that no class can explain is no evidence, and neither is such a score.
            with_end = update(belief, np.where(ended[:, None], end[step], 1.0 - end[step]))
            belief = np.where((prior * likelihood).sum(axis=1, keepdims=True) > 0, with_end, belief)
        q = np.where(mask[:, t], kept_q(belief, recovery[step]), q)
        out[:, t] = q
    return out


def require_evidence(batch: SequenceBatch, observations: ObservationModel) -> None:
    """Raise `InputError` unless the scores of a batch are those that the observations bin."""
    if batch.evidence != observations.evidence:
        raise InputError(
            f"the sequences hold other evidence than observations {observations.name!r} bin; make the batch with "
            "SequenceBatch.of(sequences, observations.evidence)"
        )


class Belief(Protocol):
    """Anything that says how likely a finished solution is to be right."""

    def probability_right(self, batch: SequenceBatch) -> FloatArray:
        """P(right) of each sequence after its last step, shape (n,)."""
        ...


class FilterBelief:
    """The recursive filter: the belief that the planner assumes and the runtime carries."""

    def __init__(self, observations: ObservationModel, dynamics: StepDynamics) -> None:
        self._observations = observations
        self._dynamics = dynamics

    def states(self, batch: SequenceBatch) -> FloatArray:
        """q after every step, shape (n, T).

        Raises
        ------
        InputError
            If the batch holds other evidence than the observations bin.
        """
        require_evidence(batch, self._observations)
        emission = self._observations.class_emission(self._dynamics)
        return filter_states(self._observations.bins(batch.scores), batch.mask, emission, self._dynamics)

    def probability_right(self, batch: SequenceBatch) -> FloatArray:
        """See `Belief.probability_right`."""
        return np.asarray(self.states(batch)[:, -1])


def filter_scores(
    observations: ObservationModel,
    dynamics: StepDynamics,
    features: Mapping[str, ArrayLike] | ArrayLike,
    *,
    finished: bool = True,
) -> FloatArray:
    """P(the prefix is right) after every step of one solution, from what was seen of its steps; no outcome is needed.

    Parameters
    ----------
    features : array-like of shape (T,), or mapping of str to array-like
        PRM scores; or, where the observations take other evidence, its features by name (``score``, ``logprob_min``,
        ``logprob_mean``, ``logprob_first``), one value a step.
    finished : bool
        Whether the last step ends the solution, which can be evidence too.

    Returns
    -------
    ndarray of shape (T,)

    Raises
    ------
    InputError
        If there is no step, a feature is missing or out of range, or features differ in length.

    Examples
    --------
    >>> import trim_pomdp as tp
    >>> preset = tp.load_preset("qwen2.5-1.5b-7b-math")
    >>> q = filter_scores(preset.observations, preset.dynamics, [0.99, 0.1, 0.99])
    >>> bool(q[0] > q[1] > q[2])  # a bad step is not forgotten
    True
    """
    named = features if isinstance(features, Mapping) else {"score": features}
    columns = {name: np.atleast_1d(np.asarray(values, dtype=np.float64)) for name, values in named.items()}
    lengths = {values.size for values in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(f"the features have {', '.join(map(str, sorted(lengths)))} steps; expected one value a step")
    for name in columns.keys() & {"score", *LOGPROBS}:
        probability(name, columns[name])
    bins = observations.bins(evidence_scores(observations.evidence, columns))[None]
    emission = observations.class_emission(dynamics)
    mask = np.ones(bins.shape, dtype=np.bool_)
    return np.asarray(filter_states(bins, mask, emission, dynamics, finished=finished)[0])


class PosteriorBelief:
    """The paper's belief: uniform prior over the classes, given (min before, current score); no memory beyond."""

    def __init__(self, observations: ObservationModel) -> None:
        self._table = observations.posterior_table

    def states(self, batch: SequenceBatch) -> FloatArray:
        """Distribution over S0, S1, S2 at every step, shape (n, T, 3)."""
        scores = batch.prm_scores
        return self._table.posterior(running_minimum(scores), scores)

    def probability_right(self, batch: SequenceBatch) -> FloatArray:
        """See `Belief.probability_right`."""
        last = batch.lengths - 1
        return np.asarray(self.states(batch)[np.arange(len(batch)), last, 0])


class RunningMinimumBelief:
    """Platt-calibrated running minimum: a reference for belief tables, without a planner."""

    def __init__(self, calibration: MinimumCalibration | None) -> None:
        if calibration is None:
            raise UnsetParameterError(
                "the dynamics hold no calibration of the running minimum; fit-dynamics --sequences makes one"
            )
        self._calibration = calibration

    def probability_right(self, batch: SequenceBatch) -> FloatArray:
        """See `Belief.probability_right`."""
        calibration = self._calibration
        minimum = batch.scores.min(axis=1)  # padding is 1.0 and never the minimum
        logit = clipped_logit(minimum, calibration.clip)
        return np.asarray(1.0 / (1.0 + np.exp(-(calibration.intercept + calibration.slope * logit))))


def clipped_logit(scores: FloatArray, clip: float) -> FloatArray:
    """Log-odds of scores, clipped away from 0 and 1."""
    clipped = np.clip(scores, clip, 1.0 - clip)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def calibrate_minimum(batch: SequenceBatch, *, fitted_on: str, clip: float = 1e-4) -> MinimumCalibration:
    """Fit the calibration of the running minimum on outcomes (logistic regression).

    Raises
    ------
    InputError
        If all outcomes are alike, so that there is nothing to tell apart.
    """
    from sklearn.linear_model import LogisticRegression

    if batch.correct.all() or not batch.correct.any():
        outcome = "right" if batch.correct.all() else "wrong"
        raise InputError(f"all {len(batch)} sequences have {outcome} answers; a calibration needs some of each")
    feature = clipped_logit(batch.scores.min(axis=1), clip)
    model = LogisticRegression(C=1e3).fit(feature[:, None], batch.correct)
    return MinimumCalibration(
        intercept=float(model.intercept_[0]), slope=float(model.coef_[0, 0]), clip=clip, fitted_on=fitted_on
    )
