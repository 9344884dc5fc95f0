"""Joins charts and the API: plan, apply, store."""
