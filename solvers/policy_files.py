"""Policies in files: `.alpha` and APPL's `.policy` hold alpha-vectors, `.pg` beside an `.alpha` a controller."""

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
    write_policy_graph,
)
from solvers.policies import AlphaVectorPolicy, FiniteHorizonPolicy
from solvers.pomdp import POMDP

_SUFFIXES = (".alpha", ".policy", ".pg")


def read_policy(path: str | PathLike[str], pomdp: POMDP) -> AlphaVectorPolicy:
    """Read a policy of a model, by the name's end: `.alpha` or `.policy`.

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

    `.alpha` and `.policy` hold the alpha-vectors; of a finite horizon, those with all steps to go. `.pg` holds the
    controller that does what the policy does at the beliefs it meets (`solvers.controllers`), and an `.alpha` file
    beside it what each of its nodes is worth.

    Raises
    ------
    PomdpFormatError
        If the name ends otherwise, or the format cannot say what the policy has.
    """
    suffix = check_policy_suffix(path)
    if isinstance(policy, FiniteHorizonPolicy):
        if suffix == ".pg":
            raise PomdpFormatError(f"{path}: a policy for a horizon is no controller; write .alpha")
        policy = policy.with_steps_to_go()
    if suffix == ".pg":
        made = controller(policy)
        write_policy_graph(GraphNodes(made.actions, made.successors), path)
        write_alpha(VectorSet(made.vectors, made.actions), Path(path).with_suffix(".alpha"))
        return
    vectors = policy.vectors if isinstance(policy.vectors, np.ndarray) else policy.vectors.toarray()
    if suffix == ".alpha":
        if policy.observed is not None:
            raise PomdpFormatError(
                f"{path}: vectors are for values of an observed factor, which .alpha cannot say; write .policy"
            )
        write_alpha(VectorSet(vectors, policy.actions), path)
        return
    if policy.observed is None:
        write_appl_policy(VectorSet(vectors, policy.actions), path)
        return
    factor = policy.pomdp.observed
    assert factor is not None
    sizes = np.bincount(factor)
    if (sizes != sizes[0]).any():
        raise PomdpFormatError(f"{path}: values of the observed factor have different numbers of states; write .alpha")
    short = np.array([row[factor == y] for row, y in zip(vectors, policy.observed, strict=True)])
    write_appl_policy(VectorSet(short, policy.actions, policy.observed), path)


def check_policy_suffix(path: str | PathLike[str]) -> str:
    """The name's end.

    Raises
    ------
    PomdpFormatError
        If no format of policies ends so.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SUFFIXES:
        raise PomdpFormatError(
            f"{path}: a policy's file ends in {', '.join(_SUFFIXES)}, not in {suffix or 'nothing'!r}"
        )
    return suffix


def _spread(found: VectorSet, pomdp: POMDP, path: str | PathLike[str]) -> np.ndarray:
    """Vectors over the hidden part as vectors over all states."""
    assert found.observed is not None
    assert pomdp.observed is not None
    out = np.zeros((len(found), pomdp.n_states))
    for row, vector, y in zip(out, found.vectors, found.observed, strict=True):
        states = pomdp.observed == y
        if int(states.sum()) != vector.size:
            raise PomdpFormatError(
                f"{path}: a vector for value {y} of the observed factor has {vector.size} numbers; "
                f"the model has {int(states.sum())} states of it"
            )
        row[states] = vector
    return out
