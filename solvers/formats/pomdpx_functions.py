"""Functions of .pomdpx files, tables (`TBL`) and decision diagrams (`DD`), as rules over their variables' values."""

from dataclasses import dataclass
from math import prod

import numpy as np

from solvers.formats.text import LARGEST, MAX_CELLS, SIGNED, TOLERANCE, index_of, short, shown
from solvers.formats.xml import Document, Element
from solvers.rules import Rules

_MOST_STEPS = 2_000_000  # through a diagram: templates may make a small file's paths very many


@dataclass(frozen=True)
class Variable:
    """A variable at one time: its name there, what it is, its values, and its name one step before, if it has one."""

    name: str
    kind: str  # "before", "after", "action" or "observation"
    values: tuple[str, ...]
    before: str = ""


class Function:
    """One `CondProb` or `Func`: P(variables | parents), or a reward of parents.

    Parameters
    ----------
    document, element
        Where it stands.
    parents, variables : tuple of Variable
        Axes of its rules, in this order; no variables: a reward.
    """

    def __init__(
        self, document: Document, element: Element, parents: tuple[Variable, ...], variables: tuple[Variable, ...]
    ) -> None:
        self.document = document
        self.parents = parents
        self.variables = variables
        self.axes = parents + variables
        self.rules = Rules([len(variable.values) for variable in self.axes])
        self._axis = {variable.name: i for i, variable in enumerate(self.axes)}
        self._places = [{value: i for i, value in enumerate(variable.values)} for variable in self.axes]
        parameter = document.child(element, "Parameter")
        form = parameter.attributes.get("type", "TBL").strip()
        if form == "TBL":
            self._read_table(parameter)
        elif form == "DD":
            self._read_diagram(parameter)
        else:
            raise document.fail(parameter, f"a parameter's type must be 'TBL' or 'DD', found {shown(form)}")

    def _place(self, element: Element, axis: int, word: str) -> int:
        found = self._places[axis].get(word)
        if found is None:
            found = index_of(word)
        if found is None or found >= len(self._places[axis]):
            variable = self.axes[axis]
            raise self.document.fail(
                element, f"{shown(word)} is no value of {shown(variable.name)}, which has {len(variable.values)}"
            )
        return found

    def _numbers(self, element: Element) -> list[float]:
        values = []
        for word in element.text.split():
            if not SIGNED.fullmatch(word):
                raise self.document.fail(element, f"expected a number, found {shown(word)}")
            value = float(word)
            if abs(value) > LARGEST:
                raise self.document.fail(element, f"{short(word)} is too large a number")
            if self.variables and not 0.0 <= value <= 1.0 + TOLERANCE:
                raise self.document.fail(element, f"a probability lies between 0 and 1, found {short(word)}")
            values.append(value)
        return values

    # Tables

    def _read_table(self, parameter: Element) -> None:
        for entry in parameter.children:
            if entry.tag != "Entry":
                raise self.document.fail(entry, f"a table is made of <Entry>, found <{short(entry.tag)}>")
            self._read_entry(entry)

    def _read_entry(self, entry: Element) -> None:
        fail = self.document.fail
        instance = self.document.child(entry, "Instance")
        words = instance.text.split()
        if words[:1] == ["null"]:
            del words[0]
        if not self.variables and len(words) == len(self.axes) + 1 and words[-1] in ("*", "-"):
            del words[-1]  # a reward has one value
        if len(words) != len(self.axes):
            names = " ".join(variable.name for variable in self.axes)
            raise fail(instance, f"an instance has a word for each of {names}; found {len(words)} words")
        where = [None if word in ("*", "-") else self._place(instance, i, word) for i, word in enumerate(words)]
        open_axes = [i for i, word in enumerate(words) if word == "-"]
        table = self.document.child(entry, "ProbTable" if self.variables else "ValueTable")
        shape = tuple(self.rules.shape[i] for i in open_axes)
        word = table.text.strip()
        if word == "uniform" and self.variables:
            free = [i for i in open_axes if i >= len(self.parents)]
            if not free:
                raise fail(table, "'uniform' needs an instance whose variable is '-'")
            self.rules.add(tuple(where), 1.0 / prod(self.rules.shape[i] for i in free))
        elif word == "identity" and self.variables:
            if len(shape) != 2 or shape[0] != shape[1]:
                raise fail(table, f"'identity' needs an instance with two '-' of one size, found {list(shape)}")
            self.rules.add(tuple(where), 0.0)
            diagonal = np.arange(shape[0])
            self.rules.add_cells(
                [diagonal if i in open_axes else place for i, place in enumerate(where)], np.ones(shape[0])
            )
        else:
            values = self._numbers(table)
            wanted = prod(shape)
            if len(values) != wanted:
                raise fail(
                    table, f"expected {wanted} numbers, one for each value that '-' stands for, found {len(values)}"
                )
            if open_axes:
                self.rules.add_table(tuple(where), open_axes, np.array(values).reshape(shape))
            else:
                self.rules.add(tuple(where), values[0])

    # Diagrams

    def _read_diagram(self, parameter: Element) -> None:
        fail = self.document.fail
        templates: dict[str, Element] = {}
        for element in parameter.children:
            if element.tag == "SubDAGTemplate":
                name = self.document.attribute(element, "id")
                if name in templates:
                    raise fail(element, f"a second template {shown(name)}")
                templates[name] = element
        start: tuple[int | None, ...] = (None,) * len(self.axes)
        paths = [(self.document.child(parameter, "DAG"), start, 0)]
        steps = 0
        while paths:
            parent, where, depth = paths.pop()
            steps += 1
            if steps > _MOST_STEPS or len(self.rules) > MAX_CELLS:
                raise fail(parent, f"the diagram has more than {_MOST_STEPS} branches")
            if len(parent.children) != 1:
                raise fail(
                    parent, f"<{parent.tag}> needs one <Node>, <Terminal> or <SubDAG>, found {len(parent.children)}"
                )
            element = parent.children[0]
            if element.tag == "Terminal":
                values = self._numbers(element)
                if len(values) != 1:
                    raise fail(element, f"<Terminal> needs one number, found {len(values)}")
                self.rules.add(where, values[0])
            elif element.tag == "Node":
                paths += ((edge, there, depth) for edge, there in self._branches(element, where))
            elif element.tag == "SubDAG" and self.document.attribute(element, "type") == "template":
                name = self.document.attribute(element, "idref")
                if name not in templates:
                    raise fail(element, f"there is no template {shown(name)}")
                if depth >= len(templates):
                    raise fail(element, f"template {shown(name)} refers to itself")
                paths.append((templates[name], where, depth + 1))
            elif element.tag == "SubDAG":
                self._read_subdiagram(element, where)
            else:
                raise fail(element, f"expected <Node>, <Terminal> or <SubDAG>, found <{short(element.tag)}>")

    def _variable(self, element: Element) -> int:
        """Axis of the variable that an element names."""
        name = self.document.attribute(element, "var")
        if name not in self._axis:
            raise self.document.fail(element, f"{shown(name)} is neither the variable of this function nor a parent")
        return self._axis[name]

    def _branches(self, node: Element, where: tuple[int | None, ...]) -> list[tuple[Element, tuple[int | None, ...]]]:
        axis = self._variable(node)
        branches, seen = [], set()
        for edge in node.children:
            if edge.tag != "Edge":
                raise self.document.fail(edge, f"<Node> is made of <Edge>, found <{short(edge.tag)}>")
            place = self._place(edge, axis, self.document.attribute(edge, "val"))
            if place in seen:
                raise self.document.fail(edge, f"a second edge for one value of {shown(self.axes[axis].name)}")
            seen.add(place)
            if where[axis] in (None, place):
                branches.append((edge, (*where[:axis], place, *where[axis + 1 :])))
        return branches

    def _read_subdiagram(self, element: Element, where: tuple[int | None, ...]) -> None:
        """`deterministic`: one value; `persistent`: the value of one step before; `uniform`: all alike."""
        form = self.document.attribute(element, "type")
        axis = self._variable(element)
        if not self.variables:
            raise self.document.fail(element, f"a reward cannot be {shown(form)}")
        here = where[axis]
        if form == "deterministic":
            place = self._place(element, axis, self.document.attribute(element, "val"))
            if here in (None, place):
                self.rules.add((*where[:axis], place, *where[axis + 1 :]), 1.0)
        elif form == "uniform":
            self.rules.add(where, 1.0 / self.rules.shape[axis])
        elif form == "persistent":
            before = self._axis.get(self.axes[axis].before)
            if before is None:
                raise self.document.fail(
                    element, f"'persistent' needs {shown(self.axes[axis].before)} among the parents"
                )
            for place in range(self.rules.shape[axis]):
                if where[axis] in (None, place) and where[before] in (None, place):
                    self.rules.add(tuple(place if i in (axis, before) else w for i, w in enumerate(where)), 1.0)
        else:
            raise self.document.fail(
                element,
                f"a SubDAG's type is 'deterministic', 'persistent', 'uniform' or 'template', found {shown(form)}",
            )
