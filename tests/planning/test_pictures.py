"""Pictures by their data: what is drawn, in which unit, under which name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from trim_pomdp.errors import InputError
from trim_pomdp.model.dynamics import Check, FitReport, PerClass, StepDynamics
from trim_pomdp.model.evidence import EvidenceMap
from trim_pomdp.model.observations import ClassTable, ObservationModel, StepEmission
from trim_pomdp.model.process import RoutingModel
from trim_pomdp.planning import plots
from trim_pomdp.planning.frontier import Frontier, FrontierPoint, policy_for_tradeoff
from trim_pomdp.policies import (
    AlphaVectorRule,
    MixedRule,
    PlannedPoint,
    PolicyArtifact,
    PosteriorRule,
    StrategyRule,
    ThresholdRule,
)
from trim_pomdp.presets.store import load_preset

UNIT = 50.0  # strong tokens of strong-only as fitted; the toy model implies 3 × 20 = 60


def dynamics(**changes: Any) -> StepDynamics:
    fields = {
        "name": "toy pair",
        "weak_success": (0.8,),
        "strong_success": 1.0,
        "repair": 1.0,
        "look_right": 0.5,
        "hazard": (0.0, 0.0, 1.0),
        "strong_tokens": PerClass.constant(20.0),
        "strong_only_tokens": UNIT,
    }
    return StepDynamics.model_validate({**fields, **changes})


def observations(**changes: Any) -> ObservationModel:
    emission = StepEmission(score_edges=(0.0, 0.5, 1.0), right=(0.1, 0.3, 0.6), wrong=(0.5, 0.3, 0.2))
    return ObservationModel.model_validate(
        {"name": "toy", "estimator": "by hand", "step_emission": emission, **changes}
    )


def report(*checks: Check) -> FitReport:
    return FitReport(explanation="local", sources=(), log_likelihood=0.0, checks=checks)


def check(
    quantity: str, threshold: float | None, observed: float, se: float | None = None, fitted: bool = True
) -> Check:
    return Check(
        quantity=quantity, threshold=threshold, implied=0.5, observed=observed, standard_error=se, used_in_fit=fitted
    )


def point(budget: float, accuracy: float, tradeoff: float | None = None) -> PlannedPoint:
    return PlannedPoint(
        tradeoff=tradeoff, accuracy=accuracy, strong_tokens=budget * UNIT, regenerations=budget, budget=budget
    )


WEAK, STRONG = point(0.0, 0.5), point(1.2, 0.9)


def frontier(model: RoutingModel, *, lowest: float = 0.0) -> Frontier:
    rows = [(2.0, 0.0, 0.5), (1.0, 0.3, 0.8), (lowest, 0.7, 0.92)]
    points = tuple(FrontierPoint(point(b, a, price), 1.0, 1.0) for price, b, a in rows)
    return Frontier(model, points, (), WEAK, STRONG, 1.0, 1.0, 1e-5)


def lines(figure: Figure, axis: int = 0) -> dict[str, tuple[list[float], list[float]]]:
    """Labelled lines (markers of error bars included), by label."""
    found = {}
    for line in figure.axes[axis].lines:
        found[str(line.get_label())] = (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())
    for bars in figure.axes[axis].containers:
        if hasattr(bars, "lines") and bars.lines[0] is not None:
            line = bars.lines[0]
            found[str(bars.get_label())] = (line.get_xdata().tolist(), line.get_ydata().tolist())
    return found


def half_widths(figure: Figure, label: str, axis: int = 0) -> list[np.ndarray]:
    """Half the length of the error bars of a series: first the horizontal ones, then the vertical ones."""
    (bars,) = [bars for bars in figure.axes[axis].containers if bars.get_label() == label]
    _, _, collections = bars.lines
    out = []
    for index, collection in enumerate(collections):
        ends = np.array(collection.get_segments())
        out.append((ends[:, 1] - ends[:, 0])[:, index if len(collections) == 2 else 1] / 2)
    return out


def words(figure: Figure) -> str:
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    return "\n".join([*texts, *(axis.get_title(loc="left") for axis in figure.axes)])


# The frontier -----------------------------------------------------------------------------------------------

MEASURED = (
    check("accuracy", 0.0, 0.45, 0.02),
    check("accuracy", 0.4, 0.7, 0.03),
    check("strong tokens", 0.4, 20.0, 2.0),
    check("regenerations", 0.4, 1.0, 0.1),
    check("accuracy", 0.6, 0.75),
    check("strong tokens", 0.6, 30.0),
    check("accuracy", 0.8, 0.8, 0.03),  # no tokens: no place on the axis
    check("accuracy", 1.0, 0.88, 0.01),
    check("strong tokens", 1.0, 51.0, 1.0),
    check("steps", None, 5.0),
)


def test_the_frontier_has_one_unit_and_calls_things_by_their_names() -> None:
    model = RoutingModel(observations(), dynamics(fit=report(*MEASURED)))
    thresholds = (point(0.0, 0.5), point(0.2, 0.6), point(0.5, 0.8), point(1.2, 0.9))
    figure = plots.plot_frontier(frontier(model), thresholds, model.dynamics)
    drawn = lines(figure)
    assert drawn["planned"] == ([0.0, 0.0, 0.3, 0.7], [0.5, 0.5, 0.8, 0.92])
    assert drawn["threshold rule, same model"] == ([0.2, 0.5], [0.6, 0.8])
    assert drawn["weak-only 0.500, strong-only 0.900, same model"] == ([0.0, 1.2], [0.5, 0.9])
    assert drawn["threshold rule, measured"] == ([20 / 50, 30 / 50], [0.7, 0.75])
    assert drawn["weak-only, strong-only, measured"] == ([0.0, 51 / 50], [0.45, 0.88])
    across, upright = half_widths(figure, "threshold rule, measured")
    assert across == pytest.approx([1.96 * 2 / 50, 0.0])
    assert upright == pytest.approx([1.96 * 0.03, 0.0])
    axis = figure.axes[0]
    assert "÷ 50 (" in axis.get_xlabel()
    assert axis.get_ylabel() == "accuracy (share of problems solved)"
    assert axis.get_xlim()[1] > 1.2
    legend = axis.get_legend()
    assert legend is not None
    assert {text.get_text() for text in legend.get_texts()} == {name for name in drawn if not name.startswith("_")}
    assert "1.96 s.e." in legend.get_title().get_text()


def test_the_unit_is_the_models_where_no_fit_has_set_one() -> None:
    model = RoutingModel(observations(), dynamics(strong_only_tokens=None, fit=report(*MEASURED)))
    drawn = lines(plots.plot_frontier(frontier(model), (), model.dynamics))
    assert drawn["threshold rule, measured"][0] == pytest.approx([20 / 60, 30 / 60])


def test_nothing_measured_is_no_series() -> None:
    model = RoutingModel(observations(), dynamics())
    figure = plots.plot_frontier(frontier(model), ())
    assert not [name for name in lines(figure) if "measured" in name or "threshold" in name]
    assert plots.measured_points(model.dynamics) == ()


@pytest.mark.parametrize(
    ("lowest", "reason"), [(0.0, "more strong tokens do not help"), (0.1, "no lower price was planned for")]
)
def test_the_end_of_the_planned_line_is_explained(lowest: float, reason: str) -> None:
    model = RoutingModel(observations(), dynamics())
    figure = plots.plot_frontier(frontier(model, lowest=lowest), ())
    (said,) = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    assert said.xy == (0.7, 0.92)
    assert said.get_text() == f"0.920 at budget 0.70:\n{reason}"


# Densities --------------------------------------------------------------------------------------------------

RIGHT, WRONG = "right step, this weak model", "first wrong step, this weak model"


def test_densities_are_those_that_the_planner_has() -> None:
    seen = RoutingModel(observations(), dynamics(right_weights=(3.0, 1.0, 0.5), false_alarms=0.1, misses=0.2))
    figure = plots.plot_densities(seen)
    # f_right ∝ (.3, .3, .3); then 10 % of false alarms, 20 % of misses.
    right = 0.9 * np.array([1, 1, 1]) / 3 + 0.1 * np.array([0.5, 0.3, 0.2])
    wrong = 0.8 * np.array([0.5, 0.3, 0.2]) + 0.2 * np.array([1, 1, 1]) / 3
    drawn = lines(figure, 1)
    for name, row in ((RIGHT, right), (WRONG, wrong)):
        assert drawn[name][0] == [0.0, 0.5, 1.0]
        assert drawn[name][1] == pytest.approx([0.0, row[0], row[0] + row[1]])
    dotted = [np.asarray(line.get_ydata()) for line in figure.axes[1].lines if line.get_linestyle() == ":"]
    assert dotted[0] == pytest.approx([0.0, 0.1, 0.4])
    assert dotted[1] == pytest.approx([0.0, 0.5, 0.8])
    bars = figure.axes[0].containers
    assert [bar.get_height() for bar in bars[0]] == pytest.approx(
        [0.01, 0.01, 0.02, 0.02, 0.02, 0.02, 0.06, 0.06, 0.06, 0.06, 0.03, 0.024, 0.006, 0.6]
    )
    assert sum(bar.get_height() for bar in bars[1]) == pytest.approx(1.0)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert "As labelled" in titles[0]
    assert "This weak model" in titles[1]


def test_densities_of_bins_of_two_scores_are_summed_over_the_minimum() -> None:
    table = ClassTable(
        minimum_edges=(0.0, 0.5, 1.0),
        score_edges=(0.0, 0.4, 1.0),
        right=(0.1, 0.2, 0.3, 0.4),
        derailed=(0.25, 0.25, 0.25, 0.25),
        wrong=(0.4, 0.1, 0.3, 0.2),
    )
    model = RoutingModel(observations(class_table=table, emission="class"), dynamics())
    drawn = lines(plots.plot_densities(model), 1)
    assert drawn[RIGHT] == ([0.0, 0.4, 1.0], pytest.approx([0.0, 0.4, 1.0]))
    assert drawn[WRONG] == ([0.0, 0.4, 1.0], pytest.approx([0.0, 0.7, 1.0]))


@pytest.mark.parametrize("name", ["lab-loop", "lab-chain.logprob", "lab-mixed.prm"])
def test_densities_of_presets_are_what_drawn_steps_score(name: str) -> None:
    """First steps of drawn solutions are right or first errors: their scores against the lines."""
    from trim_pomdp.planning.synthetic import draw_sequences

    model = load_preset(name).routing_model()
    drawn = lines(plots.plot_densities(model), 1)
    first = draw_sequences(model, 40_000, np.random.default_rng(1)).scores[:, 0]
    success = model.dynamics.weak_success_by_step[0]
    for k in (0.1, 0.5, 0.9, 0.97):
        right, wrong = (float(np.interp(k, *drawn[label])) for label in (RIGHT, WRONG))
        expected = success * right + (1 - success) * wrong
        # Scores stand for their bins, which are up to 0.02 wide.
        low, high = np.mean(first < k - 0.02), np.mean(first < k + 0.02)
        assert low - 0.01 <= expected <= high + 0.01


def test_an_evidence_score_is_not_called_a_prm_score() -> None:
    evidence = EvidenceMap(features=("score", "logprob_min"), coefficients=(1.0, 0.5), intercept=0.0)
    figure = plots.plot_densities(RoutingModel(observations(evidence=evidence), dynamics()))
    assert [axis.get_xlabel() for axis in figure.axes] == [
        "evidence score (prm+logprob)",
        "threshold k on the evidence score (prm+logprob)",
    ]


# The fit ----------------------------------------------------------------------------------------------------


def test_the_fit_shows_every_row_both_ends_included() -> None:
    checks = (
        check("accuracy", 0.0, 0.4, 0.02),
        check("accuracy", 0.5, 0.6, 0.03, fitted=False),
        check("accuracy", 1.0, 0.8, 0.01),
        check("regenerations", 1.0, 3.0, 0.5),
        check("accuracy", None, 0.9),
    )
    model = RoutingModel(observations(), dynamics(fit=report(*checks)))
    curve = (point(0.0, 0.5), point(0.4, 0.7), point(1.2, 0.9))
    figure = plots.plot_fit(model, curve, (0.0, 0.5, 1.0))
    assert figure is not None
    left, right = lines(figure, 0), lines(figure, 1)
    assert left["implied"] == ([0.0, 0.5, 1.0], [0.5, 0.7, 0.9])
    assert right["implied"] == ([0.0, 0.5, 1.0], [0.0, 0.4, 1.2])
    assert left["measured, fitted (± 1.96 s.e.)"] == ([0.0, 1.0], [0.4, 0.8])
    assert left["measured, held out (± 1.96 s.e.)"] == ([0.5], [0.6])
    assert right["measured, fitted (± 1.96 s.e.)"] == ([1.0], [3.0])
    (upright,) = half_widths(figure, "measured, fitted (± 1.96 s.e.)")
    assert upright == pytest.approx([1.96 * 0.02, 1.96 * 0.01])
    assert figure.axes[0].get_xlim()[1] > 1.0


def test_no_fit_is_no_picture() -> None:
    model = RoutingModel(observations(), dynamics())
    assert plots.plot_fit(model, (WEAK,), (0.0,)) is None


# The policy map ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rule() -> AlphaVectorRule:
    policy = policy_for_tradeoff(RoutingModel(observations(), dynamics()), 0.1).policy
    assert isinstance(policy, AlphaVectorRule)
    return policy


def test_a_mixture_is_drawn_part_by_part_with_its_probabilities(rule: AlphaVectorRule) -> None:
    dearer = rule.model_copy(update={"tradeoff": 0.4})
    mixture = MixedRule(first=rule, second=dearer, probability=0.25)
    figure = plots.plot_policy_map(PolicyArtifact(model="toy", policy=mixture), steps=(0, 1))
    assert [axis.get_title(loc="left") for axis in figure.axes[:4]] == [
        "step 1: λ = 0.1, with probability 0.750",
        "step 2: λ = 0.1, with probability 0.750",
        "step 1: λ = 0.4, with probability 0.250",
        "step 2: λ = 0.4, with probability 0.250",
    ]
    q = np.linspace(0, 1, 201)
    for axis, part, step in zip(figure.axes, (rule, rule, dearer, dearer), (0, 1, 0, 1), strict=False):
        gain, price = plots.gains(part, step, q)
        assert np.asarray(axis.collections[0].get_array()).reshape(3, 201) == pytest.approx((gain - price).T)
    assert plots.has_policy_map(mixture)


def test_one_rule_and_its_artifact_have_the_same_map(rule: AlphaVectorRule) -> None:
    figures = [plots.plot_policy_map(item) for item in (rule, PolicyArtifact(model="toy", policy=rule))]
    first, second = (np.asarray(figure.axes[0].collections[0].get_array()) for figure in figures)
    assert (first == second).all()
    assert figures[0].axes[0].get_title(loc="left") == "step 2: λ = 0.1"
    assert figures[0].axes[0].get_ylabel() == "PRM score of the step"


@pytest.mark.parametrize(
    "other",
    [
        StrategyRule(strategy="weak"),
        ThresholdRule(threshold=0.5),
        PosteriorRule(closeness=0.4),
        MixedRule(first=StrategyRule(strategy="weak"), second=StrategyRule(strategy="strong"), probability=0.5),
    ],
)
def test_rules_without_score_bins_have_no_map(other: Any, rule: AlphaVectorRule) -> None:
    mixture = other if len(other.parts) > 1 else MixedRule(first=rule, second=other, probability=0.5)
    for policy in (other, PolicyArtifact(model="toy", policy=other), mixture):
        assert not plots.has_policy_map(policy)
        with pytest.raises(InputError, match="bins of a score"):
            plots.plot_policy_map(policy)
    with pytest.raises(InputError, match="bins of a score"):
        plots.plot_policy_map(rule.model_copy(update={"score_edges": None}))


# Beliefs, files ---------------------------------------------------------------------------------------------


def test_beliefs_begin_at_one_and_follow_the_steps() -> None:
    scores = [np.array([0.9, 0.1]), np.array([0.2, 0.3, 0.4])]
    beliefs = [np.array([0.95, 0.4]), np.array([0.3, 0.2, 0.1])]
    figure = plots.plot_beliefs(scores, beliefs, [True, False], "two", score="evidence score (logprob)")
    drawn = lines(figure, 0)
    assert drawn["right answer 1"] == ([1, 2], [0.9, 0.1])
    assert drawn["wrong answer 1"] == ([1, 2, 3], [0.2, 0.3, 0.4])
    right, wrong = figure.axes[1].lines
    assert np.asarray(right.get_ydata()).tolist() == [1.0, 0.95, 0.4]
    assert np.asarray(wrong.get_xdata()).tolist() == [0, 1, 2, 3]
    assert to_hex(right.get_color()) == to_hex(figure.axes[0].lines[0].get_color())
    assert figure.axes[0].get_ylabel() == "evidence score (logprob)"


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")])
def test_a_picture_is_what_its_name_says(name: str, begins: bytes, tmp_path: Path) -> None:
    model = RoutingModel(observations(), dynamics())
    figure = plots.plot_densities(model)
    content = plots.save_figure(figure, tmp_path / name).read_bytes()
    assert content.startswith(begins)
    assert name != "a.SVG" or b"<svg" in content
    again = plots.save_figure(plots.plot_densities(model), tmp_path / f"again-{name}").read_bytes()
    assert again == content


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.txt", ".svg"])
def test_other_endings_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pictures are written as \.png, \.svg, \.pdf"):
        plots.save_figure(Figure(), tmp_path / name)
    with pytest.raises(InputError, match="pictures are written as"):
        frontier(RoutingModel(observations(), dynamics())).plot(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_frontier_draws_and_saves_itself(tmp_path: Path) -> None:
    from trim_pomdp.loading import load
    from trim_pomdp.planning.thresholds import threshold_curve

    model = RoutingModel(observations(), dynamics(fit=report(*MEASURED)))
    planned = frontier(model)
    figure = planned.plot(tmp_path / "f.svg")
    assert (tmp_path / "f.svg").read_bytes().startswith(b"<?xml")
    assert lines(figure)["planned"][1] == [0.5, 0.5, 0.8, 0.92]
    saved: Any = load(planned.save(tmp_path / "f.json"))
    assert saved.threshold_rule == threshold_curve(model)
    assert [row.budget for row in saved.points] == [0.0, 0.3, 0.7]
    assert planned.policy_for_tradeoff(0.1) == policy_for_tradeoff(model, 0.1)


def test_budgets_that_are_no_shares_are_errors_everywhere() -> None:
    from trim_pomdp.planning.frontier import hull_at

    planned = frontier(RoutingModel(observations(), dynamics()))
    assert planned.accuracy_at([0.0, 0.15, 0.7, 1.0]) == pytest.approx([0.5, 0.65, 0.92, 0.92])
    for budget in (-1e-9, 1.001, float("nan"), float("inf"), 20.0):
        for ask in (
            lambda: planned.accuracy_at([0.2, budget]),  # noqa: B023
            lambda: planned.policy_for_budget(budget),  # noqa: B023
            lambda: hull_at([WEAK, STRONG], [budget]),  # noqa: B023
        ):
            with pytest.raises(InputError, match="from 0 to 1") as caught:
                ask()
            assert ("did you mean 0.2?" in str(caught.value)) == (budget == 20.0)
