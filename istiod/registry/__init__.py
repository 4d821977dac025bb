"""Turns configuration objects into the services and endpoints of one cluster. Pure functions of tables."""
