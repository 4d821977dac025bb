"""Whole clusters as processes on one machine: for demonstrations, drills and tests."""
