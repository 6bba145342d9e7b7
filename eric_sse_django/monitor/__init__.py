"""The live monitor: what flows through all the site's servers, once a second, as a stream."""

# Below URL_PREFIX. Three parts: no "<channel>/<listener>/" is in its way.
PATH = "admin/monitor/events/"

__all__ = ["PATH"]
