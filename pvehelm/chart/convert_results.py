"""What functions give, as far as that is known of what they are given: samples."""

from __future__ import annotations

from typing import Any

from pvehelm.chart.convert_code import ATOM, Code, words
from pvehelm.chart.convert_known import ANYTHING, MISSING, UNKNOWN, Open, Samples

_MAPS = words("dict merge mergeOverwrite mustMerge mustMergeOverwrite pick omit set unset split splitn")
_LISTS = words(
    "list tuple keys values splitList until untilStep uniq sortAlpha append prepend concat without compact reverse "
    "rest initial fromYamlArray fromJsonArray regexSplit regexFindAll chunk slice toStrings pluck"
)
#: So many samples of joined texts at most.
_MOST_TEXTS = 50


def literal(code: Code) -> bool:
    return code.level == ATOM and code.text.startswith('"')


def one_of(code: Code) -> Any:
    """One sample for a part of a literal."""
    if len(code.samples) == 1 and code.samples[0] is not MISSING:
        return code.samples[0]
    kinds = {type(one) for one in code.samples}
    if kinds == {dict}:
        common = set.intersection(*(set(one) for one in code.samples))
        return Open(dict.fromkeys(common, UNKNOWN))
    return UNKNOWN


def formatted(given: list[Code]) -> list[Code]:
    """The texts that a printf of nothing but %s puts together."""
    form, *values = given
    texts = form.samples[0].split("%s") if literal(form) else []
    if len(texts) != len(values) + 1:
        return []
    parts = [part for pair in zip(texts, [*values, None], strict=True) for part in pair]
    return [Code("", samples=(part,)) if isinstance(part, str) else part for part in parts if part is not None]


def joined(given: list[Code]) -> Samples:
    """The samples of texts one after the other."""
    texts = [""] if given else []
    for one in given:
        if len(texts) > _MOST_TEXTS:
            return ANYTHING
        texts = [text + sample for text in texts for sample in one.samples if isinstance(sample, str)]
    return tuple(texts) or ANYTHING


def empty(value: Any) -> bool:
    return value is MISSING or (not isinstance(value, (type(UNKNOWN), Open)) and not value)


def result_of(name: str) -> Samples:
    name = name[4:5].lower() + name[5:] if name.startswith("must") else name
    if name in _MAPS:
        return (Open(),)
    if name == "lookup":
        return (Open(), {})
    return ([UNKNOWN],) if name in _LISTS else ANYTHING


def of_method(text: str) -> Samples:
    if text.endswith(".Glob"):
        return (Open(),)
    return ([""],) if text.endswith(".Lines") else ANYTHING
