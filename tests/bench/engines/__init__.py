"""Two kept queue engines on the worker's job: tickets, kill -9, redelivery."""
