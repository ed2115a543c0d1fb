"""What TRIM-Agg does in a routing model, exactly: beside the truth it remembers a bin, that of the running minimum.

Scores stand for the middle of their bins in log-odds. By step, (prefix right or derailed, bin of the minimum) is
propagated forward, as for the paper's posterior rule, with decisions that depend on the step and on whether it ends the
solution too, and may be drawn. A regenerated step moves the minimum by the class that it came out, where the PRM scores
it; evidence of the weak model's own probabilities does not exist for it, and the minimum stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trim_pomdp.model.belief import KEEP, REGENERATE
from trim_pomdp.model.propagation import Course, FloatArray
from trim_pomdp.policies.learned import probability
from trim_pomdp.policies.networks import RouterNetwork

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.policies.trim_agg import TrimAggRule


def agg_course(rule: TrimAggRule, model: RoutingModel) -> Course:
    """`Rule.course` of TrimAggRule."""
    law, tables, emission, tokens = model.law, model.tables, model.emission, model.accepted_tokens
    T, J, A = law.steps, emission.shape[1], len(tables.keeps)
    accuracy, by_end, before = np.zeros(T), np.zeros((T, 2, A, 3)), np.zeros((T, A))
    # By prefix and minimum (J: no step yet), the probability, and tokens of the solution so far on it.
    mass = np.zeros((2, 2, J + 1))
    mass[0, 0, J] = 1.0
    for t in range(T):
        new = np.zeros_like(mass)
        decided = [_regenerates(rule, model, t, ended) for ended in range(2)]
        for c in range(3):
            s = int(c == 1)
            for e, redone in enumerate(decided):
                share = law.class_given_prefix[t, s, c] * (law.end[t, c] if e else 1.0 - law.end[t, c])
                if share == 0.0 or not mass[0, s].any():
                    continue
                for a, taken in ((KEEP, 1.0 - redone), (REGENERATE, redone)):
                    flow = share * emission[c] * taken  # (J + 1, J), of a unit at each minimum
                    probable, long = (mass[kind, s, :, None] * flow for kind in range(2))
                    by_end[t, e, a, c] += probable.sum()
                    before[t, a] += long.sum()
                    after = tables.outcomes[t, e, a, c, :2, :2]  # (goes on, over) × (right, derailed)
                    accuracy[t] += probable.sum() * after[1, 0]
                    long = long + probable * tokens[a, c]
                    for h in range(2):
                        came_out = 0 if h == 0 else (1 if c == 1 else 2)
                        for kind, of in enumerate((probable, long)):
                            if a == KEEP:
                                moved = _to_minimum(of)
                            elif rule.network.evidence is None:
                                moved = _rescored(of.sum(axis=1), emission[came_out])
                            else:
                                moved = of.sum(axis=1)
                            new[kind, h] += after[0, h] * moved
        mass = new
    return Course.of(accuracy, by_end, before, tables)


def bin_scores(model: RoutingModel) -> FloatArray:
    """A score for every bin, its middle in log-odds, shape (J,); of the first bin that as it is, 1 of the last."""
    edges = np.append(np.array(model.observations.step_emission.score_edges), 1.0)
    low, high = edges[:-1], edges[1:]
    out = 0.5 * (low + high)
    inner = (low > 0.0) & (high < 1.0)
    odds = np.log(edges[1:-1]) - np.log1p(-edges[1:-1], where=edges[1:-1] < 1.0, out=np.full(len(edges) - 2, -np.inf))
    middle = 0.5 * (odds[:-1] + odds[1:])
    out[inner] = 1.0 / (1.0 + np.exp(-middle[inner[1:-1]])) if inner.any() else out[inner]
    return np.asarray(out)


def _regenerates(rule: TrimAggRule, model: RoutingModel, t: int, ended: int) -> FloatArray:
    """P(regenerate | bin of the minimum, bin), shape (J + 1, J)."""
    from trim_pomdp.model.episodes import shown_tokens

    network: RouterNetwork = rule.network
    scores = bin_scores(model)
    minima = np.append(scores, 1.0)
    n = len(minima) * len(scores)
    columns = {
        "score": np.tile(scores, len(minima)),
        "minimum": np.repeat(minima, len(scores)),
        "tokens": np.full(n, shown_tokens(model)),
        "step": np.full(n, float(t)),
        "ended": np.full(n, float(ended)),
    }
    logits, _ = network.logits(network.rows(columns, np.full(n, rule.tradeoff / rule.reward)))
    acts = probability(logits) if rule.sampled else (logits > 0.0).astype(np.float64)
    return acts.reshape(len(minima), len(scores))


def _to_minimum(flow: FloatArray) -> FloatArray:
    """From flows by (minimum, bin), shape (J + 1, J), to those by the smaller of the two, shape (J + 1,)."""
    J = flow.shape[1]
    square, out = flow[:J], np.zeros(J + 1)
    out[:J] = np.triu(square).sum(axis=1) + np.tril(square, -1).sum(axis=0) + flow[J]
    return out


def _rescored(mass: FloatArray, emission: FloatArray) -> FloatArray:
    """The minimum after one more score, by the minimum before, shape (J + 1,)."""
    J = len(emission)
    above = np.append(np.cumsum(emission[::-1])[::-1], 0.0)  # P(bin ≥ m)
    larger = np.append(np.cumsum(mass[::-1])[::-1], 0.0)[1:]  # P(minimum > m)
    return np.asarray(mass * above + np.append(larger[:J] * emission, 0.0))
