"""A Proxmox API in a box."""
