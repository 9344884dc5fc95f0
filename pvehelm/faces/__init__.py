"""What people and programs talk to; each face builds a Context and calls actions."""
