"""Expressions of Helm's syntax in Jinja2's: what a pipeline says, with care for what may be missing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
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
)
from pvehelm.chart.convert_known import ANYTHING, MISSING, ROOT, UNKNOWN, Open, Samples
from pvehelm.chart.functions import FUNCTIONS, SUBJECT_FIRST
from pvehelm.chart.gotpl.syntax import Chain, Command, Constant, Dot, Field, Name, Nil, Pipe, Variable


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


_COMPARISONS = {"ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
#: Files of the chart that are read, at the beginning of an expression.
_FILES = re.compile(r'\(?Files\.(?:Get|Glob)\("([^"\\]+)"\)')
#: Functions that take what is missing for null.
_TOLERANT = _words("default required coalesce empty ternary all any kindOf typeOf kindIs typeIs typeIsLike")
#: Functions that change their first argument.
CHANGING = _words("set unset merge mergeOverwrite mustMerge mustMergeOverwrite")
_METHODS = _words("Get GetBytes Lines Glob AsConfig AsSecrets Has")
_DATES = _words("Year Month Day Hour Minute Second Weekday YearDay Unix UTC AddDate Format")
#: Names that a map has as methods in Jinja2, where it has no such key.
_MAP_METHODS = frozenset(("items", "keys", "values", "get"))
#: As filters these mean something else in Jinja2, or ask for the value first.
_CALLED = frozenset((*SUBJECT_FIRST, "list", "max", "min", "dict", "tuple", "lookup"))
_MAPS = _words("dict merge mergeOverwrite mustMerge mustMergeOverwrite pick omit set unset split splitn")
_LISTS = _words(
    "list tuple keys values splitList until untilStep uniq sortAlpha append prepend concat without compact reverse "
    "rest initial fromYamlArray fromJsonArray regexSplit regexFindAll chunk slice toStrings pluck"
)
_KUBERNETES = {"KubeVersion": _words("Version GitVersion Major Minor"), "HelmVersion": _words("Version")}
#: Where the path of a whole file begins, in samples.
_BASE = "\0"
#: So many samples of joined texts at most.
_MOST_TEXTS = 50


@dataclass
class Uses:
    """What templates use of each other: what named ones are called with, which files are included ``whole`` (the ends
    of their paths), which of a chart's files are ``texts`` for tpl (patterns of Files.Glob), and which names some
    template adds to what it is called with (``set . "mode" ...``), before others ask for them or never."""

    calls: dict[str, list[Any]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    added: frozenset[str] = frozenset()


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
    ) -> None:
        self.values, self.report, self.note, self.uses, self.text = values, report, note, uses, text
        self.scope = Scope(Code("root"), Code("root"))
        #: What the template asks Files.Glob for.
        self.globs: set[str] = set()

    # In their places

    def printed(self, pipe: Pipe, *, whole: bool) -> str:
        """What ``{{ ... }}`` prints: nothing for what is missing, or null where that is the ``whole`` value."""
        code = self.pipe(pipe)
        if whole:
            found = self.value(code)
            # What prints nothing is null in YAML.
            texts = [one for one in code.samples if one is not MISSING]
            empty = code.below is not None and "" in texts and all(isinstance(one, str) for one in texts)
            return f"{found.at(OR)} or none" if empty else found.text
        if code.lacking and code.below is not None:
            base, key = code.below
            if code.deep or base.absent or known.nothing(code.samples):
                return f'{code.at(FILTER)} | default("")'
            return f'{base.at(ATOM)}.get({string(key)}, "")'
        if known.nothing(code.samples) and code.below is not None:
            return f'{code.at(COMPARE)} if {code.at(COMPARE)} is not none else ""'
        return code.text

    def condition(self, code: Code) -> Code:
        """Where only its truth counts."""
        if code.lacking is False:
            return code
        return replace(code, text=f"{code.at(FILTER)} | default(false)", level=FILTER, below=None)

    def value(self, code: Code) -> Code:
        """Where a value is wanted, which null is as well."""
        if not code.lacking or code.below is None:
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
            return Code(f"{text}({', '.join(given)})", samples=_method_samples(text))
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
                return self.by_hand(node, ByHand(f"{node.name} is not set here"))
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
            samples = self.values if name == "Values" else (Open(),)
            return Code(name, samples=samples, shared=name == "Values")
        if base.text == "Capabilities" and name in _KUBERNETES:
            return Code(f"Capabilities.{name}", samples=(dict.fromkeys(_KUBERNETES[name], "1"),))
        if base.text == "Capabilities.KubeVersion" and name == "String":
            return base
        if base.text == "Values" and name == "AsMap":
            return base
        if name in _METHODS and (base.text.startswith(("Files", "Capabilities.")) or base.text.endswith(")")):
            return Code(f"{base.text}.{name}()", samples=_method_samples(f"{base.text}.{name}"))
        if name in _DATES and base.text.endswith(")") and base.samples == ANYTHING:
            return Code(f"{base.text}.{name}()")
        samples = known.below(base.samples, name)
        if called_with and name in self.uses.added:
            samples = (MISSING, *samples)
        if base.text in ROOT_NAMES and base.text != "Values":
            known_as = (_BASE,) if name == "BasePath" else (Open(),) if name == "Annotations" else ("",)
            return Code(f"{base.text}.{name}", samples=known_as)
        made = Code(f"{base.at(ATOM)}.{name}", ATOM, samples, base.shared, (base, name), base.deep)
        if name in _MAP_METHODS and made.lacking is not False:
            return replace(made, text=f"{base.at(ATOM)}.get({string(name)})", below=None)
        return made

    # Functions

    def by_hand(self, node: Any, why: ByHand) -> Code:
        """Something that fails when it is rendered, until a person has written it."""
        self.report(node, str(why), why.hint)
        return Code(f"fail({string(f'to be written by hand: {node}')})")

    def function(self, node: Any, name: str, args: list[Any], final: Code | None, *, truth: bool) -> Code:
        try:
            return self.called(node, name, args, final, truth=truth)
        except ByHand as why:
            return self.by_hand(node, why)

    def called(self, node: Any, name: str, args: list[Any], final: Code | None, *, truth: bool) -> Code:
        deciding = name in ("and", "or", "not")
        given = [self.operand(arg, truth=truth or name == "not") for arg in args] + ([final] if final else [])
        if deciding:
            return self.decided(name, given, truth=truth)
        if name in ("include", "tpl"):
            return self.included(node, name, given)
        if name == "index":
            return self.indexed(given)
        if name in _TOLERANT:
            return self.tolerant(name, args, given)
        if name in ("eq", "ne") and _texts(given[1:]) and given[0].nested:
            # Nothing is no text either.
            given[0] = Code(f'{given[0].at(FILTER)} | default("")', FILTER)
        given = [self.value(one) for one in given]
        if name in ("print", "printf") and given:
            samples = _joined_samples(given if name == "print" else _parts(given))
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
        if name in ("list", "tuple"):
            return Code(f"[{', '.join(one.text for one in given)}]", samples=([_one(item) for item in given],))
        if name == "dict" and len(given) % 2 == 0 and all(_literal(one) for one in given[::2]):
            return self.map(given)
        if name not in FUNCTIONS and name not in ("lookup", "generate", "sensitive"):
            raise ByHand(f"there is no {name} in Jinja2 charts", "write what it is for in another way")
        if name in CHANGING and given and "set" not in name and re.match(r"_\b", given[0].text):
            # What a named template is called with may be part of the values.
            given[0] = Code(f"deepCopy({given[0].text})", samples=given[0].samples)
        if name in CHANGING and given and given[0].shared:
            if final is None or name in ("set", "unset"):
                self.note(node, f"{name} changed the values themselves; here it changes a copy", "")
            given[0] = Code(f"deepCopy({given[0].text})", samples=given[0].samples)
        return Code(
            self.written(name, args, given, piped=final is not None), self.level(name, given, final), _result(name)
        )

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
        if not given:
            raise ByHand(f"{name} of nothing")
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
            # Nothing is left to do: in Helm it fails where it is come to, too.
            what = f"wrong number of args for include: want 2 got {len(given)}"
            self.note(node, what, "as in Helm, it fails when it is rendered")
            return Code(f"fail({string(what)})")
        if len(given) != 2:
            raise ByHand(f"{name} takes a name and what the template sees")
        called, data = given[0], self.value(given[1])
        if name == "include":
            for constant in called.samples:
                if isinstance(constant, str) and constant.startswith(_BASE):
                    self.uses.whole.add(constant.removeprefix(_BASE))
                elif isinstance(constant, str):
                    self.uses.calls.setdefault(constant, []).extend(data.samples)
            if data.samples == (None,):
                data = Code("{}")
        elif found := _FILES.match(called.text):
            self.uses.texts.add(found[1])
        elif "Files.Get(" in called.text:
            self.uses.texts |= self.globs
        else:
            called = self.templated(called)
        return Code(f"{name}({called.text}, {data.text})", samples=("",))

    def templated(self, code: Code) -> Code:
        """A literal that may be a template for tpl."""
        text = code.samples[0] if _literal(code) and len(code.samples) == 1 else ""
        return replace(code, text=string(self.text(text))) if isinstance(text, str) and "{{" in text else code

    def indexed(self, given: list[Code]) -> Code:
        base, *keys = [self.value(one) for one in given]
        for at, key in enumerate(keys):
            constant = key.samples[0] if len(key.samples) == 1 else UNKNOWN
            samples = known.below(base.samples, constant) if not isinstance(constant, type(UNKNOWN)) else ANYTHING
            made = Code(f"{base.at(ATOM)}[{key.text}]", samples=samples, shared=base.shared)
            if known.lacking(samples) is not False and not (base.text.endswith("]") and kind_is(base, "list")):
                texts = ", ".join(one.text for one in keys[at:])
                last = ANYTHING if at + 1 < len(keys) else tuple(None if one is MISSING else one for one in samples)
                return Code(f"index({base.text}, {texts})", samples=last, shared=base.shared)
            base = made
        return base

    def tolerant(self, name: str, args: list[Any], given: list[Code]) -> Code:
        if name in ("default", "required") and len(given) == 2:
            fallback, value = given
            if name == "default":
                samples = known.collected(
                    one for have in value.samples for one in (fallback.samples if _empty(have) else (have,))
                )
            else:
                samples = known.given(value.samples)
            fallback = self.value(fallback)
            shared = value.shared and kind_is(value, "map")
            return Code(f"{value.at(FILTER)} | {name}({fallback.text})", FILTER, samples, shared)
        samples = known.collected(s for one in given for s in one.samples) if name == "coalesce" else _result(name)
        if name == "ternary" and len(given) == 3:
            text = f"{given[2].at(FILTER)} | ternary({given[0].text}, {given[1].text})"
            return Code(text, FILTER, known.collected((*given[0].samples, *given[1].samples)))
        return Code(f"{name}({', '.join(one.text for one in given)})", samples=samples)

    def map(self, given: list[Code]) -> Code:
        pairs = list(zip(given[::2], given[1::2], strict=True))
        body = ", ".join(f"{key.text}: {self.templated(item).text}" for key, item in pairs)
        sample = {str(key.samples[0]): _one(item) for key, item in pairs}
        return Code("{" + body + "}", samples=(sample,))


def kind_is(code: Code, kind: str) -> bool:
    return known.kind(code.samples) == kind


def _literal(code: Code) -> bool:
    return code.level == ATOM and code.text.startswith('"')


def _one(code: Code) -> Any:
    """One sample for a part of a literal."""
    if len(code.samples) == 1 and code.samples[0] is not MISSING:
        return code.samples[0]
    kinds = {type(one) for one in code.samples}
    if kinds == {dict}:
        common = set.intersection(*(set(one) for one in code.samples))
        return Open(dict.fromkeys(common, UNKNOWN))
    return UNKNOWN


def _texts(given: list[Code]) -> bool:
    """Whether these are literal texts that say something."""
    return all(_literal(one) and one.samples != ("",) for one in given)


def _parts(given: list[Code]) -> list[Code]:
    """The texts that a printf of nothing but %s puts together."""
    form, *values = given
    texts = form.samples[0].split("%s") if _literal(form) else []
    if len(texts) != len(values) + 1:
        return []
    parts = [part for pair in zip(texts, [*values, None], strict=True) for part in pair]
    return [Code("", samples=(part,)) if isinstance(part, str) else part for part in parts if part is not None]


def _joined_samples(given: list[Code]) -> Samples:
    """The samples of texts one after the other."""
    texts = [""] if given else []
    for one in given:
        if len(texts) > _MOST_TEXTS:
            return ANYTHING
        texts = [text + sample for text in texts for sample in one.samples if isinstance(sample, str)]
    return tuple(texts) or ANYTHING


def _empty(value: Any) -> bool:
    return value is MISSING or (not isinstance(value, (type(UNKNOWN), Open)) and not value)


def _result(name: str) -> Samples:
    name = name[4:5].lower() + name[5:] if name.startswith("must") else name
    if name in _MAPS:
        return (Open(),)
    if name == "lookup":
        return (Open(), {})
    return ([UNKNOWN],) if name in _LISTS else ANYTHING


def _method_samples(text: str) -> Samples:
    if text.endswith(".Glob"):
        return (Open(),)
    return ([""],) if text.endswith(".Lines") else ANYTHING
