"""What tests stand on: servers, processes, clocks, models. Nothing here is a test."""
