"""How drafts depend on each other: the likelihood by brute force, its slope, and what comes back of drawn redrafts."""

from pathlib import Path

import numpy as np
import pytest
from scripted import DYNAMICS, OBSERVATIONS

import trim_pomdp as tp
from trim_pomdp.data.rollouts import RedraftRollout, RepairRollout, Rollouts, beside_repairs
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.lengths import UNKNOWN, Hazards
from trim_pomdp.fitting.redrafts import DraftFit, Redrafts
from trim_pomdp.fitting.rollout_data import RedraftRows, RolloutRows
from trim_pomdp.fitting.rollout_estimation import Fitter
from trim_pomdp.fitting.rollout_fitting import fit_rollouts
from trim_pomdp.model.dynamics import OF_REDRAFTS, Shares, StepDynamics
from trim_pomdp.model.redrafts import Tilts, repeat_shares, tilted, tilted_by
from trim_pomdp.runtime.backends.dummy import dummy_problems
from trim_pomdp.runtime.recording import repair_job, solo_job

B = 0.4
SAME = Shares(right=0.6, derailed=0.5, wrong=0.3)
SLOPE = -0.5
DOUBTED, MORE_DOUBTED = 0.3, 0.05
TILT = Tilts(right=(0.5, -0.05), derailed=(0.3, -0.05), wrong=(0.2, 0.0))
AGAIN = (0.9, 0.4)  # p_s, p_r
DRAFTY = DYNAMICS.replace(
    redraft_repair=B, redraft_same=SAME, redraft_same_slope=SLOPE, redraft_tilt=TILT, recovery=0.0,
    strong_success_again=AGAIN[0], repair_again=AGAIN[1],
)  # fmt: skip
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


def repeat_share(slope: float, mean: float, emission: np.ndarray, c: int, j: int) -> float:
    """P(the same text | class, bin) where doubted ones have that mean, by bisection."""
    x = np.log(emission[2] / emission[0])
    low, high = -50.0, 50.0
    for _ in range(200):
        a = (low + high) / 2
        shares = 1.0 / (1.0 + np.exp(-a - slope * x))
        doubted = emission[c] * (x > 0.0)
        low, high = (a, high) if (doubted * shares).sum() < mean * doubted.sum() else (low, a)
    return float(shares[j])


def by_hand(item: RedraftRollout, dynamics: StepDynamics, fitted: DraftFit) -> float:
    """The log-likelihood: the filter of the steps before by its definition, then every way that the rest can go."""
    assert item.scores is not None
    assert fitted.same is not None
    assert fitted.success is not None
    emission = OBSERVATIONS.class_emission(dynamics)
    p_w, end, rho = dynamics.weak_success[0], dynamics.end, dynamics.recovery_by_step
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

    total = 0.0
    for old in range(3):
        same = fitted.same[old]
        anew = {0: fitted.success - same, 1: 0.0, 2: fitted.repair}[old] / (1.0 - same)  # P(right | another text)
        same = repeat_share(fitted.slope or 0.0, same, emission, old, bin_)
        right = anew * (1.0 - same)
        new = {0: right, 1: 0.0, 2: 1.0 - same - right} if old != 1 else {0: 0.0, 1: 1.0 - same, 2: 0.0}
        if item.repeated:
            new = {old: same}
        for c, chance in new.items():
            answer = goes_right(last, c)
            total += belief[old] * chance * (answer if item.correct else 1.0 - answer)
    return float(np.log(total))


CASES = (
    redraft((0.3,), (0.9,), correct=True, repeated=False),
    redraft((0.3,), (0.9, 0.97), correct=False, repeated=False),
    redraft((0.97, 0.1), (0.4,), correct=True, ended=True, repeated=True),
    redraft((0.97, 0.1), (0.99, 0.6), correct=True, repeated=False),
)


@pytest.mark.parametrize("dynamics", [DRAFTY, RECOVERING], ids=["derailed for good", "recovering"])
@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_likelihood_against_its_definition(case: int, dynamics: StepDynamics) -> None:
    found = term(rows_of(CASES[case]), dynamics)
    for fitted in (
        DraftFit(0.4, 0.8, SAME.array, 0.0, None),
        DraftFit(0.1, 0.6, np.array([0.1, 0.2, 0.7]), -0.4, TILT),
    ):
        assert found.log_likelihood(fitted) == pytest.approx(by_hand(CASES[case], dynamics, fitted), abs=1e-9)


def fitted_on(*items: RedraftRollout, labelled: bool = True) -> DraftFit:
    found = term(rows_of(*items, labelled=labelled), DRAFTY).fit()
    assert found is not None
    return found


def of_class(
    c: int, n: int, repeated: int, right: int, *, score: float = 0.3, new: float = 0.9
) -> list[RedraftRollout]:
    """Labelled redrafts: of n as many repeated, then as many of another text right."""
    return [
        redraft(
            (score,), (new,), correct=True, repeated=i < repeated,
            **{"class": c, "redrafted_right": c == 0 if i < repeated else i < repeated + right},
        )
        for i in range(n)
    ]  # fmt: skip


def test_known_classes_are_counted() -> None:
    """Next to nothing is left of the prior where there are many."""
    both = [DOUBTED, MORE_DOUBTED]
    items = [
        item
        for score in both
        for item in (
            *of_class(0, 2000, 1300, 200, score=score), *of_class(1, 4000, 3000, 0, score=score),
            *of_class(2, 5000, 1500, 2000, score=score),
        )
    ]  # fmt: skip
    found = fitted_on(*items)
    assert found.repair == pytest.approx(20 / 50, abs=2e-3)
    assert found.success == pytest.approx(15 / 20, abs=2e-3)
    assert found.same == pytest.approx([13 / 20, 30 / 40, 15 / 50], abs=2e-3)
    assert found.slope == pytest.approx(0.0, abs=2e-3)
    alone = fitted_on(*of_class(2, 5000, 1500, 2000), *of_class(2, 5000, 1500, 2000, score=MORE_DOUBTED))
    assert (alone.repair, alone.success) == (pytest.approx(0.4, abs=2e-3), None)
    assert alone.same is not None
    assert alone.same[2] == pytest.approx(0.3, abs=2e-3)
    assert alone.same[:2] == pytest.approx([0.3, 0.3], abs=0.06), "of the others no more is known"


def test_what_looks_wrong_comes_less_often_again() -> None:
    items = [*of_class(2, 3000, 1800, 600), *of_class(2, 3000, 900, 1050, score=MORE_DOUBTED)]  # v = 1/2
    found = fitted_on(*items)
    emission = OBSERVATIONS.class_emission(DRAFTY)
    bins = OBSERVATIONS.bins(np.array([DOUBTED, MORE_DOUBTED]))
    assert found.same is not None
    assert found.slope is not None
    assert found.slope < -0.05
    assert repeat_shares(emission, found.same, found.slope)[2, bins] == pytest.approx([0.6, 0.3], abs=0.01)
    assert found.repair == pytest.approx(0.5 * (1.0 - found.same[2]), abs=1e-3)


def test_only_drafts_that_looked_bad_count() -> None:
    doubted, good = of_class(0, 20, 13, 2), of_class(0, 40, 40, 0, score=0.99)
    assert fitted_on(*doubted, *good).same == pytest.approx(fitted_on(*doubted).same)
    assert term(rows_of(*good, labelled=True), DRAFTY).fit() is None


def test_what_nobody_knows_is_left_out() -> None:
    """Repeats, and how new drafts look."""
    unseen = ScoredSequence(id="p/weak", problem_id="p", features={"logprob_min": (-1.0,)}, correct=True, tokens=(5,))
    items = [
        redraft((0.3,), (0.9,), correct=True, **{"class": 2, "redrafted_right": i < 6}).model_copy(
            update={"redrafted": unseen}
        )
        for i in range(20)
    ]
    found = fitted_on(*items)
    assert (found.same, found.tilt) == (None, None)
    assert found.repair == pytest.approx(0.3, abs=1e-6)


def test_worse_looks_of_new_drafts_are_fitted() -> None:
    """At their likelihood and prior, where classes are known."""
    looks = [0.99, 0.9, 0.7, 0.5, 0.3, 0.1]
    items = [item for score in looks for item in of_class(2, 4, 0, 2, new=score)]
    found = fitted_on(*items)
    assert found.tilt is not None
    bins = OBSERVATIONS.bins(np.array(looks)[:, None])[:, 0]
    emission = OBSERVATIONS.class_emission(DRAFTY)

    assert found.tilt.derailed == pytest.approx((0.0, 0.0), abs=1e-6), "nothing tells of them"

    def plausible(tilts: np.ndarray) -> float:
        prior = -0.5 * ((tilts / [1.0, 0.1]) ** 2).sum()
        return float(prior + 2 * np.log(tilted_by(emission, tilts)[[0, 2]][:, bins]).sum())

    best = found.tilt.array
    for step in (*np.eye(6), *-np.eye(6)):
        assert plausible(best) > plausible(best + 1e-3 * step.reshape(3, 2))


def test_unknown_classes_are_fitted_at_their_likelihood() -> None:
    rng = np.random.default_rng(4)
    n = 2_000
    belief = rng.dirichlet((0.4, 0.4, 0.4), n)
    c = (rng.random(n)[:, None] > belief.cumsum(axis=1)).sum(axis=1)
    emission = np.array([[0.6, 0.3, 0.1], [0.4, 0.3, 0.3], [0.1, 0.3, 0.6]])  # doubted in the last bin
    looked = rng.integers(3, size=n)
    x = np.log(emission[2] / emission[0])
    odds = np.log(SAME.array / (1.0 - SAME.array))[:, None] + SLOPE * (x - x[2])
    repeated = rng.random(n) < (1.0 / (1.0 + np.exp(-odds)))[c, looked]
    new = np.where(repeated | (c == 1), c, np.where(rng.random(n) < 0.5, 0, 2))
    right = np.tile([0.9, 0.1, 0.2], (n, 1))
    correct = rng.random(n) < right[np.arange(n), new]
    outcome = np.where(correct[:, None], right, 1.0 - right)
    found = Redrafts(
        belief, right, outcome, looked, repeated.astype(np.int64), np.full(n, UNKNOWN), np.full((n, 2), UNKNOWN),
        emission, np.arange(n),
    )  # fmt: skip
    fitted = found.fit()
    assert fitted is not None
    assert fitted.same is not None
    assert fitted.success is not None
    assert fitted.same == pytest.approx(SAME.array, abs=0.15)
    assert fitted.repair == pytest.approx(0.35, abs=0.15)
    assert fitted.success == pytest.approx(0.8, abs=0.15)
    assert fitted.slope == pytest.approx(SLOPE, abs=0.15)

    def plausible(repair: float, success: float, same: np.ndarray, slope: float) -> float:
        a = np.log(same / (1.0 - same)) - slope * x[2]
        prior = -0.5 * (((a - a.mean()) ** 2).sum() + (a**2).sum() / 9.0 + slope**2)
        return float(prior + found.log_likelihood(DraftFit(repair, success, same, slope, None)))

    v, u = fitted.repair / (1.0 - fitted.same[2]), (fitted.success - fitted.same[0]) / (1.0 - fitted.same[0])

    def at(move: np.ndarray) -> float:
        same = fitted.same + move[:3]
        right = same[0] + (1.0 - same[0]) * (u + move[4])
        return plausible((1.0 - same[2]) * (v + move[3]), right, same, fitted.slope + move[5])

    for move in np.concatenate([np.eye(6), -np.eye(6)]) * 3e-3:
        assert at(np.zeros(6)) >= at(move) - 1e-6


def test_what_is_hard_for_both_models_is_counted() -> None:
    """Of new texts alone; of records of the same steps, which their ids tell."""
    items = [*of_class(2, 30, 10, 8), *of_class(0, 5, 5, 0)]  # twelve are wrong again, in other words
    redrafts = [item.model_copy(update={"id": f"p@{i}/redraft"}) for i, item in enumerate(items)]
    repairs = [
        RepairRollout.model_validate({
            "id": f"p@{i}/repair", "problem_id": "p", "scores": (0.3,), "correct": True, "weak_tokens": (5,),
            "strong_tokens": (5,), "class": item.true_class, "redone_right": i % 3 == 0,
        })
        for i, item in enumerate(items)
    ]  # fmt: skip
    assert fitted_on(*redrafts).strong_repair is None
    found = fitted_on(*beside_repairs(redrafts, repairs))
    assert found.strong_success == pytest.approx(np.mean([i % 3 == 0 for i in range(10, 18)]))
    assert found.strong_repair == pytest.approx(np.mean([i % 3 == 0 for i in range(18, 30)]))
    assert beside_repairs(redrafts[:1], []) == redrafts[:1]


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
def test_all_comes_back_where_the_rest_is_known(rollouts: Rollouts, *, labelled: bool) -> None:
    found = term(RedraftRows.of(rollouts.redrafts, None, labelled=labelled), DRAFTY).fit()
    assert found is not None
    assert found.same is not None
    assert found.tilt is not None
    wide = 1.0 if labelled else 2.0
    assert found.repair == pytest.approx(B, abs=0.1 * wide)
    assert found.success == pytest.approx(1.0 - 0.15 * B / 0.85, abs=0.1 * wide)
    assert found.success >= found.same[0]
    assert found.same[[0, 2]] == pytest.approx(SAME.array[[0, 2]], abs=0.1 * wide)
    # By what they say of how drafts look: γ and δ can stand for each other.
    emission = OBSERVATIONS.class_emission(DRAFTY)
    looks, true = tilted(emission, found.tilt), tilted(emission, TILT)
    first = np.abs(true - emission).sum(axis=1)
    assert (np.abs(looks - true).sum(axis=1)[[0, 2]] < (0.35 * wide * first)[[0, 2]] + 0.05).all()
    if not labelled:
        assert (found.strong_success, found.strong_repair) == (None, None)
        return
    # The scripted strong model redid the first draft, right or wrong, whatever the second one would be.
    assert DRAFTY.repair is not None
    assert DRAFTY.strong_success is not None
    assert found.strong_success is not None
    assert found.strong_repair is not None
    for share in (found.strong_repair, found.strong_success):
        assert DRAFTY.repair - 0.1 < share < DRAFTY.strong_success + 0.05


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
    assert without.model_dump(exclude={"fit", "name"}) == dynamics.model_dump(exclude={"fit", "name", *OF_REDRAFTS}), (
        "redrafts change nothing else"
    )


@pytest.mark.slow
def test_intervals_cover(tmp_path: Path) -> None:
    """95 % intervals by a bootstrap over problems, all else known, hold the truth in about that share of samples."""
    held = []
    for seed in range(24):
        found = drawn(tmp_path / str(seed), 100, seed=seed, modes=("weak", "redraft"))
        rows = RolloutRows(None, None, None, RedraftRows.of(found.redrafts, None, labelled=False))  # type: ignore[arg-type]
        rng = np.random.default_rng(seed)
        parameters, hazards = parameters_of(DRAFTY), hazards_of(DRAFTY)
        whole = FITTER.redrafts(rows, parameters, hazards)
        assert whole is not None
        draws = []
        for _ in range(50):
            fitted = whole.take(rng.integers(len(whole.belief), size=len(whole.belief))).fit()
            assert fitted is not None
            draws.append(fitted.repair)
        low, high = np.quantile(draws, [0.025, 0.975])
        held.append(low <= B <= high)
    assert np.mean(held) >= 0.8, ".95 is meant, and P(fewer than 20 of 24) is below .01 then"


def test_a_redraft_beyond_the_cap_is_refused(rollouts: Rollouts) -> None:
    long = redraft((0.9,) * 5, (0.9,) * 3, correct=True)
    data = Rollouts(rollouts.weak, redrafts=(long,))
    with pytest.raises(InputError, match="7 steps, more than the step cap of 6"):
        fit_rollouts("long", data, OBSERVATIONS, max_steps=6, intervals=False)
