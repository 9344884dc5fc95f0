"""What both dialects have in the same form: functions of Helm's templates, called with plain data.

They take arguments of exactly the types that Go has there, and complain by FunctionError.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from pvehelm.chart.functions.common import FunctionError, Text, mapping, plain, string


def of(module: str, name: str) -> Callable[..., Any]:
    """A function of ``pvehelm.chart.gotpl``, imported when it is first called."""

    @functools.cache
    def loaded() -> Callable[..., Any]:
        importlib.import_module(f"pvehelm.chart.gotpl.{module}")
        from pvehelm.chart.gotpl.signatures import FUNCTIONS

        return FUNCTIONS[name]

    def called(*values: Any) -> Any:
        from pvehelm.chart.gotpl.values import GoError

        try:
            return loaded()(*values)
        except GoError as error:
            raise FunctionError(f"{error}; {error.hint}" if error.hint else str(error)) from None

    called.__name__ = name
    return called


def _certificate(name: str, ca: int | None = None) -> Callable[..., Any]:
    """A function that gives a certificate, as a map with ``Cert`` and ``Key``; ``ca`` is which argument is one."""
    make = of("crypto", name)

    @functools.wraps(make)
    def called(*values: Any) -> dict[str, str]:
        given = list(values)
        if ca is not None and len(given) > ca:
            from pvehelm.chart.gotpl.crypto import Certificate

            authority = mapping(given[ca])
            given[ca] = Certificate(string(authority.get("Cert")), string(authority.get("Key")))
        made = make(*given)
        return {"Cert": made.Cert, "Key": made.Key}

    return called


def toToml(value: Any) -> Text:
    from pvehelm.chart.gotpl import toml
    from pvehelm.chart.gotpl.values import GoError

    try:
        return Text(toml.dumps(plain(value)))
    except GoError as error:
        raise FunctionError(str(error)) from None


_pretty = of("yamlout", "toYamlPretty")


def toYamlPretty(value: Any) -> Text:
    return Text(_pretty(plain(value)))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "toYamlPretty": toYamlPretty,
    "toToml": toToml,
    "mustToToml": toToml,
    **{
        name: of("crypto", name)
        for name in ("genPrivateKey", "bcrypt", "htpasswd", "encryptAES", "decryptAES", "derivePassword")
    },
    **{
        name: _certificate(name)
        for name in ("genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "buildCustomCert")
    },
    **{name: _certificate(name, 4) for name in ("genSignedCert", "genSignedCertWithKey")},
    **{name: of("words", name) for name in ("snakecase", "kebabcase", "camelcase")},
    **{name: of("builtins", name) for name in ("html", "js")},
}
