"""``backend = "scores-http"``: scores from a server of one's own, in plain JSON.

It is sent ``{"prompt": …, "steps": [...]}`` and replies with ``{"scores": [...]}``, a probability that it is right for
every step; ``"tokens"``, how many it read, may stand beside.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from trim_pomdp.runtime.backends.base import Place, ScorerTable
from trim_pomdp.runtime.backends.remote import Connection, OverHttp, Url, require_there
from trim_pomdp.runtime.http import BadReplyError, Service
from trim_pomdp.runtime.protocols import ScoreRequest, SolutionScores


class HttpScorerTable(Connection, ScorerTable):
    """A server that scores steps.

    Attributes
    ----------
    url : str or list of str
        Where scores are asked for.
    name : str
        What the model is called in files of scores.
    """

    backend: Literal["scores-http"]
    url: Url | Annotated[list[Url], Field(min_length=1)]
    name: str = "prm"

    @property
    def title(self) -> str:
        """See `ModelTable`."""
        return self.name

    def config(self, folder: Path) -> dict[str, Any]:
        """See `ModelTable`."""
        return {name: value for name, value in super().config(folder).items() if name != "url"}

    def load(self, place: Place) -> HttpScorer:
        """See `ScorerTable`."""
        urls = [self.url] if isinstance(self.url, str) else self.url
        service = self.connect(place, urls)
        require_there(service, "")
        return HttpScorer(service)


GENERATOR = None
PRM = HttpScorerTable


class HttpScorer(OverHttp):
    """Scores from a server of one's own (a `StepScorer`)."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def score(self, request: ScoreRequest) -> SolutionScores:
        """See `StepScorer.score`."""
        body = {"prompt": request.problem.prompt, "steps": list(request.steps)}
        count = len(request.steps)
        return await self.service.post("", body, lambda reply: _scores(reply, count))


def _scores(reply: Any, count: int) -> SolutionScores:
    scores = reply["scores"]
    if not isinstance(scores, list) or len(scores) != count:
        raise BadReplyError(f"{scores!r:.80} as scores; expected {count}, one a step")
    for score in scores:
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0.0 <= score <= 1.0:
            raise BadReplyError(f"a score of {score!r:.40}; expected a probability")
    return SolutionScores(tuple(map(float, scores)), int(reply.get("tokens") or 0))
