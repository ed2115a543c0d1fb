"""Several solutions of each problem, with the texts of their steps and the PRM's scores of them: a line a problem."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from trim_pomdp.data.records import Id, OpenRecord, read_records
from trim_pomdp.data.sequences import Score


class ScoredText(OpenRecord):
    """One solution of a problem.

    Attributes
    ----------
    prompt : str or None
        What was asked; it stands with the problem.
    steps : tuple of str
        Texts.
    scores : tuple of float
        PRM score of every step; ``prm_scores`` in the file.
    """

    prompt: str | None = None
    steps: tuple[str, ...]
    scores: tuple[Score, ...] = Field(alias="prm_scores")

    @model_validator(mode="after")
    def _one_score_a_step(self) -> ScoredText:
        if len(self.scores) != len(self.steps):
            raise ValueError(
                f"prm_scores has {len(self.scores)} values; expected one for each of {len(self.steps)} steps"
            )
        return self


class _Problem(OpenRecord):
    id: Id
    problem: str
    rollouts: tuple[ScoredText, ...]


def read_scored_texts(path: str | Path) -> dict[str, ScoredText]:
    """Read solutions with texts and scores, by ``<problem id>#<rollout>``, counted from 0.

    Parameters
    ----------
    path : str or Path
        JSON lines, a JSON array or parquet; plain or gzip. Of each problem `id`, `problem` (what was asked), and
        `rollouts` with `steps` and `prm_scores`.

    Raises
    ------
    InputError
        Naming file, line, field and reason.
    """
    return {
        f"{problem.id}#{index}": rollout.model_copy(update={"prompt": problem.problem})
        for problem in read_records(path, _Problem)
        for index, rollout in enumerate(problem.rollouts)
    }
