"""The shell every process of ours runs in: tasks, cells, settings, logs, metrics, readiness, files on disk.

No word of the mesh in here: any asyncio program could use it.
"""
