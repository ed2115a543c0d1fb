"""The optimiser's wrapper: minima with known places, bounds, and no word of convergence where there is none."""

import numpy as np
import pytest

from trim_pomdp.fitting.optimise import minimise

WIDE = (np.full(2, -10.0), np.full(2, 10.0))


def bowl(x: np.ndarray) -> float:
    return float((x[0] - 1.0) ** 2 + 3.0 * (x[1] + 2.0) ** 2 + 5.0)


def bowl_and_slope(x: np.ndarray) -> tuple[float, np.ndarray]:
    return bowl(x), np.array([2.0 * (x[0] - 1.0), 6.0 * (x[1] + 2.0)])


@pytest.mark.parametrize("slope", [None, True])
def test_a_bowl_has_its_bottom(slope: bool | None) -> None:
    found = minimise(bowl_and_slope if slope else bowl, np.zeros(2), WIDE, gradient=slope)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.point, [1.0, -2.0], atol=1e-4)
    assert found.value == pytest.approx(5.0, abs=1e-7)
    assert found.converged


def test_bounds_hold_from_the_start_on() -> None:
    found = minimise(bowl_and_slope, np.array([7.0, 7.0]), (np.array([2.0, -1.0]), np.array([3.0, 4.0])), gradient=True)
    np.testing.assert_allclose(found.point, [2.0, -1.0])
    assert found.value == pytest.approx(bowl(np.array([2.0, -1.0])))
    assert found.converged


def test_a_search_that_gets_nowhere_is_no_optimum() -> None:
    """A gradient that points uphill everywhere: the line search finds no way down."""

    def wrong(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = bowl_and_slope(x)
        return value, -slope

    found = minimise(wrong, np.zeros(2), WIDE, gradient=True)
    assert not found.converged
    assert "ABNORMAL" in found.message


def test_with_nothing_to_choose_there_is_the_value() -> None:
    nothing = (np.zeros(0), np.zeros(0))
    for function, slope in ((lambda x: 3.0, None), (lambda x: (3.0, x), True)):
        found = minimise(function, np.zeros(0), nothing, gradient=slope)  # type: ignore[arg-type]
        assert (found.value, len(found.point), found.converged) == (3.0, 0, True)
