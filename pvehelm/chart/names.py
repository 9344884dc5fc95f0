"""Names in templates: what a chart's objects and the functions are called, looked up when a template asks for them.

Jinja2 copies all functions into a context for each template, and makes what it needs to compile for each context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jinja2.runtime import Context, new_context
from jinja2.utils import missing

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.nodes import EvalContext

Blocks = Mapping[str, Callable[[Context], Iterator[str]]]


class Made(dict[str, Any]):
    """What is made of its name when it is first asked for: a rendering asks for few of some hundred functions."""

    def __init__(self, names: Iterable[str], make: Callable[[str], Any]) -> None:
        super().__init__(dict.fromkeys(names))
        self._make = make

    def __getitem__(self, name: str) -> Any:
        found = super().__getitem__(name)
        if found is None:
            found = self[name] = self._make(name)
        return found

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401


class Names(Context):
    """A context whose functions stay in the environment: names of a template's own and of its chart stand before."""

    # As in Context, whose own way is left out since it begins with importing the compiler's half of Jinja2.
    def __init__(  # type: ignore[no-untyped-def]
        self, environment: Environment, parent: dict[str, Any], name: str | None, blocks: Blocks, globals=None
    ) -> None:
        self.parent = parent
        self.vars = {}
        self.environment = environment
        self.exported_vars = set()
        self.name = name
        self.globals_keys = {*globals} if globals else set()
        self.blocks = {key: [block] for key, block in blocks.items()}
        self._eval_ctx: EvalContext | None = None

    @property
    def eval_ctx(self) -> EvalContext:
        if self._eval_ctx is None:
            from jinja2.nodes import EvalContext

            self._eval_ctx = EvalContext(self.environment, self.name)
        return self._eval_ctx

    @eval_ctx.setter
    def eval_ctx(self, found: EvalContext) -> None:
        self._eval_ctx = found

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars:
            return self.vars[key]
        if key in self.parent:
            return self.parent[key]
        return self.environment.globals.get(key, missing)

    def derived(self, locals: dict[str, Any] | None = None) -> Names:
        context = new_context(self.environment, self.name, {}, self.get_all(), True, None, locals)
        assert isinstance(context, Names)
        context._eval_ctx = self._eval_ctx
        context.blocks.update((key, [*blocks]) for key, blocks in self.blocks.items())
        return context

    def __contains__(self, name: str) -> bool:
        return name in self.vars or name in self.parent or name in self.environment.globals
