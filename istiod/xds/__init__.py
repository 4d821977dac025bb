"""Serves finished resources to proxies: subscriptions, order, one session per stream, the transport."""
