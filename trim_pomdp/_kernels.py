"""Compiled loops of the routing model: propagation, decisions, exact evaluation, simulation.

They stand in one module because Numba's on-disk cache follows the file that a function is in, not the functions
that it calls: a kernel that calls into another file would go on running that file's old code after an update.
Their Python callers document what goes in and out.

Throughout, actions are codes of the catalogue (0 is keep), classes 0, 1, 2 are S0 (right), S1 (derailed), S2 (first
error), exits 0, 1, 2 are next step, over, and another draft of the step; hidden states 0 and 1 are a right and a
derailed prefix, 2 is a right prefix whose last draft was wrong (`trim_pomdp.model.actions.base`). Tables of what
follows an action, `after`, have the axes step, end of the draft, action, class, exit, hidden state.
"""

from typing import Any

import numpy as np
from numba import njit

# The first use of a kernel compiles it: arrays that are needed beside the results come from Python, and sums over axes
# are left to numpy, since to compile those takes longer than the loops.
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
compiled = njit(cache=True, **_OPTIONS)
helper = njit(inline="always", **_OPTIONS)

MEMORYLESS, POSTERIOR, ALPHA = 0, 1, 2


def propagate_memoryless(regenerate: Any, p_w: Any, end: Any, after: Any) -> Any:
    n = len(regenerate)
    accuracy, steps = np.zeros(n), np.zeros(n)
    kept, regenerated = np.zeros((n, 3)), np.zeros((n, 3))
    square = np.zeros((n, 2))
    _propagate_memoryless(regenerate, p_w, end, after, np.empty((2, 2, 5)), accuracy, steps, kept, regenerated, square)
    kept_variance = square[:, 0] - kept.sum(axis=1) ** 2
    regenerated_variance = square[:, 1] - regenerated.sum(axis=1) ** 2
    return accuracy, steps, kept, regenerated, kept_variance, regenerated_variance


@compiled
def _propagate_memoryless(regenerate, p_w, end, after, state, accuracy, steps, kept, regenerated, square):
    """Add to the results; `square` (n, 2) sums (kept steps)² and (regenerated steps)² over finished problems.

    `state` (2, 2, 5) is room: now and after the step, by whether the prefix is right or derailed, its mass, E[count m]
    and E[count m²] on it, with kept steps as m = 0 and regenerated ones as m = 1.
    """
    n, T = regenerate.shape[0], regenerate.shape[1]
    for i in range(n):
        now = 0
        for s in range(2):
            for m in range(5):
                state[0, s, m] = 0.0
        state[0, 0, 0] = 1.0
        for t in range(T):
            new = 1 - now
            for s in range(2):
                for m in range(5):
                    state[new, s, m] = 0.0
            steps[i] += state[now, 0, 0] + state[now, 1, 0]
            for c in range(3):
                s = 1 if c == 1 else 0
                share = p_w[t] if c == 0 else (1.0 - p_w[t] if c == 2 else 1.0)
                ends = end[t, c]
                for a in range(2):
                    act = regenerate[i, t, c] if a == 1 else 1.0 - regenerate[i, t, c]
                    weight = share * act
                    if weight == 0.0:
                        continue
                    mass = state[now, s, 0]
                    flow = mass * weight
                    if a == 1:
                        regenerated[i, c] += flow
                    else:
                        kept[i, c] += flow
                    over = 0.0
                    for to in range(2):
                        ending = (1.0 - ends) * after[t, 0, a, c, 1, to] + ends * after[t, 1, a, c, 1, to]
                        if to == 0:
                            accuracy[i] += flow * ending
                        over += ending
                    for m in range(2):
                        # Action a adds one to the counter m == a: kept steps first, regenerated second.
                        one = 1.0 if m == a else 0.0
                        first, second = state[now, s, 1 + m], state[now, s, 3 + m]
                        square[i, m] += weight * (second + 2.0 * one * first + one * mass) * over
                    for to in range(2):
                        on = (1.0 - ends) * after[t, 0, a, c, 0, to] + ends * after[t, 1, a, c, 0, to]
                        state[new, to, 0] += flow * on
                        for m in range(2):
                            one = 1.0 if m == a else 0.0
                            first, second = state[now, s, 1 + m], state[now, s, 3 + m]
                            state[new, to, 1 + m] += weight * (first + one * mass) * on
                            state[new, to, 3 + m] += weight * (second + 2.0 * one * first + one * mass) * on
            now = new


@helper
def end_evidence(end, step, ended):
    """Likelihood by class of an end, or of none."""
    if ended:
        return end[step, 0], end[step, 1], end[step, 2]
    return 1.0 - end[step, 0], 1.0 - end[step, 1], 1.0 - end[step, 2]


@helper
def opening(q, success):
    """Prior over S0, S1, S2 of a first draft."""
    return q * success, 1.0 - q, q * (1.0 - success)


@helper
def reopening(held, table, step, draft):
    """P(class S0, S1, S2) of a draft after the first, another text, of the hidden state after the last."""
    m = draft - 1
    return (
        held[0] * table[step, m, 0, 0] + held[1] * table[step, m, 1, 0] + held[2] * table[step, m, 2, 0],
        held[0] * table[step, m, 0, 1] + held[1] * table[step, m, 1, 1] + held[2] * table[step, m, 2, 1],
        held[0] * table[step, m, 0, 2] + held[1] * table[step, m, 1, 2] + held[2] * table[step, m, 2, 2],
    )


@helper
def repeating(held, same, j):
    """P(the next draft is this one word for word, and of class S0, S1, S2), this one having looked like bin j."""
    return held[0] * same[0, j], held[1] * same[1, j], held[2] * same[2, j]


@helper
def changing(held, same, j):
    """P(it is another text, and this one of class S0, S1, S2)."""
    return held[0] * (1.0 - same[0, j]), held[1] * (1.0 - same[1, j]), held[2] * (1.0 - same[2, j])


@helper
def normalised(b, otherwise):
    """Of what cannot be, the other."""
    total = b[0] + b[1] + b[2]
    if total > 0.0:
        return b[0] / total, b[1] / total, b[2] / total
    return otherwise


@helper
def explained(c, table, step, draft, likelihood, end):
    """P(a draft looks as it does | the one before it was another text, of class c)."""
    m = draft - 1
    return (
        table[step, m, c, 0] * likelihood[0] * end[0]
        + table[step, m, c, 1] * likelihood[1] * end[1]
        + table[step, m, c, 2] * likelihood[2] * end[2]
    )


@helper
def looked_back(held, table, step, draft, likelihood, end):
    """Belief over the class of the draft before, after another text; `held` where nothing can be learned from that."""
    b0 = held[0] * explained(0, table, step, draft, likelihood, end)
    b1 = held[1] * explained(1, table, step, draft, likelihood, end)
    b2 = held[2] * explained(2, table, step, draft, likelihood, end)
    if b0 + b1 + b2 == 0.0:
        whatever = (1.0, 1.0, 1.0)
        b0 = held[0] * explained(0, table, step, draft, likelihood, whatever)
        b1 = held[1] * explained(1, table, step, draft, likelihood, whatever)
        b2 = held[2] * explained(2, table, step, draft, likelihood, whatever)
    return normalised((b0, b1, b2), held)


@helper
def is_first_text(draft, repeated):
    """Whether a draft is the first one word for word, as far as is remembered."""
    return draft == 0 or (draft == 1 and repeated)


@helper
def by_class(emission, j):
    """Likelihood by class of a bin, of a table (3, J)."""
    return emission[0, j], emission[1, j], emission[2, j]


@helper
def weighed(prior, likelihood, end):
    """Belief over S0, S1, S2 after a score; all by class.

    An end (or none) that no class can explain is no evidence, and neither is such a score.
    """
    b0 = prior[0] * likelihood[0]
    b1 = prior[1] * likelihood[1]
    b2 = prior[2] * likelihood[2]
    if b0 * end[0] + b1 * end[1] + b2 * end[2] > 0.0:
        b0 *= end[0]
        b1 *= end[1]
        b2 *= end[2]
    total = b0 + b1 + b2
    if total > 0.0:
        return b0 / total, b1 / total, b2 / total
    return prior


@helper
def value_of(vectors, first, last, q):
    """Largest alpha-vector at (q, 1 − q): the last one of the envelope that leads from a q below."""
    low, high = first, last - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if vectors[middle, 2] <= q:
            low = middle
        else:
            high = middle - 1
    return vectors[low, 0] + q * vectors[low, 1]


@helper
def value_again(vectors, first, last, held):
    """Largest alpha-vector (V, 3) at the hidden state of another draft, which may be unnormalised."""
    best = -np.inf
    for v in range(first, last):
        best = max(best, held[0] * vectors[v, 0] + held[1] * vectors[v, 1] + held[2] * vectors[v, 2])
    return best


@helper
def follows(b, after, step, ended, action, leaving, hidden):
    """P(exit, hidden state) after an action."""
    return (
        b[0] * after[step, ended, action, 0, leaving, hidden]
        + b[1] * after[step, ended, action, 1, leaving, hidden]
        + b[2] * after[step, ended, action, 2, leaving, hidden]
    )


@helper
def hidden_again(b, after, step, ended, action):
    """Hidden state if another draft comes, unnormalised."""
    return (
        follows(b, after, step, ended, action, 2, 0),
        follows(b, after, step, ended, action, 2, 1),
        follows(b, after, step, ended, action, 2, 2),
    )


@helper
def value_and_q(b, ended, action, step, vectors, offset, after, reward):
    """Value of an action, and q after it: where the solution goes on, or, where it cannot, where it is over."""
    over_right = follows(b, after, step, ended, action, 1, 0)
    over = follows(b, after, step, ended, action, 1, 1) + over_right
    on_right = follows(b, after, step, ended, action, 0, 0)
    on = follows(b, after, step, ended, action, 0, 1) + on_right
    value = reward * over_right
    if on > 0.0:
        q = on_right / on
        return value + on * value_of(vectors, offset[step], offset[step + 1], q), q
    return value, over_right / over


@helper
def best_other(
    b, j, ended, step, before, before_ended, before_step, vectors, offset, after, price, reward, codes, again, former,
    same, draft, repeated, drafts, draft_vectors, draft_offset,
):  # fmt: skip
    """The action other than keeping that is worth most at its price: code, gain, price, q after it; and q of keeping.

    Of equals the first. Where another draft comes, q after it is of no use. `j` is the draft's bin, the one beyond the
    last of a draft that repeats the one before. `before`, `before_ended`, `before_step` are belief, end and step of the
    draft before, if there is one; a draft that repeats it is that one itself.
    """
    kept, keep = value_and_q(b, ended, 0, step, vectors, offset, after, reward)
    best = 0
    best_gain = 0.0
    best_cost = np.inf
    best_q = keep
    for i in range(1, len(codes)):
        action = codes[i]
        if again[action]:
            if draft + 1 >= drafts:
                continue
            row = 4 * (step * (drafts - 1) + draft) + ended
            held = hidden_again(b, after, step, ended, action)
            value = value_again(draft_vectors, draft_offset[row], draft_offset[row + 1], changing(held, same, j))
            row += 2
            value += value_again(draft_vectors, draft_offset[row], draft_offset[row + 1], repeating(held, same, j))
            q = keep
        elif former[action]:
            if draft == 0 or repeated:
                continue
            value, q = value_and_q(before, before_ended, action, before_step, vectors, offset, after, reward)
        else:
            value, q = value_and_q(b, ended, action, step, vectors, offset, after, reward)
        gain = value - kept
        cost = (
            b[0] * price[action, step, ended, 0]
            + b[1] * price[action, step, ended, 1]
            + b[2] * price[action, step, ended, 2]
        )
        if gain - cost > best_gain - best_cost:
            best = action
            best_gain = gain
            best_cost = cost
            best_q = q
    return best, best_gain, best_cost, best_q, keep


@helper
def rule_step(t, n_steps, ended):
    """Step whose tables a rule uses at step index t: beyond its cap, those of the last step before the cap."""
    if t < n_steps - 1 or (ended and t == n_steps - 1):
        return t
    return max(n_steps - 2, 0)


@compiled
def filter_beliefs(bins, lengths, ended, by_bin, success, end, recovery, out):
    n_steps = len(success)
    for i in range(len(lengths)):
        q = 1.0
        for t in range(lengths[i]):
            ends = ended[i] and t == lengths[i] - 1
            step = rule_step(t, n_steps, ends)
            e = end_evidence(end, step, ends)
            j = bins[i, t]
            b = weighed(opening(q, success[step]), (by_bin[j, 0], by_bin[j, 1], by_bin[j, 2]), e)
            out[i, t, 0], out[i, t, 1], out[i, t, 2] = b
            q = b[0] + recovery[step] * b[1]


@helper
def cell_of(q, cells):
    """Belief cell of a probability."""
    return int(q * cells + 0.5)


@helper
def draft_cell(held, otherwise, repeated, ended, cells, shares):
    """Cell of a discarded draft: by whether the next is the same, its end, P(prefix right), P(draft right | that).

    `held` is unnormalised; of what cannot be, `otherwise`.
    """
    held = normalised(held, otherwise)
    right = held[0] + held[2]
    q = right / (right + held[1])
    share = held[0] / right if right > 0.0 else 0.0
    return ((2 * repeated + ended) * (cells + 1) + cell_of(q, cells)) * (shares + 1) + cell_of(share, shares)


@helper
def is_repeat(cell, cells, shares):
    """Whether the next draft is the discarded one word for word."""
    return cell // (2 * (cells + 1) * (shares + 1)) == 1


@helper
def end_of_cell(cell, cells, shares):
    """Whether the discarded draft ended the solution."""
    return cell // ((cells + 1) * (shares + 1)) % 2


@helper
def of_draft_cell(cell, cells, shares):
    """The hidden state that a cell stands for."""
    q = (cell // (shares + 1) % (cells + 1)) / cells
    share = (cell % (shares + 1)) / shares
    return q * share, 1.0 - q, q * (1.0 - share)


@compiled
def decide(q, held, draft, held_ended, repeated, bins, ended, steps, rule, out):
    """Action for every problem.

    `held` (n, 3) is the hidden state after the last draft, given whether this one is the same, and `held_ended` (n,)
    whether that ended the solution, looked at where `draft` > 0; `repeated`: it came once more.
    """
    success, end, emission, vectors, offset, after, price, reward, _, codes, again, former, other, same = rule[:14]
    emission_again, after_again, drafts, _, _, draft_vectors, draft_offset = rule[14:]
    n_steps, J = len(success), emission.shape[1]
    for i in range(len(q)):
        t = rule_step(steps[i], n_steps, ended[i])
        ends = end_evidence(end, t, ended[i])
        before = (0.0, 0.0, 0.0)
        if draft == 0:
            b = weighed(opening(q[i], success[t]), by_class(emission, bins[i]), ends)
        else:
            last = (held[i, 0], held[i, 1], held[i, 2])
            if repeated:
                b = last
            else:
                looks = by_class(emission_again, bins[i])
                b = weighed(normalised(reopening(last, other, t, draft), last), looks, ends)
                before = looked_back(last, other, t, draft, looks, ends)
        then = after if is_first_text(draft, repeated) else after_again
        action, gain, cost, _, _ = best_other(
            b, J if draft > 0 and repeated else bins[i], int(ended[i]), t, before, int(held_ended[i]),
            rule_step(steps[i], n_steps, held_ended[i]), vectors, offset, then, price, reward, codes, again, former,
            same, draft, repeated, drafts, draft_vectors, draft_offset,
        )  # fmt: skip
        out[i] = action if gain > cost else 0


def propagate_alpha(rule: Any, true: Any, tokens: Any) -> Any:
    """Accuracy by step, counts (T, 2, A, 3) and tokens of solutions before decisions (T, A).

    `true` is what is so: p_w by step, `DraftLaw.other` and `same`, hazards, emission (3, J) of first drafts and of
    other texts after them, what follows actions;
    `tokens` (A, 3) what an action adds to a solution that goes on.
    """
    T, A = len(true[0]), len(tokens)
    cells, drafts, draft_cells, shares = rule[8], rule[16], rule[17], rule[18]
    mass = np.zeros((2, 2, 2, cells + 1))
    mass[0, 0, 0, -1] = 1.0
    # Cells of further drafts, now and of the next one; there are none where nothing is drafted again.
    held = np.zeros((2, 2, 3, 4 * (draft_cells + 1) * (shares + 1) if drafts > 1 else 0))
    accuracy, counts, before = np.zeros(T), np.zeros((T, 2, A, 3)), np.zeros((T, A))
    _propagate_alpha(rule, true, tokens, mass, held, accuracy, counts, before)
    return accuracy, counts, before


@compiled
def _propagate_alpha(rule, true, tokens, mass, held, accuracy, counts, before_total):
    """Add to the results.

    `mass` (2, 2, 2, cells + 1): now and after the step; probability, and E[tokens of the solution so far] on it; prefix
    right or derailed; belief cell. `held` (2, 2, 3, draft cells) is the same within a step, by hidden state.
    """
    true_success, true_other, true_same, true_end, true_first, true_emission_again, true_after, true_after_again = true
    success, end, first, vectors, offset, after, price, reward, cells, codes, again, former, other, same = rule[:14]
    emission_again, after_again, drafts, draft_cells, shares, draft_vectors, draft_offset = rule[14:]
    T, J = len(true_success), first.shape[1]
    n_steps = len(success)
    asking = 0  # the action that discards drafts
    for a in range(len(again)):
        if again[a]:
            asking = a
    now = 0
    for t in range(T):
        new = 1 - now
        mass[new] = 0.0
        here = 0
        for draft in range(drafts):
            there = 1 - here
            emission = first if draft == 0 else emission_again
            true_emission = true_first if draft == 0 else true_emission_again
            for g in range(cells + 1 if draft == 0 else held.shape[3]):
                # How likely the draft is of each class, in truth, and E[tokens before it] on that.
                if draft == 0:
                    right, derailed, wrong = mass[now, 0, 0, g], mass[now, 0, 1, g], 0.0
                else:
                    right, derailed, wrong = held[here, 0, 0, g], held[here, 0, 1, g], held[here, 0, 2, g]
                if right + derailed + wrong < 1e-14:
                    continue
                q = g / cells
                repeated = draft > 0 and is_repeat(g, draft_cells, shares)
                if draft == 0:
                    believed = (q, 1.0 - q, 0.0)
                    held_ended = 0
                    class0 = right * true_success[t]
                    classes = (class0, derailed, right - class0)
                    sums = opening(mass[now, 1, 0, g], true_success[t])
                    sums = (sums[0], mass[now, 1, 1, g], sums[2])
                else:
                    believed = of_draft_cell(g, draft_cells, shares)
                    held_ended = end_of_cell(g, draft_cells, shares)
                    classes = (right, derailed, wrong)
                    sums = (held[here, 1, 0, g], held[here, 1, 1, g], held[here, 1, 2, g])
                    if not repeated:
                        classes = reopening(classes, true_other, t, draft)
                        sums = reopening(sums, true_other, t, draft)
                before = (
                    sums[0] / classes[0] if classes[0] > 0.0 else 0.0,
                    sums[1] / classes[1] if classes[1] > 0.0 else 0.0,
                    sums[2] / classes[2] if classes[2] > 0.0 else 0.0,
                )
                then = after if is_first_text(draft, repeated) else after_again
                true_then = true_after if is_first_text(draft, repeated) else true_after_again
                for j in range(J if repeated else 0, J + 1 if repeated else J):
                    if repeated:  # beyond the bins: there is nothing to see
                        drawn0, drawn1, drawn2 = classes
                    else:
                        drawn0 = classes[0] * true_emission[0, j]
                        drawn1 = classes[1] * true_emission[1, j]
                        drawn2 = classes[2] * true_emission[2, j]
                    if drawn0 + drawn1 + drawn2 == 0.0:
                        continue
                    b = believed
                    back = believed
                    known_step = -1
                    for ended in range(2):
                        ends = ended == 1
                        happens = end_evidence(true_end, t, ends)
                        if repeated:
                            came_again = 1.0 if ended == held_ended else 0.0
                            happens = (came_again, came_again, came_again)
                        flow = (drawn0 * happens[0], drawn1 * happens[1], drawn2 * happens[2])
                        if flow[0] + flow[1] + flow[2] == 0.0:
                            continue
                        step = rule_step(t, n_steps, ends)
                        # Equal hazards say nothing, so the belief is the same whether the step ends or not.
                        tells = step != known_step or end[step, 0] != end[step, 1] or end[step, 0] != end[step, 2]
                        if tells and not repeated:
                            known_step = step
                            looks = by_class(emission, j)
                            likely = end_evidence(end, step, ends)
                            if draft == 0:
                                prior = opening(q, success[step])
                            else:
                                prior = normalised(reopening(believed, other, step, draft), believed)
                                back = looked_back(believed, other, step, draft, looks, likely)
                            b = weighed(prior, looks, likely)
                        action, gain, cost, moved, kept = best_other(
                            b, j, ended, step, back, held_ended, rule_step(t, n_steps, held_ended == 1), vectors,
                            offset, then, price, reward, codes, again, former, same, draft, repeated, drafts,
                            draft_vectors, draft_offset,
                        )  # fmt: skip
                        if not gain > cost:
                            action = 0
                            moved = kept
                        if former[action]:
                            # The draft before stands, of its own class and end; this one is discarded in its place.
                            cell = cell_of(moved, cells)
                            for c in range(3):
                                drawn = held[here, 0, c, g] * explained(
                                    c, true_other, t, draft, by_class(true_emission, j), happens
                                )
                                if drawn == 0.0:
                                    continue
                                written = held[here, 1, c, g] / held[here, 0, c, g]
                                counts[t, ended, asking, c] += flow[c]
                                counts[t, held_ended, asking, c] -= drawn
                                counts[t, held_ended, action, c] += drawn
                                before_total[t, action] += drawn * written
                                accuracy[t] += drawn * true_then[t, held_ended, action, c, 1, 0]
                                for s in range(2):
                                    onward = drawn * true_then[t, held_ended, action, c, 0, s]
                                    mass[new, 0, s, cell] += onward
                                    mass[new, 1, s, cell] += onward * (written + tokens[action, c])
                            continue
                        for c in range(3):
                            counts[t, ended, action, c] += flow[c]
                            before_total[t, action] += flow[c] * before[c]
                            accuracy[t] += flow[c] * true_then[t, ended, action, c, 1, 0]
                        if again[action]:
                            # The belief over classes is what is held of a draft that is discarded.
                            state = hidden_again(b, then, step, ended, action)
                            anew = draft_cell(changing(state, same, j), state, 0, ended, draft_cells, shares)
                            once_more = draft_cell(repeating(state, same, j), state, 1, ended, draft_cells, shares)
                            for c in range(3):
                                for s in range(3):
                                    onward = flow[c] * true_then[t, ended, action, c, 2, s]
                                    comes_again = onward * true_same[c, j]
                                    held[there, 0, s, once_more] += comes_again
                                    held[there, 1, s, once_more] += comes_again * before[c]
                                    held[there, 0, s, anew] += onward - comes_again
                                    held[there, 1, s, anew] += (onward - comes_again) * before[c]
                        else:
                            cell = cell_of(moved, cells)
                            for c in range(3):
                                written = before[c] + tokens[action, c]
                                for s in range(2):
                                    onward = flow[c] * true_then[t, ended, action, c, 0, s]
                                    mass[new, 0, s, cell] += onward
                                    mass[new, 1, s, cell] += onward * written
            held[here] = 0.0
            here = there
        now = new


@compiled
def propagate_posterior(act, success, end, emission, after, tokens):
    T, J, A = len(success), emission.shape[1], len(tokens)
    accuracy, counts, before_total = np.zeros(T), np.zeros((T, 2, A, 3)), np.zeros((T, A))
    # Mass by the prefix (right, derailed) and the running minimum, and E[tokens of the solution so far] on it.
    mass, length = np.zeros((2, J + 1)), np.zeros((2, J + 1))
    mass[0, J] = 1.0
    # P(score bin ≥ j) by class, to move the minimum of a regenerated step.
    tail = np.zeros((3, J + 1))
    for c in range(3):
        for j in range(J - 1, -1, -1):
            tail[c, j] = tail[c, j + 1] + emission[c, j]
    for t in range(T):
        new, longer = np.zeros((2, J + 1)), np.zeros((2, J + 1))
        # redone[s, m]: regenerated and going on, by minimum before; s: came out right, wrong, was derailed
        redone, redone_longer = np.zeros((3, J + 1)), np.zeros((3, J + 1))
        for m in range(J + 1):
            for c in range(3):
                s = 1 if c == 1 else 0
                if mass[s, m] == 0.0:
                    continue
                before = length[s, m] / mass[s, m]
                share = success[t] if c == 0 else (1.0 - success[t] if c == 2 else 1.0)
                for ended in range(2):
                    share_ended = mass[s, m] * share * (end[t, c] if ended == 1 else 1.0 - end[t, c])
                    if share_ended == 0.0:
                        continue
                    for j in range(J):
                        flow = share_ended * emission[c, j]
                        if flow == 0.0:
                            continue
                        action = act[m, j]
                        counts[t, ended, action, c] += flow
                        accuracy[t] += flow * after[t, ended, action, c, 1, 0]
                        before_total[t, action] += flow * before
                        written = before + tokens[action, c]
                        right = flow * after[t, ended, action, c, 0, 0]
                        derailed = flow * after[t, ended, action, c, 0, 1]
                        if action == 0:
                            low = min(m, j)
                            new[0, low] += right
                            new[1, low] += derailed
                            longer[0, low] += right * written
                            longer[1, low] += derailed * written
                        else:
                            wrong = 2 if c != 1 else 1
                            redone[0, m] += right
                            redone[wrong, m] += derailed
                            redone_longer[0, m] += right * written
                            redone_longer[wrong, m] += derailed * written
        for m in range(J + 1):
            for c in range(3):
                if redone[c, m] == 0.0:
                    continue
                s = 0 if c == 0 else 1
                new[s, m] += redone[c, m] * tail[c, m]
                longer[s, m] += redone_longer[c, m] * tail[c, m]
                for j in range(m):
                    new[s, j] += redone[c, m] * emission[c, j]
                    longer[s, j] += redone_longer[c, m] * emission[c, j]
        mass, length = new, longer
    return accuracy, counts, before_total


@compiled
def simulate(rng, out, kind, table, intervention, act, rule, true, tokens):
    """Fill `out`, the arrays of `trim_pomdp.model.propagation.Drawn`."""
    rights, counts, strong_steps, before, steps_before, further = out
    true_success, true_other, true_same, true_end, cumulative, cumulative_again = true[:6]
    true_after, true_after_again, true_strong, true_further = true[6:]
    success, end, emission, vectors, offset, after, price, reward, cells, codes, again, former, other, same = rule[:14]
    emission_again, after_again, drafts, draft_cells, shares, draft_vectors, draft_offset = rule[14:]
    T, J = len(true_success), cumulative.shape[1]
    n_steps = len(success)
    asking = 0
    for a in range(len(again)):
        if again[a]:
            asking = a
    for i in range(len(rights)):
        right = True
        cell = cells
        minimum = J
        length = 0.0
        t = 0
        draft = 0
        hidden = 0
        b = (0.0, 0.0, 0.0)
        step = 0
        j = 0
        while t < T:
            repeated = draft > 0 and is_repeat(cell, draft_cells, shares)
            held_ended = end_of_cell(cell, draft_cells, shares) if draft > 0 else 0
            if repeated:
                c = hidden
                j = J
                ended = held_ended
                ends = ended == 1
            else:
                c = 1
                if right:
                    share = true_success[t]
                    if draft > 0:
                        share = true_other[t, draft - 1, hidden, 0]
                    c = 0 if rng.random() < share else 2
                drawn_from = cumulative if draft == 0 else cumulative_again
                j = np.searchsorted(drawn_from[c], rng.random(), side="right")
                ends = rng.random() < true_end[t, c]
                ended = 1 if ends else 0
            then = after if is_first_text(draft, repeated) else after_again
            true_then = true_after if is_first_text(draft, repeated) else true_after_again
            moved = 0.0
            if kind == ALPHA:
                step = rule_step(t, n_steps, ends)
                likely = end_evidence(end, step, ends)
                back = (0.0, 0.0, 0.0)
                if draft == 0:
                    b = weighed(opening(cell / cells, success[step]), by_class(emission, j), likely)
                else:
                    last = of_draft_cell(cell, draft_cells, shares)
                    if repeated:
                        b = last
                    else:
                        looks = by_class(emission_again, j)
                        b = weighed(normalised(reopening(last, other, step, draft), last), looks, likely)
                        back = looked_back(last, other, step, draft, looks, likely)
                action, gain, cost, moved, kept = best_other(
                    b, j, ended, step, back, held_ended, rule_step(t, n_steps, held_ended == 1), vectors, offset, then,
                    price, reward, codes, again, former, same, draft, repeated, drafts, draft_vectors, draft_offset,
                )  # fmt: skip
                if not gain > cost:
                    action = 0
                    moved = kept
                elif former[action]:
                    counts[i, asking, c] += 1.0
                    counts[i, asking, hidden] -= 1.0
                    c = hidden
                    ended = held_ended
            elif kind == POSTERIOR:
                action = act[minimum, j]
            else:
                action = intervention if rng.random() < table[c, j] else 0
            counts[i, action, c] += 1.0
            for k in range(3):
                strong_steps[i, k] += true_strong[action, t, ended, c, k]
            before[i, action] += length
            steps_before[i, action] += t
            number = true_further[action, t, ended, c, 0]
            further[i, 0] += number
            further[i, 1] += number * length
            further[i, 2] += number * t
            further[i, 3] += true_further[action, t, ended, c, 1]
            row = true_then[t, ended, action, c]
            u = rng.random()
            if again[action]:
                hidden = 0 if u < row[2, 0] else (1 if u < row[2, 0] + row[2, 1] else 2)
                state = hidden_again(b, then, step, ended, action)
                if rng.random() < true_same[c, j]:
                    cell = draft_cell(repeating(state, same, j), state, 1, ended, draft_cells, shares)
                else:
                    cell = draft_cell(changing(state, same, j), state, 0, ended, draft_cells, shares)
                draft += 1
                continue
            length += tokens[action, c]
            right = u < row[0, 0] + row[1, 0]
            if u < row[1, 0] or u >= 1.0 - row[1, 1]:
                break
            if kind == ALPHA:
                cell = cell_of(moved, cells)
            elif kind == POSTERIOR:
                if action == 1:
                    came_out = 0 if right else (1 if c == 1 else 2)
                    j = np.searchsorted(cumulative[came_out], rng.random(), side="right")
                minimum = min(minimum, j)
            t += 1
            draft = 0
        rights[i] = 1.0 if right else 0.0
