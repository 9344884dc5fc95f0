"""The fetcher: how charts, indexes and registries are asked for over HTTP. The chart side's only door to the network.

Answers are bounded. Credentials belong to one origin (scheme, host and port): they go nowhere else, also not after a
redirect, and a redirect never leads from https to http or to something that is no web address. So do certificates of
ours, and the user's word that a server's certificate need not be checked.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from pvehelm.errors import ApiError, AuthError, InvalidError, NotFoundError, TransportError

if TYPE_CHECKING:
    import ssl

    import httpx

    from pvehelm.chart.partial import Partial

MAX_INDEX = 100 << 20
MAX_ARCHIVE = 100 << 20
MAX_SMALL = 4 << 20
MAX_REDIRECTS = 5
MAX_URL = 4096
#: How often in a row a download may break off without having brought more, and how often in all.
ATTEMPTS = 3
MAX_PIECES = 1000
#: Bytes a second below which nobody waits for ever.
SLOWEST = 1024
_PORTS = {"http": 80, "https": 443}
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password (or token). ``everywhere``: also for hosts where the repository says its packages
    are, though never after a redirect and never over http from an https repository."""

    user: str
    password: str = field(repr=False)
    everywhere: bool = False


class Tls(NamedTuple):
    """How a server over https is met, by files in PEM: the CA that its certificate is of (besides that, those known to
    the system count for other hosts), the certificate and key that we show it; ``unchecked`` takes any certificate."""

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    unchecked: bool = False

    def context(self, home: bool) -> ssl.SSLContext:
        """For the server itself, or (not ``home``) for another that it leads to. Raises InvalidError."""
        import ssl

        try:
            made = ssl.create_default_context(cafile=(self.ca_file or None) if home else None)
            if self.ca_file and not home:
                made.load_verify_locations(self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise InvalidError(f"{self.ca_file} holds no certificates that can be used: {error}") from None
        if home and self.cert_file:
            try:
                made.load_cert_chain(self.cert_file, self.key_file or None, password=_no_passphrase)
            except (OSError, ssl.SSLError) as error:
                files = " and ".join(filter(None, (self.cert_file, self.key_file)))
                what = f"{files} cannot be used as certificate and key: {error}"
                raise InvalidError(what, hint="both in PEM, belonging together, the key without a passphrase") from None
        if home and self.unchecked:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        return made


def _no_passphrase() -> str:
    # Without this OpenSSL would ask on the terminal.
    return ""


_PLAIN = Tls()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are in lower case, ``url`` is the one that answered in the end. ``resumed``: a part
    of the body was here already, from a download that was cut short."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    url: str
    resumed: bool = False


def origin(url: str) -> str:
    """``scheme://host:port`` of a web address. Raises InvalidError for what is none, or carries a password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidError(f"{_shown(url)} is no web address") from None
    if parts.scheme not in _PORTS or not parts.hostname or len(url) > MAX_URL or not _plain(url):
        raise InvalidError(f"{_shown(url)} is no web address", hint="it begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise InvalidError(
            f"{parts.scheme}://{parts.hostname}: a web address must not hold a password",
            hint="'pvehelm repo add --username' and 'registry login' keep credentials safely",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or _PORTS[parts.scheme]}"


def is_loopback(host: str) -> bool:
    """Whether ``host[:port]`` is this machine, where http is as good as https."""
    import ipaddress

    name = host.rsplit(":", 1)[0] if host.count(":") == 1 else host.partition("]")[0].removeprefix("[")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _plain(url: str) -> bool:
    return all(c.isprintable() and c not in ' \\"<>' for c in url)


def _shown(url: str) -> str:
    return repr(url if len(url) <= 200 else url[:200] + "...")


class _Pace:
    """How quickly an answer comes: a server that sends a byte now and then must not hold anybody for ever."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.began = time.monotonic()
        self.size = 0

    def slow(self, more: int) -> bool:
        """Whether it is too slow, now that ``more`` bytes have come: each ``patience`` counts by itself."""
        self.size += more
        passed = time.monotonic() - self.began
        if passed <= self.patience:
            return False
        enough = self.size >= passed * SLOWEST
        self.began, self.size = self.began + passed, 0
        return not enough


class Fetcher:
    """Asks one repository or registry; ``base`` is its address, to whose origin alone ``credentials`` go.

    ``tls`` is about the server at ``of``, by default the base's. A ``file://`` base reads files below it, and nothing
    else does. ``timeout`` is how many seconds an answer may stand still, ``patience`` how many it may be slower than
    ``SLOWEST``. Raises TransportError without an answer, AuthError, NotFoundError or ApiError for one that is no
    success, InvalidError for one that breaks the rules.
    """

    def __init__(
        self,
        base: str,
        credentials: Credentials | None = None,
        *,
        tls: Tls = _PLAIN,
        of: str = "",
        timeout: float = 30,
        patience: float = 120,
    ):
        self.base = base
        self.folder = local_path(base) if base.startswith("file:") else ""
        self.home = "" if self.folder else origin(base)
        self.credentials = credentials
        self.tls = tls
        self.server = origin(of) if of else self.home
        self.timeout = timeout
        self.patience = patience
        self._clients: dict[bool, httpx.Client] = {}

    def client(self, url: str) -> httpx.Client:
        """Who asks at an address: the server that ``tls`` is about with its certificates, others without."""
        # Where nothing is said of certificates one does for all.
        home = self.tls == _PLAIN or origin(url) == self.server
        if home not in self._clients:
            import httpx

            verify: Any = True if self.tls == _PLAIN else self.tls.context(home)
            self._clients[home] = httpx.Client(verify=verify, timeout=self.timeout, follow_redirects=False)
        return self._clients[home]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(
        self,
        url: str,
        *,
        limit: int,
        headers: Mapping[str, str] | None = None,
        encoded: bool = False,
        lasting: bool = False,
    ) -> Answer:
        """The answer to a GET, at most ``limit`` bytes; with ``encoded`` compressed on the way where the server can.

        304 is an answer, for who asked with a condition. A download that breaks off is resumed where it broke;
        ``lasting`` (not for what is ``encoded``) by another process too, for as long as the server says that it is
        the same still.
        """
        if url.startswith("file:"):
            return self._file(url, limit)
        if not lasting:
            return self._followed(url, limit, dict(headers or {}), encoded, None)
        from pvehelm.chart.partial import Partial

        partial, done = Partial(url), False
        try:
            answer = self._followed(url, limit, dict(headers or {}), False, partial)
            done = True
            return answer
        except InvalidError:
            done = True
            raise
        finally:
            partial.close(done=done)

    def _followed(
        self, url: str, limit: int, headers: dict[str, str], encoded: bool, partial: Partial | None
    ) -> Answer:
        named = origin(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._download(url, limit, {**self._headers(url, named), **headers}, encoded, partial)
            if answer.status not in (301, 302, 303, 307, 308):
                return _checked(answer, "GET")
            target = _redirected(url, answer)
            if origin(target) != origin(url):
                headers.pop("Authorization", None)
                named = ""
            url = target
        raise InvalidError(f"{_shown(url)}: more than {MAX_REDIRECTS} redirects")

    def _download(
        self, url: str, limit: int, headers: Mapping[str, str], encoded: bool, partial: Partial | None
    ) -> Answer:
        import httpx

        asked = {"Accept-Encoding": "gzip" if encoded else "identity", **headers}
        got = bytearray(partial.body if partial else b"")
        mark = partial.mark if partial else ""
        left = bool(got)
        vain = 0
        pace = _Pace(self.patience)
        for attempt in range(MAX_PIECES):
            before = len(got)
            resumed = {"Range": f"bytes={before}-", "If-Range": mark} if got and mark else {}
            try:
                with self.client(url).stream("GET", url, headers=asked | resumed) as response:
                    status = response.status_code
                    continues = status != 206 or _continues(response.headers, before, mark)
                    if resumed and (status == 416 or not continues):
                        mark = ""
                        raise httpx.RemoteProtocolError("the server sends another part than was asked for")
                    if status != 206 or not resumed:
                        got.clear()
                        left = False
                    mark = "" if encoded else _mark(response.headers)
                    if partial and status == 200:
                        partial.begin(mark)
                    bound = limit if status in (200, 206) else MAX_SMALL
                    for piece in response.iter_bytes() if encoded else response.iter_raw():
                        got += piece
                        if pace.slow(len(piece)):
                            raise _broken(f"it is slower than {SLOWEST} bytes a second", url, len(got))
                        if partial and status in (200, 206):
                            partial.more(piece)
                        if len(got) > bound:
                            raise InvalidError(f"{_shown(url)}: the answer is larger than {bound // _MIB} MiB")
                    status = 200 if resumed and status == 206 else status
                    return Answer(status, _lower(response.headers), bytes(got), url, left)
            except httpx.InvalidURL as error:
                raise InvalidError(f"{_shown(url)} leads (or redirects) to no web address: {error}") from None
            except (httpx.TransportError, httpx.DecodingError) as error:
                # As long as each attempt brings more there is no reason to stop.
                vain = 0 if len(got) > before and (resumed or not before) else vain + 1
                again = isinstance(error, (httpx.RemoteProtocolError, httpx.ReadError)) and vain < ATTEMPTS
                if not again or attempt == MAX_PIECES - 1:
                    if got:
                        raise _broken(str(error) or type(error).__name__, url, len(got)) from None
                    raise _no_answer(error, "GET", url) from None
        raise AssertionError  # pragma: no cover

    def _file(self, url: str, limit: int) -> Answer:
        path = os.path.realpath(local_path(url))
        inside = self.folder and (path + "/").startswith(os.path.realpath(self.folder).rstrip("/") + "/")
        if not inside:
            raise InvalidError(f"{_shown(url)}: files are read only from a repository that is a folder itself")
        try:
            with open(path, "rb") as file:
                body = file.read(limit + 1)
        except OSError as error:
            raise NotFoundError(f"{path} cannot be read: {error.strerror}") from None
        if len(body) > limit:
            raise InvalidError(f"{path} is larger than {limit // _MIB} MiB")
        return Answer(200, {}, body, url)

    # -- writing -----------------------------------------------------------------------------------------------------

    def send(
        self,
        method: str,
        url: str,
        content: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
    ) -> Answer:
        """The answer to a request that may change something: no redirects, no repeating. ``accept`` adds statuses."""
        import httpx

        try:
            with self.client(url).stream(
                method, url, content=content or None, headers={**self._headers(url), **(headers or {})}
            ) as response:
                body = bytearray()
                pace = _Pace(self.patience)
                for piece in response.iter_bytes():
                    body += piece
                    if pace.slow(len(piece)):
                        raise httpx.ReadTimeout(f"the answer is slower than {SLOWEST} bytes a second")
                    if len(body) > MAX_SMALL:
                        raise InvalidError(f"{_shown(url)}: the answer is larger than {MAX_SMALL // _MIB} MiB")
                answer = Answer(response.status_code, _lower(response.headers), bytes(body), url)
        except httpx.InvalidURL as error:
            raise InvalidError(f"{_shown(url)} leads to no web address: {error}") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _no_answer(error, method, url) from None
        return answer if answer.status in accept else _checked(answer, method)

    def _headers(self, url: str, named: str = "") -> dict[str, str]:
        """``named`` is the origin that the repository itself names, where it is that of ``url``."""
        from pvehelm import __version__

        headers = {"User-Agent": f"pvehelm/{__version__}"}
        place, credentials = origin(url), self.credentials
        if credentials is not None:
            safe = place.startswith("https:") or not self.home.startswith("https:")
            if place == self.home or (credentials.everywhere and place == named and safe):
                headers["Authorization"] = basic(credentials)
        return headers


def _mark(headers: Mapping[str, str]) -> str:
    """By what a server knows that what is resumed is still the same; "" where it says nothing that would do."""
    tag: str = headers.get("etag", "")
    return "" if tag.startswith("W/") else tag or headers.get("last-modified", "")


def _continues(headers: Mapping[str, str], start: int, mark: str) -> bool:
    """Whether a partial answer begins at byte ``start``, and is of the content with this ``mark``, if it says so: some
    servers look at no conditions."""
    same = _mark(headers) in ("", mark)
    return same and str(headers.get("content-range", "")).startswith(f"bytes {start}-")


def basic(credentials: Credentials) -> str:
    """The Authorization header of a user and password."""
    import base64

    return "Basic " + base64.b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()


def local_path(url: str) -> str:
    """The path of a ``file://`` address. Raises InvalidError."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or "\0" in path:
        raise InvalidError(f"{_shown(url)} names no file of this machine")
    return path


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _redirected(url: str, answer: Answer) -> str:
    target = urljoin(url, answer.headers.get("location", ""))
    try:
        after = origin(target)
    except InvalidError:
        raise InvalidError(f"{_shown(url)} redirects to {_shown(target)}, which is not followed") from None
    if url.startswith("https:") and not after.startswith("https:"):
        raise InvalidError(f"{_shown(url)} redirects from https to http, which is not followed")
    return target


def _checked(answer: Answer, method: str) -> Answer:
    if answer.status in (200, 201, 202, 204, 206, 304):
        return answer
    if answer.status in (401, 403):
        hint = "'pvehelm repo add NAME URL --username USER' or 'pvehelm registry login HOST' keeps credentials"
        raise AuthError(answer.status, "access denied", method=method, path=answer.url, hint=hint)
    if answer.status == 404:
        raise NotFoundError(f"{_shown(answer.url)}: not found")
    if 300 <= answer.status < 400:
        raise InvalidError(f"{_shown(answer.url)} redirects a {method}, which is not followed")
    text = answer.body[:200].decode("utf-8", "replace").strip()
    raise ApiError(answer.status, text if "<" not in text else "", method=method, path=answer.url)


def _broken(why: str, url: str, size: int) -> TransportError:
    what = f"the download broke off after {size:,} bytes: {why}"
    return TransportError(
        what, sent=False, method="GET", path=url, hint="try again; what is wrong is on the way or there"
    )


def _no_answer(error: Exception, method: str, url: str) -> TransportError:
    what = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    return TransportError(what, sent=method != "GET", method=method, path=url, hint="is the address right?")
