"""How drafts depend on each other: the likelihood by brute force, its slope, and what comes back of drawn redrafts."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from scripted import DYNAMICS, OBSERVATIONS

import trim_pomdp as tp
from trim_pomdp.data.rollouts import RedraftRollout, Rollouts
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.lengths import Hazards
from trim_pomdp.fitting.redrafts import Redrafts
from trim_pomdp.fitting.rollout_data import RedraftRows, RolloutRows
from trim_pomdp.fitting.rollout_estimation import Fitter
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.model.dynamics import Shares, StepDynamics
from trim_pomdp.runtime.backends.dummy import dummy_problems
from trim_pomdp.runtime.recording import repair_job, solo_job

B = 0.4
SAME = Shares(right=0.6, derailed=0.5, wrong=0.3)
DRAFTY = DYNAMICS.replace(redraft_repair=B, redraft_same=SAME, recovery=0.0)
RECOVERING = DRAFTY.replace(recovery=0.1)
FITTER = Fitter(OBSERVATIONS, DYNAMICS.max_steps, np.ones(len(OBSERVATIONS.table[0])))


def parameters_of(dynamics: StepDynamics) -> dict[str, float]:
    names = ("strong_success", "repair", "look_right", "false_alarms", "misses", "recovery")
    return {"weak_success": dynamics.weak_success[0], **{name: float(getattr(dynamics, name)) for name in names}}


def hazards_of(dynamics: StepDynamics) -> Hazards:
    return Hazards(*dynamics.end.T)


def term(rows: RedraftRows, dynamics: StepDynamics) -> Redrafts:
    whole = RolloutRows(weak=None, strong=None, repairs=None, redrafts=rows)  # type: ignore[arg-type]
    found = FITTER.redrafts(whole, parameters_of(dynamics), hazards_of(dynamics))
    assert found is not None
    return found


def redraft(
    scores: tuple[float, ...], then: tuple[float, ...], *, correct: bool, ended: bool = False, **truth: object
) -> RedraftRollout:
    redrafted = ScoredSequence(id="p/weak", problem_id="p", scores=then, correct=correct, tokens=(5,) * len(then))
    values = {"id": "p@0/redraft", "problem_id": "p", "scores": scores, "correct": correct, "redrafted": redrafted}
    return RedraftRollout.model_validate({**values, "weak_tokens": (5,) * len(scores), "ended": ended, **truth})


def rows_of(*items: RedraftRollout, labelled: bool = False) -> RedraftRows:
    return RedraftRows.of(items, None, labelled=labelled)


def by_hand(item: RedraftRollout, dynamics: StepDynamics, b: float) -> float:
    """The log-likelihood: the filter of the steps before by its definition, then every way that the rest can go."""
    assert item.scores is not None
    emission = OBSERVATIONS.class_emission(dynamics)
    p_w, end, rho = dynamics.weak_success[0], dynamics.end, dynamics.recovery_by_step
    b = min(b, p_w)
    change = {0: (1.0 - (1.0 - p_w) * b / p_w, 0.0, (1.0 - p_w) * b / p_w), 1: (0.0, 1.0, 0.0), 2: (b, 0.0, 1.0 - b)}
    q, last = 1.0, len(item.scores) - 1
    for t, score in enumerate(item.scores):
        ended = item.ended and t == last
        bin_ = OBSERVATIONS.bins(np.array([score]))[0]
        belief = np.array([q * p_w, 1.0 - q, q * (1.0 - p_w)]) * emission[:, bin_]
        belief *= end[t] if ended else 1.0 - end[t]
        belief /= belief.sum()
        q = belief[0] + rho[t] * belief[1]

    def goes_right(t: int, c: int) -> float:
        """P(the answer is right | class of step t)."""
        stands = {0: 1.0, 1: rho[t], 2: 0.0}[c]
        if t == dynamics.max_steps - 1:
            return float(stands)
        following = sum(
            share * sum(prior * goes_right(t + 1, k) for k, prior in enumerate(classes) if prior > 0.0)
            for share, classes in ((stands, (p_w, 0.0, 1.0 - p_w)), (1.0 - stands, (0.0, 1.0, 0.0)))
            if share > 0.0
        )
        return float(end[t, c] * stands + (1.0 - end[t, c]) * following)

    right = sum(
        belief[old] * change[old][new] * goes_right(last, new) for old, new in itertools.product(range(3), repeat=2)
    )
    return float(np.log(right if item.correct else 1.0 - right))


CASES = (
    redraft((0.3,), (0.9,), correct=True),
    redraft((0.3,), (0.9, 0.97), correct=False),
    redraft((0.97, 0.1), (0.4,), correct=True, ended=True),
    redraft((0.97, 0.1), (0.99, 0.6), correct=True),
)


@pytest.mark.parametrize("dynamics", [DRAFTY, RECOVERING], ids=["derailed for good", "recovering"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_likelihood_against_its_definition(case: int, dynamics: StepDynamics) -> None:
    found = term(rows_of(CASES[case]), dynamics)
    for b in (0.1, 0.5, 0.9):
        assert found.slope(b)[0] == pytest.approx(by_hand(CASES[case], dynamics, b), abs=1e-9)


def test_the_slope_is_that_of_the_likelihood() -> None:
    found = term(rows_of(*CASES), RECOVERING)
    for b in (0.1, 0.4, 0.8):
        step = 1e-6
        difference = (found.slope(b + step)[0] - found.slope(b - step)[0]) / (2 * step)
        assert found.slope(b)[1] == pytest.approx(difference, rel=1e-6)


def test_known_classes_are_counted() -> None:
    kinds = {(2, True): 6, (2, False): 14, (1, False): 30}
    items = [
        redraft((0.3,), (0.9,), correct=True, **{"class": c, "redrafted_right": right})
        for (c, right), count in kinds.items()
        for _ in range(count)
    ]
    found = term(rows_of(*items, labelled=True), DRAFTY)
    assert found.fit() == pytest.approx(6 / 20, abs=1e-5)
    # Of right drafts P(wrong | right) = (1 − p_w) b / p_w, so that 3 of 50 say b = .34 by themselves.
    more = [redraft((0.3,), (0.9,), correct=True, **{"class": 0, "redrafted_right": i >= 3}) for i in range(50)]
    alone = term(rows_of(*more, labelled=True), DRAFTY)
    assert alone.fit() == pytest.approx(3 / 50 * 0.85 / 0.15, abs=1e-4)
    assert 0.3 < term(rows_of(*items, *more, labelled=True), DRAFTY).fit() < 0.34


def test_repeats_of_known_classes_are_counted() -> None:
    shares = {0: 0.9, 1: 0.75, 2: 0.25}
    items = [
        redraft((0.3,), (0.9,), correct=True, repeated=i < share * 20, **{"class": c, "redrafted_right": c == 0})
        for c, share in shares.items()
        for i in range(20)
    ]
    found = term(rows_of(*items, labelled=True), DRAFTY)
    assert found.fit_same() == pytest.approx(list(shares.values()), abs=1e-6)
    assert term(rows_of(*CASES), DRAFTY).fit_same() is None, "nobody knows"
    of_one = term(rows_of(*items[:20], labelled=True), DRAFTY).fit_same()
    assert of_one == pytest.approx([0.9, 0.0, 0.0])


def test_repeats_of_unknown_classes_are_fitted_at_their_likelihood() -> None:
    rng = np.random.default_rng(4)
    belief = rng.dirichlet((0.4, 0.4, 0.4), 300)
    repeated = (rng.random(300) < belief @ SAME.array).astype(np.int64)
    unknown = np.full(300, 0.5)
    term = Redrafts(belief, np.ones((300, 3)), repeated == 1, unknown, repeated, np.ones(300, dtype=np.bool_))

    def likelihood(same: np.ndarray) -> float:
        chance = belief @ same
        return float(np.log(np.where(repeated == 1, chance, 1.0 - chance)).sum())

    found = term.fit_same()
    assert found is not None
    assert found == pytest.approx(SAME.array, abs=0.15)
    for move in np.concatenate([np.eye(3), -np.eye(3)]):
        assert likelihood(found) >= likelihood(np.clip(found + 1e-3 * move, 0.0, 1.0))


def test_right_drafts_that_looked_bad_are_counted() -> None:
    looks = {0.3: (20, 13), 0.99: (40, 39)}  # of so many, so many are right again; only the first looked bad
    items = [
        redraft((score,), (0.9,), correct=True, repeated=i < again, **{"class": 0, "redrafted_right": i < again})
        for score, (count, again) in looks.items()
        for i in range(count)
    ]
    found = term(rows_of(*items, labelled=True), DRAFTY)
    assert found.doubted.sum() == 20
    assert found.fit_success(B) == pytest.approx(13 / 20, abs=1e-6)
    assert found.fit_same() == pytest.approx([13 / 20, 0.0, 0.0], abs=1e-6)
    assert term(rows_of(*items[20:], labelled=True), DRAFTY).fit_success(B) is None


def test_records_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="go together"):
        redraft((0.3,), (0.9,), correct=True, **{"class": 2})
    with pytest.raises(ValueError, match="derailed"):
        redraft((0.3,), (0.9,), correct=True, **{"class": 1, "redrafted_right": True})
    with pytest.raises(ValueError, match="weak_tokens has 1 values"):
        RedraftRollout.model_validate({**CASES[2].model_dump(by_alias=True), "weak_tokens": (5,)})
    other = CASES[0].redrafted.model_copy(update={"correct": False})
    with pytest.raises(ValueError, match="has another outcome"):
        RedraftRollout.model_validate({**CASES[0].model_dump(by_alias=True), "redrafted": other})


# What comes back ----------------------------------------------------------------------------------------------


MODES = ("weak", "strong", "repair", "redraft")


def drawn(folder: Path, count: int, *, seed: int = 0, modes: tuple[str, ...] = MODES) -> Rollouts:
    """Rollouts of scripted models, through the files."""
    folder.mkdir()
    OBSERVATIONS.save(folder / "observations.json")
    DRAFTY.save(folder / "dynamics.json")
    tables = (
        f'[{role}]\nbackend = "dummy"\nobservations = "observations.json"\ndynamics = "dynamics.json"\n'
        for role in ("weak", "strong", "prm")
    )
    (folder / "models.toml").write_text("\n".join(tables) + "[limits]\nmax_steps = 6\n")
    source = tp.model_source(str(folder / "models.toml"))
    out = folder / "rollouts"
    for mode in modes:
        if mode in ("weak", "strong"):
            job = solo_job(mode, dummy_problems(count), source, seed=seed, scores=mode == "weak")  # type: ignore[arg-type]
        else:
            job = repair_job(out / "weak", source, mode=mode, seed=seed)  # type: ignore[arg-type]
        job.record(out / mode, labels=True)
    found = tp.read_rollouts(folder / "rollouts").sources.rollouts
    assert found is not None
    return found


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Rollouts:
    return drawn(tmp_path_factory.mktemp("drafty") / "a", 600)


def test_redrafts_are_recorded_as_they_were(rollouts: Rollouts) -> None:
    assert len(rollouts.redrafts) == 600
    assert {(a.problem_id, a.scores) for a in rollouts.redrafts} == {(b.problem_id, b.scores) for b in rollouts.repairs}
    wrong = [item.redrafted_right for item in rollouts.redrafts if item.true_class == 2]
    assert len(wrong) > 100
    assert np.mean(wrong) == pytest.approx(B, abs=4 * (B * (1 - B) / len(wrong)) ** 0.5)
    by_problem = {item.problem_id: item for item in rollouts.weak}
    for item in rollouts.redrafts:
        weak = by_problem[item.problem_id]
        assert weak.tokens is not None
        assert weak.tokens[: item.n_steps] == item.weak_tokens


@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "outcomes"])
def test_b_comes_back_where_all_else_is_known(rollouts: Rollouts, *, labelled: bool) -> None:
    rows = RedraftRows.of(rollouts.redrafts, None, labelled=labelled)
    found = term(rows, DRAFTY)
    b, step = found.fit(), 0.01
    curvature = (found.slope(b + step)[1] - found.slope(b - step)[1]) / (2 * step)
    error = (-1.0 / curvature) ** 0.5
    assert error < (0.06 if labelled else 0.12)
    assert b == pytest.approx(B, abs=3.5 * error)


@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "outcomes"])
def test_repeats_come_back(rollouts: Rollouts, *, labelled: bool) -> None:
    redrafts = term(RedraftRows.of(rollouts.redrafts, None, labelled=labelled), DRAFTY)
    assert redrafts.fit_success(B) == pytest.approx(1.0 - 0.15 * B / 0.85, abs=0.1 if labelled else 0.2)
    found = redrafts.fit_same()
    assert found is not None
    assert found[[0, 2]] == pytest.approx(SAME.array[[0, 2]], abs=0.1 if labelled else 0.2)


@pytest.mark.slow
@pytest.mark.parametrize("labels", [True, False], ids=["labels", "outcomes"])
def test_b_comes_back_with_everything_else(rollouts: Rollouts, *, labels: bool) -> None:
    dynamics = fit_rollouts("drafty", rollouts, OBSERVATIONS, labels=labels, max_steps=6, draws=40)
    assert dynamics.fit is not None
    span = dynamics.fit.intervals["redraft_repair"]
    assert span.low - 0.05 < B < span.high + 0.05
    assert dynamics.redraft_repair == span.estimate
    assert dynamics.redraft_same is not None
    for name, share in SAME:
        span = dynamics.fit.intervals[f"redraft_same.{name}"]
        assert span.low - 0.05 < share < span.high + 0.05
    assert any("redraft" in name for name in dynamics.fit.sources)
    others = Rollouts(rollouts.weak, rollouts.strong, rollouts.repairs)
    without = fit_rollouts(
        "plain",
        others,
        OBSERVATIONS,
        labels=labels,
        max_steps=6,
        intervals=False,
    )
    assert without.redraft_repair is None
    assert without.model_dump(exclude={"fit", "name"}) == dynamics.model_dump(
        exclude={"fit", "name", "redraft_repair", "redraft_success", "redraft_same"}
    ), "redrafts change nothing else"


@pytest.mark.slow
def test_intervals_cover(tmp_path: Path) -> None:
    """95 % intervals by a bootstrap over problems, all else known, hold the truth in about that share of samples."""
    held = []
    for seed in range(30):
        found = drawn(tmp_path / str(seed), 100, seed=seed, modes=("weak", "redraft"))
        rows = RolloutRows(None, None, None, RedraftRows.of(found.redrafts, None, labelled=False))  # type: ignore[arg-type]
        rng = np.random.default_rng(seed)
        parameters, hazards = parameters_of(DRAFTY), hazards_of(DRAFTY)
        whole = FITTER.redrafts(rows, parameters, hazards)
        assert whole is not None
        draws = []
        for _ in range(100):
            index = rng.integers(len(whole.belief), size=len(whole.belief))
            parts = (whole.belief, whole.right, whole.correct, whole.weak_success, whole.repeated, whole.doubted)
            draws.append(Redrafts(*(part[index] for part in parts)).fit())
        low, high = np.quantile(draws, [0.025, 0.975])
        held.append(low <= B <= high)
    assert np.mean(held) >= 0.8, ".95 is meant, and P(fewer than 24 of 30) is below .001 then"


def test_a_redraft_beyond_the_cap_is_refused(rollouts: Rollouts) -> None:
    long = redraft((0.9,) * 5, (0.9,) * 3, correct=True)
    data = Rollouts(rollouts.weak, redrafts=(long,))
    with pytest.raises(InputError, match="7 steps, more than the step cap of 6"):
        fit_rollouts("long", data, OBSERVATIONS, max_steps=6, intervals=False)
