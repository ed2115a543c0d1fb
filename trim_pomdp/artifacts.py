"""Artifacts: the JSON files between the stages, validated on reading, written whole or not at all.

Every artifact is a frozen pydantic model with a ``kind``, a ``schema_version``, the version of the package
that wrote it and the ``provenance`` of what it was fitted on (file name and SHA-256). Unknown keys are refused.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trim_pomdp.errors import InputError

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


class Provenance(Record):
    """A file that an artifact was made from."""

    file: str
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Name and SHA-256 of a file; the folder is left out, so that artifacts carry no private paths."""
        return cls(file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


class Artifact(Record):
    """Base of the files that go from one stage to the next."""

    kind: str
    schema_version: int = SCHEMA_VERSION
    package_version: str = Field(default_factory=package_version)
    provenance: tuple[Provenance, ...] = ()

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
        if version != SCHEMA_VERSION:
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
    finding = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in finding["loc"]) or "document"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if finding["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(finding["loc"][-1]), model.model_fields, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"unknown key {where!r}{hint}{more}"
    if finding["type"] == "missing":
        return f"missing {where!r}{more}"
    shown = repr(finding.get("input"))
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return f"{where}: {finding['msg']} (got {shown}){more}"


def read_json(path: str | Path) -> dict[str, Any]:
    """Parse a JSON file that holds one object.

    Raises
    ------
    InputError
        If the file cannot be read, is cut off or malformed, or holds something else.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a JSON document, or cut off ({error})") from None
    if not isinstance(document, dict):
        raise InputError(f"{path}: holds {type(document).__name__}; expected one JSON object")
    return document


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file whole or not at all: a temporary file beside it, then a rename."""
    return write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write a file whole or not at all: a temporary file beside it, then a rename.

    Raises
    ------
    InputError
        If the folder is absent or cannot be written to.
    """
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp makes files private; an artifact gets the mode of any other new file.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from None
        raise
    return path


def hashes(paths: Iterable[Path]) -> tuple[Provenance, ...]:
    """Provenance of several files, in order."""
    return tuple(Provenance.of(path) for path in paths)
