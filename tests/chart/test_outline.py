"""A chart drawn from manifests renders just these manifests."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart.chart import from_files
from pvehelm.chart.outline import outline
from pvehelm.chart.render import Capabilities, ReleaseInfo, render
from pvehelm.chart.values import coalesce, validate
from pvehelm.errors import UsageError

NAMES = st.from_regex(r"[a-z]{1,6}(-[0-9]{1,2})?", fullmatch=True)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12),
    st.sampled_from(
        ["{{ no }}", "{% raw %}", "{# x #}", "yes", "null", "0123", "1e3", ": a", "- b", "a\nb\n", "#", "~"]
    ),
)
PLAIN = st.one_of(st.integers(-5, 99), st.booleans(), TEXTS)
ROWS = st.lists(st.dictionaries(st.sampled_from(["slot", "size", "tag", "items"]), PLAIN, min_size=1), max_size=3)
SPECS = st.fixed_dictionaries(
    {"vmid": st.integers(100, 999), "node": st.sampled_from(["a", "b"])},
    optional={
        "memory": st.one_of(
            st.integers(16, 64), st.fixed_dictionaries({"size": st.integers(16, 64)}, optional={"swap": PLAIN})
        ),
        "cpu": st.dictionaries(st.sampled_from(["cores", "type", "values"]), PLAIN, min_size=1),
        "disks": ROWS,
        "tags": st.lists(TEXTS, max_size=2),
        "description": TEXTS,
        "features": st.dictionaries(st.sampled_from(["keyctl", "fuse"]), PLAIN, max_size=2),
    },
)


def rendered(files: dict[str, str], user: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """What a chart renders, its values checked against its schema."""
    chart = from_files({path: text.encode() for path, text in files.items()}, name="drawn")
    values = coalesce(chart, user or {})
    assert validate(chart, values) == []
    capabilities = Capabilities("9.2", ("VirtualMachine", "Pool", "SMTPEndpoint"), "0.1.0")
    made = render(chart, values, ReleaseInfo("drawn", "default"), capabilities, user_values=user or {}, sandbox=False)
    return [one.as_dict() for one in made.resources]


def manifest(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "proxmox.io/v1", "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def plain(documents: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(document, sort_keys=True) for document in documents)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(NAMES, SPECS, min_size=1, max_size=5),
    st.dictionaries(NAMES, st.dictionaries(st.sampled_from(["comment", "path"]), PLAIN), max_size=3),
)
def test_what_is_rendered_is_what_was_there(guests: dict[str, Any], pools: dict[str, Any]) -> None:
    documents = [manifest("VirtualMachine", name, spec) for name, spec in guests.items()]
    documents += [manifest("Pool", name, spec) for name, spec in pools.items()]
    files = outline("drawn", [(document, ()) for document in documents])
    assert plain(rendered(files)) == plain(documents), files


def test_secrets_are_left_for_the_user() -> None:
    documents = [
        manifest("VirtualMachine", "web", {"vmid": 100, "cloudInit": {"user": "x", "password": "secret://env/PW"}}),
        manifest("SMTPEndpoint", "mail", {"server": "m", "password": "secret://env/MAIL"}),
    ]
    files = outline("drawn", [(document, ["a note"]) for document in documents])
    assert "secret://" not in "".join(text for path, text in files.items() if path.startswith("templates/"))
    without = rendered(files)
    assert [document["spec"].get("password", "none") for document in without] == ["none", "none"]
    values = {"secrets": {"mailPassword": "m"}, "web": {"web": {"cloudInitPassword": "w"}}}
    given_ = {document["kind"]: document for document in rendered(files, values)}
    assert given_["VirtualMachine"]["spec"]["cloudInit"]["password"] == "w"
    assert given_["SMTPEndpoint"]["spec"]["password"] == "m"
    assert "* VirtualMachine/web: a note" in files["README.md"]


def test_a_name_that_is_none() -> None:
    with pytest.raises(UsageError, match="is no chart name"):
        outline("no name", [])
