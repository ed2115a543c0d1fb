"""A step in the making: its drafts, what was made of each, what was done; and the record that becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trim_pomdp.policies.base import Author, Decision, StepObservation
from trim_pomdp.runtime.protocols import Usage
from trim_pomdp.runtime.records import DecisionRecord, DraftRecord, Generation, Scoring, TokenCounts, action_by_code


@dataclass
class Draft:
    """A step of the weak model, and what was made of it; all is None where the strong model writes alone."""

    weak: Generation | None = None
    scoring: Scoring | None = None
    ended: bool | None = None
    seen: StepObservation | None = None
    decision: Decision | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """What records say of it."""
        features = dict(self.seen.features) if self.seen else {}
        features.pop("score", None)  # stands in the scoring
        decision = self.decision
        return {
            "weak": self.weak,
            "scoring": self.scoring,
            "ended": self.ended,
            "features": features,
            "evidence": decision.evidence if decision else None,
            "q": decision.q if decision else None,
            "belief": decision.belief if decision else None,
            "gain": decision.gain if decision else None,
            "price": decision.price if decision else None,
        }

    @property
    def record(self) -> DraftRecord:
        """Of a draft that was asked for again."""
        assert self.decision is not None
        return DraftRecord(**self.fields, action=action_by_code(self.decision.action).name)


@dataclass
class Step:
    """A step in the making; becomes a `DecisionRecord` when the solution has ended.

    Attributes
    ----------
    draft : Draft
        The one that is in question, or stands.
    earlier : list of Draft
        Those that were asked for again, in order.
    action : int or None
        Code of what was done at last.
    stands : int or None
        Which of `earlier` stands, where it is not the last draft.
    capped, fallback : bool
        See `DecisionRecord`.
    strong : Generation or None
        The strong model's step.
    ahead : dict
        What models did in vain before it was known whether it would be wanted.
    """

    draft: Draft = field(default_factory=Draft)
    earlier: list[Draft] = field(default_factory=list)
    action: int | None = None
    stands: int | None = None
    capped: bool = False
    fallback: bool = False
    strong: Generation | None = None
    ahead: dict[Author, Usage] = field(default_factory=dict)

    def set_aside(self) -> None:
        """Make room for a new draft."""
        self.earlier.append(self.draft)
        self.draft = Draft()

    def known_scoring(self, text: str) -> Scoring | None:
        """What the PRM said of an earlier draft of the same text."""
        for draft in self.earlier:
            if draft.weak is not None and draft.weak.text == text:
                return draft.scoring
        return None

    @property
    def discarded(self) -> tuple[str, ...]:
        """Texts of the earlier drafts."""
        return tuple(draft.weak.text for draft in self.earlier if draft.weak is not None)

    @property
    def author(self) -> Author | None:
        """Who wrote what stands; None as long as nothing does."""
        return None if self.action is None else action_by_code(self.action).asks or "weak"

    @property
    def accepted(self) -> Generation | None:
        """What stands."""
        return {"weak": self.standing.weak, "strong": self.strong, None: None}[self.author]

    @property
    def standing(self) -> Draft:
        """The draft that stands if it is the weak model's step that does."""
        return self.draft if self.stands is None else self.earlier[self.stands]

    @property
    def own_score(self) -> float | None:
        """Score of what stands, where it is a weak step that was decided on."""
        scoring = self.standing.scoring
        return scoring.scores[-1] if scoring and self.author == "weak" else None

    @property
    def tokens(self) -> TokenCounts:
        """Of all drafts, and of the strong step."""
        kept = self.standing if self.author == "weak" else None
        counts = [_draft_counts(draft, kept=draft is kept) for draft in (*self.earlier, self.draft)]
        if self.strong:
            usage = self.strong.usage or _NOTHING
            counts.append(TokenCounts(strong=self.strong.tokens, strong_read=usage.prompt, strong_cached=usage.cached))
        if self.ahead:
            counts.append(_ahead_counts(self.ahead))
        return counts[0] if len(counts) == 1 else TokenCounts.total(counts)

    def record(self, problem: str, index: int, policy_hash: str) -> DecisionRecord:
        """What is written down of it."""
        action = None if self.accepted is None or self.action is None else action_by_code(self.action).name
        return DecisionRecord(
            problem=problem,
            step=index,
            drafts=tuple(draft.record for draft in self.earlier),
            **self.draft.fields,
            action=action,
            stands=self.stands,
            capped=self.capped,
            fallback=self.fallback,
            strong=self.strong,
            tokens=self.tokens,
            policy_hash=policy_hash,
        )


_NOTHING = Usage(0, 0, 0)


def _draft_counts(draft: Draft, *, kept: bool) -> TokenCounts:
    weak, scoring = draft.weak, draft.scoring
    usage = (weak.usage if weak else None) or _NOTHING
    return TokenCounts(
        weak_kept=weak.tokens if weak and kept else 0,
        weak_discarded=weak.tokens if weak and not kept else 0,
        weak_read=usage.prompt,
        weak_cached=usage.cached,
        scored=scoring.tokens if scoring else 0,
        scored_cached=scoring.cached if scoring else 0,
    )


def _ahead_counts(spent: Mapping[Author, Usage]) -> TokenCounts:
    weak, strong = spent.get("weak", _NOTHING), spent.get("strong", _NOTHING)
    return TokenCounts(
        weak_ahead=weak.output,
        strong_ahead=strong.output,
        weak_ahead_read=weak.prompt,
        weak_ahead_cached=weak.cached,
        strong_ahead_read=strong.prompt,
        strong_ahead_cached=strong.cached,
    )
