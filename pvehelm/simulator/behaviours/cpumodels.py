"""Custom CPU models of the cluster."""

from __future__ import annotations

import re
from typing import Any

from pvehelm.api.formats import facts
from pvehelm.simulator.core import CPU_MODELS, MODIFIED, Call, handler

_MODEL = "/cluster/qemu/custom-cpu-models/{cputype}"


def _model_name(call: Call) -> str:
    return call.str("cputype").removeprefix("custom-")


def _model(call: Call) -> dict[str, Any]:
    return call.found(CPU_MODELS, _model_name(call), f"custom CPU model '{_model_name(call)}' does not exist")


def _written(document: dict[str, Any]) -> dict[str, Any]:
    """A flag that is off is not written down."""
    return {name: value for name, value in document.items() if name != "hidden" or value}


@handler("GET", "/cluster/qemu/custom-cpu-models")
def models(call: Call) -> Any:
    return [
        {"cputype": f"custom-{name}", **document, "digest": call.digest_of(CPU_MODELS)}
        for name, document in call.state.collection(CPU_MODELS).items()
        if call.may(f"/mapping/cpu/custom-{name}", "Mapping.Audit", "Mapping.Use", "Mapping.Modify")
    ]


# Whose the models of a name are, as far as they are somebody's.
_VENDORS = {
    "AuthenticAMD": r"EPYC|Opteron|athlon|phenom",
    "default": r"host|max|kvm\d|qemu\d|x86-64-v\d",
}


def vendor(model: str) -> str:
    return next((name for name, pattern in _VENDORS.items() if re.match(pattern, model)), "GenuineIntel")


@handler("GET", "/nodes/{node}/capabilities/qemu/cpu")
def usable_models(call: Call) -> Any:
    """Every model that a guest may have: those of the processor emulator, and the cluster's own."""
    own = {
        f"custom-{name}": vendor(document.get("reported-model", "kvm64"))
        for name, document in call.state.collection(CPU_MODELS).items()
        if call.may(f"/mapping/cpu/custom-{name}", "Mapping.Audit", "Mapping.Use", "Mapping.Modify")
    }
    known = {name: vendor(name) for name in sorted(facts.words("cpu_models"))}
    return [
        {"name": name, "vendor": whose, "custom": int(name in own)}
        | ({"abstract": 1} if name.startswith("x86-64-v") else {})
        for name, whose in {**known, **own}.items()
    ]


@handler("GET", _MODEL)
def get_model(call: Call) -> Any:
    return {"cputype": f"custom-{_model_name(call)}", **_model(call), "digest": call.digest_of(CPU_MODELS)}


@handler("POST", "/cluster/qemu/custom-cpu-models")
def create_model(call: Call) -> None:
    found = call.state.collection(CPU_MODELS)
    if _model_name(call) in found:
        call.fail(f"custom CPU model '{_model_name(call)}' already exists")
    found[_model_name(call)] = _written(call.sent("cputype"))


@handler("PUT", _MODEL)
def update_model(call: Call) -> None:
    document = _model(call)
    call.check_digest(call.digest_of(CPU_MODELS), MODIFIED)
    for name in call.list("delete"):
        if call.operation.param(name) is None or name in ("cputype", "delete", "digest"):
            call.fail(f"no such option '{name}'")
        document.pop(name, None)
    call.state.collection(CPU_MODELS)[_model_name(call)] = _written({**document, **call.sent("cputype")})


@handler("DELETE", _MODEL)
def delete_model(call: Call) -> None:
    _model(call)
    del call.state.collection(CPU_MODELS)[_model_name(call)]
    # A configuration that names a model which is gone is read without it.
    guests = call.state.collection("qemu")
    for vmid, guest in guests.items():
        named = str(guest["config"].get("cpu", "")).split(",")[0].removeprefix("cputype=")
        if named == f"custom-{_model_name(call)}":
            del guest["config"]["cpu"]
            guests[vmid] = guest
