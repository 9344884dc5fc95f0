"""The API version of our manifests."""

from __future__ import annotations

API_VERSION = "proxmox.io/v1"
