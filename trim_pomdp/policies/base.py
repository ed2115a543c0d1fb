"""What a policy is: a rule, which is data and answers for itself, and the router that it gives to every problem.

A rule says what it looks at, which models it may ask, what it would do in a routing model, and makes routers. A router
decides on one problem, step by step, and owns whatever it remembers of it. A further policy, one that looks at a
whole problem only included, is one module: a subclass of `Rule` whose `form` is a name of its own, and its router.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import SerializeAsAny
from pydantic.functional_validators import BeforeValidator

from trim_pomdp.artifacts import Record, validate
from trim_pomdp.data.problems import Problem
from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.model.actions.base import Author as Author
from trim_pomdp.model.prices import Role as Role

if TYPE_CHECKING:
    from trim_pomdp.model.observations import ClassTable
    from trim_pomdp.model.process import RoutingModel
    from trim_pomdp.model.propagation import Course, Drawn

FloatArray = NDArray[np.float64]
Belief = tuple[float, float, float]


class SetupError(InputError):
    """A run is set up so that no problem could be solved."""


@dataclass(frozen=True)
class StepObservation:
    """What a router sees of a weak step.

    Attributes
    ----------
    step : int
        Index from 0.
    ended : bool
        Whether the step's text ends the solution if kept: it holds an answer, or the model ended there. (In routing
        models every step at the cap is an end; here it is one only if its text is.)
    features : mapping of str to float
        ``tokens``, ``logprob_min``, ``logprob_mean``, ``logprob_first`` of the weak step; and, where the PRM was asked,
        its ``score`` and the ``minimum`` of the scores of the steps before (1.0 at the first).
    true_class : int or None
        0, 1, 2 for S0, S1, S2, where truth is known.
    draft : int
        Which draft of the step it is, from 0; higher where the router had the weak model draft the step again.
    repeated : bool
        Whether it is the draft before it word for word.
    """

    step: int
    ended: bool
    features: Mapping[str, float]
    true_class: int | None = None
    draft: int = 0
    repeated: bool = False


@dataclass(frozen=True)
class Decision:
    """What to do with a weak step, and why. All but the action are None for rules that have no such thing.

    Attributes
    ----------
    action : int
        Code of an action (`trim_pomdp.model.actions`): keep 0, regenerate 1, redraft 2, takeover 3, recall 4.
    q : float or None
        P(the prefix before the step is right).
    after : tuple of float or None, or None
        By action code: what q becomes if it is taken and the solution goes on; None for actions that the rule does
        not have.
    over : tuple of float or None, or None
        By action code: P(the solution is right) if it is over then.
    evidence : float or None
        The score that was decided on, where it is another one than the PRM's.
    belief : tuple of three floats or None
        Distribution over S0, S1, S2.
    gain, price : float or None
        Gain of intervening and its price, in units of reward: of that action, other than keeping, which is worth most
        at its price.
    draft : int or None
        The draft of the step that the action is about; None: the one that was seen last. A rule may keep an earlier
        one.
    """

    action: int
    q: float | None = None
    after: tuple[float | None, ...] | None = None
    over: tuple[float | None, ...] | None = None
    evidence: float | None = None
    belief: Belief | None = None
    gain: float | None = None
    price: float | None = None
    draft: int | None = None

    def believed_at_end(self, action: int, *, ended: bool) -> float | None:
        """P(the solution is right) after an action; `ended`: by its text, not by a limit."""
        found = self.over if ended and self.over is not None else self.after
        return None if found is None else found[action]


class Router(Protocol):
    """A policy on one problem, from its first step to its last; it remembers what it needs to.

    A deep copy goes its own way: what would have been decided otherwise is asked of copies.

    Attributes
    ----------
    policy_hash : str
        Of the rule.
    needs_score : bool
        Whether it decides on the PRM's score.
    q : float or None
        P(the prefix so far is right), as of the last decision; None for policies without a belief.
    """

    @property
    def policy_hash(self) -> str: ...  # noqa: D102

    @property
    def needs_score(self) -> bool: ...  # noqa: D102

    @property
    def q(self) -> float | None: ...  # noqa: D102

    def writer(self, step: int) -> Author | None:
        """The model that writes the step alone, with nothing to decide; None where there is a decision."""
        ...

    def decide(self, seen: StepObservation) -> Decision:
        """Keep or regenerate the weak step; the router goes on from what it decided."""
        ...


@runtime_checkable
class WeighingRouter(Router, Protocol):
    """A router that shows how it comes to its belief: prior × likelihood, normalised."""

    def prior(self, seen: StepObservation) -> Belief:
        """Distribution over S0, S1, S2 of a new weak step, before anything is seen of it."""
        ...

    def likelihood(self, seen: StepObservation) -> Belief:
        """P(what is seen of the step | S0, S1, S2)."""
        ...


class Rule(Shown, Record):
    """A policy as data.

    Attributes
    ----------
    form : str
        What kind of policy it is; a name of the subclass's own.
    """

    form: str

    @cached_property
    def policy_hash(self) -> str:
        """Short hash of what the rule says."""
        return content_hash(self)

    @property
    def parts(self) -> tuple[Rule, ...]:
        """The rules that one is drawn from for every problem; the rule itself where nothing is drawn."""
        return (self,)

    @property
    def shares(self) -> tuple[float, ...]:
        """Probability of drawing each of `parts`."""
        return (1.0,)

    def facts(self) -> Mapping[str, object]:
        """See `Shown`: what the rule says, its form apart."""
        return {name.replace("_", " "): getattr(self, name) for name in type(self).model_fields if name != "form"}

    # What it needs ---------------------------------------------------------------------------------------------

    @property
    def needs_score(self) -> bool:
        """Whether it ever looks at the PRM's score."""
        return False

    @property
    def needs_truth(self) -> bool:
        """Whether it ever looks at the true class of a step."""
        return False

    @property
    def judges_prm_scores(self) -> bool:
        """Whether it decides on the PRM's scores as they are, so that models of other evidence cannot speak of it."""
        return self.needs_score

    @property
    def authors(self) -> frozenset[Author]:
        """The models that it may have write."""
        return frozenset(("weak", "strong"))

    @property
    def choices(self) -> tuple[str, ...]:
        """The actions that it chooses from (`trim_pomdp.model.actions`), by code."""
        return ("keep", "regenerate")

    @property
    def planned_tradeoff(self) -> float | None:
        """The tradeoff λ that it was planned at, if it was."""
        return None

    @property
    def horizon(self) -> int | None:
        """The step cap that it was planned for, if it was."""
        return None

    def breakpoints(self, class_table: ClassTable | None = None) -> tuple[float, ...] | None:
        """Scores at which its decision on a step can change, ascending from 0; None where nobody knows.

        From one of them up to the next, the next itself left out, the decision is the same. They are evidence scores
        where the rule decides on such.
        """
        return None

    def require(self, class_table: ClassTable | None) -> None:
        """Raise `InputError` or `UnsetParameterError` if the rule cannot be run beside this class table, or none."""

    # What it does ----------------------------------------------------------------------------------------------

    def router(self, problem: Problem, *, seed: int = 0, class_table: ClassTable | None = None) -> Router:
        """The rule on a problem, before its first step.

        Parameters
        ----------
        problem : Problem
            Prompt included, for policies that look at it.
        seed : int
            Of all draws, which are keyed by problem and step.
        class_table : ClassTable or None
            Densities of (min, current), for rules that were made on them.

        Raises
        ------
        InputError, UnsetParameterError
            As `require`.
        """
        raise NotImplementedError(f"{type(self).__name__} makes no routers")

    @property
    def has_course(self) -> bool:
        """Whether models can tell what is expected of it (`course`); if not, it is measured live."""
        return type(self).course is not Rule.course

    def course(self, model: RoutingModel) -> Course:
        """What is expected of it in a model, step by step, exactly.

        Raises
        ------
        InputError
            If the rule's decisions depend on more than the model has, or on other bins than the model's.
        UnsetParameterError
            If the model's dynamics leave a parameter unset that one of its actions needs.
        """
        raise InputError(f"a policy of the form {self.form!r} has no exact evaluation in a routing model; run it live")

    def simulated(self, model: RoutingModel, n: int, rng: np.random.Generator) -> Drawn:
        """What `course` expects, drawn for n problems.

        Raises
        ------
        InputError, UnsetParameterError
            As `course`.
        """
        raise InputError(f"a policy of the form {self.form!r} has no simulation in a routing model; run it live")

    def simulated_parts(self, model: RoutingModel, n: int, rng: np.random.Generator) -> tuple[tuple[Rule, Drawn], ...]:
        """What is `simulated`, apart by the rule of `parts` that was drawn."""
        return ((self, self.simulated(model, n, rng)),)


class RuleRouter:
    """What routers have in common: they speak for a rule, carry no belief, and leave every step to a decision."""

    def __init__(self, rule: Rule) -> None:
        self.policy_hash = rule.policy_hash
        self.needs_score = rule.needs_score
        self.q: float | None = None

    def writer(self, step: int) -> Author | None:
        """See `Router`."""
        return None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A router that has been where this one has; rules and tables, which never change, are shared."""
        twin = copy.copy(self)
        for name, value in vars(self).items():
            if not isinstance(value, _UNCHANGING):
                setattr(twin, name, copy.deepcopy(value, memo))
        return twin


_UNCHANGING = (Record, str, float, int, bool, type(None))


def content_hash(record: Record) -> str:
    """Short hash of what a rule (or a table that it looks at) says."""
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()[:12]


def rule_class(form: str) -> type[Rule]:
    """The class of a form: of this package's policies, or any subclass of `Rule` that was imported.

    Raises
    ------
    InputError
        If there is none; the message names those there are.
    """
    known = _forms()
    if form not in known:
        package = importlib.import_module("trim_pomdp.policies")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
        known = _forms()
    if form not in known:
        raise InputError(f"no policy of the form {form!r} (there are {', '.join(map(repr, sorted(known)))})")
    return known[form]


def _forms() -> dict[str, type[Rule]]:
    """Classes by their form, which those that rules have in common leave open."""
    found: dict[str, type[Rule]] = {}
    waiting = Rule.__subclasses__()
    while waiting:
        rule = waiting.pop()
        waiting += rule.__subclasses__()
        if isinstance(form := rule.model_fields["form"].default, str):
            found.setdefault(form, rule)
    return found


def _as_rule(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if "form" not in value:
        raise ValueError("missing 'form', which says what kind of policy it is")
    form = str(value["form"])
    return validate(rule_class(form), value, source=form)


AnyRule = Annotated[SerializeAsAny[Rule], BeforeValidator(_as_rule)]
"""A rule of whatever form, as a field of an artifact."""
