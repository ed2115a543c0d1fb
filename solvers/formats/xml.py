"""XML as these formats use it, and no more of it: elements with their line, no document types, no entities.

Without a document type there are no entities, so none can expand or reach outside of the file. Depth and number of
elements are bounded.
"""

from dataclasses import dataclass
from xml.parsers import expat

from solvers.errors import PomdpFormatError
from solvers.formats.text import failed, short, shown

_DEEPEST = 500
_MOST = 5_000_000


@dataclass(slots=True)
class Element:
    """One element: its name, attributes, text before its first child, children, and the line on which it begins."""

    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: "list[Element] | tuple[()]" = ()


class Document:
    """A parsed file.

    Parameters
    ----------
    path : str
        For messages.
    data : bytes
        Content of the file.

    Raises
    ------
    PomdpFormatError
        If it is not well-formed XML, declares a document type or entities, or is nested too deeply.
    """

    root: Element

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self._parser = expat.ParserCreate()
        self._count = 0
        self._open: list[Element] = []
        self._pieces: list[str] = []
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._pieces.append
        self._parser.StartDoctypeDeclHandler = self._refuse_document_type
        self._parser.EntityDeclHandler = self._refuse_document_type  # not reached; a second lock
        try:
            self._parser.Parse(data, True)
        except expat.ExpatError as error:
            reason = str(error).partition(":")[0]
            message = f"this is not well-formed XML: {reason}, at column {error.offset + 1}"
            raise failed(path, error.lineno, message) from None
        except PomdpFormatError:
            raise
        except (LookupError, ValueError) as error:
            raise failed(path, 1, f"the encoding that the file declares is not read: {error}") from None

    def fail(self, element: Element, message: str) -> PomdpFormatError:
        """Return the error to raise about an element."""
        return failed(self.path, element.line, message)

    def child(self, parent: Element, tag: str) -> Element:
        """Only child of this name.

        Raises
        ------
        PomdpFormatError
            If there is none, or several.
        """
        found = [child for child in parent.children if child.tag == tag]
        if not found:
            raise self.fail(parent, f"<{parent.tag}> needs a <{tag}>")
        if len(found) > 1:
            raise self.fail(found[1], f"a second <{tag}> in one <{parent.tag}>")
        return found[0]

    def attribute(self, element: Element, name: str) -> str:
        """Value of an attribute, without white space around it.

        Raises
        ------
        PomdpFormatError
            If there is none.
        """
        value = element.attributes.get(name, "").strip()
        if not value:
            raise self.fail(element, f"<{short(element.tag)}> needs an attribute {name!r}")
        return value

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag, attributes, self._parser.CurrentLineNumber)
        if len(self._open) >= _DEEPEST:
            raise self.fail(element, f"elements are nested more than {_DEEPEST} deep")
        self._count += 1
        if self._count > _MOST:
            raise self.fail(element, f"the file has more than {_MOST} elements, the most that is read")
        if self._open:
            self._close_text()
            parent = self._open[-1]
            if parent.children:
                parent.children.append(element)
            else:  # most elements have none: big files are held with half as many objects so
                parent.children = [element]
        else:
            self.root = element
        self._open.append(element)
        self._pieces.clear()

    def _end(self, tag: str) -> None:
        self._close_text()
        self._open.pop()

    def _close_text(self) -> None:
        if self._pieces and not self._open[-1].children:
            self._open[-1].text = "".join(self._pieces)
        self._pieces.clear()

    def _refuse_document_type(self, name: str, *_: object) -> None:
        raise failed(
            self.path,
            self._parser.CurrentLineNumber,
            f"a document type or entity, {shown(name)}, is declared; these formats need none, and none is read",
        )
