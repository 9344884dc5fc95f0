"""create vm|ct: a guest from flags; create NAME: a chart."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from pvehelm.actions import creating as actions
from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.cli import complete
from pvehelm.faces.cli import options as o
from pvehelm.faces.cli.command import Session, command, read_text
from pvehelm.faces.cli.manifests import APPLYING, applied, planned
from pvehelm.faces.cli.words import FirstWord

ALIASES = {
    "vms": "vm",
    "qemu": "vm",
    "virtualmachine": "vm",
    "cts": "ct",
    "lxc": "ct",
    "container": "ct",
}


class Create(FirstWord):
    other = ("NAME", "charts", "create", "Scaffold a chart.")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [ALIASES.get(args[0].lower(), args[0]), *args[1:]] if args else args)


app = typer.Typer(
    cls=Create,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Make a guest, or scaffold a chart: the first word decides.",
)
Words = Annotated[list[str], typer.Argument(help="The guest's name.", metavar="[NAME]")]
Name = Annotated[str, typer.Option("--name", help="The guest's name.")]
Node = Annotated[
    str,
    typer.Option(
        "--node", help="Its node; the template's or the emptiest when left out.", autocompletion=complete.nodes
    ),
]
Vmid = Annotated[int, typer.Option("--vmid", help="Its number; the next free one when left out.")]
Cores = Annotated[int, typer.Option("--cores", help="Processor cores.", min=0)]
Memory = Annotated[str, typer.Option("--memory", help="Memory: 2048 (MiB) or 2G.", metavar="SIZE")]
Disk = Annotated[list[str], typer.Option("--disk", help="A disk: STORAGE:SIZE[,KEY=VALUE...]; repeatable.")]
Net = Annotated[list[str], typer.Option("--net", help="A network device: BRIDGE[,KEY=VALUE...]; repeatable.")]
Tags = Annotated[list[str], typer.Option("--tag", help="Tags; repeatable.")]
Labels = Annotated[list[str], typer.Option("-l", "--label", "--labels", help="Labels: a=b,c=d; repeatable.")]
Text = Annotated[str, typer.Option("--notes", help="The guest's notes.")]
SshKey = Annotated[list[str], typer.Option("--ssh-key", help="A file of public keys; repeatable.", metavar="FILE")]
Ip = Annotated[str, typer.Option("--ip", help="dhcp, or an address with its length.")]
Gateway = Annotated[str, typer.Option("--gateway", help="The gateway.")]
Power = Annotated[bool, typer.Option("--start/--no-start", help="Whether it is started.")]
More = Annotated[list[str], typer.Option("--set", help="Further fields: onboot=true,agent=true.", metavar="KEY=VALUE")]
SetName = Annotated[str, typer.Option("--set-name", help="Put it into this set, instead of one of its own.")]
CREATING = ("namespace", "context", "named", "yes", *(flag for flag in APPLYING if flag != "replace"))


# What both kinds of guests are made with.
GUEST = {
    "name": (Name, ""),
    "node": (Node, ""),
    "vmid": (Vmid, 0),
    "cores": (Cores, 0),
    "memory": (Memory, ""),
    "disk": (Disk, []),
    "net": (Net, []),
    "tag": (Tags, []),
    "labels": (Labels, []),
    "notes": (Text, ""),
    "ssh_key": (SshKey, []),
    "ip": (Ip, ""),
    "gateway": (Gateway, ""),
    "start": (Power, True),
    "set_": (More, []),
    "set_name": (SetName, ""),
}


@app.command()
@command(*CREATING, flags=GUEST)
async def vm(
    session: Session,
    words: Words = [],
    template: Annotated[str, typer.Option("--template", help="The template to clone.", metavar="NAME")] = "",
    iso: Annotated[str, typer.Option("--iso", help="A medium to install from: STORAGE:iso/FILE.")] = "",
    user: Annotated[str, typer.Option("--user", help="Cloud-init's user.")] = "",
) -> int:
    """Make a virtual machine.

    pvehelm create vm --name web --template debian-12-template --memory 4G --cores 2
    """
    return await _made(session, _guest(session, "VirtualMachine", words, template=template, iso=iso, user=user))


@app.command()
@command(*CREATING, flags=GUEST)
async def ct(
    session: Session,
    words: Words = [],
    image: Annotated[str, typer.Option("--image", help="The OS template: STORAGE:vztmpl/FILE.")] = "",
    privileged: Annotated[bool, typer.Option("--privileged", help="A privileged container.")] = False,
) -> int:
    """Make a container. The first disk is its root.

    pvehelm create ct --name db --image local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst --disk local-lvm:8G
    """
    if privileged:
        # The flag is the word that it asks for.
        session.given["allow_privileged"] = [*session.given["allow_privileged"], "unprivileged"]
    return await _made(session, _guest(session, "Container", words, image=image, privileged=privileged))


def _guest(session: Session, kind: str, words: list[str], **own: Any) -> actions.Guest:
    """What the flags ask for; ``own`` are those of this kind alone."""
    given = session.given
    return actions.Guest(
        kind,
        _name(words, given["name"]),
        namespace=session.namespace,
        disks=given["disk"],
        networks=given["net"],
        tags=given["tag"],
        labels=_labels(given["labels"]),
        description=given["notes"],
        ssh_keys=_keys(given["ssh_key"]),
        power="" if given["start"] else "stopped",
        more=_more(given["set_"]),
        **{name: given[name] for name in ("node", "vmid", "cores", "memory", "ip", "gateway")},
        **own,
    )


async def _made(session: Session, guest: actions.Guest) -> int:
    from dataclasses import replace

    mode = o.dry_mode(session)
    resource = actions.manifest(guest)
    if mode == "client":
        data = resource.as_dict()
        output.show(session.output, data, lambda: output.emit_data(data, "yaml"), names=[resource.ref])
        return 0
    ctx = session.watch()
    if not guest.node:
        guest = replace(guest, node=await actions.place(ctx, guest))
        sys.stderr.write(f"node: {guest.node}\n")
        resource = actions.manifest(guest)
    result = await actions.create(ctx, resource, o.options(session, ctx), set_name=session.given["set_name"])
    if mode:
        return planned(session, result)
    applied(session, result, [resource])
    return 0


def _name(words: list[str], name: str) -> str:
    given = [*words, *([name] if name else [])]
    if len(given) != 1:
        hint = "pvehelm create vm --name web --template debian-12-template; create ct --name db --image VOLUME"
        raise UsageError("a guest needs one name", hint=hint)
    return given[0]


def _labels(texts: list[str]) -> dict[str, str]:
    from pvehelm.actions.releases import parse_labels

    return parse_labels(texts)


def _keys(paths: list[str]) -> list[str]:
    lines = [line.strip() for path in paths for line in read_text(path).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _more(texts: list[str]) -> dict[str, Any]:
    """``--set`` as Helm's."""
    from pvehelm.chart.values import ValueFlag, from_flags

    return dict(from_flags([ValueFlag("set", text) for text in texts]))
