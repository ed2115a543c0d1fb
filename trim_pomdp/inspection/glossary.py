"""Words that a report uses, each explained once: those of `docs/model.md`, and what its filters look for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

WRONG, DIFFERS = "wrong", "outcome differs between runs"

FILTER_MEANINGS: Mapping[str, str] = {
    WRONG: "ended with a wrong answer, or without one; failed problems are counted apart",
    "wrong though believed right": "wrong, of those that ended by their own text, where q ended at .5 or more",
    "spent on lost causes": "the strong model was asked where the solution was derailed already (as truth knows, else "
    "as the policy believed with .5 or more)",
    "missed errors": "the policy kept a first error (only where true classes are known)",
    "most expensive": "the tenth of the problems that cost most: money where prices are known, else strong tokens",
    "capped": "the strong model’s tokens ran out",
    "failed": "an error ended it",
    DIFFERS: "some of these runs solved it and others did not",
}
"""What each filter of a report looks for; the names are those of `runs.FILTERS` and two more."""

_GLOSSARY: Mapping[str, str] = {
    "S0, S1, S2": "what a weak step is: right, and so is all before it; derailed, after an earlier error; the first "
    "error",
    "q": "the probability that the solution so far is right, given all that was seen",
    "belief": "the probabilities of S0, S1 and S2, given also what was seen of the step itself",
    "score, evidence": "what is seen of a step: the reward model’s score, or a score made of it and of token "
    "probabilities; evidence is how much more a right step looks like that than a first error, as log-odds",
    "gain": "what having the step written again by the strong model would add to the chance of a right answer, in "
    "points: a right answer is worth 100 unless the policy says otherwise",
    "price": "what that would cost, in the same points: strong tokens at λ each; it is spent where the gain exceeds it",
    "λ": "the price of one strong token, in points; the higher, the less is spent",
    "budget": "strong tokens per problem, as a share of what strong-only spends",
    "weak-only, strong-only": "never, and always, having the strong model write the step",
    "kept, regenerated": "the weak model’s step stands, or the strong model writes it again",
    "Brier score": "mean squared distance of belief and truth: 0 is perfect, .25 is what saying .5 of everything gets",
    "calibration error": "mean distance between what was believed and how often it was true",
    "95 % interval": "what chance leaves possible, given so many problems",
}

_OF_MORE_ACTIONS: Mapping[str, str] = {
    "gain": "what the best of all that can be done with a step, other than keeping it, would add to the chance of a "
    "right answer, in points: a right answer is worth 100 unless the policy says otherwise",
    "price": "what that would cost, in the same points: strong tokens at λ each, further drafts at a price of their "
    "own; it is spent where the gain exceeds it",
    "redrafted, recalled": "the weak model writes the step again; the draft before stands after all",
    "taken over": "the strong model writes this step and all that follow",
}


def glossary(choices: Collection[str]) -> dict[str, str]:
    """Words of a report, each with its meaning, where policies choose among these actions."""
    return {**_GLOSSARY, **({} if set(choices) <= {"keep", "regenerate"} else _OF_MORE_ACTIONS)}
