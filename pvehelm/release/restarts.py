"""Restarts that are asked for (``--reboot if-needed``): of guests that run and have something waiting for their next
start, one after another, after the last change and before anything looks whether they are ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pvehelm.api.kind import Effect
from pvehelm.release.change import Change, Op, Plan
from pvehelm.release.inventory import GUEST_KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pvehelm.release.compare import Observed
    from pvehelm.release.hookrun import Job

RESTART = "restart"


def due(made: Plan, observed: Observed) -> list[str]:
    """The guests for which something that the release says counts at the next start only, by this plan or already."""
    found = []
    for change in made.changes:
        live = observed.live.get(change.ref)
        if change.kind not in GUEST_KINDS or change.op not in (Op.update, Op.keep) or live is None:
            continue
        owned = change.owned.fields if change.owned else {}
        if live.extra.get("status") == "running" and (change.effect is Effect.reboot or owned.keys() & live.pending):
            found.append(change.ref)
    return found


def restarting(release: str, refs: Sequence[str]) -> Change:
    """The restart of these guests as a change."""
    reason = f"restart {', '.join(refs)} where something waits for it"
    hook = {"event": RESTART, "guests": list(refs)}
    return Change(ref=f"{RESTART}:{release}", kind="Wait", op=Op.run, reason=reason, hook=hook)


async def restart(job: Job) -> None:
    """Do it. What does not run any more, or has nothing waiting, is left as it is."""
    from pvehelm.release.hookrun import TIMEOUT

    for ref in job.change.hook["guests"]:
        owned = job.inventory.get(ref)
        if owned is None:
            continue
        guest = await job.guest(owned)
        if guest.live.extra.get("status") != "running" or not guest.live.pending:
            continue
        job.ends = job.client.clock() + job.seconds(TIMEOUT)
        task = f"{'qm' if guest.flavour == 'qemu' else 'vz'}reboot {guest.vmid}"
        await job.call("POST", f"{guest.base}/status/reboot", {}, f"restart {ref}", task=task)
        job.say(f"{ref} (VMID {guest.vmid}): restarted for {', '.join(sorted(guest.live.pending))}")
