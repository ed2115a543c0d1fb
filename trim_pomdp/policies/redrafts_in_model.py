"""What drafting a step again until it looks right does in a routing model: exactly, and by draws.

Drafts of a step are a chain of classes (`trim_pomdp.model.redrafts`), each text with a score and an end of its own.
What is decided at last depends on the best of them, or the latest: (class, bin, end) of that one and the class of the
last draft are propagated from draft to draft. Between steps nothing but the prefix matters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trim_pomdp.errors import InputError
from trim_pomdp.model.actions.base import KEEP, NEXT, OVER, REGENERATE
from trim_pomdp.model.actions.redraft import Redraft
from trim_pomdp.model.propagation import Course, Drawn
from trim_pomdp.model.redrafts import DraftLaw
from trim_pomdp.policies.base import FloatArray

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies.redraft import RedraftRule

_REDRAFT = Redraft.code
_FIRST, _OTHER = 1, 2  # of what is regenerated: the first text, another one


@dataclass(frozen=True, eq=False)
class _Bins:
    """Observation bins, cut where the rule's two thresholds lie, by rising score.

    Attributes
    ----------
    emission : ndarray of shape (3, J)
        P(bin | class); J counts the pieces.
    emission_again : ndarray of shape (3, J)
        The same of drafts of another text.
    law : DraftLaw
        What drafts after the first are; `DraftLaw.same` is by these bins.
    kept_from, stood_by_from : int
        The first bin that is not drafted again, and the first that is not regenerated.
    """

    emission: FloatArray
    emission_again: FloatArray
    law: DraftLaw
    kept_from: int
    stood_by_from: int

    @classmethod
    def of(cls, rule: RedraftRule, model: RoutingModel) -> _Bins:
        """Cut the bins of a model; raises `InputError` where they are of other evidence than the rule's."""
        observations = model.observations
        if observations.emission != "step" or rule.evidence != observations.evidence:
            raise InputError(
                f"the policy decides on other evidence than observations {observations.name!r} bin; take its evidence "
                "from them, and bins of single scores"
            )
        low, high = (observations.step_emission.share_below(k) for k in (rule.regenerate_below, rule.redraft_below))
        shares = np.stack([low, high - low, 1.0 - high])  # of each bin, below, between and above the thresholds
        # Bins lie in the order of scores, so all pieces below a threshold come before all above it.
        part, bin_ = np.nonzero(shares)
        emission, again = (shares[part, bin_] * table[:, bin_] for table in (model.emission, model.emission_again))
        further = model.dynamics.draft_law(rule.max_drafts, model.emission)
        law = replace(further, same=further.same[:, [*bin_, -1]])
        return cls(emission, again, law, int((part < 2).sum()), int((part < 1).sum()))


@dataclass(frozen=True, eq=False)
class _Step:
    """What comes of one step, given the prefix: P(action at last, end, class decided on) and mean drafts by class."""

    decided: FloatArray  # (3, 2, 3): keep; regenerate a first text, or another one
    drafts: FloatArray  # (3,)


def _step(rule: RedraftRule, bins: _Bins, first: FloatArray, t: int, end: FloatArray) -> _Step:
    """Step index t by classes of its first draft (3,) and hazards by class (3,)."""
    J, law = bins.emission.shape[1], bins.law
    low, high = slice(bins.stood_by_from), slice(bins.kept_from, J)
    ends = np.stack([1.0 - end, end], axis=1)  # class, end
    again, same = bins.emission_again, law.same[:, :-1]
    # P(a lower bin | class), and P(that, and the same text comes next | class).
    below, below_again = (
        np.concatenate([np.zeros((3, 1)), np.cumsum(item, axis=1)[:, :-1]], axis=1) for item in (again, again * same)
    )
    decided, drafts = np.zeros((3, 2, 3)), np.zeros(3)
    # P(class, bin, end of the draft that would stand; class of the last), of steps that are drafted again: as another
    # text, or as the last draft once more.
    changes, repeated = np.zeros((3, J, 2, 3)), np.zeros((3, J, 2, 3))
    coming = first  # P(another text, and of this class, to come)
    for draft in range(rule.max_drafts):
        # Another text, by its class; or the last draft once more, after which what would stand is what did.
        scored = (bins.emission if draft == 0 else again)[:, :, None] * ends[:, None, :]  # class, bin, end
        moved = changes if draft == 0 else np.einsum("cjes,sk->cjek", changes, law.other[t, draft - 1])
        drafts += coming + repeated.sum(axis=(0, 1, 2))
        # One that looks right is kept: those before it did not, and so look worse.
        decided[KEEP] += (coming[:, None] * scored[:, high].sum(axis=1)).T
        # One that does not: it would stand itself, or one before it.
        new = coming[:, None, None] * scored
        if draft > 0 and rule.keeps == "better":
            better_before = np.cumsum(moved.sum(axis=(0, 2)), axis=0)  # P(best so far at most bin j, class to come)
            new = scored * better_before.T[:, :, None]
        new[:, high] = 0.0
        worse, worse_again = (
            (moved * item.T[None, :, None, :] if rule.keeps == "better" else np.zeros_like(moved))
            for item in (below, below_again)
        )
        stays = repeated + worse
        if draft + 1 < rule.max_drafts:
            still = repeated * law.same[:, -1] + worse_again
            changes = stays - still
            for c in range(3):
                comes_again = same[c, :, None] * new[c]
                still[c, :, :, c] += comes_again
                changes[c, :, :, c] += new[c] - comes_again
            repeated = still
            coming = changes.sum(axis=(0, 1, 2)) @ law.other[t, draft]
        else:
            stood = new + stays.sum(axis=3)
            decided[KEEP] += stood[:, bins.stood_by_from :].sum(axis=1).T
            # A step that is regenerated stands in the last draft's place.
            lost = new[:, low].sum(axis=(1, 2)) + stays[:, low].sum(axis=(0, 1, 2))
            first_text = repeated[:, low].sum(axis=(0, 1, 2)) if draft == 1 else lost if draft == 0 else np.zeros(3)
            decided[_FIRST] += (first_text[:, None] * ends).T
            decided[_OTHER] += ((lost - first_text)[:, None] * ends).T
    return _Step(decided, drafts)


def redraft_course(rule: RedraftRule, model: RoutingModel) -> Course:
    """`Rule.course` of a redraft rule."""
    bins, law, tables = _Bins.of(rule, model), model.law, model.tables
    T, A = law.steps, len(tables.keeps)
    accuracy, by_end, before = np.zeros(T), np.zeros((T, 2, A, 3)), np.zeros((T, A))
    mass, length = np.array([1.0, 0.0]), np.zeros(2)  # by prefix, right or derailed
    codes = [KEEP, REGENERATE, REGENERATE]
    tokens = model.accepted_tokens[codes]
    first, other = tables.outcomes[:, :, :, :, :2, :2], model.tables_again.outcomes[:, :, :, :, :2, :2]
    follows = np.stack([first[:, :, KEEP], first[:, :, REGENERATE], other[:, :, REGENERATE]], axis=2)
    for t in range(T):
        steps = [_step(rule, bins, law.class_given_prefix[t, s], t, law.end[t]) for s in range(2)]
        new_mass, new_length = np.zeros(2), np.zeros(2)
        for s, step in enumerate(steps):
            after = np.einsum("aec,eacxh->acxh", step.decided, follows[t])
            for code, decided in zip(codes, step.decided, strict=True):
                by_end[t, :, code] += mass[s] * decided
                before[t, code] += length[s] * decided.sum()
            by_end[t, 0, _REDRAFT] += mass[s] * (step.drafts - step.decided.sum(axis=(0, 1)))
            before[t, _REDRAFT] += length[s] * (step.drafts.sum() - 1.0)
            accuracy[t] += mass[s] * after[:, :, OVER, 0].sum()
            new_mass += mass[s] * after[:, :, NEXT].sum(axis=(0, 1))
            new_length += np.einsum("acp->p", after[:, :, NEXT]) * length[s]
            new_length += mass[s] * np.einsum("acp,ac->p", after[:, :, NEXT], tokens)
        mass, length = new_mass, new_length
    return Course.of(accuracy, by_end, before, tables)


def redraft_draws(rule: RedraftRule, model: RoutingModel, n: int, rng: np.random.Generator) -> Drawn:
    """`Rule.simulated` of a redraft rule: problems side by side, draft by draft."""
    bins, law, tables = _Bins.of(rule, model), model.law, model.tables
    further = bins.law
    out = Drawn.empty(n, len(tables.keeps))
    cumulative, again = (np.cumsum(emission, axis=1) for emission in (bins.emission, bins.emission_again))
    cumulative[:, -1] = again[:, -1] = np.inf
    right, length = np.ones(n, dtype=np.bool_), np.zeros(n)
    alive = np.arange(n)
    for t in range(law.steps):
        last = np.where(right[alive], np.where(rng.random(len(alive)) < law.weak_success[t], 0, 2), 1)
        stands = [last.copy(), *_scored(last, law.end[t], cumulative, rng)]  # class, bin, end
        scored, ended, waiting = stands[1].copy(), stands[2].copy(), stands[1] < bins.kept_from
        is_first, looks = np.ones(len(alive), dtype=np.bool_), scored.copy()
        for draft in range(1, rule.max_drafts):
            who = np.flatnonzero(waiting)
            discarded = last[who].copy()
            other = rng.random(len(who)) >= further.same[discarded, looks[who]]  # else the last draft once more
            success = further.other[t, draft - 1, discarded, 0]
            new = np.where(discarded == 1, 1, np.where(rng.random(len(who)) < success, 0, 2))
            last[who] = np.where(other, new, discarded)
            is_first[who] = ~other & (draft == 1)
            bin_, new_end = _scored(last[who], law.end[t], again, rng)
            ended[who] = np.where(other, new_end, ended[who])
            looks[who] = np.where(other, bin_, -1)
            bin_ = scored[who] = np.where(other, bin_, scored[who])
            better = (bin_ >= stands[1][who]) if rule.keeps == "better" else np.ones(len(who), dtype=np.bool_)
            dropped = np.where(better, stands[0][who], last[who])
            out.counts[alive[who], _REDRAFT, dropped] += 1.0
            out.before[alive[who], _REDRAFT] += length[alive[who]]
            out.steps_before[alive[who], _REDRAFT] += t
            for kept, now in zip(stands, (last[who], bin_, ended[who]), strict=True):
                kept[who[better]] = now[better]
            waiting[who] = bin_ < bins.kept_from
        redone = stands[1] < bins.stood_by_from
        # Discarded drafts and the one decided on are the same ones, whichever of them is replaced.
        action = np.where(redone, REGENERATE, KEEP)
        c, e = np.where(redone, last, stands[0]), np.where(redone, ended, stands[2])
        swapped = redone & (stands[0] != last)
        out.counts[alive[swapped], _REDRAFT, last[swapped]] -= 1.0
        out.counts[alive[swapped], _REDRAFT, stands[0][swapped]] += 1.0
        out.counts[alive, action, c] += 1.0
        out.strong_steps[alive] += tables.strong_steps[action, t, e, c]
        out.before[alive, action] += length[alive]
        out.steps_before[alive, action] += t
        length[alive] += model.accepted_tokens[action, c]
        rows = np.where(
            is_first[:, None, None], tables.outcomes[t, e, action, c], model.tables_again.outcomes[t, e, action, c]
        )
        rows = rows[:, :2, :2].reshape(len(alive), 4).cumsum(axis=1)
        found = (rng.random(len(alive))[:, None] >= rows[:, :3]).sum(axis=1)
        over, derailed = np.divmod(found, 2)
        right[alive] = derailed == 0
        alive = alive[over == 0]
        if len(alive) == 0:
            break
    out.right[:] = right
    return out


def _scored(
    classes: NDArray[np.int64], end: FloatArray, cumulative: FloatArray, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Bin and end of drafts, by their class."""
    u, bin_ = rng.random(len(classes)), np.zeros(len(classes), dtype=np.int64)
    for c in range(3):
        where = classes == c
        bin_[where] = np.searchsorted(cumulative[c], u[where], side="right")
    return bin_, (rng.random(len(classes)) < end[classes]).astype(np.int64)
