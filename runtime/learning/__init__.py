"""Learning from executions: the lengths of an action's answers, and forecasts based on them."""
