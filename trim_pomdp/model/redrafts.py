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

A further draft may also be the last one *word for word*. This is seen, and such a draft has the class, the score and
the end that the last one had. What looks wrong comes less often a second time, since the weak model's own doubts are a
part of how it looks: with :math:`x_j = \log E_2(j) / E_0(j)` of how the last one looked, its probability is

.. math::
    s_c(j) = \sigma(a_c + \beta x_j)

where :math:`a_c` is such that those of class c that are doubted, :math:`x_j > 0`, are repeated with probability
:math:`\bar s_c` on the whole. So a repeat tells of the class what β and how the last one looked leave open, which may
be nothing at all. A text that came twice is taken to come again as often as such texts of its class do on the whole,
:math:`E[s_c^2] / \bar s_c`.

Whether a draft of *another* text is right depends on the class of the last one, and no more on how that looked. Its
probabilities are such that all drafts together have those above where the last one was doubted: P(right | another text,
last wrong) is the urn's P(right) divided by :math:`1 - \bar s_2`, 1 at most, and P(wrong | another text, last right)
that of wrong ones divided by :math:`1 - \bar s_0`.

What is drafted again is hard to judge, too: right drafts of another text look far worse than right first ones, and
wrong ones somewhat (`Tilts`).

Steps that look suspicious, which are those that are drafted again, are harder than others that are right too. How often
another draft of such a right one is right, `success`, may therefore be told; the urn's P(wrong | last right) is then
the least that it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import brentq
from scipy.special import expit, logit

from trim_pomdp.artifacts import Record
from trim_pomdp.equality import ByContent

FloatArray = NDArray[np.float64]
_LEAST = 1e-6  # probability that is told from 0: a bin that a class never shows tells no more than that


MOST_SLOPE, MOST_BEND = 10.0, 1.0  # of slopes in x, and of those in its square
Slope = Annotated[float, Field(ge=-MOST_SLOPE, le=MOST_SLOPE)]
Tilt = tuple[Slope, Annotated[float, Field(ge=-MOST_BEND, le=MOST_BEND)]]


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


class DraftPlace(NamedTuple):
    """Where in a step a decision stands: what is known of its draft before that is looked at.

    Attributes
    ----------
    draft : int
        Which one it is, from 0.
    repeated : bool
        Whether it is the one before it word for word.
    ended : int
        Whether the one before it ended the solution (1) or not (0).
    """

    draft: int
    repeated: bool = False
    ended: int = 0

    @property
    def number(self) -> int:
        """Its position among those of a step."""
        return 4 * self.draft - 3 + 2 * self.repeated + self.ended if self.draft else 0

    @classmethod
    def numbered(cls, number: int) -> DraftPlace:
        """The one at a position."""
        before, which = divmod(number + 3, 4)
        return cls(before, which >= 2, which % 2) if number else FIRST_DRAFT

    @property
    def is_first_text(self) -> bool:
        """Whether the draft is the first one word for word, as far as is remembered."""
        return self.draft == 0 or (self.draft == 1 and self.repeated)


FIRST_DRAFT = DraftPlace(0)


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
    exponents = tilts @ tilt_powers(emission)
    out = emission * np.exp(exponents - exponents.max(axis=1, keepdims=True))
    return np.ascontiguousarray(out / out.sum(axis=1, keepdims=True))


def tilt_powers(emission: FloatArray) -> FloatArray:
    """What γ and δ are multiplied with, x and x², shape (2, J), of an emission (3, J)."""
    x = looks_wrong(emission)
    return np.stack([x, x * x])


def looks_wrong(emission: FloatArray) -> FloatArray:
    """log E₂(j) / E₀(j), shape (J,), of an emission (3, J)."""
    right, wrong = np.maximum(emission[0], _LEAST), np.maximum(emission[2], _LEAST)
    return np.asarray(np.log(wrong / right))


@dataclass(frozen=True, eq=False)
class DraftLaw(ByContent):
    """What another draft of a step is, of so many in all.

    Attributes
    ----------
    same : ndarray of shape (3, J + 1)
        P(it is the last one word for word | class of the last, how that looked); the last column: which was the one
        before it word for word.
    other : ndarray of shape (T, drafts - 1, 3, 3)
        P(class S0, S1, S2 | another text, step, drafts before it, class of the last).
    """

    same: FloatArray
    other: FloatArray

    @classmethod
    def of(
        cls,
        weak_success: FloatArray,
        repair: float,
        drafts: int,
        emission: FloatArray,
        same: FloatArray,
        slope: float | None = None,
        success: float | None = None,
    ) -> DraftLaw:
        """From p_w (T,), b, how first drafts look (3, J), s̄ (3,), β, and what `redraft_class` takes."""
        other = redraft_class(weak_success, repair, drafts, success)
        for last, new in ((0, 2), (2, 0)):
            stays = 1.0 - same[last]
            other[..., last, new] = np.minimum(other[..., last, new] / stays, 1.0) if stays > 0.0 else 0.0
            other[..., last, last] = 1.0 - other[..., last, new]
        return cls(repeat_shares(emission, same, slope or 0.0), other)


def repeat_shares(emission: FloatArray, same: FloatArray, slope: float) -> FloatArray:
    """`DraftLaw.same` of how first drafts look (3, J), s̄ (3,) and β.

    Examples
    --------
    >>> emission = np.array([[0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.2, 0.4, 0.4]])
    >>> repeat_shares(emission, np.array([0.9, 0.5, 0.5]), 0.0)[2].tolist()
    [0.5, 0.5, 0.5, 0.5]
    """
    x, doubted = looks_wrong(emission), doubted_shares(emission)
    out = np.repeat(same[:, None], len(x) + 1, axis=1)
    if slope == 0.0:
        return out
    for c, share in enumerate(same):
        if _LEAST < share < 1.0 - _LEAST:  # nearer to 0 or 1 there is no slope to be seen
            out[c, :-1] = expit(_intercept(doubted[c], x, slope, share) + slope * x)
            out[c, -1] = doubted[c] @ out[c, :-1] ** 2 / share
    return out


def doubted_shares(emission: FloatArray) -> FloatArray:
    """P(bin | class, doubted) of first drafts, shape (3, J); of a class that is never doubted, P(bin | class)."""
    shown = np.maximum(emission, 0.0) * (looks_wrong(emission) > 0.0)
    shown = np.where(shown.sum(axis=1, keepdims=True) > 0.0, shown, emission)
    return np.asarray(shown / shown.sum(axis=1, keepdims=True))


def _intercept(weights: FloatArray, x: FloatArray, slope: float, share: float) -> float:
    """Where a + slope · x, as log-odds, have so large a share on the average."""
    around, reach = logit(share), abs(slope) * float(np.abs(x).max()) + 1e-9
    return float(brentq(lambda a: weights @ expit(a + slope * x) - share, around - reach, around + reach))
