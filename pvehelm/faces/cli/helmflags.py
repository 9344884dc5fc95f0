"""Flags of Helm's that are not here, and what does their work: for who types one."""

from __future__ import annotations

_COMMANDS = frozenset(
    (
        "install",
        "upgrade",
        "rollback",
        "uninstall",
        "list",
        "history",
        "status",
        "template",
        "lint",
        "pull",
        "package",
        "test",
    )
)
_REPOSITORY = (
    "`pvehelm repo add` keeps the credentials and certificates of a repository, `registry login` those of a registry"
)
_CLUSTER = "--context names the Proxmox host; `pvehelm context add` makes one"
_INSTEAD = (
    ("username password ca-file cert-file key-file insecure-skip-tls-verify pass-credentials plain-http", _REPOSITORY),
    ("kube-context kubeconfig kube-apiserver kube-token kube-as-user kube-ca-file", _CLUSTER),
    ("burst-limit qps", "connections are limited by themselves, per node"),
    (
        "force force-replace force-conflicts",
        "--replace KIND/NAME makes one object anew; fields of others are left alone",
    ),
    ("all", "list shows every status; --deployed, --failed and --uninstalled choose"),
    ("cleanup-on-fail", "--rollback-on-failure brings the last deployed revision back"),
    ("disable-openapi-validation", "manifests are always checked against the schema of Proxmox VE"),
    ("enable-dns", "templates do not ask the network"),
    ("hide-secret", "secrets are never shown"),
    ("keyring", "keys belong to a repository: `pvehelm repo add --key`; `pvehelm verify` checks a package by itself"),
    ("server-side", "only owned fields are written, whoever wrote the others"),
    ("skip-crds", "crds/ are for Kubernetes and never installed"),
    (
        "verify",
        "packages are verified as soon as their repository names its keys; `pvehelm verify` checks one by itself",
    ),
    ("wait-for-jobs", "hooks are always waited for"),
)


def instead(command: str, flag: str) -> str:
    """What to do instead of giving ``command`` this flag; "" for what is none of Helm's."""
    if command not in _COMMANDS:
        return ""
    return next((what for flags, what in _INSTEAD if flag in flags.split()), "")
