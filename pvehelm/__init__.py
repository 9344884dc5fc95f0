"""Helm and kubectl for Proxmox VE."""

from __future__ import annotations

__all__ = ["ProxmoxClient", "SyncProxmoxClient"]
__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pvehelm.api.sdk import ProxmoxClient, SyncProxmoxClient
else:

    def __getattr__(name: str) -> object:
        # What the command line does not need is loaded when it is asked for.
        if name in __all__:
            from pvehelm.api import sdk

            return getattr(sdk, name)
        raise AttributeError(f"module 'pvehelm' has no attribute {name!r}")
