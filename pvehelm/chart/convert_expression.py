"""Expressions of Helm's syntax in Jinja2's: what a pipeline says, with care for what may be missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pvehelm.chart import convert_known as known
from pvehelm.chart.convert_code import (
    AND,
    ATOM,
    COMPARE,
    COND,
    FILTER,
    NOT,
    OR,
    ROOT_NAMES,
    ByHand,
    Code,
    Scope,
    string,
    words,
)
from pvehelm.chart.convert_known import ANYTHING, MAYBE, MISSING, ROOT, UNKNOWN, Open, Samples
from pvehelm.chart.convert_results import empty, formatted, joined, literal, of_method, one_of, result_of
from pvehelm.chart.convert_uses import Uses
from pvehelm.chart.functions import FUNCTIONS, SUBJECT_FIRST
from pvehelm.chart.gotpl.syntax import Chain, Command, Constant, Dot, Field, Name, Nil, Pipe, Variable

_COMPARISONS = {"ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
#: Files of the chart that are read, at the beginning of an expression.
_FILES = re.compile(r'\(?Files\.(?:Get|Glob)\("([^"\\]+)"\)')
#: Functions that take what is missing for null.
_TOLERANT = words("default required coalesce empty ternary all any kindOf typeOf kindIs typeIs typeIsLike")
#: Functions that change their first argument.
CHANGING = words("set unset merge mergeOverwrite mustMerge mustMergeOverwrite")
#: Functions that keep what they are given for later.
_KEEPING = words("dict list tuple set append prepend coalesce")
_METHODS = words("Get GetBytes Lines Glob AsConfig AsSecrets Has")
_DATES = words("Year Month Day Hour Minute Second Weekday YearDay Unix UTC AddDate Format")
#: Names that a map has as methods in Jinja2, where it has no such key.
_MAP_METHODS = frozenset(("items", "keys", "values", "get"))
#: As filters these mean something else in Jinja2, or ask for the value first.
_CALLED = frozenset((*SUBJECT_FIRST, "list", "max", "min", "dict", "tuple", "lookup"))
_OF_MAPS = words("pick omit get hasKey keys values set unset merge mergeOverwrite mustMerge mustMergeOverwrite")
_KUBERNETES = {"KubeVersion": words("Version GitVersion Major Minor"), "HelmVersion": words("Version")}
#: Where the path of a whole file begins, in samples.
_BASE = "\0"


class Expressions:
    """Writes expressions. ``report(node, reason, hint)`` is told of what is left to a person, ``note`` of the rest.

    ``text`` rewrites a text that may be one for tpl.
    """

    def __init__(
        self,
        values: Samples,
        report: Callable[[Any, str, str], None],
        note: Callable[[Any, str, str], None],
        uses: Uses,
        text: Callable[[str], str],
        unit: str,
    ) -> None:
        self.values, self.report, self.note, self.uses, self.text = values, report, note, uses, text
        self.scope = Scope(Code("root"), Code("root"))
        #: The file or named template that is being written.
        self.unit = unit
        #: What the template asks Files.Glob for.
        self.globs: set[str] = set()

    # In their places

    def printed(self, pipe: Pipe, *, whole: bool) -> str:
        """What ``{{ ... }}`` prints: nothing for what is missing, or null where that is the ``whole`` value."""
        code = self.pipe(pipe)
        if whole:
            found = self.value(code)
            # What prints nothing is null in YAML, and a text without quotes what it looks like.
            texts = [one for one in code.samples if one is not MISSING and one is not MAYBE]
            if code.below is None or not all(isinstance(one, str) for one in texts):
                return found.text
            if any(known.no_text(one) for one in texts):
                return f"{self.plainly(code).at(FILTER)} | toString | fromYaml"
            return f"{found.at(OR)} or none" if "" in texts else found.text
        return self.plainly(code).text

    def plainly(self, code: Code) -> Code:
        """Where it is text: nothing for what is missing or null."""
        if code.lacking and code.below is not None:
            base, key = code.below
            if code.deep or base.absent or known.nothing(code.samples):
                return Code(f'{code.at(FILTER)} | default("")', FILTER)
            return Code(f'{base.at(ATOM)}.get({string(key)}, "")')
        if known.nothing(code.samples) and code.below is not None:
            return Code(f'{code.at(COMPARE)} if {code.at(COMPARE)} is not none else ""', COND)
        return code

    def condition(self, code: Code) -> Code:
        """Where only its truth counts."""
        if code.lacking is False:
            return code
        return replace(code, text=f"{code.at(FILTER)} | default(false)", level=FILTER, below=None)

    def value(self, code: Code, *, doubtful: bool = False) -> Code:
        """Where a value is wanted, which null is as well; ``doubtful``: also where nobody knows whether it is there."""
        if code.below is None or code.lacking is False or not (code.lacking or doubtful):
            return code
        base, key = code.below
        if not code.nested:
            return replace(code, text=f"{base.at(ATOM)}.get({string(key)})", level=ATOM, below=None)
        text = f"{code.text} if {code.text} is defined else none"
        return replace(code, text=text, level=COND, below=None)

    # Pipelines

    def pipe(self, pipe: Pipe, *, truth: bool = False) -> Code:
        found: Code | None = None
        for command in pipe.commands:
            last = command is pipe.commands[-1]
            found = self.command(command, found, truth=truth and last)
        assert found is not None
        return found

    def command(self, command: Command, final: Code | None, *, truth: bool) -> Code:
        first = command.args[0]
        if isinstance(first, Name):
            return self.function(command, first.name, command.args[1:], final, truth=truth)
        given = [self.value(self.operand(arg)).text for arg in command.args[1:]]
        if final is not None:
            given.append(self.value(final).text)
        code = self.operand(first)
        if given:
            text = code.text.removesuffix("()")
            if text.endswith("Files.Glob"):
                self.globs.update(arg.value for arg in command.args[1:] if isinstance(arg, Constant))
            return Code(f"{text}({', '.join(given)})", samples=of_method(text))
        return code

    def operand(self, node: Any, *, truth: bool = False) -> Code:
        if isinstance(node, Constant):
            return self.constant(node)
        if isinstance(node, Nil):
            return Code("none", samples=(None,))
        if isinstance(node, Dot):
            return self.scope.dot
        if isinstance(node, Pipe):
            if node.names:
                return self.by_hand(
                    node, ByHand("a variable is set within an expression", "set it on a line of its own")
                )
            return self.pipe(node, truth=truth)
        if isinstance(node, Name):
            return self.function(node, node.name, [], None, truth=truth)
        if isinstance(node, Field):
            return self.fields(self.scope.dot, node, node.fields)
        if isinstance(node, Variable):
            base = self.scope.dollar if node.name == "$" else self.scope.variables.get(node.name)
            if base is None:
                # Go's parser knows it from another branch: what is left to do is nothing.
                return self.failing(node, f"undefined variable: {node.name}")
            return self.fields(base, node, node.fields)
        assert isinstance(node, Chain)
        base = self.operand(node.node)
        if base.level < ATOM:
            base = replace(base, text=f"({base.text})", level=ATOM)
        if base.below is not None and base.lacking is not False:
            base = replace(base, deep=True)
        return self.fields(base, node, node.fields)

    def constant(self, node: Constant) -> Code:
        value = node.value
        if isinstance(value, bool):
            return Code("true" if value else "false", samples=(value,))
        if isinstance(value, str):
            return Code(string(value), samples=(value,))
        if value is None or isinstance(value, complex):
            return self.by_hand(node, ByHand(f"{node.source} is no number of Jinja2"))
        return Code(repr(value), ATOM if value >= 0 else COMPARE, (value,))

    # Fields

    def fields(self, base: Code, node: Any, names: list[str]) -> Code:
        for name in names:
            base = self.field(base, node, name)
        if base.text in ("Capabilities.KubeVersion", "Capabilities.HelmVersion"):
            return Code(f"{base.text}.Version", samples=("",))
        return base

    def field(self, base: Code, node: Any, name: str) -> Code:
        called_with = any(one is ROOT for one in base.samples) or base.text in ("_", "root")
        if called_with and name in ROOT_NAMES:
            if name != "Values":
                return Code(name, samples=(Open(),))
            put = self.unit in self.uses.replacing or self.unit in self.uses.prepared
            shown = "root.Values" if put else name
            # Nobody knows what is in values that were put together.
            samples = (MAYBE, *self.values) if shown != name else self.values
            return Code(shown, samples=samples, shared=True)
        if base.text == "Capabilities" and name in _KUBERNETES:
            return Code(f"Capabilities.{name}", samples=(dict.fromkeys(_KUBERNETES[name], "v1"),))
        if base.text == "Capabilities.KubeVersion" and name == "String":
            return base
        if base.text == "Values" and name == "AsMap":
            return base
        if name in _METHODS and (base.text.startswith(("Files", "Capabilities.")) or base.text.endswith(")")):
            return Code(f"{base.text}.{name}()", samples=of_method(f"{base.text}.{name}"))
        if name in _DATES and base.text.endswith(")") and base.samples == ANYTHING:
            return Code(f"{base.text}.{name}()")
        samples = known.below(base.samples, name)
        if (called_with and name in self.uses.added) or (name in self.uses.removed and self.mine):
            samples = (MISSING, *samples)
        if base.text in ROOT_NAMES and base.text != "Values":
            known_as = (_BASE,) if name == "BasePath" else (Open(),) if name == "Annotations" else ("",)
            return Code(f"{base.text}.{name}", samples=known_as)
        given = base.given or base.text == "_"
        made = Code(f"{base.at(ATOM)}.{name}", ATOM, samples, base.shared, given, (base, name), base.deep)
        if name in _MAP_METHODS and made.lacking is not False:
            return replace(made, text=f"{base.at(ATOM)}.get({string(name)})", below=None)
        return made

    # Functions

    def by_hand(self, node: Any, why: ByHand) -> Code:
        """Something that fails when it is rendered, until a person has written it."""
        self.report(node, str(why), why.hint)
        return Code(f"fail({string(f'to be written by hand: {node}')})")

    def failing(self, node: Any, what: str) -> Code:
        """What fails in Helm where it is come to, too: no work for a person."""
        self.note(node, what, "as in Helm, it fails when it is rendered")
        return Code(f"fail({string(what)})")

    def function(self, node: Any, name: str, args: list[Any], final: Code | None, *, truth: bool) -> Code:
        try:
            return self.called(node, name, args, final, truth=truth)
        except ByHand as why:
            return self.by_hand(node, why)

    def called(self, node: Any, name: str, args: list[Any], final: Code | None, *, truth: bool) -> Code:
        deciding = name in ("and", "or", "not")
        given = [self.operand(arg, truth=truth or name == "not") for arg in args] + ([final] if final else [])
        if deciding and not given:
            wanted = "1" if name == "not" else "at least 1"
            return self.failing(node, f"wrong number of args for {name}: want {wanted} got 0")
        if deciding:
            return self.decided(name, given, truth=truth)
        if name in ("include", "tpl"):
            return self.included(node, name, given)
        if name == "index":
            return self.indexed(given)
        if name in _TOLERANT:
            return self.tolerant(name, args, given)
        if name == "hasKey" and len(given) == 2 and literal(given[1]) and given[0].shared:
            samples = known.below(given[0].samples, given[1].samples[0])
            if known.nothing(samples):
                # Helm takes keys with null out of the values.
                return Code(f"{self.value(given[0]).at(ATOM)}.get({given[1].text}) is not none", COMPARE)
        if name in ("eq", "ne", "toString") and given:
            empty_ = given[0].lacking is True or known.nothing(given[0].samples)
            given[0] = self.value(given[0], doubtful=not given[0].deep)
            if name == "toString" and empty_:
                text = given[0].at(COMPARE)
                return Code(f'toString({given[0].text}) if {text} is not none else "<nil>"', COND)
        if name in ("eq", "ne") and _texts(given[1:]) and given[0].nested:
            # Nothing is no text either.
            given[0] = Code(f'{given[0].at(FILTER)} | default("")', FILTER)
        given = [self.value(one, doubtful=name in _KEEPING and not one.deep) for one in given]
        if name in ("print", "printf") and given:
            samples = joined(given if name == "print" else formatted(given))
            shown = self.written(name, args, given, piped=final is not None)
            return Code(shown, self.level(name, given, final), samples)
        if name == "eq" and len(given) > 2:
            texts = ", ".join(one.text for one in given[1:])
            return Code(f"{given[0].at(FILTER)} in [{texts}]", COMPARE)
        if name == "eq":
            return Code(f"{given[0].at(FILTER)} == {given[1].at(FILTER)}", COMPARE)
        if name in _COMPARISONS and len(given) == 2:
            return Code(f"{given[0].at(FILTER)} {_COMPARISONS[name]} {given[1].at(FILTER)}", COMPARE)
        if name == "lookup" and len(given) == 4:
            given = [given[1], given[3]]
        if name == "set" and given and given[0].text in ("root", "_") and given[1].samples == ("Values",):
            self.uses.replacing.add(self.unit)
        if name in ("list", "tuple"):
            return Code(f"[{', '.join(one.text for one in given)}]", samples=([one_of(item) for item in given],))
        if name == "dict" and len(given) % 2 == 0 and all(literal(one) for one in given[::2]):
            return self.map(given)
        if name not in FUNCTIONS and name not in ("lookup", "generate", "sensitive"):
            raise ByHand(f"there is no {name} in Jinja2 charts", "write what it is for in another way")
        if self.mine:
            return self.plain(name, args, given, final)
        if name in CHANGING and given and "set" not in name and re.match(r"_\b", given[0].text):
            # What a named template is called with may be part of the values.
            given[0] = Code(f"deepCopy({given[0].text})", samples=given[0].samples)
        if name in CHANGING and given and given[0].shared:
            if final is None or name in ("set", "unset"):
                self.note(node, f"{name} changed the values themselves; here it changes a copy", "")
            given[0] = Code(f"deepCopy({given[0].text})", samples=given[0].samples)
        return self.plain(name, args, given, final)

    @property
    def mine(self) -> bool:
        """Whether the values are copies here, which may be changed."""
        return self.unit in self.uses.changing

    def plain(self, name: str, args: list[Any], given: list[Code], final: Code | None) -> Code:
        if name in _OF_MAPS:
            given = [self.parsed(one) for one in given]
        text = self.written(name, args, given, piped=final is not None)
        return Code(text, self.level(name, given, final), result_of(name))

    def parsed(self, code: Code) -> Code:
        """The data of a text: of nothing Helm makes an empty map."""
        if re.search(r"\bfrom(Yaml|Json)(\([^()]*\))?$", code.text) is None:
            return code
        return replace(code, text=f"({code.text} or {{}})", level=ATOM)

    def level(self, name: str, given: list[Code], final: Code | None) -> int:
        return FILTER if final is not None and self.as_filter(name, given) else ATOM

    def as_filter(self, name: str, given: list[Code]) -> bool:
        return name not in _CALLED or (len(given) == 1 and name not in ("list", "max", "min", "dict", "tuple"))

    def written(self, name: str, args: list[Any], given: list[Code], *, piped: bool) -> str:
        texts = [one.text for one in given]
        if piped and self.as_filter(name, given):
            rest = f"({', '.join(texts[:-1])})" if texts[:-1] else ""
            return f"{given[-1].at(FILTER)} | {name}{rest}"
        return f"{name}({', '.join(texts)})"

    def decided(self, name: str, given: list[Code], *, truth: bool) -> Code:
        if name == "not":
            return Code(f"not {self.condition(given[0]).at(NOT)}", NOT)
        parts = [self.condition(one) if truth or one is not given[-1] else self.value(one) for one in given]
        if len(parts) == 1:
            return parts[0]
        level = AND if name == "and" else OR
        samples = parts[-1].samples if name == "and" else known.collected(s for one in parts for s in one.samples)
        return Code(f" {name} ".join(one.at(level + 1) for one in parts), level, samples)

    def included(self, node: Any, name: str, given: list[Code]) -> Code:
        if len(given) != 2 and name == "include":
            return self.failing(node, f"wrong number of args for include: want 2 got {len(given)}")
        if len(given) != 2:
            raise ByHand(f"{name} takes a name and what the template sees")
        called, data = given[0], self.value(given[1], doubtful=not given[1].deep)
        if name == "include":
            for constant in called.samples:
                if isinstance(constant, str) and constant.startswith(_BASE):
                    self.uses.whole.add(constant.removeprefix(_BASE))
                elif isinstance(constant, str):
                    self.uses.calls.setdefault(constant, []).extend(data.samples)
                    self.uses.callers.setdefault(constant, set()).add(self.unit)
        elif found := _FILES.match(called.text):
            self.uses.texts.add(found[1])
        elif "Files.Get(" in called.text:
            self.uses.texts |= self.globs
        else:
            called = self.templated(called)
        return Code(f"{name}({called.text}, {data.text})", samples=("",))

    def templated(self, code: Code) -> Code:
        """A literal that may be a template for tpl."""
        text = code.samples[0] if literal(code) and len(code.samples) == 1 else ""
        return replace(code, text=string(self.text(text))) if isinstance(text, str) and "{{" in text else code

    def indexed(self, given: list[Code]) -> Code:
        base, *keys = [self.value(one) for one in given]
        for at, key in enumerate(keys):
            constant = key.samples[0] if len(key.samples) == 1 else UNKNOWN
            samples = known.below(base.samples, constant) if not isinstance(constant, type(UNKNOWN)) else ANYTHING
            made = Code(f"{base.at(ATOM)}[{key.text}]", samples=samples, shared=base.shared, given=base.given)
            if known.lacking(samples) is not False and not (base.text.endswith("]") and kind_is(base, "list")):
                texts = ", ".join(one.text for one in keys[at:])
                last = ANYTHING if at + 1 < len(keys) else tuple(None if one is MISSING else one for one in samples)
                return Code(f"index({base.text}, {texts})", samples=last, shared=base.shared, given=base.given)
            base = made
        return base

    def tolerant(self, name: str, args: list[Any], given: list[Code]) -> Code:
        if name == "default" and len(given) > 2:
            given = given[:2]  # Sprig's looks at no more.
        if name in ("default", "required") and len(given) == 2:
            fallback, value = given
            if name == "default":
                samples = known.collected(
                    one for have in value.samples for one in (fallback.samples if empty(have) else (have,))
                )
            else:
                samples = known.given(value.samples)
            fallback = self.value(fallback)
            shared = value.shared and kind_is(value, "map")
            return Code(f"{value.at(FILTER)} | {name}({fallback.text})", FILTER, samples, shared, value.given)
        samples = known.collected(s for one in given for s in one.samples) if name == "coalesce" else result_of(name)
        if name == "ternary" and len(given) == 3:
            text = f"{given[2].at(FILTER)} | ternary({given[0].text}, {given[1].text})"
            return Code(text, FILTER, known.collected((*given[0].samples, *given[1].samples)))
        return Code(f"{name}({', '.join(one.text for one in given)})", samples=samples)

    def map(self, given: list[Code]) -> Code:
        pairs = list(zip(given[::2], given[1::2], strict=True))
        body = ", ".join(f"{key.text}: {self.templated(item).text}" for key, item in pairs)
        sample = {str(key.samples[0]): one_of(item) for key, item in pairs}
        return Code("{" + body + "}", samples=(sample,))


def kind_is(code: Code, kind: str) -> bool:
    return known.kind(code.samples) == kind


def _texts(given: list[Code]) -> bool:
    """Whether these are literal texts that say something."""
    return all(literal(one) and one.samples != ("",) for one in given)
