"""The compiler: a template's tree becomes the source of one Python function.

``def template(R, d0, a)`` prints by calling ``a`` with each piece; ``R`` is the Run, ``d0`` the data. Variables and the
dot are Python locals, maps are read in place, the truth of Go is that of Python, and ``and``, ``or``, ``not``,
``default``, ``dict`` and their like need no call. Whatever can fail stands on a line of its own, so the line of a
traceback tells the node: ``located`` generates the source again, for a failed template is rare, and keeps no table.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any, NamedTuple

from pvehelm.chart.gotpl.syntax import (
    Action,
    Branch,
    Call,
    Chain,
    Command,
    Constant,
    Dot,
    Field,
    Jump,
    Name,
    Nil,
    Pipe,
    Text,
    Tree,
    Variable,
)

#: Functions of the engine itself: what they are called in generated code.
OWN = {
    "include": "R.include",
    "tpl": "R.tpl",
    "required": "R.required",
    "fail": "R.fail",
    "lookup": "R.lookup",
    "call": "call",
}
#: Names that are compiled in place or are the engine's, beside the library's.
NAMES = frozenset((*OWN, "and", "or"))

#: What can be asked of ``.Values`` beside its keys.
VALUES_METHODS = frozenset(("AsMap", "PathValue", "Table", "YAML"))

#: Functions whose result is always a string.
_STRINGS = frozenset(
    {
        *("include", "tpl", "quote", "squote", "indent", "nindent", "toYaml", "toJson", "print", "println", "printf"),
        *("trunc", "trimSuffix", "trimPrefix", "trim", "trimAll", "replace", "lower", "upper", "title", "join"),
        *("toString", "b64enc", "sha256sum"),
    }
)
_DEEPEST = 90


class Expression(NamedTuple):
    """Python for a value. ``plain``: cannot fail nor change anything; ``string``: is always a str."""

    code: str
    plain: bool = False
    string: bool = False


class Spot(NamedTuple):
    """What a line of generated code stands for: the node, and the function that is called there, if any."""

    node: Any
    function: str = ""


class CompileError(Exception):
    """A tree that Python cannot compile: nested too deeply."""


def compiled(
    tree: Tree, parameters: Mapping[str, tuple[str, ...]], *, strict: bool, texts: bool
) -> tuple[bytes, list[Any]]:
    """The marshalled code of a tree, and, where ``texts`` are taken out of it, those as [text, position].

    ``parameters`` are the Go types of each function's parameters; ``strict`` makes missing keys errors.
    """
    made = _Compiler(tree, parameters, strict, texts)
    source = _MARK.sub("\n", made.source())
    try:
        module = compile(source, tree.file, "exec", dont_inherit=True, optimize=2)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise CompileError(f'template "{tree.name}" is nested too deeply') from error
    code = next(part for part in module.co_consts if isinstance(part, CodeType))
    return marshal.dumps(code.replace(co_name=tree.name, co_qualname=tree.name)), made.taken


def located(tree: Tree, parameters: Mapping[str, tuple[str, ...]], line: int, *, strict: bool, texts: bool) -> Spot:
    """What line ``line`` of a tree's generated code stands for."""
    made = _Compiler(tree, parameters, strict, texts)
    found, at = Spot(tree), 1
    for index, part in enumerate(re.split("\0", made.source())):
        if index:
            at += 1
            number, _, part = part.partition("\1")
            if at <= line:
                found = made.spots[int(number)]
        at += part.count("\n")
        if at > line:
            break
    return found


_MARK = re.compile("\0\\d+\1")
_ONLY_TEXT = re.compile(r"(?:[^%]|%s|%%)*\Z")


class _Compiler:
    def __init__(self, tree: Tree, parameters: Mapping[str, tuple[str, ...]], strict: bool, texts: bool) -> None:
        self.tree, self.parameters, self.texts = tree, parameters, texts
        self.field, self.first = ("sfield", "sfirst") if strict else ("field", "first")
        self.strict = strict
        self.lines: list[str] = []
        self.spots: list[Spot] = []
        self.taken: list[Any] = []
        self.depth = 1
        self.count = 0
        self.dot = "d0"
        self.scopes: list[dict[str, str]] = [{"$": "d0"}]
        #: In the else part of a loop that has a break: what says that the loop outside goes on.
        self.flag = ""
        #: Elements of a loop: a nil among them is known to be one.
        self.elements: set[str] = set()

    def source(self) -> str:
        self.body(self.tree.root)
        head = "def template(R,d0,a,T=()):" if self.texts else "def template(R,d0,a):"
        return "\n".join([head, *(self.lines or [" pass"]), ""])

    # Statements

    def line(self, code: str) -> None:
        self.lines.append(" " * self.depth + code)

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

    def block(self, nodes: list[Any]) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise CompileError(f'template "{self.tree.name}" is nested too deeply')
        before = len(self.lines)
        self.scopes.append({})
        self.body(nodes)
        self.scopes.pop()
        if len(self.lines) == before:
            self.line("pass")
        self.depth -= 1

    def body(self, nodes: list[Any]) -> None:
        for node in self.merged(nodes):
            if isinstance(node, Text):
                self.text(node)
            elif isinstance(node, Action):
                self.action(node)
            elif isinstance(node, Branch):
                self.branch(node)
            elif isinstance(node, Call):
                data = self.pipe(node.pipe).code if node.pipe else "None"
                self.line(f"({self.spot(node)}R.call({node.name!r},{data},a))")
            elif isinstance(node, Jump):
                self.jump(node)

    def merged(self, nodes: list[Any]) -> Iterator[Any]:
        """The nodes with texts and constant strings (``{{ "{{" }}``) in one where they follow each other.

        A text knows its lines only if it has as many as what it was made of.
        """
        pending: Text | None = None
        for node in nodes:
            text = node if isinstance(node, Text) else _constant(node)
            if text is None:
                if pending is not None:
                    yield pending
                yield node
                pending = None
            elif pending is None:
                pending = text
            elif self.tree.source.count("\n", pending.pos, text.pos) == pending.text.count("\n"):
                pending = Text(pending.pos, pending.text + text.text)
            else:
                yield pending
                pending = text
        if pending is not None:
            yield pending

    def text(self, node: Text) -> None:
        if self.texts:
            self.line(f"a(T[{len(self.taken)}])")
            self.taken.append([node.text, node.pos])
        else:
            self.line(f"a({node.text!r})")

    def action(self, node: Action) -> None:
        value = self.pipe(node.pipe)
        if node.pipe.names:
            self.line(f"({value.code})")
        elif value.string:
            self.line(f"a({value.code})")
        else:
            # What a function gives is a copy; what a name stands for is shown at its place.
            final = node.pipe.commands[-1].args[0]
            self.line(f"a({'printed' if isinstance(final, Name) else 'shown'}({value.code}))")

    def branch(self, node: Branch) -> None:
        self.scopes.append({})
        if node.word == "range":
            self.loop(node)
        else:
            self.condition(node, "if")
        self.scopes.pop()

    def condition(self, node: Branch, word: str) -> None:
        """``if`` and ``with``; an else part that is one more of them is an elif."""
        value, dot = self.pipe(node.pipe), self.dot
        if node.word == "with":
            inner = self.fresh("d")
            self.line(f"{word} ({inner}:=({value.code})):")
            self.dot = inner
        else:
            self.line(f"{word} ({value.code}):")
        self.block(node.body)
        self.dot = dot
        other = node.other
        if not other:
            return
        if len(other) == 1 and isinstance(other[0], Branch) and other[0].word in ("if", "with"):
            self.scopes.append({})
            self.condition(other[0], "elif")
            self.scopes.pop()
        else:
            self.line("else:")
            self.block(other)

    def loop(self, node: Branch) -> None:
        pipe, dot, flag = node.pipe, self.dot, self.flag
        over = self.commands(pipe).code
        lacking = [name.name for name in pipe.names if pipe.assigns and self.found(name.name) is None]
        if lacking:
            self.line(f"({self.fault(pipe, f'undefined variable: {lacking[0]}').code})")
        names = [self.assigned(name) if pipe.assigns else self.declared(name.name) for name in pipe.names]
        element = self.fresh("d")
        self.elements.add(element)
        if not pipe.assigns:
            self.elements.update(names[-1:])
        if names and (pipe.assigns or node.other):
            # Until there is an element the variables are what the loop runs over.
            kept = self.fresh("o")
            self.line(f"{'='.join([kept, *names])}=({over})")
            over = kept
        two = len(names) == 2
        items = f"{self.spot(last_read(pipe))}{'pairs' if two else 'items'}({over})"
        if node.other is not None:
            kept = self.fresh("r")
            self.line(f"{kept}=({items})")
            self.line(f"if {kept}:")
            self.depth += 1
            items = kept
        self.line(f"for {names[0] + ',' if two else ''}{element} in ({items}):")
        if names:
            self.depth += 1
            self.line(f"{names[-1]}={element}")
            self.depth -= 1
        self.dot, self.flag = element, ""
        self.block(node.body)
        self.dot, self.flag = dot, flag
        if node.other is not None:
            self.depth -= 1
            self.line("else:")
            self.otherwise(node.other)

    def otherwise(self, nodes: list[Any]) -> None:
        """The else part of a loop. In Go a ``break`` there ends that part, and ``continue`` is of the loop outside."""
        if not _breaks(nodes):
            self.block(nodes)
            return
        before, self.flag = self.flag, self.fresh("b")
        self.depth += 1
        self.line(f"{self.flag}=False")
        self.line("for _ in (0,):")
        self.block(nodes)
        self.line(f"if {self.flag}:")
        self.flag = before
        self.depth += 1
        if before:
            self.line(f"{before}=True")
            self.line("break")
        else:
            self.line("continue")
        self.depth -= 2

    def jump(self, node: Jump) -> None:
        if self.flag and node.word == "continue":
            self.line(f"{self.flag}=True")
            self.line("break")
        else:
            self.line(node.word)

    # Variables

    def declared(self, name: str) -> str:
        found = self.fresh("v")
        self.scopes[-1][name] = found
        return found

    def assigned(self, variable: Variable) -> str:
        """The local of a variable that exists; a new one that nobody reads where it does not."""
        return self.found(variable.name) or self.fresh("x")

    def found(self, name: str) -> str | None:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return None

    # Expressions

    def spot(self, node: Any, function: str = "") -> str:
        """Starts a line that stands for ``node``."""
        self.spots.append(Spot(node, function))
        return f"\0{len(self.spots) - 1}\1"

    def fault(self, node: Any, message: str) -> Expression:
        return Expression(f"{self.spot(node)}fault({message!r})")

    def pipe(self, pipe: Pipe) -> Expression:
        value = self.commands(pipe)
        for name in pipe.names:
            if pipe.assigns and self.found(name.name) is None:
                return self.fault(last_read(pipe), f"undefined variable: {name.name}")
            local = self.assigned(name) if pipe.assigns else self.declared(name.name)
            value = Expression(f"({local}:={value.code})", False, value.string)
        return value

    def commands(self, pipe: Pipe) -> Expression:
        value: Expression | None = None
        for command in pipe.commands:
            value = self.command(command, value)
        assert value is not None
        return value

    def command(self, command: Command, final: Expression | None) -> Expression:
        first = command.args[0]
        more = len(command.args) > 1 or final is not None
        if isinstance(first, Name):
            return self.function(command, first.name, command.args[1:], final)
        if isinstance(first, Field) or (isinstance(first, (Variable, Chain)) and first.fields):
            given = [self.argument(arg).code for arg in command.args[1:]]
            return self.reached(first, [*given, *([final.code] if final else [])])
        if more:
            place = command if isinstance(first, Pipe) else first
            return self.fault(place, f"can't give argument to non-function {first}")
        if isinstance(first, Nil):
            return self.fault(first, "nil is not a command")
        return self.argument(first)

    def argument(self, node: Any, kind: str = "any") -> Expression:
        """An operand; ``kind`` is the Go type that a number literal is wanted as."""
        if isinstance(node, Constant):
            value = node.value
            if value is None:
                return self.fault(node, f"{node.source} overflows int")
            if kind == "int" and isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63:
                value = int(value)
            elif kind == "float64" and type(value) is int:
                value = float(value)
            shown = f"({value.real!r}+{value.imag!r}j)" if isinstance(value, complex) else repr(value)
            return Expression(f"({shown})" if shown[0] == "-" else shown, True, isinstance(value, str))
        if isinstance(node, Dot):
            return Expression(self.dot, True)
        if isinstance(node, Nil):
            return Expression("None", True)
        if isinstance(node, Pipe):
            return self.pipe(node)
        if isinstance(node, Name):
            return self.function(node, node.name, [], None)
        if isinstance(node, Variable) and not node.fields:
            local = self.found(node.name)
            return Expression(local, True) if local else self.fault(node, f"undefined variable: {node.name}")
        return self.reached(node, [])

    def reached(self, node: Any, given: list[str], base: str = "") -> Expression:
        """Fields of the dot, a variable or a pipeline; ``given`` are arguments of the last, which is a method then.

        ``base`` is what they are fields of, where that is computed already.
        """
        if base:
            pass
        elif isinstance(node, Field):
            base = self.dot
        elif isinstance(node, Variable):
            local = self.found(node.name)
            if local is None:
                return self.fault(node, f"undefined variable: {node.name}")
            base = local
        elif isinstance(node.node, Nil):
            return self.fault(node, f"indirection through explicit nil in {node}")
        else:
            base = self.argument(node.node).code
        spot = self.spot(node)
        known = base in self.elements
        names = node.fields
        asked = [
            index for index in range(1, len(names)) if names[index] in VALUES_METHODS and names[index - 1] == "Values"
        ]
        if not given and not self.strict and not asked:
            reader = "element" if known else "reach"
            return Expression(
                f"{spot}{reader}{len(names) if len(names) < 4 else ''}({base},{','.join(map(repr, names))})"
            )
        nothing = ""
        if len(names) > 1 and not known and not self.strict:
            # Of nothing there is nothing, however deep, and its methods give nothing.
            kept = self.fresh("p")
            nothing, base = f"None if ({kept}:={base}) is None else ", kept
        for index, name in enumerate(names):
            reader = self.field if index or known else self.first
            more = [repr(name), *(given if index == len(names) - 1 else [])]
            if index in asked:
                reader = "of_values"
            base = f"{spot}{reader}({base},{','.join(more)})"
        return Expression(f"({nothing}{base})" if nothing else base)

    def function(self, node: Any, name: str, args: list[Any], final: Expression | None) -> Expression:
        kinds = self.parameters.get(name, ())
        given = [
            self.handed(arg, kinds[min(index, len(kinds) - 1)]) if kinds else self.argument(arg)
            for index, arg in enumerate(args)
        ]
        if final is None:
            return self.called(node, name, given)
        if final.plain or (name not in ("and", "or") and all(arg.plain for arg in given)):
            return self.called(node, name, [*given, final])
        # Go computes what is piped first.
        kept = self.fresh("p")
        made = self.called(node, name, [*given, Expression(kept, True, final.string)])
        return Expression(f"(({kept}:={final.code}),{made.code})[1]", False, made.string)

    def handed(self, node: Any, kind: str) -> Expression:
        """An argument of a function with typed parameters. Go takes nil for a map, but not a field that holds none.

        (A field of nothing is nothing, and that is taken.)
        """
        fields = isinstance(node, Field) or (isinstance(node, (Variable, Chain)) and bool(node.fields))
        if kind != "map" or not fields:
            return self.argument(node, kind)
        before = ""
        if isinstance(node, Chain) and not isinstance(node.node, Nil):
            of = self.fresh("p")
            before = f"({of}:={self.argument(node.node).code}),"
            value = self.reached(node, [], of)
        else:
            name = node.name if isinstance(node, Variable) else ""
            of = self.dot if isinstance(node, Field) else self.found(name) or ""
            value = self.argument(node, kind)
        fault = (
            f"{self.spot(node)}fault('wrong type for value; expected map[string]interface {{}}; got interface {{}}')"
        )
        taken = f" or {of} is None" if of else ""
        code = f"(t if (t:={value.code}) is not None{taken} else{fault})"
        return Expression(f"({before}{code})[1]" if before else code)

    def called(self, node: Any, name: str, given: list[Expression]) -> Expression:
        codes = [one.code for one in given]
        inline = _INLINE.get(name)
        if inline is not None:
            found = inline(self, node, given)
            if found is not None:
                return found
        shown = OWN.get(name) or f"f_{name}"
        return Expression(f"{self.spot(node, name)}{shown}({','.join(codes)})", False, name in _STRINGS)

    # Functions that are compiled in place; None where only a call will do

    def logic(self, word: str, node: Any, given: list[Expression]) -> Expression:
        if not given:
            return self.fault(node, f"wrong number of args for {word}: want at least 1 got 0")
        if len(given) == 1:
            return given[0]
        return Expression("(" + f" {word} ".join(one.code for one in given) + ")", all(one.plain for one in given))

    def inline_and(self, node: Any, given: list[Expression]) -> Expression:
        return self.logic("and", node, given)

    def inline_or(self, node: Any, given: list[Expression]) -> Expression:
        return self.logic("or", node, given)

    def inline_not(self, node: Any, given: list[Expression]) -> Expression | None:
        return Expression(f"(not {given[0].code})", given[0].plain) if len(given) == 1 else None

    def inline_default(self, node: Any, given: list[Expression]) -> Expression | None:
        if len(given) != 2 or not given[0].plain:
            return None
        return Expression(f"({given[1].code} or {given[0].code})", given[1].plain, given[0].string and given[1].string)

    def inline_dict(self, node: Any, given: list[Expression]) -> Expression | None:
        if len(given) % 2 or not all(one.plain and one.string for one in given[::2]):
            return None
        return Expression(
            "{" + ",".join(f"{key.code}:{item.code}" for key, item in zip(given[::2], given[1::2], strict=True)) + "}"
        )

    def inline_list(self, node: Any, given: list[Expression]) -> Expression:
        return Expression("[" + ",".join(one.code for one in given) + "]")

    def inline_printf(self, node: Any, given: list[Expression]) -> Expression | None:
        if not given or not (given[0].plain and given[0].string) or len(given) < 2:
            return None
        form = given[0].code
        if not _ONLY_TEXT.match(form) or form.replace("%%", "").count("%s") != len(given) - 1:
            return None
        if all(one.string for one in given[1:]):
            return Expression(f"({form}%({','.join(one.code for one in given[1:])},))", False, True)
        return Expression(f"{self.spot(node, 'printf')}joined({','.join(one.code for one in given)})", False, True)


def last_read(node: Any) -> Any:
    """The operand of an expression that is read last, which Go names when the value as a whole is wrong."""
    while isinstance(node, Pipe):
        node = node.commands[-1].args[-1]
    return node


def _breaks(nodes: list[Any]) -> bool:
    """Whether there is a break in these nodes that is of no loop among them."""
    for node in nodes:
        if isinstance(node, Jump) and node.word == "break":
            return True
        if isinstance(node, Branch) and node.word != "range" and (_breaks(node.body) or _breaks(node.other or [])):
            return True
    return False


def _constant(node: Any) -> Text | None:
    """The text that an action prints which is a string and nothing else."""
    if isinstance(node, Action) and not node.pipe.names and len(node.pipe.commands) == 1:
        args = node.pipe.commands[0].args
        if len(args) == 1 and isinstance(args[0], Constant) and isinstance(args[0].value, str):
            return Text(node.pos, args[0].value)
    return None


_INLINE = {
    "and": _Compiler.inline_and,
    "or": _Compiler.inline_or,
    "not": _Compiler.inline_not,
    "empty": _Compiler.inline_not,
    "default": _Compiler.inline_default,
    "dict": _Compiler.inline_dict,
    "list": _Compiler.inline_list,
    "tuple": _Compiler.inline_list,
    "printf": _Compiler.inline_printf,
}
