"""APPL's .policy files: XML with an alpha-vector in each element, for a value of the observed factor each."""

import re
from os import PathLike
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from solvers.formats.alpha import VectorSet, numbers
from solvers.formats.text import MAX_ACTIONS, MAX_CELLS, MAX_PLACES, index_of, read_bytes, short, shown, write_texts
from solvers.formats.xml import Document, Element

_HEAD = 1 << 16  # bytes among which the attribute stands
_MODEL = re.compile(rb'(<Policy\b[^<"]*(?:"[^"]*"[^<"]*)*?\bmodel\s*=\s*)"[^"]*"')


def read_appl_policy(path: str | PathLike[str]) -> VectorSet:
    """Read alpha-vectors from a .policy file of APPL (`pomdpsol`), dense or sparse.

    Vectors of a model without an observed factor all have `obsValue` 0; `observed` is None then. APPL itself writes
    six digits.

    Raises
    ------
    PomdpFormatError
        If the file is something else; the message names file, line and what is wrong.
    OSError
        If the file cannot be read.
    """
    # The attribute `model` holds the path of a file as it is, signs that XML forbids there and all.
    data = read_bytes(path)
    head, rest = data[:_HEAD], data[_HEAD:]
    document = Document(str(path), _MODEL.sub(rb'\1""', head, count=1) + rest)
    root = document.root
    if root.tag != "Policy":
        raise document.fail(root, f"expected <Policy>, found <{short(root.tag)}>")
    section = document.child(root, "AlphaVector")
    length = _whole(document, section, "vectorLength", MAX_PLACES)
    values = _whole(document, section, "numObsValue", MAX_PLACES) if "numObsValue" in section.attributes else 1
    count = _whole(document, section, "numVectors", MAX_CELLS) if "numVectors" in section.attributes else None
    if count is not None and count != len(section.children):
        raise document.fail(section, f"numVectors is {count}, but there are {len(section.children)} vectors")
    if not section.children or length == 0 or values == 0:
        raise document.fail(section, "at least one vector with at least one number is needed")
    if length * len(section.children) > MAX_CELLS:
        raise document.fail(section, f"the vectors have more than {MAX_CELLS} numbers, the most that is read")
    vectors = np.zeros((len(section.children), length))
    actions, observed = np.zeros(len(vectors), np.int64), np.zeros(len(vectors), np.int64)
    for i, element in enumerate(section.children):
        actions[i] = _whole(document, element, "action", MAX_ACTIONS)
        observed[i] = _whole(document, element, "obsValue", values - 1)
        _read_vector(document, element, vectors[i])
    return VectorSet(vectors, actions, observed if values > 1 else None)


def write_appl_policy(vectors: VectorSet, path: str | PathLike[str], *, model: str = "") -> None:
    """Write alpha-vectors as a .policy file, with all digits of each number.

    Parameters
    ----------
    vectors : VectorSet
    path : str or path
    model : str
        Path of the model's file, for people: nothing reads it.
    """
    observed = vectors.observed
    values = 1 if observed is None else int(observed.max()) + 1
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<Policy version="0.1" type="value" model={quoteattr(model)}>',
        f'<AlphaVector vectorLength="{vectors.vectors.shape[1]}" numObsValue="{values}" numVectors="{len(vectors)}">',
    ]
    for i, (action, vector) in enumerate(zip(vectors.actions.tolist(), vectors.vectors.tolist(), strict=True)):
        value = 0 if observed is None else int(observed[i])
        # The shortest form that is the number, with an exponent if need be: APPL reads no more than 200 signs.
        lines.append(f'<Vector action="{action}" obsValue="{value}">{" ".join(map(repr, vector))} </Vector>')
    write_texts({path: "\n".join([*lines, "</AlphaVector>", "</Policy>", ""])}, encoding="utf-8")


def _read_vector(document: Document, element: Element, vector: NDArray[np.float64]) -> None:
    """Read one element into an array of zeros."""
    if element.tag == "Vector":
        words = element.text.split()
        if len(words) != vector.size:
            raise document.fail(element, f"a vector has {len(words)} numbers, but vectorLength is {vector.size}")
        vector[:] = numbers(words, document.path, element.line)
    elif element.tag == "SparseVector":
        for entry in element.children:
            words = entry.text.split()
            place = index_of(words[0]) if len(words) == 2 and entry.tag == "Entry" else None
            if place is None or place >= vector.size:
                raise document.fail(entry, f"expected <Entry>, with a place below {vector.size} and a number")
            vector[place] = numbers(words[1:], document.path, entry.line)[0]
    else:
        raise document.fail(element, f"expected <Vector> or <SparseVector>, found <{short(element.tag)}>")


def _whole(document: Document, element: Element, name: str, most: int) -> int:
    word = document.attribute(element, name)
    value = index_of(word)
    if value is None or value > most:
        raise document.fail(element, f"{name} must be a whole number from 0 to {most}, found {shown(word)}")
    return value
