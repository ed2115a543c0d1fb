"""What is in a folder, as a short hash: what defines a run by the models that it asks."""

from __future__ import annotations

import hashlib
from pathlib import Path

# Files up to this size are part of a fingerprint by content, larger ones by name and size.
_HASHED_BYTES = 1 << 26


def fingerprint(folder: Path) -> str:
    """Short hash of the files in a model's folder: small ones by content, large ones by name and size."""
    digest = hashlib.sha256()
    for path in sorted(item for item in folder.iterdir() if item.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        if size <= _HASHED_BYTES:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
