"""Connections to Redis: transport, cluster, key names, scripts, an embedded server."""
