"""Under which conditions models were observed: what a plan takes for granted, and a run may have otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import PositiveInt

from trim_pomdp.artifacts import Record

# What of a model's table says how it behaves; where it runs, and in which batches, does not.
_BEHAVIOUR = ("model", "temperature", "top_p", "system_prompt")


class Conditions(Record):
    """What was so when dynamics were measured; None and absent keys are not known.

    Attributes
    ----------
    family : str or None
        Of the lab's problems.
    max_steps : int or None
        Step cap.
    models : dict of str to anything
        What defines the models, by role, as runs keep it in ``run.json``.
    """

    family: str | None = None
    max_steps: PositiveInt | None = None
    models: dict[str, Any] = {}

    @classmethod
    def of_run(cls, config: Mapping[str, Any]) -> Conditions:
        """The conditions of a run, from the configuration that it keeps."""
        caps = config.get("caps") or {}
        return cls(
            family=config.get("family"), max_steps=caps.get("max_steps"), models=dict(config.get("models") or {})
        )

    def __or__(self, other: Conditions) -> Conditions:
        """These conditions, with what only the other ones know."""
        return Conditions(
            family=self.family or other.family,
            max_steps=self.max_steps or other.max_steps,
            models=_merged(other.models, self.models),
        )

    def differences(self, now: Conditions) -> tuple[str, ...]:
        """What is otherwise in other conditions, a phrase each; what one of the two does not know is passed over."""
        found = []
        if self.family and now.family and self.family != now.family:
            found.append(f"problems of the family {self.family}, now {now.family}")
        if self.max_steps and now.max_steps and self.max_steps != now.max_steps:
            found.append(f"solutions of up to {self.max_steps} steps, now {now.max_steps}")
        for role in ("weak", "strong", "prm"):
            before, after = _of_role(self.models, role), _of_role(now.models, role)
            found += [f"{role} {name} {old!r}, now {new!r}" for name, old, new in _changes(before, after)]
        return tuple(found)


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """The lab keeps its roles one level deeper, so that both levels are merged."""
    out = dict(first)
    for key, value in second.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = {**out[key], **value} if both else value
    return out


def _of_role(models: Mapping[str, Any], role: str) -> Mapping[str, Any]:
    """What is known of a role's model; the lab's are known by their files alone."""
    if isinstance(models.get("lab"), Mapping):
        files = models["lab"].get(role)
        return {"files": files} if files else {}
    found = models.get(role)
    return found if isinstance(found, Mapping) else {}


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    same_files = before.get("files") is not None and before.get("files") == after.get("files")
    for name in (*_BEHAVIOUR, "files"):
        if name not in before or name not in after or before[name] == after[name]:
            continue
        if name == "model" and same_files:  # another path to the same files
            continue
        if name == "files" and (None in (before[name], after[name]) or before.get("model") != after.get("model")):
            continue
        yield name, before[name], after[name]
