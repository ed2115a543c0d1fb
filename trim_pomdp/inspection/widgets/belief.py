"""The belief inspector: a solution to walk, scores to drag, budgets and beliefs to choose from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from trim_pomdp.display import one_line
from trim_pomdp.errors import InputError
from trim_pomdp.inspection.course import Solution
from trim_pomdp.inspection.drawing import solution_state
from trim_pomdp.inspection.pictures import plot_inspection
from trim_pomdp.inspection.rivals import AS_PLANNED, rival_rules
from trim_pomdp.inspection.solutions import Inspection, edit, inspect_solution
from trim_pomdp.inspection.widgets.base import Drawn, script
from trim_pomdp.model.observations import ClassTable
from trim_pomdp.planning.courses import planned_course
from trim_pomdp.planning.frontier import Frontier
from trim_pomdp.policies import AlphaVectorRule, PolicyArtifact, Rule, rule_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trim_pomdp.inspection.frames import Frame

__all__ = ["BeliefInspector"]

_BUDGETS = 6  # planned of a frontier
_OWN = "this policy"
_AS_IT_IS = AS_PLANNED


@dataclass(frozen=True)
class _Choice:
    """A place of the budget slider: a policy, and the beliefs that it can be looked at with, its own first."""

    label: str
    policy: Rule
    beliefs: Mapping[str, Rule]
    budget: float | None = None


class BeliefInspector(Drawn):
    """One solution under a policy, to be walked and changed by hand.

    The steps stand at the left, coloured by belief; beside them belief, gain and price over the steps, and for the
    chosen step what the policy would have done at other scores. The score can be dragged: everything after it follows,
    computed by the policy's own router. Arrows walk the steps, digits jump.

    Parameters
    ----------
    solution : SolutionRecord, TypedSolution, or sequence of float or mapping
        As `inspect_solution` takes it; or an `Inspection`, which is then looked at further.
    policy : Rule or PolicyArtifact, optional
        Needed but with an `Inspection`, which has one.
    frontier : Frontier, optional
        A slider walks a few of its budgets.
    policies : mapping of str to Rule or PolicyArtifact, optional
        In place of a frontier: what the slider walks, by the labels to show.
    rivals : mapping of str to Rule, optional
        Other beliefs for the policy, by label (`rival_rules`). With a frontier they need not be given.
    prompt : str, optional
        What was asked, which traces do not say.
    class_table : ClassTable, optional
        Densities of (min, current), for policies that look at them.
    seed : int
        Of the run, for policies that draw.
    chosen : int
        Index of the step to begin with.

    Raises
    ------
    InputError
        If the solution or the policy is none, lacks what the other needs, or both a frontier and policies are given.

    Examples
    --------
    >>> import trim_pomdp as tp
    >>> inspector = BeliefInspector([0.9, 0.2, 0.8], tp.ThresholdRule(threshold=0.4))
    >>> inspector
    BeliefInspector(threshold, steps 3, regenerates 1, edited no)
    >>> [step.action for step in inspector.inspection.steps]
    ['keep', 'regenerate', 'keep']
    """

    _esm = script("inspector.js", "inspector_widget.js")

    def __init__(
        self,
        solution: Solution | Inspection,
        policy: Rule | PolicyArtifact | None = None,
        *,
        frontier: Frontier | None = None,
        policies: Mapping[str, Rule | PolicyArtifact] | None = None,
        rivals: Mapping[str, Rule] | None = None,
        prompt: str | None = None,
        class_table: ClassTable | None = None,
        seed: int = 0,
        chosen: int = 0,
    ) -> None:
        self._first = _inspected(solution, policy, prompt=prompt, class_table=class_table, seed=seed)
        self._choices = _choices(policy or self._first.policy, self._first.rule, frontier, policies, rivals)
        self._start = next(index for index, choice in enumerate(self._choices) if choice.policy is self._first.policy)
        self._at = self._start
        self._belief = _AS_IT_IS
        self._now = self._first
        self._chosen = 0
        self._choose(chosen)
        super().__init__()
        self.show()

    @property
    def inspection(self) -> Inspection:
        """What is shown now, changes by hand included."""
        return self._now

    @property
    def frame(self) -> Frame:
        """What is shown now, a row a step."""
        return self._now.frame

    @property
    def chosen(self) -> int:
        """Index of the step that is chosen."""
        return self._chosen

    # What the reader does ----------------------------------------------------------------------------------------

    def answer(self, name: str, *values: Any) -> None:
        """See `Drawn`: ``choose`` and ``score`` say of which step, ``budget`` and ``belief`` which; and ``reset``."""
        answers: Mapping[str, Callable[..., None]] = {
            "choose": self._choose,
            "score": self._move,
            "budget": self._walk,
            "belief": self._believe,
            "reset": self._reset,
        }
        if name not in answers:
            raise InputError(f"the page asked for {name!r}; it can ask for {', '.join(answers)}")
        answers[name](*values)

    def _choose(self, step: int) -> None:
        if not 0 <= step < len(self._now.steps):
            raise InputError(f"there is no step {step}; the solution has steps 0 to {len(self._now.steps) - 1}")
        self._chosen = step

    def _move(self, step: int, value: float) -> None:
        """Another value on the axis of the step's curve."""
        probe = self._now.probes[step] if 0 <= step < len(self._now.probes) else None
        if probe is None:
            raise InputError(f"nothing was decided at step {step}")
        moved = edit(self._now, step, **{probe.axis: float(value)})  # type: ignore[arg-type]
        self._show_now(moved)

    def _walk(self, index: int) -> None:
        """The policy at another place of the slider, with the belief of that name if it has one."""
        if not 0 <= index < len(self._choices):
            raise InputError(f"there is no budget {index}; there are {len(self._choices)}")
        beliefs = self._choices[index].beliefs
        self._under(index, self._belief if self._belief in beliefs else _AS_IT_IS)

    def _believe(self, index: int) -> None:
        labels = list(self._choices[self._at].beliefs)
        if not 0 <= index < len(labels):
            raise InputError(f"there is no belief {index}; there are {len(labels)}")
        self._under(self._at, labels[index])

    def _under(self, index: int, belief: str) -> None:
        try:
            self._show_now(edit(self._now, policy=self._choices[index].beliefs[belief]))
        except InputError as error:
            raise InputError(f"{error} (undo changes first)" if self._now.is_edited else str(error)) from None
        self._at, self._belief = index, belief

    def _reset(self) -> None:
        self._at, self._belief = self._start, _AS_IT_IS
        self._show_now(self._first)

    def _show_now(self, inspection: Inspection) -> None:
        self._now = inspection
        # A changed solution may end earlier.
        self._chosen = min(self._chosen, len(inspection.steps) - 1)

    # What is shown -----------------------------------------------------------------------------------------------

    def drawn(self) -> Mapping[str, Any]:
        """See `Drawn`: `solution_state`, and the controls."""
        return {**solution_state(self._now, self._chosen), "controls": self._controls()}

    def _controls(self) -> dict[str, Any]:
        choice = self._choices[self._at]
        beliefs = list(choice.beliefs)
        budgets = [item.label for item in self._choices]
        return {
            "budgets": {"labels": budgets, "chosen": self._at} if len(budgets) > 1 else None,
            "beliefs": {"labels": beliefs, "chosen": beliefs.index(self._belief)} if len(beliefs) > 1 else None,
            "note": self._note(),
            "edited": self._is_changed,
        }

    @property
    def _is_changed(self) -> bool:
        """Whether there is anything to undo."""
        return self._now.changes != self._first.changes or (self._at, self._belief) != (self._start, _AS_IT_IS)

    def _note(self) -> str | None:
        """Of a mixture: which part is looked at."""
        policy = self._now.policy
        if len(policy.parts) < 2:
            return None
        share = dict(zip((part.policy_hash for part in policy.parts), policy.shares, strict=True))
        return f"a mixture: the part drawn for this problem, {share[self._now.rule.policy_hash]:.0%} of all"

    def picture(self) -> Figure:
        """See `Drawn`."""
        return plot_inspection(self._now, self._chosen)

    def __repr__(self) -> str:
        facts = {
            "name": self._now.problem or None,
            "policy": self._now.rule.form,
            "steps": len(self._now.steps),
            "regenerates": self._now.facts()["regenerations"],
            "edited": "yes" if self._is_changed else "no",
        }
        return one_line(type(self).__name__, facts).replace("(policy ", "(", 1).replace(", policy ", ", ", 1)


def _inspected(
    solution: Solution | Inspection,
    policy: Rule | PolicyArtifact | None,
    *,
    prompt: str | None,
    class_table: ClassTable | None,
    seed: int,
) -> Inspection:
    if isinstance(solution, Inspection):
        found = solution if policy is None else edit(solution, policy=policy)
        return found if prompt is None else replace(found, prompt=prompt, course=replace(found.course, prompt=prompt))
    if policy is None:
        raise InputError("whose decisions are looked at? give a policy beside the solution")
    return inspect_solution(solution, rule_of(policy), prompt=prompt, seed=seed, class_table=class_table)


# What there is to choose from -----------------------------------------------------------------------------------


def _choices(
    policy: Rule | PolicyArtifact,
    decides: Rule,
    frontier: Frontier | None,
    policies: Mapping[str, Rule | PolicyArtifact] | None,
    rivals: Mapping[str, Rule] | None,
) -> tuple[_Choice, ...]:
    """Places of the slider, the policy's own among them; by budget where budgets are known."""
    if frontier is not None and policies is not None:
        raise InputError("a frontier and policies are both given; the slider walks one of them")
    rule = rule_of(policy)
    beliefs = {
        _AS_IT_IS: rule,
        **{label: rule_of(item) for label, item in (rivals or {}).items() if label != _AS_IT_IS},
    }
    if frontier is not None:
        if not isinstance(frontier, Frontier):
            raise InputError(f"the frontier is a {type(frontier).__name__}; expected what solve_frontier returns")
        if rivals is None:
            beliefs = {**_rivals(decides, frontier), _AS_IT_IS: rule}
        own = _Choice(_OWN, rule, beliefs, _budget(policy, frontier))
        return _by_budget(own, frontier)
    own = _Choice(_OWN, rule, beliefs)
    others = [_Choice(label, rule_of(item), {_AS_IT_IS: rule_of(item)}) for label, item in (policies or {}).items()]
    same = next((item for item in others if item.policy == rule), None)
    if same is None:
        return (own, *others)
    return tuple(replace(own, label=item.label) if item is same else item for item in others)


def _rivals(rule: Rule, frontier: Frontier) -> dict[str, Rule]:
    model = frontier.model
    if not isinstance(rule, AlphaVectorRule):
        return {}
    try:
        return rival_rules(rule, model.observations, model.dynamics)
    except InputError:
        return {}  # planned on other observations than the frontier's


def _budget(policy: Rule | PolicyArtifact, frontier: Frontier) -> float:
    if isinstance(policy, PolicyArtifact) and policy.planned is not None:
        return policy.planned.budget
    from trim_pomdp.planning.evaluation import evaluate

    return evaluate(policy, frontier.model).budget


def _by_budget(own: _Choice, frontier: Frontier) -> tuple[_Choice, ...]:
    """The policies of a few points of a frontier, and the policy's own place among them."""
    if frontier.over != "strong_tokens":
        raise InputError(f"the slider walks budgets, and the frontier is over {frontier.over}; give policies by label")
    last = frontier.last.budget
    wanted = [last * (index + 1) / _BUDGETS for index in range(_BUDGETS)]
    near = {min(frontier.points, key=lambda item: abs(item.point.budget - budget)).tradeoff for budget in wanted}
    assert own.budget is not None
    choices = [replace(own, label=f"{own.budget:.3f}, {_OWN}")]
    for item in frontier.points:
        if item.tradeoff in near:
            rule, budget = planned_course(frontier, item).rule, item.point.budget
            choices.append(_Choice(f"{budget:.3f}", rule, {**_rivals(rule, frontier), _AS_IT_IS: rule}, budget))
    return tuple(sorted(choices, key=lambda item: item.budget or 0.0))
