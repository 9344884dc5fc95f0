"""External metric servers."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import Call, handler
from pvehelm.simulator.sections import Section, options

_SERVER = "/cluster/metrics/server/{id}"
_SERVERS = Section(
    collection="metric_servers",
    key="id",
    options=options(
        {
            "graphite": ("disable mtu path port proto server timeout", "server port"),
            "influxdb": (
                "api-path-prefix bucket disable influxdbproto max-body-size mtu organization port server timeout token "
                "verify-certificate",
                "port server",
            ),
            "opentelemetry": (
                "disable otel-compression otel-headers otel-max-body-size otel-path otel-protocol "
                "otel-resource-attributes otel-timeout otel-verify-ssl port server",
                "server port",
            ),
        }
    ),
    exists="Metric server '{id}' already exists",
    missing="no such server '{id}'",
    secrets=frozenset({"token"}),
)


@handler("GET", "/cluster/metrics/server")
def servers(call: Call) -> Any:
    fields = ("type", "server", "port")
    return [
        {"id": name, "disable": int(document.get("disable", 0)), **{f: document[f] for f in fields if f in document}}
        for name, document in call.state.collection("metric_servers").items()
    ]


@handler("GET", _SERVER)
def get_server(call: Call) -> Any:
    found = call.found("metric_servers", call.str("id"), f"status server entry '{call.str('id')}' does not exist")
    return {name: value for name, value in found.items() if name != "token"}


@handler("POST", _SERVER)
def create_server(call: Call) -> None:
    _SERVERS.save(call, call.str("id"), _SERVERS.new(call, call.str("id"), call.str("type")))


@handler("PUT", _SERVER)
def update_server(call: Call) -> None:
    _SERVERS.save(call, call.str("id"), _SERVERS.changed(call, call.str("id")))


@handler("DELETE", _SERVER)
def delete_server(call: Call) -> None:
    if call.str("id") not in call.state.collection("metric_servers"):
        call.fail("cannot lookup undefined type!")
    del call.state.collection("metric_servers")[call.str("id")]
