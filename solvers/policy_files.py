"""Policies in files: `.alpha` and APPL's `.policy` hold alpha-vectors, `.pg` beside an `.alpha` a controller."""

import warnings
from os import PathLike
from pathlib import Path

import numpy as np

from solvers.controllers import controller
from solvers.errors import ModelError, PomdpFormatError
from solvers.formats import (
    GraphNodes,
    VectorSet,
    read_alpha,
    read_appl_policy,
    write_alpha,
    write_appl_policy,
)
from solvers.formats.alpha import alpha_text
from solvers.formats.policy_graph import graph_text
from solvers.formats.text import write_texts
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy
from solvers.pomdp import POMDP

_SUFFIXES = (".alpha", ".policy", ".pg")


def read_policy(path: str | PathLike[str], pomdp: POMDP) -> AlphaVectorPolicy:
    """Read a policy of a model, by the name's end: ``.alpha`` or ``.policy``.

    Raises
    ------
    PomdpFormatError
        If the name ends otherwise, the file is not such a policy, or it is of another model.
    OSError
        If the file cannot be read.
    """
    suffix = check_policy_suffix(path)
    if suffix == ".pg":
        raise PomdpFormatError(f"{path}: a policy graph has no vectors to look beliefs up in; give the .alpha file")
    found = read_alpha(path) if suffix == ".alpha" else read_appl_policy(path)
    vectors, observed = found.vectors, found.observed
    if pomdp.observed is not None and observed is not None:
        vectors, observed = _spread(found, pomdp, path), found.observed
    elif observed is not None:
        if observed.any():
            raise PomdpFormatError(f"{path}: vectors are for values of an observed factor, which the model has none of")
        observed = None
    try:
        return AlphaVectorPolicy(pomdp, vectors, found.actions, observed)
    except ModelError as error:
        raise PomdpFormatError(f"{path}: not a policy of this model: {error}") from None


def write_policy(policy: AlphaVectorPolicy | FiniteHorizonPolicy, path: str | PathLike[str]) -> None:
    """Write a policy, by the name's end.

    ``.alpha`` and ``.policy`` hold the alpha-vectors; of a finite horizon, those with all steps to go. Vectors for a
    value of an observed factor become, in ``.alpha``, vectors over all states that are worth less than any other in
    states of other values; in ``.policy``, zeros fill up those for values of fewer states, as `write_pomdpx` fills up
    the states. ``.pg`` holds the controller that does what the policy does at the beliefs it meets
    (`solvers.controllers`), and an ``.alpha`` file beside it what each of its nodes is worth.

    Raises
    ------
    PomdpFormatError
        If the name ends otherwise, or the format cannot say what the policy has.
    OSError
        If the file cannot be written; none is half-written.
    """
    suffix = check_policy_file(path, policy.pomdp, policy.horizon if isinstance(policy, FiniteHorizonPolicy) else None)
    if isinstance(policy, FiniteHorizonPolicy):
        steps, policy = policy.horizon, policy.with_steps_to_go()
        if steps > 1:
            warnings.warn(
                f"{path}: written are the vectors with {steps} steps to go alone; read back, they are one policy for "
                "all steps",
                stacklevel=2,
            )
    if suffix == ".pg":
        made = controller(policy)
        nodes, worth = GraphNodes(made.actions, made.successors), VectorSet(made.vectors, made.actions)
        graph_file, alpha_file = policy_paths(path)
        write_texts({graph_file: graph_text(nodes), alpha_file: alpha_text(worth)})
        return
    vectors = policy.vectors if isinstance(policy.vectors, np.ndarray) else policy.vectors.toarray()
    if suffix == ".alpha":
        write_alpha(VectorSet(_over_all_states(policy, vectors), policy.actions), path)
        return
    if policy.observed is None:
        write_appl_policy(VectorSet(vectors, policy.actions), path)
        return
    factor = policy.pomdp.observed
    assert factor is not None
    short = np.zeros((len(vectors), int(np.bincount(factor).max())))
    for out, row, y in zip(short, vectors, policy.observed, strict=True):
        states = factor == y
        out[: states.sum()] = row[states]
    write_appl_policy(VectorSet(short, policy.actions, policy.observed), path)


def policy_paths(path: str | PathLike[str]) -> tuple[Path, ...]:
    """Files that `write_policy` writes: that of the name, and the ``.alpha`` file beside a ``.pg``."""
    file = Path(path)
    return (file, file.with_suffix(".alpha")) if file.suffix.lower() == ".pg" else (file,)


def check_policy_file(path: str | PathLike[str], pomdp: POMDP, horizon: int | None = None) -> str:
    """The name's end, where a policy of this model, for a horizon or none, can be written in its format.

    Raises
    ------
    PomdpFormatError
        If no format of policies ends so, or this one cannot say what the policy will have.
    """
    suffix = check_policy_suffix(path)
    if suffix == ".pg":
        factor = pomdp.observed
        if horizon is not None:
            raise PomdpFormatError(f"{path}: a policy for a horizon is no controller; write .alpha or .policy")
        if pomdp.discount == 1.0:
            raise PomdpFormatError(f"{path}: a controller has values for a discount below 1 only; write .alpha")
        if factor is not None and np.unique(factor[pomdp.start > 0.0]).size > 1:
            raise PomdpFormatError(
                f"{path}: a controller starts at one value of the observed factor, which the start leaves open; "
                "write .alpha or .policy"
            )
    return suffix


def check_policy_suffix(path: str | PathLike[str]) -> str:
    """The name's end.

    Raises
    ------
    PomdpFormatError
        If no format of policies ends so.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        found = f"not in {suffix!r}" if suffix else "but this name has no ending"
        raise PomdpFormatError(f"{path}: a policy's file ends in {', '.join(_SUFFIXES)}, {found}")
    return suffix


def _over_all_states(policy: AlphaVectorPolicy, vectors: np.ndarray) -> np.ndarray:
    """Vectors that are nowhere the best in states of another value than theirs, and below what can be had there."""
    factor = policy.pomdp.observed
    if policy.observed is None or factor is None:
        return vectors
    own = factor[None] == policy.observed[:, None]
    least = min(float(vectors[own].min()), 0.0)
    return np.where(own, vectors, 2.0 * least - 1.0)


def _spread(found: VectorSet, pomdp: POMDP, path: str | PathLike[str]) -> np.ndarray:
    """Vectors over the hidden part as vectors over all states."""
    assert found.observed is not None
    assert pomdp.observed is not None
    out, most = np.zeros((len(found), pomdp.n_states)), int(np.bincount(pomdp.observed).max())
    for row, vector, y in zip(out, found.vectors, found.observed, strict=True):
        states = pomdp.observed == y
        if vector.size != most:
            raise PomdpFormatError(
                f"{path}: a vector for value {y} of the observed factor has {vector.size} numbers; "
                f"the model has up to {most} states of a value"
            )
        row[states] = vector[: states.sum()]
    return out
