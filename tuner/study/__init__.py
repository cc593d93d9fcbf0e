"""Recorded studies, found again by name for the commands that come after a search.

May import driver, registry and tracking.
"""
