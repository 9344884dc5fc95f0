"""Knows files and templates, never Proxmox."""
