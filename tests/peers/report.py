"""The page."""


def written(runs, calls, conditions):
    return ""
