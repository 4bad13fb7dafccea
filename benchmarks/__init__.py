"""Measurements: they print numbers, and neither assert a time nor belong to the installed package."""
