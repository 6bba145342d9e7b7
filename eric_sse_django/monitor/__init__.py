"""The live monitor: the traffic of all server processes, as a stream of one snapshot a second."""

# Below URL_PREFIX. It has three parts, so it never matches "<channel>/<listener>/".
PATH = "admin/monitor/events/"

__all__ = ["PATH"]
