"""The rooms of creditgate that run actions; hosts import from ``creditgate`` alone."""
