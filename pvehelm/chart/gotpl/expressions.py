"""Expressions: pipelines, fields, variables and calls become Python, for the compiler.

Variables and the dot are Python locals. Whatever can fail begins a line of its own (``Expressions.spot``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pvehelm.chart.gotpl.syntax import (
    Chain,
    Command,
    Constant,
    Dot,
    Field,
    Name,
    Nil,
    Pipe,
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
_ONLY_TEXT = re.compile(r"(?:[^%]|%s|%%)*\Z")


class Expression(NamedTuple):
    """Python for a value. ``plain``: cannot fail nor change anything; ``string``: is always a str.

    ``inner`` is the code within its parentheses, where it has some that only an operator needs.
    """

    code: str
    plain: bool = False
    string: bool = False
    inner: str = ""

    @property
    def bare(self) -> str:
        """The code where it stands alone: Python takes long to read parentheses."""
        return self.inner or self.code


def _made(code: str, string: bool = False) -> Expression:
    """An expression that may fail; a third of the time of its class, and there are many."""
    return tuple.__new__(Expression, (code, False, string, ""))


class Spot(NamedTuple):
    """What a line of generated code stands for: the node, and the function that is called there, if any."""

    node: Any
    function: str = ""


class Expressions:
    """The expressions of one template: its variables by scope, and, where that is asked, what the lines stand for."""

    def __init__(self, parameters: Mapping[str, tuple[str, ...]], strict: bool, spots: bool) -> None:
        self.parameters, self.strict, self.asked = parameters, strict, spots
        self.field, self.first = ("sfield", "sfirst") if strict else ("field", "first")
        self.spots: list[Spot] = []
        self.count = 0
        self.dot = "d0"
        self.scopes: list[dict[str, str]] = [{"$": "d0"}]
        #: Elements of a loop: a nil among them is known to be one.
        self.elements: set[str] = set()

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}"

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

    # Values

    def spot(self, node: Any, function: str = "") -> str:
        """Starts a line that stands for ``node``."""
        if not self.asked:
            return "\\\n"
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
            value = Expression(f"({local}:={value.bare})", False, value.string)
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
            given = [self.argument(arg).bare for arg in command.args[1:]]
            return self.reached(first, [*given, *([final.bare] if final else [])])
        if more:
            place = command if isinstance(first, Pipe) else first
            return self.fault(place, f"can't give argument to non-function {first}")
        if isinstance(first, Nil):
            return self.fault(first, "nil is not a command")
        return self.argument(first)

    def argument(self, node: Any, kind: str = "any") -> Expression:
        """An operand; ``kind`` is the Go type that a number literal is wanted as."""
        of = node.__class__
        if of is Field:
            return self.reached(node, [])
        if of is Constant:
            value = node.value
            if value is None:
                return self.fault(node, f"{node.source} overflows int")
            if kind == "int" and isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63:
                value = int(value)
            elif kind == "float64" and type(value) is int:
                value = float(value)
            shown = f"({value.real!r}+{value.imag!r}j)" if isinstance(value, complex) else repr(value)
            return Expression(f"({shown})" if shown[0] == "-" else shown, True, isinstance(value, str))
        if of is Dot:
            return Expression(self.dot, True)
        if of is Pipe:
            return self.pipe(node)
        if of is Name:
            return self.function(node, node.name, [], None)
        if of is Nil:
            return Expression("None", True)
        if of is Variable and not node.fields:
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
            base = self.argument(node.node).bare
        spot = self.spot(node)
        known = base in self.elements
        names = node.fields
        asked = []
        if not VALUES_METHODS.isdisjoint(names):
            asked = [at for at in range(1, len(names)) if names[at] in VALUES_METHODS and names[at - 1] == "Values"]
        if not given and not self.strict and not asked:
            reader = "element" if known else "reach"
            return _made(f"{spot}{reader}{len(names) if len(names) < 4 else ''}({base},{','.join(map(repr, names))})")
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
        return Expression(f"({nothing}{base})", inner=nothing + base) if nothing else Expression(base)

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
        return Expression(f"(({kept}:={final.bare}),{made.bare})[1]", False, made.string)

    def handed(self, node: Any, kind: str) -> Expression:
        """An argument of a function with typed parameters. Go takes nil for a map, but not a field that holds none.

        (A field of nothing is nothing, and that is taken.)
        """
        if kind != "map":
            return self.argument(node, kind)
        if not isinstance(node, Field) and not (isinstance(node, (Variable, Chain)) and node.fields):
            return self.argument(node, kind)
        before = ""
        if isinstance(node, Chain) and not isinstance(node.node, Nil):
            of = self.fresh("p")
            before = f"({of}:={self.argument(node.node).bare}),"
            value = self.reached(node, [], of)
        else:
            name = node.name if isinstance(node, Variable) else ""
            of = self.dot if isinstance(node, Field) else self.found(name) or ""
            value = self.argument(node, kind)
        fault = (
            f"{self.spot(node)}fault('wrong type for value; expected map[string]interface {{}}; got interface {{}}')"
        )
        taken = f" or {of} is None" if of else ""
        code = f"(t if (t:={value.bare}) is not None{taken} else{fault})"
        return Expression(f"({before}{code})[1]" if before else code)

    def called(self, node: Any, name: str, given: list[Expression]) -> Expression:
        inline = _INLINE.get(name)
        if inline is not None:
            found = inline(self, node, given)
            if found is not None:
                return found
        shown = OWN.get(name) or f"f_{name}"
        codes = ",".join([one.inner or one.code for one in given])
        return _made(f"{self.spot(node, name)}{shown}({codes})", name in _STRINGS)

    # Functions that are compiled in place; None where only a call will do

    def logic(self, word: str, node: Any, given: list[Expression]) -> Expression:
        if not given:
            return self.fault(node, f"wrong number of args for {word}: want at least 1 got 0")
        if len(given) == 1:
            return given[0]
        inner = f" {word} ".join([one.code for one in given])
        return Expression(f"({inner})", all(one.plain for one in given), inner=inner)

    def inline_and(self, node: Any, given: list[Expression]) -> Expression:
        return self.logic("and", node, given)

    def inline_or(self, node: Any, given: list[Expression]) -> Expression:
        return self.logic("or", node, given)

    def inline_not(self, node: Any, given: list[Expression]) -> Expression | None:
        if len(given) != 1:
            return None
        inner = f"not {given[0].code}"
        return Expression(f"({inner})", given[0].plain, inner=inner)

    def inline_default(self, node: Any, given: list[Expression]) -> Expression | None:
        if len(given) != 2 or not given[0].plain:
            return None
        inner = f"{given[1].code} or {given[0].code}"
        return Expression(f"({inner})", given[1].plain, given[0].string and given[1].string, inner)

    def inline_dict(self, node: Any, given: list[Expression]) -> Expression | None:
        if len(given) % 2 or not all(one.plain and one.string for one in given[::2]):
            return None
        return Expression(
            "{" + ",".join(f"{key.code}:{item.bare}" for key, item in zip(given[::2], given[1::2], strict=True)) + "}"
        )

    def inline_list(self, node: Any, given: list[Expression]) -> Expression:
        return Expression("[" + ",".join([one.bare for one in given]) + "]")

    def inline_printf(self, node: Any, given: list[Expression]) -> Expression | None:
        if not given or not (given[0].plain and given[0].string) or len(given) < 2:
            return None
        form = given[0].code
        if not _ONLY_TEXT.match(form) or form.replace("%%", "").count("%s") != len(given) - 1:
            return None
        if all(one.string for one in given[1:]):
            inner = f"{form}%({','.join([one.bare for one in given[1:]])},)"
            return Expression(f"({inner})", False, True, inner)
        return Expression(f"{self.spot(node, 'printf')}joined({','.join([one.bare for one in given])})", False, True)


def last_read(node: Any) -> Any:
    """The operand of an expression that is read last, which Go names when the value as a whole is wrong."""
    while isinstance(node, Pipe):
        node = node.commands[-1].args[-1]
    return node


_INLINE = {
    "and": Expressions.inline_and,
    "or": Expressions.inline_or,
    "not": Expressions.inline_not,
    "empty": Expressions.inline_not,
    "default": Expressions.inline_default,
    "dict": Expressions.inline_dict,
    "list": Expressions.inline_list,
    "tuple": Expressions.inline_list,
    "printf": Expressions.inline_printf,
}
