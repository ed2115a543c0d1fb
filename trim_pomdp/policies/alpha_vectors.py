r"""Planned policies: alpha-vectors of what follows every step, with the belief filter that leads to them.

An alpha-vector rule carries everything that it needs at run time: the belief filter's parameters, the emission of
every score bin, and for every step the alpha-vectors of what follows. It keeps its belief q on a grid of
`BELIEF_CELLS` cells, so that it is a finite-state controller: its accuracy and its tokens are computed exactly, in
the model it was planned in or in any other, and the runtime executes that very policy. Between drafts of one step the
belief has two numbers, on a grid of `DRAFT_CELLS`.

Its router decides and moves q exactly as the kernels evaluate it: with b ∝ (q·p_w·E₀, (1−q)·E₁, q·(1−p_w)·E₂) at the
evidence's bin, keeping leads to q = b₀, regenerating to b₀·p_s + b₂·p_r, both rounded to the grid of belief cells;
before another draft it holds what b becomes if that is the same text and if it is another one, rounded too.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from trim_pomdp.data.problems import Problem
from trim_pomdp.errors import InputError
from trim_pomdp.model.actions.base import actions_of, names_of
from trim_pomdp.model.dynamics import PerClass, Probability, Shares
from trim_pomdp.model.evidence import EvidenceMap
from trim_pomdp.model.hazard import HAZARDS
from trim_pomdp.model.observations import ClassTable, check_distribution, check_edges
from trim_pomdp.model.propagation import Course, Drawn
from trim_pomdp.model.redrafts import Slope, Tilts
from trim_pomdp.policies.alpha_router import AlphaVectorRouter as AlphaVectorRouter
from trim_pomdp.policies.alpha_router import RuleLists
from trim_pomdp.policies.alpha_tables import RuleTables as RuleTables
from trim_pomdp.policies.base import Author, FloatArray, Rule
from trim_pomdp.policies.in_model import simulate_counts
from trim_pomdp.policies.posterior import required

if TYPE_CHECKING:
    from trim_pomdp.model.process import RoutingModel

BELIEF_CELLS = 1024
DRAFT_CELLS = (64, 32)
Cells = Annotated[int, Field(ge=4, le=1 << 16)]


class AlphaVectorRule(Rule):
    """A planned policy: intervene iff the gain of that exceeds its price, in the way that is worth most.

    At step t, after the score and whether the step ends the solution, with belief b over S0, S1, S2, each action leads
    to a right or a derailed prefix of a solution that goes on or is over (`trim_pomdp.model.actions`).
    Its value is reward·P(over, right) + P(goes on)·V(q), with q = P(right | goes on) and V(q) the largest of the step's
    alpha-vectors at (q, 1 − q); of asking for another draft, with s the probability by class that the same text comes,
    the largest of that draft's vectors for the same text at b·s, and of those for another text at b·(1 − s). The gain
    is the value of an action less that of keeping; the price is tradeoff × expected strong tokens, Σ_class
    b_class·strong_tokens_class for a step, plus, where it was planned over money, that of the strong model's reading
    (`reading_price`).

    Attributes
    ----------
    tradeoff : float
        λ, price of one strong token.
    reward : float
        Reward of a right answer.
    alpha_vectors : tuple of tuples of (float, float)
        For each step t = 1 … max_steps, vectors of the value *after* it: value if the prefix is right, if derailed.
        Empty at the last step, which ends every solution.
    weak_success : tuple of float
        p_w by step, one value or max_steps.
    strong_success, repair : float
        p_s and p_r.
    recovery : tuple of float
        ρ by step, one value or max_steps.
    hazard, hazard_derailed, hazard_wrong : tuple of float or None
        Only where they differ, since then an end (or none) is evidence; without `hazard_wrong` it is `hazard`.
    evidence : EvidenceMap or None
        From features of a step to the score that is binned; None: the PRM score as it is.
    score_edges : tuple of float or None
        Lower edges of the score bins; None for bins of (min, current), which only models know.
    emission_right, emission_derailed, emission_wrong : tuple of float
        Probability of each bin, by class.
    strong_tokens : PerClass
        Mean strong tokens of a regenerated step.
    reading_price : tuple of float or None
        Price of what the strong model reads for a regenerated step, by step, in units of reward; None: nothing.
    belief_cells : int
        The belief is kept as a multiple of 1 / belief_cells.
    actions : tuple of str
        What it chooses from (`trim_pomdp.model.actions`), by code.
    max_drafts : int
        Drafts of a step at most; 1 for rules that ask for no other.
    redraft_repair : float or None
    redraft_success : float or None
    redraft_same : Shares or None
    redraft_same_slope : float or None
    redraft_tilt : Tilts or None
    strong_success_again, repair_again : float or None
        As in `trim_pomdp.model.dynamics.StepDynamics`; for rules that ask for other drafts.
    redraft_price : float
        Price of another draft, in units of reward.
    draft_vectors : tuple of tuples of tuples of (float, float, float)
        For each step, four for each draft after the first, by whether it is another text than the one before it or the
        same, and by whether that goes on or ends the solution (`trim_pomdp.model.redrafts.DraftPlace`): vectors of the
        value before that draft is looked at, over the hidden states: prefix and last draft right, derailed, prefix
        right and last draft wrong.
    draft_cells : tuple of (int, int)
        Between drafts P(prefix right), and P(last draft right) given that, are kept as multiples of one over these.
    """

    form: Literal["alpha_vectors"] = "alpha_vectors"
    tradeoff: NonNegativeFloat
    reward: PositiveFloat
    alpha_vectors: tuple[tuple[tuple[float, float], ...], ...] = Field(min_length=1)
    weak_success: tuple[Probability, ...]
    strong_success: Probability
    repair: Probability
    recovery: tuple[Probability, ...] = (0.0,)
    hazard: tuple[Probability, ...] | None = None
    hazard_derailed: tuple[Probability, ...] | None = None
    hazard_wrong: tuple[Probability, ...] | None = None
    evidence: EvidenceMap | None = None
    score_edges: tuple[float, ...] | None
    emission_right: tuple[Probability, ...]
    emission_derailed: tuple[Probability, ...]
    emission_wrong: tuple[Probability, ...]
    strong_tokens: PerClass
    reading_price: tuple[NonNegativeFloat, ...] | None = None
    belief_cells: Annotated[int, Field(ge=16, le=1 << 16)] = BELIEF_CELLS
    actions: tuple[str, ...] = ("keep", "regenerate")
    max_drafts: Annotated[int, Field(ge=1, le=16)] = 1
    redraft_repair: Probability | None = None
    redraft_success: Probability | None = None
    redraft_same: Shares | None = None
    redraft_same_slope: Slope | None = None
    redraft_tilt: Tilts | None = None
    strong_success_again: Probability | None = None
    repair_again: Probability | None = None
    redraft_price: NonNegativeFloat = 0.0
    draft_vectors: tuple[tuple[tuple[tuple[float, float, float], ...], ...], ...] = ()
    draft_cells: tuple[Cells, Cells] = DRAFT_CELLS

    @model_validator(mode="after")
    def _shapes_agree(self) -> AlphaVectorRule:
        T = len(self.alpha_vectors)
        for name in ("weak_success", "recovery"):
            if len(getattr(self, name)) not in (1, T):
                raise ValueError(f"{name} has {len(getattr(self, name))} values; expected 1 or {T}")
        if (self.hazard is None) != (self.hazard_derailed is None):
            raise ValueError("hazard and hazard_derailed go together")
        if self.hazard is None and self.hazard_wrong is not None:
            raise ValueError("hazard_wrong goes with hazard and hazard_derailed")
        for name in (*HAZARDS, "reading_price"):
            value = getattr(self, name)
            if value is not None and len(value) != T:
                raise ValueError(f"{name} has {len(value)} values; expected {T}")
        size = len(self.emission_right) if self.score_edges is None else len(self.score_edges)
        if self.evidence is not None and self.score_edges is None:
            raise ValueError("evidence goes with score_edges; bins of (min, current) are of PRM scores")
        if self.score_edges is not None:
            check_edges("score_edges", np.array(self.score_edges))
        for name in ("emission_right", "emission_derailed", "emission_wrong"):
            check_distribution(name, np.array(getattr(self, name)), size)
        if any(not vectors for vectors in self.alpha_vectors[:-1]):
            raise ValueError("every step but the last needs at least one alpha-vector")
        return self

    @model_validator(mode="after")
    def _drafts_agree(self) -> AlphaVectorRule:
        chosen = actions_of(self.actions)
        if names_of(chosen) != self.actions:
            raise ValueError(f"actions are {', '.join(self.actions)}; expected in the order of their codes")
        drafts_again = any(action.is_judged_again for action in chosen)
        if drafts_again != (self.max_drafts > 1) or drafts_again != (self.redraft_repair is not None):
            raise ValueError("max_drafts above 1 and redraft_repair go with an action that asks for another draft")
        shape = [len(step) for step in self.draft_vectors]
        if shape != [4 * (self.max_drafts - 1)] * (len(self.alpha_vectors) if drafts_again else 0):
            raise ValueError(f"draft_vectors need {4 * (self.max_drafts - 1)} sets of vectors for each step")
        if self.hazard is None and any(action.writes == "rest" for action in chosen):
            raise ValueError("hazards must be known where the strong model may write all that is left")
        if not all(vectors for step in self.draft_vectors for vectors in step):
            raise ValueError("every draft after the first needs at least one alpha-vector")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_used(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Rules planned over strong tokens, and rules of two actions, say, and hash, as before there was more."""
        document: dict[str, Any] = serialise(self)
        if self.reading_price is None:
            document.pop("reading_price", None)
        if self.actions == type(self).model_fields["actions"].default:
            document.pop("actions", None)
        if self.max_drafts == 1:
            for name in ("max_drafts", "redraft_repair", "redraft_same", "draft_vectors", "draft_cells"):
                document.pop(name, None)
        for name in ("redraft_success", "redraft_same_slope", "redraft_tilt", "strong_success_again", "repair_again"):
            if getattr(self, name) is None:
                document.pop(name, None)
        if self.redraft_price == 0.0:
            document.pop("redraft_price", None)
        return document

    @property
    def max_steps(self) -> int:
        """Step cap."""
        return len(self.alpha_vectors)

    def facts(self) -> Mapping[str, object]:
        """See `Shown`."""
        return {
            "λ": self.tradeoff,
            "reward": self.reward,
            "max_steps": self.max_steps,
            "alpha-vectors": sum(map(len, self.alpha_vectors)),
            "evidence": "prm" if self.evidence is None else self.evidence.kind,
            "bins": len(self.emission_right),
            "actions": None if self.actions == type(self).model_fields["actions"].default else ", ".join(self.actions),
        }

    @cached_property
    def emission(self) -> FloatArray:
        """P(bin | S0, S1, S2), shape (3, J)."""
        return np.array([self.emission_right, self.emission_derailed, self.emission_wrong])

    @cached_property
    def tables(self) -> RuleTables:
        """The rule as arrays, for the kernels."""
        return RuleTables.of(self)

    @cached_property
    def lists(self) -> RuleLists:
        """The rule as Python floats, for routers."""
        return RuleLists.of(self)

    @cached_property
    def on_evidence_scores(self) -> AlphaVectorRule:
        """The same rule where evidence scores are given in place of the features that they are made of."""
        return self if self.evidence is None else self.model_copy(update={"evidence": None})

    @property
    def needs_score(self) -> bool:
        """See `Rule`."""
        return self.evidence is None or self.evidence.needs_score

    @property
    def judges_prm_scores(self) -> bool:
        """See `Rule`."""
        return self.evidence is None

    @property
    def authors(self) -> frozenset[Author]:
        """See `Rule`; the weak model drafts every step, and actions may ask others."""
        asked = {action.asks for action in actions_of(self.actions)}
        return frozenset(author for author in (*asked, "weak") if author is not None)

    @property
    def choices(self) -> tuple[str, ...]:
        """See `Rule`."""
        return self.actions

    @property
    def horizon(self) -> int:
        """See `Rule`."""
        return self.max_steps

    @property
    def planned_tradeoff(self) -> float:
        """See `Rule`."""
        return self.tradeoff

    def breakpoints(self, class_table: ClassTable | None = None) -> tuple[float, ...]:
        """See `Rule`."""
        return required(class_table).score_edges[:-1] if self.score_edges is None else self.score_edges

    def require(self, class_table: ClassTable | None) -> None:
        """See `Rule`; the class table is needed for bins of (min, current), and must have as many."""
        if self.score_edges is not None:
            return
        size = required(class_table).table.shape[1]
        if size != len(self.emission_right):
            raise InputError(
                f"the policy was planned on {len(self.emission_right)} bins of (min, current), the class table "
                f"has {size}; plan it again on these observations"
            )

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> AlphaVectorRouter:
        """See `Rule`."""
        return AlphaVectorRouter(self, class_table)

    def course(self, model: RoutingModel) -> Course:
        """See `Rule`: the belief is the *rule's*, the truth is the *model's*, and both are propagated."""
        from trim_pomdp import _kernels

        check_bins(self, model)
        law, further = model.law, model.dynamics.draft_law(self.max_drafts, model.emission)
        accuracy, by_end, before = _kernels.propagate_alpha(
            self.tables.arguments,
            (
                law.weak_success,
                further.other,
                further.same,
                law.end,
                np.ascontiguousarray(model.emission),
                model.emission_again,
                model.outcomes,
                model.tables_again.outcomes,
            ),
            model.accepted_tokens,
        )
        return Course.of(accuracy, by_end, before, model.tables)

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> Drawn:
        """See `Rule`."""
        check_bins(self, model)
        return simulate_counts(model, n, rng, tables=self.tables)


def check_bins(rule: AlphaVectorRule, model: RoutingModel) -> None:
    """Raise `InputError` unless rule and model speak of the same observation bins."""
    if rule.evidence != model.observations.evidence:
        raise InputError(
            f"the policy was planned on other evidence ({_evidence(rule.evidence)}) than {model.observations.name!r} "
            f"gives ({_evidence(model.observations.evidence)}); plan it again on this observation model"
        )
    edges = model.observations.step_emission.score_edges if model.observations.emission == "step" else None
    if rule.emission.shape[1] != model.emission.shape[1] or rule.score_edges != edges:
        raise InputError(
            f"the policy was planned on other observation bins ({rule.emission.shape[1]}, or with other edges) than "
            f"those of {model.observations.name!r} ({model.emission.shape[1]}); plan it again on this observation model"
        )


def _evidence(evidence: EvidenceMap | None) -> str:
    return "the PRM score" if evidence is None else evidence.formula


def decide(
    rule: AlphaVectorRule,
    q: FloatArray,
    bins: NDArray[np.int64],
    ended: NDArray[np.bool_],
    steps: NDArray[np.int64],
    *,
    held: FloatArray | None = None,
    draft: int = 0,
    former_ended: NDArray[np.bool_] | None = None,
    repeated: bool = False,
) -> NDArray[np.int64]:
    """The action, by code, for many problems at once.

    Parameters
    ----------
    q : ndarray of shape (n,)
        Probability that the prefix before the current step is right.
    bins : ndarray of shape (n,)
        Observation bin of the current step.
    ended : ndarray of bool, shape (n,)
        Whether the current step ends the solution.
    steps : ndarray of shape (n,)
        Step index from 0; beyond the cap the last step before it stands in.
    held : ndarray of shape (n, 3), optional
        Where a draft was discarded, what is believed of it, given whether this one is the same, in place of q
        (`AlphaVectorRouter`).
    draft : int
        Which draft of the step it is, from 0.
    former_ended : ndarray of bool, shape (n,), optional
        Whether the discarded draft ended the solution.
    repeated : bool
        Whether it is the draft before it word for word; its bin is not looked at then.
    """
    from trim_pomdp import _kernels

    out = np.empty(len(q), dtype=np.int64)
    state = np.zeros((len(q), 3)) if held is None else held
    if held is None:
        draft, repeated = 0, False
    former = np.zeros(len(q), dtype=np.bool_) if former_ended is None else former_ended
    _kernels.decide(q, state, draft, former, repeated, bins, ended, steps, rule.tables.arguments, out)
    return out
