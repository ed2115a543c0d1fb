"""TRIM-Seq: a small causal transformer over what was seen of every step so far."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from trim_pomdp.policies.learned import LearnedRule
from trim_pomdp.policies.networks import StepFeature

SEQ_FEATURES: tuple[StepFeature, ...] = ("score", "tokens", "minimum", "regenerated")
"""(r_i, c_i) of the weak steps, and what became of them: the running minimum, and whether the last was regenerated."""


class TrimSeqRule(LearnedRule):
    """TRIM-Seq (Kapoor et al. 2026, arXiv:2601.10245), trained by PPO (`trim_pomdp.learning`).

    The paper's sequence is (r_i, c_i) of the trace so far, in which a regenerated step has its own score. A causal
    network reads every step once, as it was decided on, so that row i holds score and tokens of the *weak* step i; what
    became of the one before it is told by whether it was regenerated, and by the running minimum of the scores as they
    stand. Beyond the paper: log λ, and scores as log-odds.
    """

    form: Literal["trim-seq"] = "trim-seq"

    @model_validator(mode="after")
    def _has_memory(self) -> TrimSeqRule:
        if self.network.architecture != "transformer":
            raise ValueError("TRIM-Seq is a 'transformer'; an mlp is of the form 'trim-agg'")
        return self
