"""Where a fit says otherwise than data it was given, or rests on no data at all: each a line, with the remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trim_pomdp.model.dynamics import Check

ON_STEP_COUNTS = "accuracy on the problems of the step counts"
# Standard errors from which on a difference is none of chance, and differences that are too small to matter all the
# same: shares on the data's own problems, shares on other problems, other means (relative).
_CHANCE = 4.0
_OWN, _ELSEWHERE, _RELATIVE = 0.05, 0.1, 0.15
_SHOWN = 3
# Share of the weak model's errors that a stronger one avoids at least, where the weak one was right.
_NO_GAIN = 0.02


def contradicted(check: Check) -> bool:
    """Whether what a fit implies and what was observed differ by more than chance, and enough to matter."""
    if check.z_score is None or abs(check.z_score) < _CHANCE:
        return False
    difference = abs(check.implied - check.observed)
    if _is_share(check):
        return difference >= (_ELSEWHERE if check.quantity.endswith(ON_STEP_COUNTS) else _OWN)
    return difference >= _RELATIVE * max(abs(check.observed), abs(check.implied))


def contradictions(checks: Sequence[Check], remedies: Mapping[float | None, str], otherwise: str) -> tuple[str, ...]:
    """One line for each remedy: what a fit implies, what data say, and what to do.

    Parameters
    ----------
    checks : sequence of Check
        Goodness of fit.
    remedies : mapping
        By the row that is in doubt (0: weak-only, 1: strong-only).
    otherwise : str
        Remedy for all others.
    """
    by_remedy: dict[str, list[Check]] = {}
    for check in sorted(filter(contradicted, checks), key=lambda item: -abs(item.z_score or 0.0)):
        by_remedy.setdefault(remedies.get(_row(check), otherwise), []).append(check)
    return tuple(f"{_listed(items)}: {remedy}" for remedy, items in by_remedy.items())


def _listed(checks: Sequence[Check]) -> str:
    more = f"; and {len(checks) - _SHOWN} more" if len(checks) > _SHOWN else ""
    return "; ".join(_said(check) for check in checks[:_SHOWN]) + more


def _said(check: Check) -> str:
    if check.quantity.endswith(ON_STEP_COUNTS):
        what, who = f"{check.quantity.partition(':')[0]} accuracy", "the step counts say"
    else:
        what, who = check.label.replace(": ", " "), "observed"
    form = ".2f" if _is_share(check) else ".4g"
    implied, observed = format(check.implied, form), format(check.observed, form)
    return f"{what}: implied {implied}, {who} {observed} (z = {check.z_score:.0f})"


def _row(check: Check) -> float | None:
    if check.quantity.endswith(ON_STEP_COUNTS):
        return 0.0 if check.quantity.startswith("weak") else 1.0
    return check.threshold


def _is_share(check: Check) -> bool:
    return "accuracy" in check.quantity or "share of" in check.quantity


def not_stronger(weak_success: float, strong_success: float | None) -> tuple[str, ...]:
    """A line if the strong model seems to be none."""
    if strong_success is None or strong_success - weak_success > _NO_GAIN * (1.0 - weak_success):
        return ()
    return (
        f"p_s is hardly above p_w ({strong_success:.3f}, {weak_success:.3f}), so the strong model seems no better than "
        "the weak one: see whether the two were exchanged",
    )


def not_converged(troubles: Mapping[str, str | None], remedy: str) -> tuple[str, ...]:
    """A line if an optimiser did not converge.

    Parameters
    ----------
    troubles : mapping
        By fit what its optimiser says, None where it converged.
    remedy : str
        What to try.
    """
    names = [name for name, trouble in troubles.items() if trouble is not None]
    if not names:
        return ()
    said = dict.fromkeys(trouble for trouble in troubles.values() if trouble is not None)
    return (f"did not converge: {', '.join(names)} ({'; '.join(said)}): {remedy}",)
