"""The generator: code of templates that yields pieces with their places, and the tag ``define``."""

from __future__ import annotations

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame, operators
from jinja2.ext import Extension
from jinja2.parser import Parser

from pvehelm.chart.dialect import DEFINE, define_key
from pvehelm.chart.traced import DATA, unpack


class Define(Extension):
    """``{% define "name" %}...{% enddefine %}``: compiled like a block, printed only by ``include``."""

    tags = {"define"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        start = next(parser.stream)
        token = parser.stream.current
        if token.type != "string":
            parser.fail('define takes the name of the template in quotes: {% define "app.labels" %}', token.lineno)
        next(parser.stream)
        block = nodes.Block(lineno=start.lineno)
        block.name = define_key(token.value)
        block.scoped = block.required = False
        block.body = parser.parse_statements(("name:enddefine",), drop_needle=True)
        return block


class Generator(CodeGenerator):
    """Writes code that yields pieces."""

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:
        if frame.require_output_check:
            if self.has_known_extends:
                return
            self.writeline("if parent_template is None:")
            self.indent()
        if frame.buffer is not None:
            self.writeline(f"{frame.buffer}.extend((")
            self.indent()
        for child in node.nodes:
            place = nodes.Output(lineno=leftmost(child))
            if frame.buffer is None:
                self.writeline("yield ", place)
            else:
                self.newline(place)
            if isinstance(child, nodes.TemplateData):
                self.write(f"({self.name!r}, {child.lineno}, {child.data!r}, {DATA})")
            else:
                self.write(f"environment.emit({self.name!r}, {place.lineno}, ")
                self.visit(child, frame)
                self.write(", True)" if _is_given(child) else ")")
            if frame.buffer is not None:
                self.write(",")
        if frame.buffer is not None:
            self.outdent()
            self.writeline("))")
        if frame.require_output_check:
            self.outdent()

    def position(self, node: nodes.Node) -> str:
        return f"line {unpack(node.lineno)[0]}"

    def start_write(self, frame: Frame, node: nodes.Node | None = None) -> None:
        # What {% filter %} and {% call %} print; it is text of the template, not a value.
        head = "yield " if frame.buffer is None else f"{frame.buffer}.append("
        position = node.lineno if node is not None else 0
        self.writeline(f"{head}environment.emit({self.name!r}, {position}, environment.captured(", node)

    def end_write(self, frame: Frame) -> None:
        self.write("))" if frame.buffer is None else ")))")

    def simple_write(self, s: str, frame: Frame, node: nodes.Node | None = None) -> None:
        head = "yield " if frame.buffer is None else f"{frame.buffer}.append("
        self.writeline(f"{head}{s}" + ("" if frame.buffer is None else ")"), node)

    def visit_Block(self, node: nodes.Block, frame: Frame) -> None:
        if not node.name.startswith(DEFINE):
            super().visit_Block(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        self.write("(environment.bare(")
        self.visit(node.expr, frame)
        self.write(")")
        for operand in node.ops:
            self.write(f" {operators[operand.op]} environment.bare(")
            self.visit(operand.expr, frame)
            self.write(")")
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        self.write("environment.getitem(")
        self.visit(node.node, frame)
        self.write(", ")
        if isinstance(node.arg, nodes.Slice):
            self.write("slice(")
            for part in (node.arg.start, node.arg.stop, node.arg.step):
                if part is None:
                    self.write("None")
                else:
                    self.visit(part, frame)
                self.write(", ")
            self.write(")")
        else:
            self.visit(node.arg, frame)
        self.write(")")


def _is_given(node: nodes.Node) -> bool:
    """Whether an expression is a place in the values, as it stands there."""
    below = False
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        node, below = node.node, True
    return below and isinstance(node, nodes.Name) and node.name == "Values"


def leftmost(node: nodes.Node) -> int:
    """Where an expression begins: Jinja2 places a filter or an attribute at its own name."""
    return min([node.lineno, *(part.lineno for part in node.find_all(nodes.Expr) if part.lineno)])
