"""repo, search, pull, push, verify, registry: where charts come from and go to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pvehelm.actions import repos as actions
from pvehelm.errors import NotFoundError, PvehelmError, UsageError
from pvehelm.faces import output
from pvehelm.faces.cli.command import SOURCE, Session, command, read_text

if TYPE_CHECKING:
    from pvehelm.chart.archives import Archive

SIDECARS = (".sig", ".minisig", ".prov")


def _group(help_: str) -> typer.Typer:
    return typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help=help_)


app = _group("Add, list, update and index chart repositories.")
search_app = _group("Search repositories for charts.")
registry_app = _group("Log in at OCI registries.")

Username = Annotated[str, typer.Option("-u", "--username", help="The user to log in as.", metavar="USER")]
Secret = Annotated[
    str,
    typer.Option(
        "--password-ref", help="Where the password is: secret://env/NAME or secret://file/PATH.", metavar="REF"
    ),
]
Stdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")]
CaFile = Annotated[str, typer.Option("--ca-file", help="The CA that signed its certificate.", metavar="PATH")]
CertFile = Annotated[str, typer.Option("--cert-file", help="The certificate to show it, for it alone.", metavar="PATH")]
KeyFile = Annotated[str, typer.Option("--key-file", help="The key of that certificate.", metavar="PATH")]
_ANY = "Take any certificate: anybody can be this server."
Keys = Annotated[
    list[str],
    typer.Option("--key", help="Public keys to trust: a file, 'ssh-ed25519 ...' or minisign's.", metavar="KEY"),
]


def hidden(what: str, instead: str) -> str:
    """A secret asked on the terminal. Raises UsageError where there is none."""
    if not sys.stdin.isatty():
        raise UsageError(f"there is no terminal to ask for it on: {what}", hint=instead)
    return str(typer.prompt(what, hide_input=True, err=True))


def _password(username: str, secret: str, from_stdin: bool) -> str | None:
    """The password for a user: none where a reference names it or there is no user."""
    if secret and from_stdin:
        raise UsageError("--password-ref and --password-stdin contradict each other")
    if (secret or from_stdin) and not username:
        raise UsageError("a password needs --username")
    if secret and not secret.startswith(("secret://env/", "secret://file/")):
        raise UsageError("--password-ref takes a reference, not the password", hint="secret://env/NAME, for example")
    if secret or not username:
        return None
    if from_stdin:
        return sys.stdin.readline().rstrip("\n")
    return hidden("Password", "--password-stdin or --password-ref secret://env/NAME")


def _keys(given: list[str]) -> tuple[str, ...]:
    """Public keys, each given as itself or as a file that holds some."""
    from pvehelm.chart.signing import public_keys

    found = []
    for key in given:
        is_text = key.startswith("ssh-") or (key.startswith("RW") and len(key) == 56)
        text = key if is_text else read_text(key)
        found += [one.text for one in public_keys(text, file="" if is_text else key)]
    return tuple(found)


def _places(*paths: str) -> list[str]:
    """Files by names that stay right wherever the next command is given."""
    return [str(Path(path).resolve()) if path else "" for path in paths]


# -- repo ------------------------------------------------------------------------------------------------------


@app.command()
@command()
def add(
    session: Session,
    name: Annotated[str, typer.Argument(help="What to call it.", metavar="NAME")],
    url: Annotated[str, typer.Argument(help="Where its index.yaml is.", metavar="URL")],
    username: Username = "",
    password_ref: Secret = "",
    password_stdin: Stdin = False,
    pass_credentials: Annotated[
        bool, typer.Option("--pass-credentials", help="The login is also for other hosts that its index names.")
    ] = False,
    ca_file: CaFile = "",
    cert_file: CertFile = "",
    key_file: KeyFile = "",
    insecure: Annotated[bool, typer.Option("--insecure-skip-tls-verify", help=_ANY)] = False,
    key: Keys = [],
    new: Annotated[bool, typer.Option("--new", help="Nothing is published there yet: it needs no index.")] = False,
    force_update: Annotated[bool, typer.Option("--force-update", help="Replace one of that name.")] = False,
) -> None:
    """Add a chart repository. A password comes by prompt, stdin or reference, never as an argument."""
    from pvehelm.chart.book import Repository

    if "://" not in url:
        if not Path(url).is_dir():
            raise PvehelmError(
                f"{url} is neither a web address nor a folder", hint="https://HOST/PATH, or a folder's path"
            )
        url = Path(url).resolve().as_uri()
    password = _password(username, password_ref, password_stdin)
    ca, cert, own = _places(ca_file, cert_file, key_file)
    keys = _keys(key)
    wanted = Repository(name, url, username, password_ref, ca, keys, cert, own, insecure, pass_credentials)
    made, prints, fresh = actions.repo_add(wanted, password=password, force=force_update, new=new)
    done = "has been added to your repositories" if fresh else "already exists with the same configuration, skipping"
    sys.stdout.write(f'"{made.name}" {done}\n')
    if prints:
        sys.stdout.write(f"its packages must be signed by {prints}\n")


@app.command("list")
@command("output")
def list_(session: Session) -> None:
    """List repositories."""
    rows = actions.repo_list()
    output.show(
        session.output,
        rows,
        lambda: output.table([(row["name"], row["url"]) for row in rows], ("NAME", "URL")),
    )


app.command("ls", hidden=True)(list_)


@app.command()
@command()
def remove(
    session: Session, names: Annotated[list[str], typer.Argument(help="Repositories.", metavar="NAME...")]
) -> None:
    """Remove repositories and what was kept of them."""
    actions.repo_remove(names)
    for name in names:
        sys.stdout.write(f'"{name}" has been removed from your repositories\n')


app.command("rm", hidden=True)(remove)


@app.command()
@command()
def update(
    session: Session, names: Annotated[list[str] | None, typer.Argument(help="Only these.", metavar="[NAME...]")] = None
) -> int:
    """Ask repositories what they offer now."""
    failed = 0
    for one in actions.repo_update(names or []):
        if one.error is not None:
            failed += 1
            output.error_text(one.error)
            sys.stderr.write(f'"{one.name}" could not be updated\n')
            continue
        sys.stdout.write(f'"{one.name}" {"has news" if one.changed else "is up to date"}\n')
        for problem in one.skipped:
            sys.stderr.write(f"  skipped {output.problem_text(problem, False)}\n")
        if one.warning:
            sys.stderr.write(f"  warning: {one.warning}\n")
    return 1 if failed else 0


app.command("up", hidden=True)(update)


@app.command()
@command()
def index(
    session: Session,
    directory: Annotated[str, typer.Argument(help="The folder of packages.", metavar="DIR")],
    url: Annotated[str, typer.Option("--url", help="The address it is served at.", metavar="URL")] = "",
    merge: Annotated[str, typer.Option("--merge", help="Another index whose versions stay.", metavar="FILE")] = "",
    key: Keys = [],
    as_json: Annotated[bool, typer.Option("--json", help="Write index.yaml as JSON, which is read faster.")] = False,
) -> None:
    """Make a folder of packages a repository: index.yaml, a sparse index, a page. Unchanged packages stay so."""
    from pvehelm.chart.publishing import write_files

    text = read_text(merge) if merge else None
    made = actions.repo_index(Path(directory), url=url, merge=text, keys=_keys(key), as_json=as_json)
    changed = write_files(Path(directory), made)
    sys.stdout.write(f"{len(changed)} files written\n" if changed else "nothing has changed\n")


# -- search ----------------------------------------------------------------------------------------------------


@search_app.callback()
def search() -> None:
    """Search repositories for charts."""


@search_app.command()
@command("output")
def repo(
    session: Session,
    words: Annotated[list[str] | None, typer.Argument(help="What to look for.", metavar="[WORD...]")] = None,
    regexp: Annotated[bool, typer.Option("-r", "--regexp", help="The word is a regular expression.")] = False,
    versions: Annotated[bool, typer.Option("-l", "--versions", help="All versions.")] = False,
    devel: Annotated[bool, typer.Option("--devel", help="Prereleases too.")] = False,
    version: Annotated[str, typer.Option("--version", help="A version or a range.", metavar="VERSION")] = "",
    fail: Annotated[bool, typer.Option("--fail-on-no-result", help="Exit with 1 when nothing is found.")] = False,
    widest: Annotated[
        int, typer.Option("--max-col-width", help="Cut columns to so many characters (0: what fits).", min=0)
    ] = 0,
) -> int:
    """Search the repositories for charts by name, description and keywords."""
    rows = actions.search(" ".join(words or []), regexp=regexp, every=versions, devel=devel, version=version)
    heads = ("NAME", "CHART VERSION", "APP VERSION", "DESCRIPTION")

    def people() -> None:
        if rows:
            fields = ("name", "version", "app_version", "description")
            cells = [[_cut(row[field], widest) for field in fields] for row in rows]
            output.table(cells, heads, spare=("APP VERSION",), prose=("DESCRIPTION",))
        else:
            sys.stdout.write("No results found\n")

    output.show(session.output, rows, people)
    return 1 if fail and not rows else 0


def _cut(text: str, widest: int) -> str:
    return text if not widest or len(text) <= widest else text[: max(widest - 3, 0)] + "..."[:widest]


# -- pull, push, verify ----------------------------------------------------------------------------------------


@command(*SOURCE)
def pull(
    session: Session,
    charts: Annotated[list[str], typer.Argument(help="REPO/CHART, oci://..., https://....", metavar="CHART...")],
    destination: Annotated[str, typer.Option("-d", "--destination", help="Where to write.", metavar="DIR")] = ".",
    untar: Annotated[bool, typer.Option("--untar", help="Unpack it there.")] = False,
    untardir: Annotated[
        str, typer.Option("--untardir", help="With --untar: the folder below --destination.", metavar="DIR")
    ] = "",
    prov: Annotated[bool, typer.Option("--prov", help="Its signatures too.")] = False,
    check: Annotated[bool, typer.Option("--verify", help="Check who signed it; see 'verify'.")] = False,
    key: Keys = [],
    keyring: Annotated[str, typer.Option("--keyring", help="PGP public keys for .prov.", metavar="FILE")] = "",
) -> None:
    """Fetch charts' packages. Digests are checked, and signatures where the repository has keys."""
    from pvehelm.chart.publishing import write

    for chart in charts:
        archive = actions.pull(chart, actions.Wish(**session.source), sidecars=prov or check)
        if check:
            _verify(archive.data, archive.sidecars, archive.url, key, keyring)
        folder = Path(destination)
        if untar:
            target = folder / untardir / archive.chart.metadata.name
            if target.exists():
                raise PvehelmError(f"{target} exists already", hint="choose another --destination, or remove it first")
            for path, data in archive.chart.raw.items():
                if (target / path).exists():
                    raise PvehelmError(f"{target / path}: to this disk it is the same file as another of the chart")
                write(target / path, data)
            sys.stdout.write(f"Unpacked: {target}\n")
        else:
            target = folder / archive.filename
            write(target, archive.data)
            for suffix, data in archive.sidecars.items() if prov else ():
                write(folder / (archive.filename + suffix), data)
            sys.stdout.write(f"Pulled: {target}\n")
        sys.stdout.write(f"Digest: sha256:{archive.sha256}\n")


def _opened(path: str) -> Archive:
    """A package that lies here, with the signatures beside it."""
    from pvehelm.chart.archives import Archive, opened

    data = _bytes(path)
    archive = opened(data, url=path)
    beside = {suffix: Path(path + suffix) for suffix in SIDECARS}
    return Archive(data, archive.chart, path, {s: place.read_bytes() for s, place in beside.items() if place.is_file()})


def _bytes(path: str) -> bytes:
    from pvehelm.chart.files import MAX_TOTAL

    place = Path(path)
    if not place.is_file():
        hint = "'pvehelm package' makes one of a folder" if place.is_dir() else ""
        raise NotFoundError(f"there is no file {path}", hint=hint)
    try:
        with place.open("rb") as file:
            return file.read(MAX_TOTAL + 1)
    except OSError as error:
        raise PvehelmError(f"can't read {path}: {error.strerror}") from None


@command()
def push(
    session: Session,
    package: Annotated[str, typer.Argument(help="The .tgz.", metavar="PACKAGE")],
    target: Annotated[
        str, typer.Argument(help="A folder, https://..., oci://... or git+https://...@BRANCH.", metavar="TARGET")
    ],
    url: Annotated[
        str, typer.Option("--url", help="The address that the folder or branch is served at.", metavar="URL")
    ] = "",
    index: Annotated[
        bool, typer.Option("--index", help="By PUT, bring the index there up to date, too, where no server does.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a version that is there already.")] = False,
) -> None:
    """Publish a package and the signatures beside it: to a folder, by HTTP PUT, to a registry, to a git branch."""
    for line in actions.push(_opened(package), target, url=url, force=force, index=index):
        sys.stdout.write(line + "\n")


@command()
def verify(
    session: Session,
    package: Annotated[str, typer.Argument(help="The .tgz, with its signature beside it.", metavar="PACKAGE")],
    key: Keys = [],
    keyring: Annotated[str, typer.Option("--keyring", help="PGP public keys for .prov.", metavar="FILE")] = "",
) -> None:
    """Check who signed a package: Ed25519 (OpenSSH, minisign) with --key, Helm's .prov by gpg."""
    archive = _opened(package)
    _verify(archive.data, archive.sidecars, package, key, keyring)


def _verify(data: bytes, sidecars: dict[str, bytes], name: str, key: list[str], keyring: str) -> None:
    ring = _bytes(keyring) if keyring else None
    for line in actions.verify(data, sidecars, name=name, keys=_keys(key), keyring=ring):
        sys.stdout.write(output.printable(line) + "\n")


# -- registry --------------------------------------------------------------------------------------------------

Host = Annotated[str, typer.Argument(help="HOST[:PORT].", metavar="HOST")]


@registry_app.command()
@command()
def login(
    session: Session,
    host: Host,
    username: Username = "",
    password_ref: Secret = "",
    password_stdin: Stdin = False,
    token_service: Annotated[
        str, typer.Option("--token-service", help="Another host that may have the login, for tokens.", metavar="HOST")
    ] = "",
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="Ask it over http, which anybody on the way can read and change.")
    ] = False,
    ca_file: CaFile = "",
    cert_file: CertFile = "",
    key_file: KeyFile = "",
    insecure: Annotated[bool, typer.Option("--insecure", help=_ANY)] = False,
) -> None:
    """Log in at a registry. The password comes by prompt, stdin or reference, never as an argument."""
    from pvehelm.chart.book import Login

    ca, cert, own = _places(ca_file, cert_file, key_file)
    if not (username or plain_http or insecure or ca or cert or own):
        raise UsageError("login needs --username")
    password = _password(username, password_ref, password_stdin)
    known = Login(username, password or "", password_ref, token_service, plain_http, ca, cert, own, insecure)
    actions.registry_login(host, known)
    sys.stdout.write("Login Succeeded\n" if username and not password_ref else f"What was said of {host} is kept\n")


@registry_app.command()
@command()
def logout(session: Session, host: Host) -> None:
    """Forget the login at a registry."""
    known = actions.registry_logout(host)
    sys.stdout.write(f"Removed the login at {host}\n" if known else f"There was no login at {output.printable(host)}\n")
