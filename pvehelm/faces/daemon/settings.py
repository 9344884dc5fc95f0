"""The settings of a reconciler: one document of kind Reconciler, beside the Syncs it follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pvehelm.durations import seconds
from pvehelm.errors import InvalidError, Problem, UsageError
from pvehelm.release.policy import Mode, Policy
from pvehelm.release.sync import FLAG, MAP, TEXT, TEXTS, Reading, Sync, documents, read

EVENTS = ("drift", "repair", "failure")
LISTEN = "127.0.0.1:9760"
FIELDS = {
    "policy": TEXT,
    "interval": "a time",
    "windows": TEXTS,
    "freezes": TEXTS,
    "timezone": TEXT,
    "jitter": "a number",
    "longestPause": "a time",
    "concurrency": "a number",
    "listen": TEXT,
    "heartbeat": "a time",
    "webhooks": "a list",
}
HOOK = {"url": TEXT, "secret": TEXT, "events": TEXTS, "attempts": "a number", "allowHttp": FLAG, "caFile": TEXT}


@dataclass(frozen=True)
class Webhook:
    """Where events are told. ``url`` and ``secret`` (of the signature) may be or hold references to secrets;
    ``allow_http``: plain http may leave this machine; ``ca_file``: PEM of an authority of one's own."""

    url: str
    secret: str = ""
    events: tuple[str, ...] = EVENTS
    attempts: int = 5
    allow_http: bool = False
    ca_file: str = ""


@dataclass(frozen=True)
class Settings:
    """How a reconciler works. ``jitter`` is a share of each pause, ``longest`` the longest pause after failures,
    ``heartbeat`` how often a worker of several says that it lives; times are in seconds. ``listen`` is HOST:PORT."""

    policy: Policy
    jitter: float = 0.1
    longest: float = 3600.0
    concurrency: int = 4
    listen: str = ""
    heartbeat: float = 10.0
    webhooks: tuple[Webhook, ...] = ()


@dataclass(frozen=True)
class File:
    """A text and the name that its problems are told by."""

    name: str
    text: str


def load(files: Sequence[File], *, namespace: str, policy: Policy) -> tuple[Settings, list[Sync]]:
    """The settings and the syncs of all files; ``policy`` counts where they say nothing.

    Raises InvalidError with every problem of every file."""
    problems: list[Problem] = []
    settings = Settings(policy)
    found: list[tuple[str, Reading]] = [pair for file in files for pair in _documents(file, problems)]
    reconcilers = [reading for kind, reading in found if kind == "Reconciler"]
    for reading in reconcilers[1:]:
        reading.problem((), "a second Reconciler; one is expected")
    if reconcilers:
        settings = _settings(reconcilers[0], settings)
    syncs: dict[tuple[str, str], Sync] = {}
    for kind, reading in found:
        if kind == "Sync":
            made = read(reading, namespace=namespace, default=settings.policy)
            if made is not None and (made.namespace, made.release) in syncs:
                reading.problem(("metadata", "name"), f"release {made.namespace}/{made.release} has two syncs")
            elif made is not None:
                syncs[made.namespace, made.release] = made
        elif kind != "Reconciler":
            reading.problem(("kind",), f"kind {kind!r}", "expected are Sync and Reconciler")
        problems += reading.problems
    if problems:
        raise InvalidError("the reconciler's files are not valid", problems)
    return settings, list(syncs.values())


def _documents(file: File, problems: list[Problem]) -> list[tuple[str, Reading]]:
    try:
        return list(documents(file.text, file.name))
    except InvalidError as error:
        problems += error.problems or (Problem(file.name, str(error), error.hint),)
        return []


def _settings(reading: Reading, base: Settings) -> Settings:
    top = reading.map(reading.document.data, (), {"apiVersion": TEXT, "kind": TEXT, "metadata": MAP, "spec": MAP})
    spec = reading.map(top.get("spec", {}), ("spec",), FIELDS)
    policy, made = base.policy, base
    for name in ("policy", "interval", "windows", "freezes", "timezone"):
        if name in spec:
            given = {**policy.to_json(), "mode" if name == "policy" else name: spec[name]}
            policy = reading.convert(("spec", name), partial(Policy.from_json, given)) or policy
    times = {"longestPause": "longest", "heartbeat": "heartbeat"}
    for name, field in times.items():
        if name in spec:
            value = reading.convert(("spec", name), partial(seconds, spec[name]))
            made = replace(made, **{field: value}) if value else made
    if not 0 <= spec.get("jitter", 0) <= 1:
        reading.problem(("spec", "jitter"), "jitter is a share of the interval, from 0 to 1")
    if spec.get("concurrency", 1) not in range(1, 65):
        reading.problem(("spec", "concurrency"), "concurrency is a number from 1 to 64")
    if "listen" in spec:
        reading.convert(("spec", "listen"), lambda: address(spec["listen"]))
    more: dict[str, Any] = {name: spec[name] for name in ("jitter", "concurrency", "listen") if name in spec}
    hooks = spec.get("webhooks", [])
    found = [_webhook(reading, ("spec", "webhooks", index), one) for index, one in enumerate(hooks)]
    return replace(made, policy=policy, webhooks=tuple(hook for hook in found if hook), **more)


def _webhook(reading: Reading, path: tuple[str | int, ...], data: Any) -> Webhook | None:
    spec = reading.map(data, path, HOOK)
    url = spec.get("url", "")
    if not url:
        reading.problem(path, "a webhook needs a url")
    elif "secret://" not in url:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            reading.problem((*path, "url"), f"{url!r} is no web address")
        elif parts.scheme == "http" and not spec.get("allowHttp") and not _local(parts.hostname):
            what = "it would be told over plain http"
            reading.problem((*path, "url"), what, "https://..., or allowHttp: true where the network is trusted")
        if parts.password:
            reading.problem((*path, "url"), "an address must not hold a password", "url: ${secret://env/NAME}")
    if spec.get("secret") and "secret://" not in spec["secret"]:
        reading.problem((*path, "secret"), "the secret must be a reference", "secret: secret://env/NAME")
    for index, event in enumerate(spec.get("events", ())):
        if event not in EVENTS:
            reading.problem((*path, "events", index), f"{event!r} is no event", f"one of {', '.join(EVENTS)}")
    if spec.get("attempts", 1) not in range(1, 21):
        reading.problem((*path, "attempts"), "attempts is a number from 1 to 20")
    events, ca_file = tuple(spec.get("events", EVENTS)), spec.get("caFile", "")
    if ca_file:
        reading.convert((*path, "caFile"), partial(_trusting, ca_file))
    if not url:
        return None
    return Webhook(url, spec.get("secret", ""), events, spec.get("attempts", 5), spec.get("allowHttp", False), ca_file)


def _trusting(ca_file: str) -> None:
    from pvehelm.chart.fetch import Tls

    Tls(ca_file).context(True)


def _local(host: str) -> bool:
    from pvehelm.chart.fetch import is_loopback

    return is_loopback(host)


def address(text: str) -> tuple[str, int] | None:
    """HOST:PORT taken apart; None for ``off``. Raises UsageError."""
    if text in ("", "off"):
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{text!r} is no address to listen at", hint="HOST:PORT, for example 127.0.0.1:9760, or off")
    return host.strip("[]") or "127.0.0.1", int(port)


def default_policy(mode: str) -> Policy:
    """Raises UsageError."""
    return Policy(Mode.of(mode)) if mode else Policy()
