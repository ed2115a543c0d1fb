"""Exact finite-horizon values of standard models, from pomdp-solve (shared/pomdp_files/README.md)."""

from pathlib import Path

import pytest

from solvers import read_pomdp, solve_epochs

# Value at the start belief with h = 1, 2, … steps to go, 8 significant digits.
EXACT: dict[str, list[float]] = {
    "tiger.aaai": [
        -1,
        -1.75,
        0.905,
        0.483125,
        0.62822891,
        1.4021744,
        1.2903938,
        1.4470123,
        1.6742274,
        1.66156,
    ],
    "tiger.95": [
        -1,
        -1.95,
        2.3098,
        1.7955442,
        2.7630962,
        4.4285313,
        4.584266,
        5.3240208,
        6.4236485,
        6.6933684,
    ],
    "1d": [
        0.25,
        0.49999994,
        0.73437484,
        0.81640621,
        0.94824207,
        1.0229491,
        1.0839232,
        1.1251219,
        1.1609648,
        1.1851433,
    ],
    "parr95.95": [0, 0, 0.9025, 0.9025, 1.6290125, 1.6762809, 1.6762809, 2.3273498, 2.3397014, 2.8895113],
    "cheese.95": [
        0.1,
        0.195,
        0.204025,
        0.30691,
        0.60833012,
        0.86367783,
        0.91660445,
        1.0038966,
        1.1069156,
        1.2334963,
    ],
    "paint.95": [
        0,
        0.2375,
        0.3954375,
        0.55258531,
        0.68190158,
        0.81431074,
        0.940032,
        1.0552179,
        1.1687118,
        1.2745845,
    ],
    "mini-hall2": [
        0.083333,
        0.083333,
        0.24001638,
        0.3233719,
        0.34081199,
        0.42677887,
        0.57226806,
        0.71553826,
        0.80031743,
        0.96528854,
    ],
    "4x3.95": [-0.04, -0.077155556, -0.034046747, 0.047306728],
    "shuttle.95": [0, 0, 0, 1.44039, 5.7015437, 7.3264837],
    "network": [22.857143, 39.685715, 53.373994, 65.245993],
}
PRINTED = 1e-7  # relative: half a unit in the eighth digit, and the exact solver's own tolerance


@pytest.mark.parametrize("name", EXACT)
def test_bounds_enclose_the_exact_value(shared: Path, name: str) -> None:
    pomdp = read_pomdp(shared / "pomdp_files" / f"{name}.pomdp")
    for h, exact in enumerate(EXACT[name], start=1):
        solution = solve_epochs(pomdp.finite_horizon(h), gap=1e-7)
        slack = PRINTED * max(1.0, abs(exact))
        assert solution.lower == pytest.approx(exact, abs=1e-6 + slack), (h, solution.ended)
        assert solution.upper >= exact - slack, h
        assert solution.gap <= 1e-6, (h, solution.ended)
