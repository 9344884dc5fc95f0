"""A template of Helm's syntax rewritten in Jinja2's, tag by tag; the text between stays as it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pvehelm.chart import convert_known as known
from pvehelm.chart.convert_code import ATOM, FILTER, ROOT_NAMES, ByHand, Code, Scope, string, variable
from pvehelm.chart.convert_expression import CHANGING, Expressions
from pvehelm.chart.convert_known import ANYTHING, ROOT, Samples
from pvehelm.chart.convert_layout import Tag, in_block, tags, text, written
from pvehelm.chart.gotpl.syntax import Action, Branch, Call, Name, Pipe, Tree, Variable

_KEY = re.compile(r"\s*(?:- +)*(?:-|[^\s:#{}\[\]\"'][^:{}]*:)[ \t]+")
_INDEXES = frozenset(("_", "i", "j", "n", "idx", "index", "num", "count"))


@dataclass
class _Block:
    """What is open: the tags that close it, and the scopes to go back to."""

    closes: list[str]
    outside: Scope
    #: The scope of the parts of an if, with or range.
    base: Scope
    #: What a definition stands in.
    unit: str = ""


class Template:
    """Converts one file. ``seen`` are the samples that each named template was called with, as far as is known.

    ``dot`` is what the dot is called at first: "_" in texts for tpl.
    """

    def __init__(
        self, source: str, trees: dict[str, Tree], expressions: Expressions, seen: dict[str, Samples], dot: str = "root"
    ) -> None:
        self.source, self.expressions, self.seen = source, expressions, seen
        self.path, self.dot = expressions.unit, dot
        self.nodes: dict[int, Any] = {}
        self.cells: set[int] = set()
        #: Variables whose maps are changed.
        self.own: set[int] = set()
        for tree in trees.values():
            if tree.source == source:
                self._index(tree.root)
                _Cells(self.cells, self.own).walk(tree.root, {"$": (-1, 0)}, 0)
        #: Variables that are asked for anywhere.
        self.read = set(_read([tree.root for tree in trees.values() if tree.source == source]))
        self.blocks: list[_Block] = []
        root = Code(dot, samples=(ROOT,))
        self.scope = Scope(root, root)

    def _index(self, nodes: list[Any]) -> None:
        for node in nodes:
            self.nodes[node.pos] = node
            if isinstance(node, Branch):
                self._index(node.body)
                self._index(node.other or [])

    def converted(self, **layout: bool) -> str:
        """The template in Jinja2; ``layout`` is that of ``convert_layout.tags``."""
        out, at = [], 0
        for tag in tags(self.source, **layout):
            out.append(text(self.source[at : tag.start]))
            self.expressions.scope = self.scope
            out.append(written(self.source, tag, self.parts(tag)))
            at = tag.end
        own = self.prelude() if self.dot == "root" and not layout.get("silent") else []
        return "".join([*own, *out, text(self.source[at:])])

    def prelude(self) -> list[str]:
        """A file whose values are changed has its own."""
        uses, unit = self.expressions.uses, self.path
        if unit in uses.prepared:
            paths = uses.prepared[unit]
            return [f"{{% do include(Template.BasePath ~ {string(path)}, root) %}}\n" for path in paths]
        if unit in uses.replacing:
            return ['{% do set(root, "Values", deepCopy(Values)) %}\n']
        return (
            ['{% set Values = deepCopy(Values) %}{% do set(root, "Values", Values) %}\n']
            if unit in uses.changing
            else []
        )

    # Tags

    def parts(self, tag: Tag) -> list[str]:
        """The statements that a tag becomes."""
        word = tag.word
        if word == "comment":
            inside = tag.tokens[0].value[2:-2].strip().replace("#}", "# }")
            return [f"# {inside}"]
        if word in ("if", "with", "range"):
            return self.opened(self.nodes[tag.tokens[0].pos])
        if word == "else":
            return self.divided(tag)
        if word == "end":
            block = self.blocks.pop()
            self.scope = block.outside
            self.expressions.unit = block.unit or self.expressions.unit
            return block.closes
        if word in ("define", "block"):
            return self.defined(tag)
        if word == "template":
            node = self.nodes[tag.tokens[1].pos]
            return [self.included(node)]
        if word in ("break", "continue"):
            return [word]
        return self.action(self.nodes[tag.tokens[0].pos], tag)

    def whole(self, tag: Tag) -> bool:
        """Whether what a tag prints is all of the value in its line, where nothing is null."""
        start = self.source.rfind("\n", 0, tag.start) + 1
        end = self.source.find("\n", tag.end)
        rest = self.source[tag.end : end if end >= 0 else None]
        if rest.strip() or tag.left or _KEY.fullmatch(self.source[start : tag.start]) is None:
            return False
        return not in_block(self.source, tag.start)

    def action(self, node: Action, tag: Tag) -> list[str]:
        pipe = node.pipe
        if not pipe.names:
            return [f"= {self.expressions.printed(pipe, whole=self.whole(tag))}"]
        name = pipe.names[0]
        changed = self.changed(pipe)
        if changed:
            return [f"do {changed}"]
        code = self.expressions.parsed(self.expressions.value(self.expressions.pipe(pipe), doubtful=True))
        return [f"set {self.assigned(name, code) if pipe.assigns else self.declared(name, code)}"]

    def changed(self, pipe: Pipe) -> str:
        """``$_ := set $map ...``: a change for its own sake."""
        first = pipe.commands[-1].args[0]
        if not isinstance(first, Name) or first.name not in ("set", "unset", "merge", "mergeOverwrite", "fail"):
            return ""
        if pipe.names[0].name.strip("$_") or pipe.names[0].name in self.read:
            return ""
        if len(pipe.commands) == 1 and len(pipe.commands[0].args) > 1 and first.name != "fail":
            target = self.expressions.operand(pipe.commands[0].args[1])
            key = self.expressions.operand(pipe.commands[0].args[2]).samples if len(pipe.commands[0].args) > 2 else ()
            whole = target.text in ("root", "_") and first.name in ("set", "unset")
            if whole and any(one in ROOT_NAMES and one != "Values" for one in key if isinstance(one, str)):
                hint = "give what is changed a name of its own, and hand that on"
                why = ByHand(f"{key[0]} itself is replaced, which Jinja2 charts cannot do", hint)
                return self.expressions.by_hand(pipe, why).text
            elif not whole and (target.shared or target.given):
                # In the next round all who call this have values of their own.
                self.expressions.uses.changing.add(self.expressions.unit)
                if target.shared:
                    what = f"{target.text} is changed: each file has a copy of its own, so others do not see it"
                    self.expressions.note(pipe, what, "")
            elif not whole and target.text in ("root", "_", "Release", "Chart", "Capabilities"):
                hint = f"make a copy with {{% set own = deepCopy({target.text}) %}}, change and use that"
                why = ByHand(f"{target.text} is changed, which Jinja2 charts cannot do", hint)
                return self.expressions.by_hand(pipe, why).text
        return self.expressions.pipe(pipe).text

    def owned(self, name: Variable, code: Code) -> Code:
        """The value of a variable: a copy where it is part of the values and is changed."""
        if name.pos not in self.own or not code.shared or self.expressions.mine:
            return code
        self.expressions.note(name, f"{name.name} is changed: here it is a copy, and the values stay", "")
        return replace(code, text=f"deepCopy({code.text})", level=ATOM, shared=False, below=None)

    def declared(self, name: Variable, code: Code) -> str:
        """``name = value`` for a new variable."""
        code = self.owned(name, code)
        local = self.local(name, code)
        if name.pos in self.cells:
            return f"{local} = namespace(value={code.text})"
        return f"{local} = {code.text}"

    def local(self, name: Variable, code: Code) -> str:
        """Enters a variable into the scope and gives what it is called."""
        taken = {one.text.partition(".")[0] for key, one in self.scope.variables.items() if key != name.name}
        taken |= {one.text.partition(".")[0] for key, one in self._outer().items() if key == name.name}
        taken |= {self.scope.dot.text.partition(".")[0]}
        word = variable(name.name[1:], taken)
        shown = f"{word}.value" if name.pos in self.cells else word
        samples = ANYTHING if name.pos in self.cells else code.samples
        self.scope.variables[name.name] = Code(shown, ATOM, samples, code.shared, code.given)
        return word

    def _outer(self) -> dict[str, Code]:
        return self.blocks[-1].outside.variables if self.blocks else {}

    def assigned(self, name: Variable, code: Code) -> str:
        known_as = self.scope.variables.get(name.name)
        if known_as is None:
            return f"_unknown = {self.expressions.by_hand(name, ByHand(f'{name.name} is not set here')).text}"
        for scope in (self.scope, *(block.outside for block in self.blocks), *(block.base for block in self.blocks)):
            # It may be either from here on.
            if (one := scope.variables.get(name.name)) is not None and one.text == known_as.text:
                samples = known.collected((*one.samples, *code.samples))
                scope.variables[name.name] = replace(one, samples=samples, shared=one.shared or code.shared)
        return f"{known_as.text} = {code.text}"

    def included(self, node: Call) -> str:
        data = self.expressions.value(self.expressions.pipe(node.pipe)) if node.pipe else Code("none", samples=(None,))
        self.expressions.uses.calls.setdefault(node.name, []).extend(data.samples)
        self.expressions.uses.callers.setdefault(node.name, set()).add(self.expressions.unit)
        return f"= include({string(node.name)}, {data.text})"

    def defined(self, tag: Tag) -> list[str]:
        from pvehelm.chart.gotpl.literals import unquote

        name = unquote(tag.tokens[1].value)
        after = []
        if tag.word == "block":
            after = [self.included(self.nodes[tag.tokens[1].pos])]
        self.blocks.append(_Block(["enddefine", *after], self.scope, self.scope, self.expressions.unit))
        self.expressions.uses.homes[name], self.expressions.unit = self.path, name
        data = Code("_", samples=self.seen.get(name, ANYTHING))
        self.scope = Scope(data, data)
        return [f"define {string(name)}"]

    # Branches

    def opened(self, node: Branch) -> list[str]:
        block = _Block([], self.scope, self.scope.inner())
        self.scope = block.base
        self.blocks.append(block)
        self.expressions.scope = self.scope
        return self.loop(node, block) if node.word == "range" else self.condition(node, block, "if")

    def condition(self, node: Branch, block: _Block, word: str) -> list[str]:
        """``if`` and ``with``: the value of a with goes by a name of its own where it is more than a path."""
        expressions, pipe = self.expressions, node.pipe
        code = expressions.pipe(pipe, truth=node.word == "if" and not pipe.names)
        sets: list[str] = []
        dot = None
        simple = not code.deep and re.fullmatch(r"[A-Za-z_][\w.]*", code.text) is not None
        if pipe.names and (pipe.assigns or not simple or pipe.names[0].pos in (self.cells | self.own)):
            code = expressions.value(code, doubtful=True)
            line = self.assigned(pipe.names[0], code) if pipe.assigns else self.declared(pipe.names[0], code)
            sets.append(f"set {line}")
            code = self.scope.variables.get(pipe.names[0].name, code)
        elif pipe.names:
            self.scope.variables[pipe.names[0].name] = code
        elif node.word == "with" and not simple:
            code = expressions.value(code, doubtful=True)
            word_ = variable("it", self._taken())
            sets.append(f"set {word_} = {code.text}")
            code = Code(word_, ATOM, code.samples, code.shared, code.given)
        condition = expressions.condition(code)
        block.base = self.scope
        inside = replace(code, samples=known.given(code.samples))
        if node.word == "with":
            dot = inside
        self.scope = self.scope.inner(dot)
        if pipe.names:
            self.scope.variables[pipe.names[0].name] = inside
        if sets and word == "elif":
            block.closes.insert(0, "endif")
            return ["else", *sets, f"if {condition.text}"]
        if word == "if":
            block.closes.append("endif")
        return [*sets, f"{word} {condition.text}"]

    def _taken(self) -> set[str]:
        names = {one.text.partition(".")[0] for one in self.scope.variables.values()}
        return names | {self.scope.dot.text.partition(".")[0]}

    def divided(self, tag: Tag) -> list[str]:
        block = self.blocks[-1]
        self.scope = block.base.inner()
        self.expressions.scope = self.scope
        if len(tag.tokens) > 1 and tag.tokens[1].kind in ("if", "with"):
            node = self.nodes[tag.tokens[1].pos]
            return self.condition(node, block, "elif")
        return ["else"]

    def loop(self, node: Branch, block: _Block) -> list[str]:
        pipe = node.pipe
        if pipe.assigns:
            code = self.expressions.by_hand(pipe, ByHand("a loop sets variables that were there before"))
            block.closes.append("endfor")
            return [f"for item in {code.text}"]
        code = self.expressions.pipe(pipe)
        kind = known.kind(code.samples)
        two = len(pipe.names) == 2
        if not kind:
            kind = "map" if two and pipe.names[0].name[1:] not in _INDEXES else "list"
            what = f"{code.text} is taken for a {kind}"
            self.expressions.note(pipe, what, "for key, value in X | dictsort(true) is for maps, loop.index0 for lists")
        if known.mixed(code.samples) and not two:
            return self.mixed_loop(node, block, code)
        over = self.over(pipe, code, kind)
        samples = known.elements(code.samples) if kind in ("map", "list") else ANYTHING
        element = self.element(node, code, samples)
        block.closes.append("endfor")
        element = replace(element, shared=code.shared, given=code.given)
        copied = self.owned(pipe.names[-1], element) if pipe.names else element
        copies = [f"set {element.text} = {copied.text}"] if copied is not element else []
        self.scope = self.scope.inner(replace(element, shared=copied.shared))
        if pipe.names:
            self.scope.variables[pipe.names[-1].name] = self.scope.dot
        if kind == "map":
            key = self.local(pipe.names[0], Code("", samples=("",))) if two and pipe.names[0].name != "$_" else "_key"
            over = f"{code_level(over, code)} | dictsort(true)"
            return [f"for {key}, {element.text} in {over}", *copies]
        if not two:
            return [f"for {element.text} in {over}", *copies]
        index = pipe.names[0]
        if not _used(node.body, index.name):
            return [f"for {element.text} in {over}", *copies]
        if any(isinstance(inner, Branch) and inner.word == "range" for inner in _all(node.body)):
            word = self.local(index, Code("", samples=(0,)))
            return [f"for {element.text} in {over}", f"set {word} = loop.index0", *copies]
        self.scope.variables[index.name] = Code("loop.index0", samples=(0,))
        return [f"for {element.text} in {over}", *copies]

    def mixed_loop(self, node: Branch, block: _Block, code: Code) -> list[str]:
        """Over what is a map with some values and a list with others."""
        block.closes.append("endfor")
        element = self.element(node, code, known.elements(code.samples))
        every = variable("all_of", self._taken())
        self.scope = self.scope.inner(replace(element, shared=code.shared, given=code.given))
        if node.pipe.names:
            self.scope.variables[node.pipe.names[-1].name] = self.scope.dot
        value = self.expressions.value(code).text
        over = f'(({every} | dictsort(true) | map("last")) if {every} is mapping else ({every} or []))'
        return [f"set {every} = {value}", f"for {element.text} in {over}"]

    def over(self, pipe: Pipe, code: Code, kind: str) -> str:
        """What a loop runs over, nothing where it is missing."""
        last = pipe.commands[-1].args[0]
        if isinstance(last, Name) and last.name == "until":
            count = code.text
            if count.startswith("until(") and count.endswith(")"):
                return "range(" + count[len("until(") :]
            if count.endswith("| until"):
                return f"range({count.removesuffix('| until').strip()})"
        if kind == "number":
            return f"range({code.text})"
        if code.lacking is not False or code.absent:
            return f"{code.at(FILTER)} | default({'{}' if kind == 'map' else '[]'})"
        return code.at(FILTER)

    def element(self, node: Branch, code: Code, samples: Samples) -> Code:
        """The name of a loop's element: its variable's, or the singular of what the loop runs over."""
        names = node.pipe.names
        if names and names[-1].name.strip("$_"):
            word = variable(names[-1].name[1:], self._taken())
        else:
            last = code.text.rpartition(".")[2] if code.below is not None else ""
            word = variable(_singular(last) or ("i" if code.text.startswith("until") else "item_"), self._taken())
            word = "item" if word == "item_" else word
        return Code(word, ATOM, samples)


def code_level(over: str, code: Code) -> str:
    return over if code.level >= FILTER or over.endswith("default({})") else f"({over})"


def _singular(word: str) -> str:
    if not word.isidentifier() or len(word) < 4:
        return ""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("s", "")):
        if word.endswith(ending) and (ending == "sses" or not word.endswith("ss")):
            return word[: -len(ending)] + instead
    return ""


def _all(nodes: list[Any]) -> Iterator[Any]:
    for node in nodes:
        yield node
        if isinstance(node, Branch):
            yield from _all(node.body)
            yield from _all(node.other or [])


def _used(nodes: list[Any], name: str) -> bool:
    """Whether a variable is named in any of these nodes."""
    return any(_mentions(node, name) for node in nodes)


def _mentions(node: Any, name: str) -> bool:
    if isinstance(node, Variable):
        return node.name == name
    if isinstance(node, (list, tuple)):
        return any(_mentions(one, name) for one in node)
    slots = getattr(type(node), "__slots__", ())
    return any(_mentions(getattr(node, slot), name) for slot in slots if slot not in ("pos", "source", "value"))


def _read(node: Any) -> Iterator[str]:
    """The variables that are asked for."""
    if isinstance(node, Variable):
        yield node.name
    elif isinstance(node, (list, tuple)):
        for one in node:
            yield from _read(one)
    else:
        for slot in getattr(type(node), "__slots__", ()):
            if slot not in ("pos", "source", "value", "names"):
                yield from _read(getattr(node, slot))


class _Cells:
    """Finds variables that are set anew within a loop that they were made outside of: Jinja2 asks for a namespace.

    ``own`` are those whose maps are changed.
    """

    def __init__(self, cells: set[int], own: set[int]) -> None:
        self.cells, self.own = cells, own

    def walk(self, nodes: list[Any], names: dict[str, tuple[int, int]], loops: int) -> None:
        """``names``: where each variable was made, and in how many loops."""
        for node in nodes:
            if isinstance(node, Action):
                self.pipe(node.pipe, names, loops)
            elif isinstance(node, Branch):
                inner = dict(names)
                self.pipe(node.pipe, inner, loops)
                deeper = loops + (node.word == "range")
                self.walk(node.body, dict(inner), deeper)
                self.walk(node.other or [], dict(inner), loops)

    def pipe(self, pipe: Pipe, names: dict[str, tuple[int, int]], loops: int) -> None:
        for command in pipe.commands:
            if len(command.args) > 1 and isinstance(command.args[0], Name) and command.args[0].name in CHANGING:
                target = command.args[1]
                if isinstance(target, Variable) and target.name in names:
                    self.own.add(names[target.name][0])
        for name in pipe.names:
            if not pipe.assigns:
                names[name.name] = (name.pos, loops)
            elif name.name in names and names[name.name][1] < loops:
                self.cells.add(names[name.name][0])
