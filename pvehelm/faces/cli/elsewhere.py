"""Commands and flags of kubectl's that are called otherwise here, or have no meaning here: for who types one."""

from __future__ import annotations

from collections.abc import Sequence

_CONTEXTS = {
    "get-contexts": "list",
    "get-clusters": "list",
    "get-users": "list",
    "view": "list",
    "use-context": "use",
    "use": "use",
    "current-context": "list",
    "set-context": "add",
    "set-cluster": "add",
    "set-credentials": "add",
    "delete-context": "remove",
    "delete-cluster": "remove",
}
_CONTEXT_HELP = "`pvehelm context list|use|add|remove`"
_PATCH = "`pvehelm patch vm/NAME -p '{\"spec\": {...}}'` changes fields, `pvehelm edit` opens the manifest"
_LIVE = "`pvehelm apply -f FILE` changes what is there in place; `--replace KIND/NAME` makes it anew"
_EXEC = (
    "a hook of kind GuestExec runs a command in a guest; by hand: `pvehelm api post /nodes/NODE/qemu/VMID/agent/exec "
    "command=...`"
)
_NODES = "a node's guests go elsewhere by `pvehelm migrate vms --all --to NODE`; HA has a maintenance mode of its own"
_INSTEAD: dict[str, str] = {
    "config": f"contexts: {_CONTEXT_HELP}",
    "cluster-info": "`pvehelm context test` asks the server who it is; `pvehelm get nodes`",
    "api-versions": "there is one, proxmox.io/v1; `pvehelm api-resources` lists its kinds",
    "run": "`pvehelm create vm NAME --template TEMPLATE`, or `create ct`",
    "replace": _LIVE,
    "set": _PATCH,
    "scale": "replicas are a chart's value: `pvehelm upgrade RELEASE --set replicas=N`; one guest: shutdown, start",
    "autoscale": "nothing scales by itself here; replicas are a chart's value",
    "expose": "services are Kubernetes'; a guest has addresses of its own: `pvehelm describe vm/NAME`",
    "exec": _EXEC,
    "attach": _EXEC,
    "debug": _EXEC,
    "cp": _EXEC,
    "port-forward": "a guest has an address of its own: `pvehelm describe vm/NAME`",
    "proxy": "`pvehelm api get PATH` calls the API; `pvehelm simulator serve` serves a simulated one",
    "drain": _NODES,
    "cordon": _NODES,
    "uncordon": _NODES,
    "taint": _NODES,
    "events": "`pvehelm tasks list` (--guest, --errors, --since), `pvehelm status RELEASE --events`",
    "kustomize": "a chart has values, and --post-renderer; sets of files: `pvehelm apply -f FOLDER -R`",
    "plugin": "there are no plugins; `--post-renderer` runs a program of yours",
    "options": "`pvehelm COMMAND --help` lists every flag",
    "certificate": "certificates of nodes are kinds: `pvehelm explain ACMECertificate`",
    "ps": "`pvehelm get guests`",
    **dict.fromkeys(("release", "releases"), "`pvehelm list` shows releases; install, upgrade, rollback, status NAME"),
}
_ROLLOUT = {
    "undo": "`pvehelm rollback RELEASE [REVISION]`",
    "history": "`pvehelm history RELEASE`",
    "status": "`pvehelm status RELEASE`, or `pvehelm wait vm/NAME --for ready`",
    "restart": "`pvehelm reboot vm/NAME`, or `pvehelm upgrade RELEASE --reboot if-needed`",
}


def instead(words: Sequence[str]) -> str:
    """What to do instead of a command that there is not; "" for what is none of theirs."""
    verb, then = words[0], words[1] if len(words) > 1 else ""
    if verb == "config" and then in _CONTEXTS:
        return f"`pvehelm context {_CONTEXTS[then]}`"
    if verb == "rollout":
        return _ROLLOUT.get(then, "; ".join(_ROLLOUT.values()))
    return _INSTEAD.get(verb, "")


_TASKS = "tasks are always waited for; Ctrl-C leaves what runs to `pvehelm recover`"
_FLAGS = (
    ("delete", "wait now", _TASKS),
    ("delete", "force grace-period", "a guest that runs is stopped at once; `pvehelm shutdown NAME` first is gentler"),
    ("delete", "cascade", "what belongs together is a release: `pvehelm uninstall NAME`; `--purge` for jobs and HA"),
    ("apply create", "k kustomize", "a chart has values, and --post-renderer; folders of files: -f FOLDER -R"),
    ("apply", "force", "--replace KIND/NAME makes one object anew"),
    ("apply", "l selector", "--prune removes what the set has and the files do not; --target KIND/NAME chooses"),
    ("apply", "prune-allowlist all", "a set knows what is its own: --prune takes nothing else"),
    ("apply create edit", "server-side force-conflicts field-manager", "only owned fields are written"),
    ("apply create edit delete", "record", "history keeps every revision, --description says what for"),
    ("apply create", "validate", "manifests are always checked; `pvehelm validate -f FILE` needs no server"),
    ("create", "f filename", "`pvehelm apply -f FILE` makes what is not there; again, it changes what differs"),
    ("edit", "o output", "`pvehelm get KIND/NAME -o yaml` prints the manifest that edit opens"),
    ("template", "dry-run", "--validate asks the server; `pvehelm plan install NAME CHART` says what would be done"),
    ("get delete describe", "raw", "`pvehelm api get PATH`"),
    ("get describe", "chunk-size server-print subresource show-managed-fields", "lists come whole, by few requests"),
    ("logs", "since since-time timestamps prefix", "`pvehelm tasks list --since 1h`, then `pvehelm tasks log UPID`"),
    (
        "logs",
        "p previous",
        "`pvehelm tasks list --guest NAME` lists earlier tasks, `tasks log UPID` prints one",
    ),
    ("logs", "c container all-containers l selector", "one task at a time: `pvehelm tasks list` has them all"),
    ("version", "client short", "`pvehelm version`; the server's is in `pvehelm context test`"),
    ("auth", "A all-namespaces", "-n NAMESPACE asks about one; without, about guests of none"),
    ("", "kubeconfig cluster user token server as as-group", "--context names the Proxmox host; `pvehelm context add`"),
    ("", "debug", "PVEHELM_DEBUG=1 in the environment shows where an error happened"),
    ("", "request-timeout", "--timeout bounds a whole command"),
)


def flag(command: str, name: str) -> str:
    """What to do instead of giving a command this flag; "" for what is none of kubectl's."""
    verb = command.partition(" ")[0]
    return next(
        (what for verbs, names, what in _FLAGS if name in names.split() and verb in (verbs.split() or [verb])), ""
    )


def extra(command: str, word: str, *, files: bool) -> str:
    """What to do instead of giving a command this word, where ``files`` says that it takes -f."""
    if files and word.endswith((".yaml", ".yml", ".json")):
        return f"manifests are named with -f {word}"
    if command == "list":
        return f"`pvehelm list -f {word}` chooses by name, `pvehelm status {word}` shows one"
    if command.startswith("create"):
        return "create vm, create ct, or create NAME for a chart; `pvehelm apply -f FILE` makes everything else"
    return ""
