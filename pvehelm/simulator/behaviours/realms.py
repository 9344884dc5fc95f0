"""Authentication realms and their synchronisation jobs' realm side. All realms share one digest."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import MODIFIED, Call, handler, split

_FIXED = ("pam", "pve")
_COMMENTS = {"pam": "Linux PAM standard authentication", "pve": "Proxmox VE authentication server"}
_PLUGINS = {"pam": {"plugin": "PVE::Auth::PAM"}}
_REQUIRED = {
    "ad": ("domain", "server1"),
    "ldap": ("base_dn", "server1", "user_attr"),
    "openid": ("client-id", "issuer-url"),
}
_COMMON = frozenset({"comment", "default"})
_DIRECTORY = _COMMON | {
    *split("base_dn bind_dn capath case-sensitive cert certkey filter group_classes group_dn group_filter"),
    *split("group_name_attr mode password port secure server1 server2 sslversion sync-defaults-options"),
    *split("sync_attributes tfa user_attr user_classes verify"),
}
_OPTIONS: dict[str, frozenset[str]] = {
    "ad": _DIRECTORY | {"domain"},
    "ldap": _DIRECTORY,
    "openid": _COMMON
    | {
        *split("acr-values audiences autocreate client-id client-key groups-autocreate groups-claim"),
        *split("groups-overwrite issuer-url prompt query-userinfo scopes username-claim"),
    },
    "pam": _COMMON | {"tfa"},
    "pve": _COMMON | {"tfa"},
}
_CREATE_ONLY = {"openid": frozenset({"username-claim"})}
_SECRET = ("password",)
_CONTROL = ("realm", "type", "delete", "digest", "check-connection")


def _sent(call: Call, kind: str, prefix: str) -> dict[str, Any]:
    found = {}
    for name, value in call.args.items():
        if name in _CONTROL:
            continue
        if name not in _OPTIONS.get(kind, frozenset()):
            call.fail(f"{prefix}unexpected property '{name}'")
        found[name] = call.typed(name)
        if name == "sync-defaults-options":
            found[name] = ",".join(sorted(str(value).split(",")))
    return found


def _only_default(call: Call, realm: str) -> None:
    domains = call.state.collection("domains")
    for other, document in domains.items():
        if other != realm and document.pop("default", None) is not None:
            domains[other] = document


@handler("GET", "/access/domains")
def listed(call: Call) -> Any:
    found = []
    for realm, document in call.state.collection("domains").items():
        row = {"realm": realm, "type": document["type"]}
        comment = document.get("comment") or _COMMENTS.get(realm)
        row.update({"comment": comment} if comment else {})
        row.update({"default": document["default"]} if document.get("default") else {})
        if document.get("tfa"):
            row["tfa"] = str(document["tfa"]).partition("type=")[2].partition(",")[0]
        found.append(row)
    return found


@handler("GET", "/access/domains/{realm}")
def get(call: Call) -> Any:
    realm = call.str("realm")
    document = call.found("domains", realm, f"domain '{realm}' does not exist")
    shown = {name: value for name, value in document.items() if name not in _SECRET}
    if realm in _COMMENTS:
        shown.setdefault("comment", _COMMENTS[realm])
    return {**shown, "digest": call.digest_of("domains")}


@handler("POST", "/access/domains")
def create(call: Call) -> None:
    prefix = "add auth server failed: "
    realm, kind = call.str("realm"), call.str("type")
    domains = call.state.collection("domains")
    if realm in domains:
        call.fail(f"{prefix}domain '{realm}' already exists")
    if kind in _FIXED:
        call.fail(f"{prefix}unable to create builtin type '{kind}'")
    sent = _sent(call, kind, prefix)
    for name in _REQUIRED.get(kind, ()):
        if name not in sent:
            call.fail(f"{prefix}missing value for required option '{name}'")
    domains[realm] = {"type": kind, **sent}
    if sent.get("default"):
        _only_default(call, realm)


@handler("PUT", "/access/domains/{realm}")
def update(call: Call) -> None:
    prefix = "update auth server failed: "
    realm = call.str("realm")
    domains = call.state.collection("domains")
    document = call.found("domains", realm, f"{prefix}domain '{realm}' does not exist")
    call.check_digest(call.digest_of("domains"), prefix + MODIFIED)
    kind = document["type"]
    sent = _sent(call, kind, prefix)
    if not sent and not call.list("delete") and not call.has("password"):
        call.fail(f"{prefix}no options specified")
    for name in call.list("delete"):
        if name in _REQUIRED.get(kind, ()):
            call.fail(f"{prefix}unable to delete required option '{name}'")
        if name in sent:
            call.fail(f"{prefix}unable to set and delete '{name}' at the same time")
        document.pop(name, None)
    for name in _CREATE_ONLY.get(kind, frozenset()) & sent.keys():
        if sent[name] != document.get(name):
            call.fail(f"{prefix}can't change value of fixed parameter '{name}'")
    document.update(sent)
    if sent.get("comment") == "":
        document.pop("comment")
    domains[realm] = document
    if sent.get("default"):
        _only_default(call, realm)


@handler("DELETE", "/access/domains/{realm}")
def delete(call: Call) -> None:
    realm = call.str("realm")
    domains = call.state.collection("domains")
    if realm not in domains:
        call.fail(f"delete auth server failed: authentication domain '{realm}' does not exist")
    del domains[realm]
    if realm in _COMMENTS:  # the built-in ones come back at once, as they were
        domains[realm] = {"type": realm, "comment": _COMMENTS[realm], **_PLUGINS.get(realm, {})}


@handler("POST", "/access/domains/{realm}/sync")
def sync(call: Call) -> str:
    realm = call.str("realm")
    document = call.state.collection("domains").get(realm)
    if document is None:
        call.bad(realm="Realm does not exist.")
    if document["type"] not in ("ad", "ldap"):
        call.fail(f"Cannot sync realm '{realm}': not an LDAP or AD realm")
    usual = {part.partition("=")[0] for part in str(document.get("sync-defaults-options") or "").split(",")}
    if not call.has("scope") and "scope" not in usual:
        call.bad(scope="Not passed as parameter and not defined in realm default sync options.")
    return call.task("auth-realm-sync", realm, lambda log: log(f"starting sync for realm {realm}"))
