"""Words that kubectl's users have for kinds: their long form, and kinds of Kubernetes' that are not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pvehelm.errors import NotFoundError

if TYPE_CHECKING:
    from pvehelm.api.kind import Kind
    from pvehelm.api.kinds import Kinds

GROUP = ".proxmox.io"

_INSTEAD = (
    ("pod pods po", "guests: `pvehelm get guests`, or vms and cts"),
    (
        "deployment deployments deploy statefulset statefulsets sts daemonset daemonsets ds replicaset replicasets rs",
        "guests of one sort are a chart's: `pvehelm list` shows releases, `get guests -l release=NAME` their guests",
    ),
    ("service services svc ingress ingresses ing", "a guest has addresses of its own: `pvehelm describe vm/NAME`"),
    ("configmap configmaps cm", "`pvehelm get values RELEASE` shows what a release was told"),
    ("secret secrets", "`pvehelm secret list RELEASE` lists what a release keeps sealed"),
    ("event events ev", "`pvehelm tasks list`, `pvehelm status RELEASE --events`"),
    ("persistentvolume persistentvolumes pv persistentvolumeclaim persistentvolumeclaims pvc", "disks are a guest's"),
    ("storageclass storageclasses sc", "`pvehelm get storages`"),
    ("networkpolicy networkpolicies netpol", "`pvehelm get firewallrules --scope all`"),
    ("job jobs cronjob cronjobs cj", "`pvehelm get backupjobs`; what runs once is a hook of a chart"),
    ("serviceaccount serviceaccounts sa", "`pvehelm get users`, or tokens"),
    ("clusterrole clusterroles rolebinding rolebindings clusterrolebinding clusterrolebindings", "roles and acls"),
    ("crd crds customresourcedefinition customresourcedefinitions", "`pvehelm api-resources` lists the kinds"),
    ("bridge bridges bond bonds vlan vlans", "`pvehelm get networks`; those of the whole cluster are vnets"),
    ("disk disks", "disks are a guest's: `pvehelm describe vm/NAME`"),
    ("backup backups", "`pvehelm get volumes`; `pvehelm get backupjobs`"),
    ("iso isos", "`pvehelm get images`"),
    ("all", "`get all` takes no other word; guests --all, or a release's name"),
)


def plain(word: str) -> str:
    """A kind's word without the group that kubectl puts behind it: ``vms.proxmox.io``, ``vms.v1.proxmox.io``."""
    lowered = word.lower()
    return lowered.removesuffix(GROUP).removesuffix(".v1") if lowered.endswith(GROUP) else word


def kind_of(kinds: Kinds, word: str) -> Kind:
    """The kind that a word names. Raises NotFoundError, which for one of Kubernetes' says what there is here."""
    word = plain(word)
    instead = next((what for words, what in _INSTEAD if word.lower() in words.split()), "")
    if instead and word not in kinds:
        raise NotFoundError(f"there is no kind '{word}'", hint=instead)
    return kinds.get(word)
