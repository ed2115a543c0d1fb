"""Artifacts: the JSON files between the stages, validated on reading, written whole or not at all.

Every artifact is a frozen pydantic model with a ``kind``, a ``schema_version``, the version of the package
that wrote it and the ``provenance`` of what it was fitted on (file name and SHA-256). Unknown keys are refused.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from trim_pomdp.display import Shown
from trim_pomdp.errors import InputError
from trim_pomdp.files import read_document

SCHEMA_VERSION = 1

Model = TypeVar("Model", bound=BaseModel)


def package_version() -> str:
    """Version of the installed package (``"unknown"`` in a bare source tree)."""
    try:
        return metadata.version("trim-pomdp")
    except metadata.PackageNotFoundError:
        return "unknown"


class Record(BaseModel):
    """A validated, immutable record that refuses unknown keys, NaN and infinities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with changes, which are not validated; properties cached on the original are computed afresh."""
        copy = super().model_copy(update=update, deep=deep)
        for name in set(copy.__dict__) - set(type(self).model_fields):
            del copy.__dict__[name]
        return copy

    def __eq__(self, other: object) -> bool:
        """Same class and same fields; properties cached on either, arrays mostly, do not enter."""
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in type(self).model_fields)


class Provenance(Record):
    """A file that an artifact was made from."""

    file: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Name and SHA-256 of a file; the folder is left out, so that artifacts carry no private paths."""
        return cls(file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


class Artifact(Shown, Record):
    """Base of the files that go from one stage to the next."""

    kind: str
    schema_version: int = SCHEMA_VERSION
    package_version: str = Field(default_factory=package_version)
    provenance: tuple[Provenance, ...] = ()

    @field_validator("schema_version", mode="before")
    @classmethod
    def _version_is_known(cls, version: object) -> object:
        """Also of the artifacts inside an artifact, which `from_mapping` does not look at."""
        if type(version) is not int or version != SCHEMA_VERSION:
            raise ValueError(f"is {version!r}; this version of the package reads {SCHEMA_VERSION}")
        return version

    def facts(self) -> Mapping[str, object]:
        """See `Shown`: the name, where there is one."""
        return {"name": getattr(self, "name", None), "written by": f"trim-pomdp {self.package_version}"}

    def save(self, path: str | Path) -> Path:
        """Write the artifact as JSON; an interrupted write leaves no half a file behind."""
        return write_text(path, self.model_dump_json(indent=1) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read and validate an artifact of this class.

        Raises
        ------
        InputError
            If the file is absent, is not JSON, is of another kind or version, or a field is wrong.
        """
        return cls.from_mapping(read_json(path), source=str(path))

    @classmethod
    def from_mapping(cls, document: Mapping[str, Any], *, source: str) -> Self:
        """Validate a parsed document; `source` names it in errors."""
        kind = cls.model_fields["kind"].default
        if document.get("kind") != kind:
            raise InputError(f"{source}: kind is {document.get('kind')!r}; expected {kind!r}")
        version = document.get("schema_version")
        if type(version) is not int or version != SCHEMA_VERSION:
            raise InputError(
                f"{source}: schema_version is {version!r}; this version of the package reads {SCHEMA_VERSION}"
            )
        return validate(cls, document, source=source)


def validate(model: type[Model], document: object, *, source: str) -> Model:
    """Validate `document` as `model`, with pydantic's findings told in one line.

    Raises
    ------
    InputError
        Naming the source, the first wrong field, and what is wrong with it.
    """
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InputError(f"{source}: {_first_finding(error, model)}") from None


def _first_finding(error: ValidationError, model: type[BaseModel]) -> str:
    findings = error.errors(include_url=False)
    # A key that nobody knows says more than the one that is therefore missing.
    finding = next((item for item in findings if item["type"] == "extra_forbidden"), findings[0])
    where = ".".join(str(part) for part in finding["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if finding["type"] == "extra_forbidden":
        known = sorted({name for item in _models_at(model, finding["loc"][:-1]) for name in item.model_fields})
        near = difflib.get_close_matches(str(finding["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        return f"unknown key {where!r}; {hint}{more}"
    if finding["type"] == "missing":
        return f"missing {where!r}{more}"
    problem = finding["msg"].removeprefix("Value error, ")
    if finding["type"] != "value_error":  # our own findings say what was given
        where = where or "document"
        shown = repr(finding.get("input"))
        problem += f" (got {shown if len(shown) <= 60 else shown[:57] + '...'})"
    return f"{where}: {problem}{more}" if where else f"{problem}{more}"


def _models_at(model: type[BaseModel], location: tuple[int | str, ...]) -> set[type[BaseModel]]:
    """The models that can stand at a location (field names, indices, keys and union tags) inside `model`."""
    models = {model}
    for part in location:
        inner: set[type[BaseModel]] = set()
        for item in models:
            if part in item.model_fields:
                inner |= _models_in(item.model_fields[str(part)].annotation)
        models = inner or models
    return models


def _models_in(annotation: object) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for argument in get_args(annotation) for model in _models_in(argument)}


def read_json(path: str | Path) -> dict[str, Any]:
    """Parse a JSON file that holds one object.

    Raises
    ------
    InputError
        If the file cannot be read, is cut off or malformed, or holds something else.
    """
    document = read_document(path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: holds {type(document).__name__}; expected one JSON object")
    return document


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file whole or not at all: a temporary file beside it, then a rename."""
    return write_bytes(path, text.encode())


def require_writable(path: str | Path) -> None:
    """Refuse, before long work, a path that cannot be written to afterwards.

    Raises
    ------
    InputError
        If the folder is absent or may not be written to, or the path is itself a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file to write")
    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written (there is no folder {path.parent}; make it first)")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: cannot be written (no permission to write in {path.parent})")


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file whole or not at all: a temporary file beside it, then a rename.

    A link is followed, and stays; what is no regular file (``/dev/stdout``) is written to as it is.

    Raises
    ------
    InputError
        If the folder is absent or cannot be written to.
    """
    path = Path(path)
    require_writable(path)
    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            target.write_bytes(content)
            return path
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise InputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; an artifact gets the mode of any other new file.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(target)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
        raise
    return path


def hashes(paths: Iterable[Path]) -> tuple[Provenance, ...]:
    """Provenance of several files, in order."""
    return tuple(Provenance.of(path) for path in paths)
