r"""How further drafts of a step depend on those before them.

Drafts are drawn independently given the prefix, and fail together where the step is hard: the chance that a draft is
right varies from prefix to prefix. A Beta distribution of it makes the drafts of one step a Pólya urn, which its mean
:math:`p_w` and :math:`b = P(\text{next right} \mid \text{first wrong})` determine. With :math:`n = b / (p_w - b)` and
m drafts before, all of them wrong but perhaps the last,

.. math::
    P(\text{next right} \mid \text{last wrong}) = \frac{p_w n}{n + m}, \qquad
    P(\text{next wrong} \mid \text{last right}) = \frac{(1 - p_w) n + m - 1}{n + m}.

That all before the last were wrong is assumed, so that the last one is all to be remembered: right ones are seldom
drafted again. Where :math:`b \ge p_w`, drafts are independent of each other.

A further draft may also be the last one *word for word*, with probability s by the class of that. This is seen, and
such a draft has the class, the score and the end that the last one had: it brings no other evidence than that it was
written twice, which right drafts are more often. A draft of another text has a score and an end of its own, and classes
such that all drafts together have those above: P(right, another text | last wrong) is the urn's P(right) as far as
1 − s leaves room for it, P(wrong, another text | last right) likewise.

What is drafted again is hard to judge, too: right drafts of another text look far worse than right first ones, and
wrong ones somewhat (`Tilts`).

Steps that look suspicious, which are those that are drafted again, are harder than others that are right too. How often
another draft of such a right one is right, `success`, may therefore be told; the urn's P(wrong | last right) is then
the least that it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from trim_pomdp.artifacts import Record
from trim_pomdp.equality import ByContent

FloatArray = NDArray[np.float64]
_LEAST = 1e-6  # probability of a bin: one that a class never shows tells no more than that


Tilt = tuple[Annotated[float, Field(ge=-10.0, le=10.0)], Annotated[float, Field(ge=-1.0, le=1.0)]]


class Tilts(Record):
    r"""How drafts of another text look, against first ones: γ and δ, by class of the draft.

    With :math:`x_j = \log E_2(j) / E_0(j)`, how much more likely an observation is of a first error than of a right
    step, class c shows :math:`E_c(j)\, e^{\gamma_c x_j + \delta_c x_j^2}`, normalised. With γ > 0 its drafts look worse
    than first ones, with δ < 0 less decided.
    """

    right: Tilt
    derailed: Tilt
    wrong: Tilt

    @property
    def array(self) -> FloatArray:
        """Shape (3, 2), classes in the order S0, S1, S2."""
        return np.array([self.right, self.derailed, self.wrong])

    @classmethod
    def of(cls, values: FloatArray) -> Tilts:
        """From an array (3, 2)."""
        right, derailed, wrong = ((float(slope), float(bend)) for slope, bend in values)
        return cls(right=right, derailed=derailed, wrong=wrong)


def redraft_class(weak_success: FloatArray, repair: float, drafts: int, success: float | None = None) -> FloatArray:
    """P(another draft is of class S0, S1, S2 | step, drafts before it, how the last was), shape (T, drafts - 1, 3, 3).

    Parameters
    ----------
    weak_success : ndarray of shape (T,)
        p_w.
    repair : float
        b.
    drafts : int
        Most drafts of a step, the first among them.
    success : float or None
        P(right | the last was right), at most; None: as the urn has it.

    Examples
    --------
    >>> redraft_class(np.array([0.9]), 0.3, 3)[0, :, 2, 0].round(2).tolist()  # after one wrong draft, after two
    [0.3, 0.18]
    """
    p, m = weak_success[:, None], np.arange(1, drafts)
    together = repair < p
    n = np.divide(repair, p - repair, out=np.zeros_like(p), where=together)
    right = np.where(together, p * n / (n + m), p)
    wrong = np.where(together, ((1.0 - p) * n + m - 1.0) / (n + m), 1.0 - p)
    wrong = wrong if success is None else np.maximum(wrong, 1.0 - success)
    out = np.zeros((len(p), drafts - 1, 3, 3))
    out[..., 0, 0], out[..., 0, 2] = 1.0 - wrong, wrong
    out[..., 1, 1] = 1.0
    out[..., 2, 0], out[..., 2, 2] = right, 1.0 - right
    return out


def is_first_text(draft: int, repeated: bool) -> bool:
    """Whether a draft, counted from 0, is the first one word for word, as far as is remembered."""
    return draft == 0 or (draft == 1 and repeated)


def tilted(emission: FloatArray, tilts: Tilts | None) -> FloatArray:
    """P(observation bin | class) of drafts of another text, shape (3, J).

    Parameters
    ----------
    emission : ndarray of shape (3, J)
        P(observation bin | class S0, S1, S2) of first drafts.
    tilts : Tilts or None
        None: they look like first ones.

    Examples
    --------
    >>> tilts = Tilts(right=(0.5, 0.0), derailed=(0.5, 0.0), wrong=(0.0, 0.0))
    >>> tilted(np.array([[0.2, 0.8], [0.5, 0.5], [0.8, 0.2]]), tilts).round(2).tolist()
    [[0.5, 0.5], [0.8, 0.2], [0.8, 0.2]]
    """
    if tilts is None:
        return np.ascontiguousarray(emission)
    return tilted_by(emission, tilts.array)


def tilted_by(emission: FloatArray, tilts: FloatArray) -> FloatArray:
    """The same by γ and δ of each class, shape (3, 2)."""
    x = looks_wrong(emission)
    exponents = tilts @ np.stack([x, x * x])
    out = emission * np.exp(exponents - exponents.max(axis=1, keepdims=True))
    return np.ascontiguousarray(out / out.sum(axis=1, keepdims=True))


def looks_wrong(emission: FloatArray) -> FloatArray:
    """log E₂(j) / E₀(j), shape (J,), of an emission (3, J)."""
    right, wrong = np.maximum(emission[0], _LEAST), np.maximum(emission[2], _LEAST)
    return np.asarray(np.log(wrong / right))


@dataclass(frozen=True, eq=False)
class DraftLaw(ByContent):
    """What another draft of a step is, of so many in all.

    Attributes
    ----------
    same : ndarray of shape (3,)
        P(it is the last one word for word | class of the last).
    other : ndarray of shape (T, drafts - 1, 3, 3)
        P(it is another text, and of class S0, S1, S2 | step, drafts before it, class of the last).
    """

    same: FloatArray
    other: FloatArray

    @classmethod
    def of(
        cls, weak_success: FloatArray, repair: float, same: FloatArray, drafts: int, success: float | None = None
    ) -> DraftLaw:
        """From p_w (T,), b, s by class (3,), and what `redraft_class` takes."""
        other = redraft_class(weak_success, repair, drafts, success)
        for last, new in ((0, 2), (2, 0)):
            other[..., last, new] = np.minimum(other[..., last, new], 1.0 - same[last])
            other[..., last, last] = 1.0 - same[last] - other[..., last, new]
        other[..., 1, 1] = 1.0 - same[1]
        return cls(same, other)
