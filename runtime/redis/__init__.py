"""How Redis is reached: clients, connections, the cluster's map, key names, scripts, an embedded server."""
