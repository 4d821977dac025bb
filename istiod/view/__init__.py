"""Tells proxies apart by what they must be told: one view per class of proxies."""
