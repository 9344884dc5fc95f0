"""Knows Proxmox: schema, formats, kinds, client."""
