"""``backend = "vllm-prm"``: a process reward model behind vLLM servers with step pooling.

The server was started with ``--runner pooling --pooler-config '{"pooling_type": "STEP", "step_tag_id": N}'``, N being
the token that stands behind every step (`trim-pomdp up` finds it). It replies with a softmaxed pair (wrong, right) for
every such token, and with none at all, without an error, where it was started with another one.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from trim_pomdp.runtime.backends.base import Place, ScorerTable
from trim_pomdp.runtime.backends.prompts import Openings
from trim_pomdp.runtime.backends.remote import OverHttp, ServedByVllm, require_there, served, usage_of
from trim_pomdp.runtime.findings import Finding
from trim_pomdp.runtime.http import BadReplyError, Service
from trim_pomdp.runtime.protocols import ScoreRequest, SolutionScores

_ROUNDING = 1e-3


class VllmScorerTable(ServedByVllm, ScorerTable):
    """A process reward model in the layout of Qwen2.5-Math-PRM.

    Attributes
    ----------
    step_token : str
        Stands behind every step; the score is read there.
    """

    backend: Literal["vllm-prm"]
    step_token: str = Field(default="<extra_0>", min_length=1)

    def load(self, place: Place) -> VllmScorer:
        """See `ScorerTable`."""
        service = self.service(place)
        require_there(service, "/v1/models", self.model)
        return VllmScorer(service, self.model, self.openings(service, place), self.step_token)


GENERATOR = None
PRM = VllmScorerTable


class VllmScorer(OverHttp):
    """A process reward model behind vLLM's pooling API (a `StepScorer`)."""

    def __init__(self, service: Service, model: str, openings: Openings, step_token: str) -> None:
        self.service = service
        self._model = model
        self._openings = openings
        self._step_token = step_token

    async def score(self, request: ScoreRequest) -> SolutionScores:
        """See `StepScorer.score`."""
        steps = "".join(step + self._step_token for step in request.steps)
        prompt = await self._openings.before(request.problem, steps)
        body = {"model": self._model, "input": prompt, "add_special_tokens": False}
        count = len(request.steps)
        return await self.service.post("/pooling", body, lambda reply: self._scores(reply, count))

    def _scores(self, reply: Any, count: int) -> SolutionScores:
        pairs = reply["data"][0]["data"]
        if len(pairs) != count:
            raise BadReplyError(
                f"{len(pairs)} scores for {count} steps; was the server started with the id of {self._step_token} as "
                "step_tag_id, and do the texts not hold it?"
            )
        for wrong, right in pairs:
            if not (0.0 <= right <= 1.0 and abs(wrong + right - 1.0) < _ROUNDING):
                raise BadReplyError(f"a score of {right!r} beside {wrong!r}; expected two probabilities")
        usage = usage_of({"usage": {"completion_tokens": 0, **reply["usage"]}})
        return SolutionScores(tuple(float(right) for _, right in pairs), usage.prompt, usage.cached)

    async def examine(self, request: ScoreRequest, max_tokens: int) -> list[Finding]:
        """See `SelfExamining`."""
        reply = await self.score(request)
        return await served(self.service, self._model, reply.tokens + max_tokens)
