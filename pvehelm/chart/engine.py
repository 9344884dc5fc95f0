"""The engine: templates of a chart tree rendered in the Jinja2 dialect, every problem with its place.

An Engine works on data alone and answers with data alone (``Output``), so that it can run in a child process.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from types import CodeType
from typing import Any

from jinja2 import Environment, Template, TemplateNotFound, TemplateSyntaxError, pass_context
from jinja2.runtime import Context

from pvehelm.chart.cell import Ask, Limits
from pvehelm.chart.dialect import Dialect, Missing, UndefinedValue, define_key, define_names
from pvehelm.chart.functions import FUNCTIONS, FunctionError, Text
from pvehelm.chart.functions.common import string, text
from pvehelm.chart.kept import Kept
from pvehelm.chart.library import Library
from pvehelm.chart.names import Names
from pvehelm.chart.neighbour import Neighbour, Told
from pvehelm.chart.objects import Scope
from pvehelm.chart.secrets import Tokens
from pvehelm.chart.traced import RAW, SCALAR, VALUE, Place, Traced, assemble
from pvehelm.chart.trouble import Abort, Trouble
from pvehelm.suggest import suggest

_NOTES = "templates/NOTES.txt"
#: What a template is called with where nothing is said: null is something.
_ROOT: Any = object()


class Engine:
    """Renders the templates of ``scopes``. ``trouble`` holds what was found wrong so far."""

    def __init__(self, scopes: list[Scope], tokens: Tokens, limits: Limits, ask: Ask, codes: bytes = b"") -> None:
        self.scopes = scopes
        self.tokens = tokens
        self.limits = limits
        self.ask = ask
        self.sources: dict[str, str] = {}
        self.scope_of: dict[str, Scope] = {}
        self.defines: dict[str, tuple[Template, str]] = {}
        self.depth = 0
        self.scalars = True
        self.neighbour: Neighbour | None = None
        self.codes = _unpacked(codes)
        self.compiled = False
        self._modules: dict[tuple[str, int], dict[str, Any]] = {}
        for scope in scopes:
            for name, source in scope.templates.items():
                self.sources[name] = source
                self.scope_of[name] = scope
        self.env = _Environment(self)
        self.kept = Kept(ask, tokens)
        own: dict[str, Callable[..., Any]] = {
            "lookup": self._lookup,
            "include": self._include,
            "tpl": self._tpl,
            "generate": self.kept.generate,
        }
        names = [*(scopes[0].root if scopes else ()), *FUNCTIONS, *own, "sensitive", "loop"]
        self.trouble = Trouble(self.sources, names, self.env.hint)
        Library(self.env, tokens, self.trouble, own, self.kept)

    # Rendering

    def render(self, subchart_notes: bool = False, *, places: bool = True) -> dict[str, Any]:
        """Every file: ``files`` {name: text}, ``lines`` {name: [place of each line]}; and ``notes`` {name: text}."""
        templates = self._compile_all()
        files: dict[str, str] = {}
        lines: dict[str, list[Place | None]] = {}
        notes: dict[str, str] = {}
        for name in sorted(templates, key=self._order):
            scope, path = self.scope_of[name], name[len(self.scope_of[name].prefix) + 1 :]
            if path.rpartition("/")[2].startswith("_") or scope.chart.is_library:
                continue
            is_notes = path == _NOTES
            if is_notes and scope.depth and not subchart_notes:
                continue
            found = self._file(templates[name], scope, scalars=not path.endswith((".txt", ".md")))
            if found is None:
                continue
            if is_notes:
                notes[name] = str(found)
            else:
                files[name] = str(found)
                if places:
                    lines[name] = found.lines()
        return {"files": files, "lines": lines, "notes": notes}

    def packed(self, _: Callable[[str], bool]) -> bytes:
        """The compiled templates for the cache; nothing when they came from there, or do not all compile."""
        return marshal.dumps(self.codes) if self.compiled and len(self.codes) == len(self.sources) else b""

    def _order(self, name: str) -> tuple[int, str]:
        return self.scopes.index(self.scope_of[name]), name

    def _compile_all(self) -> dict[str, Template]:
        compiled: dict[str, Template] = {}
        # The last definition of a name counts: parents over subcharts, "_a.tpl" over "_z.tpl".
        names = sorted(self.sources, key=lambda name: (-self.scope_of[name].depth, [-ord(char) for char in name]))
        for name in names:
            try:
                template = compiled[name] = self.env.get_template(name)
            except Exception as error:
                self.trouble.explain(error, name)
                continue
            for defined in define_names(template.blocks):
                self.defines[defined] = (template, name)
        return compiled

    def _file(self, template: Template, scope: Scope, *, scalars: bool) -> Traced | None:
        name = self.kept.file = template.name or ""
        root = {**scope.root, "Template": {"Name": name, "BasePath": f"{scope.prefix}/templates"}}
        before = len(self.trouble.problems)
        self.scalars = scalars
        try:
            context = self._context(template, self._names(root, root))
            found = self.concat(template.root_render_func(context))
        except Exception as error:
            if len(self.trouble.problems) == before or not isinstance(error, Abort):
                self.trouble.explain(error, name)
            return None
        return found if len(self.trouble.problems) == before else None

    def _names(self, root: dict[str, Any], ctx: Any) -> dict[str, Any]:
        return {**root, "root": root, "_": ctx, "ctx": ctx}

    def _context(self, template: Template, names: Mapping[str, Any]) -> Context:
        return Names(self.env, {**names}, template.name, template.blocks, names)

    def concat(self, pieces: Iterable[Any]) -> Traced:
        """Pieces as text, within the output limit."""
        kept, size = [], 0
        for piece in pieces:
            size += len(piece[2])
            if size > self.limits.output:
                raise FunctionError(f"the output exceeds the limit of {self.limits.output // (1024 * 1024)} MiB")
            kept.append(piece)
        return assemble(kept, scalars=self.scalars)

    # What generated code calls

    def emit(self, template: str, position: int, value: Any, given: bool = False) -> Any:
        """The piece that an expression prints; ``given`` where that is nothing but a place in the values."""
        kind = type(value)
        if kind is str:
            return (template, position, value, VALUE if given else SCALAR)
        if kind is int:
            return (template, position, text(value), RAW)
        if isinstance(value, Text):
            return (template, position, value, RAW)
        if isinstance(value, Missing):
            self.trouble.undefined(value)
            return (template, position, "", RAW)
        if isinstance(value, str):
            return (template, position, str(value), SCALAR)
        if hasattr(value, "_body_stream"):
            return (template, position, self.concat(value._body_stream), RAW)
        return (template, position, text(value), RAW)

    def joined(self, parts: tuple[Any, ...]) -> str:
        """``a ~ b``."""
        for part in parts:
            if isinstance(part, Missing):
                raise UndefinedValue(part)
        shown = [text(part) for part in parts]
        if sum(map(len, shown)) > self.limits.output:
            raise FunctionError("the joined text exceeds the output limit")
        whole = "".join(shown)
        # Joined with text of a template, a value is text of a template too: it is not quoted any more.
        return Text(whole) if any(isinstance(part, Text) for part in parts) else whole

    # Functions that need the engine

    def _lookup(self, *what: Any) -> Any:
        """``lookup(kind[, name])``; Helm's four arguments (apiVersion, kind, namespace, name) are taken as well."""
        if len(what) == 4:
            what = (what[1], what[3])
        if len(what) not in (1, 2):
            raise FunctionError("takes a kind, and a name unless all of the kind are meant")
        kind, name = (*what, "")[:2]
        found = self.ask(["lookup", string(kind), string(name)])
        return {} if found is None else found

    @property
    def _include(self) -> Callable[..., Any]:
        @pass_context
        def include(context: Context, name: Any, ctx: Any = _ROOT) -> Text:
            return self._define(string(name, "the name of a template"), context["root"], ctx)

        return include

    def _define(self, name: str, root: Any, ctx: Any) -> Text:
        if name in self.scope_of:
            return self._whole(name, root, ctx)
        if name not in self.defines:
            return self._foreign(name, root, ctx)
        template, file = self.defines[name]
        with self._deeper(f"include({name!r})"):
            names = {**self._module(template, file, root), **self._overlaid(root, ctx)}
            return self.concat(template.blocks[define_key(name)](self._context(template, names)))

    def _whole(self, name: str, root: Any, ctx: Any) -> Text:
        """A file of a chart, by its path from the chart's name on."""
        template = self.env.get_template(name)
        with self._deeper(f"include({name!r})"):
            return self.concat(template.root_render_func(self._context(template, self._overlaid(root, ctx))))

    def _foreign(self, name: str, root: Any, ctx: Any) -> Text:
        """A named template of a chart in Helm's syntax."""
        with self._deeper(f"include({name!r})"):
            found = None
            if self.neighbour is not None:
                try:
                    found = self.neighbour.include(name, root if ctx is _ROOT else ctx, root, self.kept.file)
                except Told as told:
                    place, callers = self.trouble.here()
                    told.came_from(*("{}:{}:{}".format(*one) for one in (place, *callers) if one))
                    raise
        if found is not None:
            return Text(found)
        close = suggest(name, [*self.defines, *(self.neighbour.other.names() if self.neighbour else ())])
        hint = f"did you mean {close!r}?" if close else '{% define "name" %} in a file like _helpers.tpl makes one'
        self.trouble.record(self.trouble.here(), f"include: no template is defined as {name!r}", hint)
        return Text()

    # What charts in Helm's syntax see of it

    def names(self) -> Collection[str]:
        return self.defines.keys()

    def included(self, name: str, data: Any, root: dict[str, Any], file: str) -> str:
        """A named template for a chart of the other dialect. Raises Told."""
        before, self.kept.file = self.kept.file, file
        known = len(self.trouble.problems)
        try:
            found = str(self._define(name, root, data))
        except Told:
            raise
        except Exception as error:
            self.trouble.explain(error, self.defines[name][1])
            raise Told(self.trouble.problems, known) from None
        finally:
            self.kept.file = before
        if len(self.trouble.problems) > known:
            raise Told(self.trouble.problems, known)
        return found

    def _overlaid(self, root: Any, ctx: Any) -> dict[str, Any]:
        scope = root if isinstance(root, dict) else {}
        if ctx is _ROOT or ctx is root:
            return self._names(scope, root)
        keys = {str(key): value for key, value in ctx.items()} if isinstance(ctx, dict) else {}
        return {**self._names(scope, ctx), **keys}

    def _module(self, template: Template, file: str, root: Any) -> dict[str, Any]:
        """The macros, imports and variables at the top of a partial, for its named templates."""
        if not file.rpartition("/")[2].startswith("_") or not isinstance(root, dict):
            return {}
        key = (file, id(root["Values"]) if "Values" in root else id(root))
        if key not in self._modules:
            self._modules[key] = {}
            context = self._context(template, self._names(root, root))
            for _ in template.root_render_func(context):
                pass
            self._modules[key] = dict(context.vars)
        return self._modules[key]

    @property
    def _tpl(self) -> Callable[..., Any]:
        @pass_context
        def tpl(context: Context, source: Any, ctx: Any = _ROOT) -> Text:
            body = string(source, "the text of a template")
            if "{{" not in body and "{%" not in body and "{#" not in body:
                return Text(body)
            with self._deeper("tpl"):
                template = self.env.from_text(body, context.name or "")
                names = self._overlaid(context["root"], ctx)
                # The text belongs to the values, so what it prints belongs to the place that calls tpl.
                return Text(str(self.concat(template.root_render_func(self._context(template, names)))))

        return tpl

    def _deeper(self, what: str) -> _Depth:
        return _Depth(self, what)


class _Depth:
    """Counts how deep templates call each other."""

    def __init__(self, engine: Engine, what: str) -> None:
        self.engine = engine
        self.what = what

    def __enter__(self) -> None:
        self.engine.depth += 1
        if self.engine.depth > self.engine.limits.include_depth:
            self.engine.depth -= 1
            limit = self.engine.limits.include_depth
            self.engine.trouble.record(
                self.engine.trouble.here(),
                f"{self.what} is nested more than {limit} deep",
                "it seems to include itself",
            )
            raise Abort

    def __exit__(self, *_: object) -> None:
        self.engine.depth -= 1


class _Environment(Dialect):
    """The dialect bound to an engine: its templates, its way of printing, its secret references."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        super().__init__(loader=_Loader(engine))
        self.concat = engine.concat  # type: ignore[method-assign]
        self.emit = engine.emit  # type: ignore[method-assign]
        self._texts: dict[tuple[str, str], Template] = {}
        for scope in engine.scopes:
            for name, value in scope.root.items():
                if name not in ("Files", "Subcharts"):
                    self._remember(value, name)

    def _remember(self, value: Any, path: str) -> None:
        if isinstance(value, dict):
            self.paths[id(value)] = path
            for key, item in value.items():
                self._remember(item, f"{path}.{key}")
        elif isinstance(value, list):
            self.paths[id(value)] = path
            for index, item in enumerate(value):
                self._remember(item, f"{path}[{index}]")

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        # Contexts find them here.
        return {}

    def joined(self, parts: tuple[Any, ...]) -> str:
        return self.engine.joined(parts)

    def bare(self, value: Any) -> Any:
        if isinstance(value, Missing):
            raise UndefinedValue(value)
        self.engine.tokens.guard(value)
        return value

    def join_path(self, template: str, parent: str) -> str:
        """The full name of a template of the same chart."""
        parent = parent.removeprefix("tpl:")
        scope = self.engine.scope_of.get(parent)
        if scope is None:
            return template
        own = scope.templates
        for name in (
            f"{scope.prefix}/templates/{template}",
            f"{parent.rpartition('/')[0]}/{template}",
            f"{scope.prefix}/{template}",
            template,
        ):
            if name in own:
                return name
        return f"\0{template}"

    def from_text(self, source: str, caller: str) -> Template:
        """The compiled template of a text given to tpl."""
        key = (source, caller)
        if key not in self._texts:
            if len(self._texts) > 500:
                self._texts.clear()
            name = "tpl:" + caller.removeprefix("tpl:")
            try:
                code = self.compile(source, name, name)
            except TemplateSyntaxError as error:
                error.source = source
                raise
            self._texts[key] = Template.from_code(self, code, self.make_globals(None), None)
        return self._texts[key]


def _unpacked(codes: bytes) -> dict[str, CodeType]:
    if not codes:
        return {}
    try:
        found = marshal.loads(codes)
    except (ValueError, EOFError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


class _Loader:
    """As Jinja2's own, which come with ways to find files and packages."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def load(self, environment: Environment, name: str, globals: MutableMapping[str, Any] | None = None) -> Template:
        code = self.engine.codes.get(name)
        if code is None:
            source, _, _ = self.get_source(environment, name)
            code = environment.compile(source, name, name)
            self.engine.codes[name] = code
            self.engine.compiled = True
        return Template.from_code(environment, code, environment.make_globals(globals), None)

    def get_source(self, environment: Any, template: str) -> tuple[str, str, Callable[[], bool]]:
        source = self.engine.sources.get(template)
        if source is None:
            raise TemplateNotFound(template.removeprefix("\0"))
        return source, template, lambda: True
